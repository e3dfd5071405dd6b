/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in and out. The files that say how (tokenizer, chat template, special ids) are as hostile as the weights, so they come as texts in
 * the LOAD frame and are parsed in here, in the cage.
 *
 * Ids are looked for in generation_config.json, then in config.json, as transformers does.
 */
#include "runner.h"

#include "base/mem.h"

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
    free(t->eos);
    free(t->never);
    free(t);
}

/* ---- in ---- */

hangar_code hg_text_prompt(const hg_text *t, const hg_generate_call *call, hg_token_ids *out, hangar_err *err)
{
    if (!t || !t->tokenizer)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "this model has no tokenizer.json to read a prompt with");
    if (!call->prompt)
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "this model has no chat template; --raw gives the prompt as it is");
    return hg_tokenizer_encode(t->tokenizer, hg_str_of(call->prompt), 0, out, err);
}

/* ---- out ---- */

struct hg_text_stream {
    const hg_tokenizer *tokenizer; /* NULL = no text */
    int64_t *ids;
    size_t count, cap, told;
};

hangar_code hg_text_stream_new(const hg_text *t, hg_text_stream **out, hangar_err *err)
{
    hg_text_stream *s = hg_calloc(1, sizeof *s);
    if (!s) return hg_fail_memory(err);
    s->tokenizer = t ? t->tokenizer : NULL;
    *out = s;
    return HANGAR_OK;
}

void hg_text_stream_free(hg_text_stream *s)
{
    if (!s) return;
    free(s->ids);
    free(s);
}

hangar_code hg_text_piece(hg_text_stream *s, int64_t id, hg_tail *to, hangar_err *err)
{
    if (!s->tokenizer) return HANGAR_OK;
    if (!hg_grow((void **)&s->ids, &s->cap, s->count + 1, sizeof *s->ids)) return hg_fail_memory(err);
    s->ids[s->count++] = id;
    (void)to;
    return HANGAR_OK;
}

hangar_code hg_text_flush(hg_text_stream *s, hg_tail *to, hangar_err *err)
{
    hg_buf text;
    if (!s->tokenizer) return HANGAR_OK;
    hg_buf_init(&text, HG_TOKENIZER_TEXT_MAX);
    hangar_code code = hg_tokenizer_decode(s->tokenizer, s->ids, s->count, &text, err);
    if (code == HANGAR_OK) code = hg_buf_check(&text, err);
    if (code == HANGAR_OK) code = hg_tail_add(to, hg_buf_view(&text), err);
    hg_buf_deinit(&text);
    return code;
}
