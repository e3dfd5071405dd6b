/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in and out. The files that say how (tokenizer, chat template, special ids) are as hostile as the weights, so they come as texts in
 * the LOAD frame and are parsed in here, in the cage.
 *
 * Ids are looked for in generation_config.json, then in config.json, as transformers does.
 */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EOS_MAX   64   /* ids that end an answer */
#define NEVER_MAX 4096 /* ids that no answer has */

/* ---- the texts of LOAD ---- */

typedef struct texts {
    const hg_jval *list;
    const char *bin;
    size_t bin_len;
} texts;

/* One of them; false when it did not come along. */
static hangar_code text_get(const texts *t, const char *name, hg_str *out, bool *found, hangar_err *err)
{
    *found = false;
    for (hg_json_iter it = hg_json_iter_of(t->list); hg_json_next(&it);) {
        uint64_t offset = 0, bytes = 0, end = 0;
        if (!hg_streq(hg_json_text(hg_json_get(it.val, "name")), name)) continue;
        if (!hg_json_u64(hg_json_get(it.val, "offset"), &offset) ||
            !hg_json_u64(hg_json_get(it.val, "bytes"), &bytes) || !hg_add(offset, bytes, &end) ||
            end > t->bin_len)
            return hg_fail(err, HANGAR_E_INVALID, "the place of the text %s is wrong", name);
        *out = (hg_str){bytes ? t->bin + offset : "", (size_t)bytes};
        *found = true;
        return HANGAR_OK;
    }
    return HANGAR_OK;
}

/* One of them as JSON; *out NULL when it did not come along. */
static hangar_code text_json(const texts *t, const char *name, hg_json **out, hangar_err *err)
{
    hg_str text = {0};
    bool found = false;
    *out = NULL;
    hangar_code code = text_get(t, name, &text, &found, err);
    if (code == HANGAR_OK && found) code = hg_wrap(err, hg_json_parse(text, NULL, out, err), "%s", name);
    return code;
}

/* ---- ids and limits ---- */

/* The configurations, in the order in which they are asked. */
typedef struct configs {
    hg_json *generation, *config, *tokenizer;
} configs;

/* A member of the first configuration that has it and not null. */
static const hg_jval *setting(const configs *c, const char *key)
{
    const hg_jval *config = hg_json_root(c->config);
    const hg_jval *found[] = {hg_json_get(hg_json_root(c->generation), key), hg_json_get(config, key),
                              hg_json_path(config, "text_config", key, NULL)};
    for (size_t i = 0; i < HG_LEN(found); i++)
        if (!hg_json_is_null(found[i])) return found[i];
    return NULL;
}

static int64_t id_of(const hg_jval *v)
{
    int64_t id = hg_json_i64_or(v, -1);
    return id >= 0 && id < (int64_t)HG_TOKENIZER_IDS_MAX ? id : -1;
}

/* Ids of a number or a list (of numbers, or of lists with one number each) behind those of *list. */
static hangar_code add_ids(const hg_jval *v, const char *key, size_t max, int64_t **list, size_t *count,
                           hangar_err *err)
{
    size_t n = hg_json_is_array(v) ? hg_json_len(v) : 1;
    if (*count + n > max)
        return hg_fail(err, HANGAR_E_LIMIT, "%s has %zu ids, at most %zu are read", key, *count + n, max);
    int64_t *grown = hg_realloc_array(*list, *count + n + 1, sizeof *grown);
    if (!grown) return hg_fail_memory(err);
    *list = grown;
    if (!hg_json_is_array(v) && id_of(v) >= 0) grown[(*count)++] = id_of(v);
    for (hg_json_iter it = hg_json_iter_of(hg_json_is_array(v) ? v : NULL); hg_json_next(&it);) {
        int64_t id =
            id_of(hg_json_is_array(it.val) && hg_json_len(it.val) == 1 ? hg_json_at(it.val, 0) : it.val);
        if (id >= 0) grown[(*count)++] = id;
    }
    return HANGAR_OK;
}

/* The text of a special token: a string, or an object with its content. */
static const char *token_text(const hg_jval *v)
{
    const char *text = hg_json_text(v);
    return text ? text : hg_json_text(hg_json_get(v, "content"));
}

/* Tokens the model was made for; 0 for one that knows only distances. */
static int64_t context_of(const configs *c)
{
    static const char *const keys[] = {"max_position_embeddings", "n_positions", "max_sequence_length",
                                       "seq_length", "n_ctx"};
    static const char *const relative[] = {"t5", "mt5", "umt5", "longt5"};
    const char *type = hg_json_text_or(hg_json_get(hg_json_root(c->config), "model_type"), "");
    for (size_t i = 0; i < HG_LEN(relative); i++)
        if (hg_streq(type, relative[i])) return 0;
    for (size_t i = 0; i < HG_LEN(keys); i++) {
        int64_t n = hg_json_i64_or(setting(c, keys[i]), 0);
        if (n > 0) return n < HG_GENERATE_CONTEXT_MAX ? n : HG_GENERATE_CONTEXT_MAX;
    }
    return 0;
}

static hangar_code read_ids(hg_text *t, const configs *c, hangar_err *err)
{
    const hg_jval *eos = setting(c, "eos_token_id"), *words = setting(c, "bad_words_ids"),
                  *suppressed = setting(c, "suppress_tokens");
    t->start = id_of(setting(c, "decoder_start_token_id"));
    if (t->start < 0) t->start = id_of(setting(c, "bos_token_id"));
    t->first = id_of(setting(c, "forced_bos_token_id"));
    t->context = context_of(c);
    hangar_code code = HANGAR_OK;
    if (eos) code = add_ids(eos, "eos_token_id", EOS_MAX, &t->eos, &t->eos_count, err);
    if (code == HANGAR_OK && words)
        code = add_ids(words, "bad_words_ids", NEVER_MAX, &t->never, &t->never_count, err);
    if (code == HANGAR_OK && suppressed)
        code = add_ids(suppressed, "suppress_tokens", NEVER_MAX, &t->never, &t->never_count, err);
    if (code != HANGAR_OK || t->eos_count > 0 || !t->tokenizer) return code;
    /* Neither configuration names an end: then the tokenizer does, by its text. */
    const char *text = token_text(hg_json_get(hg_json_root(c->tokenizer), "eos_token"));
    int64_t id = text ? hg_tokenizer_id(t->tokenizer, text) : -1;
    if (id < 0) return HANGAR_OK;
    free(t->eos);
    t->eos = hg_calloc(1, sizeof *t->eos);
    if (!t->eos) return hg_fail_memory(err);
    t->eos[t->eos_count++] = id;
    return HANGAR_OK;
}

/* The chat template. */
static hangar_code read_chat(hg_text *t, const texts *from, const hg_json *config, hangar_err *err)
{
    hg_str file = {0};
    bool found = false;
    hangar_code code = text_get(from, "chat_template.jinja", &file, &found, err);
    if (code != HANGAR_OK) return code;
    if (!found) file.ptr = NULL;
    return hg_templates_open(config ? hg_json_root(config) : NULL, file, &t->templates, err);
}

static hangar_code read_tokenizer(hg_text *t, const texts *from, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = text_json(from, "tokenizer.json", &doc, err);
    if (code != HANGAR_OK || !doc) return code;
    return hg_wrap(err, hg_tokenizer_parse(hg_json_root(doc), &t->tokenizer, err), "tokenizer.json");
}

hangar_code hg_text_new(const hg_jval *list, const char *bin, size_t bin_len, hg_text **out, hangar_err *err)
{
    const texts from = {list, bin, bin_len};
    configs c = {0};
    *out = NULL;
    if (hg_json_len(list) == 0) return HANGAR_OK;
    if (!hg_json_is_array(list) || hg_json_len(list) > HG_ONNX_TEXTS_MAX)
        return hg_fail(err, HANGAR_E_INVALID, "a LOAD has at most %d texts", HG_ONNX_TEXTS_MAX);
    hg_text *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    hangar_code code = text_json(&from, "generation_config.json", &c.generation, err);
    if (code == HANGAR_OK) code = text_json(&from, "config.json", &c.config, err);
    if (code == HANGAR_OK) code = text_json(&from, "tokenizer_config.json", &c.tokenizer, err);
    if (code == HANGAR_OK) code = read_tokenizer(t, &from, err);
    if (code == HANGAR_OK && t->tokenizer) hg_tokenizer_configure(t->tokenizer, hg_json_root(c.tokenizer));
    if (code == HANGAR_OK) code = read_chat(t, &from, c.tokenizer, err);
    if (code == HANGAR_OK) code = read_ids(t, &c, err);
    hg_json_free(c.generation);
    hg_json_free(c.config);
    hg_json_free(c.tokenizer);
    if (code == HANGAR_OK) *out = t;
    else hg_text_free(t);
    return code;
}

void hg_text_free(hg_text *t)
{
    if (!t) return;
    hg_tokenizer_free(t->tokenizer);
    hg_templates_deinit(&t->templates);
    free(t->eos);
    free(t->never);
    free(t);
}

/* ---- in ---- */

static const hg_encode_options of_template = {.plain = true}, of_person = {.plain = true, .harmless = true},
                               of_person_alone = {.harmless = true}, as_it_is = {0};

/* A control token; what stands for the unknown is none, unless it ends an answer, too. */
static bool is_control(const hg_text *t, int64_t id)
{
    if (hg_tokenizer_control(t->tokenizer, id)) return true;
    for (size_t i = 0; i < t->eos_count; i++)
        if (t->eos[i] == id) return true;
    return false;
}

/* ---- the reader ---- */

static hangar_code reader_read(const void *ctx, hg_str text, hg_reading how, hg_ids64 *out, hangar_err *err)
{
    const hg_text *t = ctx;
    hg_token_ids ids = {0};
    hangar_code code = HANGAR_OK;
    if (text.len == 0) return code;
    if (!t || !t->tokenizer)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "this model has no tokenizer.json to read a text with");
    code = hg_tokenizer_encode_with(t->tokenizer, text, how == HG_READ_PERSON ? &of_person : &of_template,
                                    &ids, err);
    if (code == HANGAR_OK &&
        !hg_grow((void **)&out->ids, &out->cap, out->count + ids.count + 1, sizeof *out->ids))
        code = hg_fail_memory(err);
    for (size_t i = 0; code == HANGAR_OK && i < ids.count; i++) out->ids[out->count++] = ids.ids[i];
    hg_token_ids_deinit(&ids);
    return code;
}

static bool reader_control(const void *ctx, int64_t id)
{
    const hg_text *t = ctx;
    return t && t->tokenizer && is_control(t, id);
}

static hangar_code reader_piece(const void *ctx, int64_t id, hg_buf *out, hangar_err *err)
{
    const hg_text *t = ctx;
    return t && t->tokenizer ? hg_tokenizer_piece(t->tokenizer, id, out, err) : HANGAR_OK;
}

hg_reader hg_text_reader(const hg_text *t)
{
    return (hg_reader){.ctx = t, .read = reader_read, .control = reader_control, .piece = reader_piece};
}

/* ---- prompts ---- */

/* A text with what the model wants around it. */
static hangar_code whole_text(const hg_text *t, const char *text, const hg_encode_options *how, hg_ids64 *out,
                              hangar_err *err)
{
    hg_token_ids ids = {0};
    hangar_code code = hg_tokenizer_encode_with(t->tokenizer, hg_str_of(text), how, &ids, err);
    for (size_t i = 0; code == HANGAR_OK && i < ids.count; i++) code = hg_ids64_add(out, ids.ids[i], err);
    hg_token_ids_deinit(&ids);
    return code;
}

hangar_code hg_text_prompt(const hg_text *t, const hg_generate_call *call, hg_ids64 *out, hangar_err *err)
{
    if (!t || !t->tokenizer)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "this model has no tokenizer.json to read a prompt with");
    if (call->prompt) return whole_text(t, call->prompt, &as_it_is, out, err);
    if (hg_templates_any(&t->templates) || t->templates.wrong.code != HANGAR_OK) {
        const hg_reader reader = hg_text_reader(t);
        return hg_conversation_prompt(&t->templates, &reader, call, out, err);
    }
    hangar_code code = hg_conversation_check(call->messages, err);
    if (code != HANGAR_OK) return code;
    if (hg_json_len(call->messages) > 1 || call->tool_choice != HG_TOOLS_NONE)
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "this model has no chat template; it goes on with one text at a time");
    const char *text = hg_json_text(hg_json_get(hg_json_at(call->messages, 0), "content"));
    if (!text) return hg_fail(err, HANGAR_E_USAGE, "message 1 needs a role and a content");
    return whole_text(t, text, &of_person_alone, out, err);
}

/* ---- out ---- */

#define BEFORE_MAX 256 /* tokens that an answer's text is seen to go on from */

struct hg_text_stream {
    const hg_tokenizer *tokenizer;
    hg_token_stream *tokens; /* NULL = no text */
    hg_buf piece;
    hg_buf before; /* what the prompt's tokens still hold back: no part of the answer */
    size_t before_at;
    size_t skip; /* bytes that are out already */
};

/* Reads the end of the prompt, and notes what of its text did not come out yet. */
static hangar_code go_on(const hg_text *t, hg_text_stream *s, const int64_t *ids, size_t count,
                         hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < count && code == HANGAR_OK; i++)
        code = hg_token_stream_push(s->tokens, ids[i], &s->piece, err);
    s->before_at = s->piece.len;
    hg_buf_reset(&s->piece);
    if (code == HANGAR_OK)
        code = hg_tokenizer_decode_with(t->tokenizer, ids, count, HG_DECODE_SPECIAL, &s->before, err);
    return code == HANGAR_OK ? hg_buf_check(&s->before, err) : code;
}

hangar_code hg_text_stream_new(const hg_text *t, const int64_t *before, size_t count, hg_text_stream **out,
                               hangar_err *err)
{
    hg_text_stream *s = hg_calloc(1, sizeof *s);
    if (!s) return hg_fail_memory(err);
    *out = s;
    hg_buf_init(&s->piece, HG_TOKENIZER_TEXT_MAX);
    hg_buf_init(&s->before, HG_TOKENIZER_TEXT_MAX);
    if (!t || !t->tokenizer) return HANGAR_OK;
    s->tokenizer = t->tokenizer;
    hangar_code code = hg_token_stream_new(t->tokenizer, HG_DECODE_SPECIAL, &s->tokens, err);
    size_t most = count < BEFORE_MAX ? count : BEFORE_MAX;
    if (code == HANGAR_OK && count > 0) code = go_on(t, s, before + count - most, most, err);
    return code;
}

void hg_text_stream_free(hg_text_stream *s)
{
    if (!s) return;
    hg_token_stream_free(s->tokens);
    hg_buf_deinit(&s->piece);
    hg_buf_deinit(&s->before);
    free(s);
}

/* What came out of the stream without what the prompt held back, as far as it is that: the answer may have made another character of it. */
static hg_str of_answer(hg_text_stream *s)
{
    hg_str piece = hg_buf_view(&s->piece);
    size_t left = s->before.len > s->before_at ? s->before.len - s->before_at : 0,
           n = left < piece.len ? left : piece.len;
    if (n > 0 && memcmp(piece.ptr, s->before.data + s->before_at, n) == 0) {
        s->before_at += n;
        return (hg_str){piece.ptr + n, piece.len - n};
    }
    if (piece.len > 0) s->before_at = s->before.len;
    return piece;
}

void hg_text_stream_skip(hg_text_stream *s, size_t bytes)
{
    s->skip = bytes;
}

/* Moves what came out of the stream on; *out_any: something did. */
static hangar_code move_on(hg_text_stream *s, hangar_code code, hg_output *to, bool *out_any, hangar_err *err)
{
    if (code == HANGAR_OK) code = hg_buf_check(&s->piece, err);
    hg_str piece = code == HANGAR_OK ? of_answer(s) : (hg_str){0};
    size_t out = s->skip < piece.len ? s->skip : piece.len;
    s->skip -= out;
    piece = (hg_str){piece.ptr + out, piece.len - out};
    *out_any = piece.len > 0;
    if (piece.len > 0) code = hg_output_text(to, piece, err);
    hg_buf_reset(&s->piece);
    return code;
}

hangar_code hg_text_piece(hg_text_stream *s, int64_t id, const hg_reader *reader, hg_output *to,
                          hangar_err *err)
{
    bool any = false;
    if (!s->tokens) return HANGAR_OK;
    hg_str mark = hg_str_of(hg_tokenizer_text(s->tokenizer, id));
    if (mark.ptr && hg_tokenizer_special(s->tokenizer, id) && hg_output_wants(to, mark)) {
        hangar_code ended = move_on(s, hg_token_stream_end(s->tokens, &s->piece, err), to, &any, err);
        return ended == HANGAR_OK ? hg_output_text(to, mark, err) : ended;
    }
    hangar_code code = move_on(s, hg_token_stream_push(s->tokens, id, &s->piece, err), to, &any, err);
    if (code != HANGAR_OK || any || !to->want_logprobs) return code;
    /* Its text comes with that of a later token. */
    code = reader->piece(reader->ctx, id, &s->piece, err);
    if (code == HANGAR_OK) hg_output_added(to, s->piece.len);
    hg_buf_reset(&s->piece);
    return code;
}

hangar_code hg_text_flush(hg_text_stream *s, hg_output *to, hangar_err *err)
{
    bool any = false;
    /* Behind a stop string nothing is wanted. */
    if (!s->tokens || to->tail.stopped) return HANGAR_OK;
    return move_on(s, hg_token_stream_end(s->tokens, &s->piece, err), to, &any, err);
}
