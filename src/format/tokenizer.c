/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding. Added tokens are cut out of the text first, then, of what the normalizers make of the rest, those that are to
 * be found there; what lies between goes through the pre-tokenizers, and each of their pieces to the model.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>

void hg_tokenizer_free(hg_tokenizer *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->block_count; i++) free(t->blocks[i]);
    free(t->blocks);
    free(t->by_id);
    free(t->map.slots);
    free(t->added);
    free(t->raw.nodes);
    free(t->normalized.nodes);
    hg_buf_deinit(&t->texts);
    hg_tok_steps_deinit(&t->norm);
    hg_tok_steps_deinit(&t->pre);
    hg_tok_steps_deinit(&t->dec);
    hg_bpe_deinit(&t->bpe);
    free(t->trie.nodes);
    free(t->rest.nodes);
    free(t->scores);
    free(t->end_suffix);
    free(t);
}

void hg_token_ids_deinit(hg_token_ids *ids)
{
    free(ids->ids);
    free(ids->types);
    *ids = (hg_token_ids){0};
}

int64_t hg_tokenizer_id(const hg_tokenizer *t, const char *text)
{
    return text ? hg_tok_find(t, hg_str_of(text)) : -1;
}

const char *hg_tokenizer_text(const hg_tokenizer *t, int64_t id)
{
    return id >= 0 && (uint64_t)id < t->size ? t->by_id[id].text : NULL;
}

bool hg_tokenizer_special(const hg_tokenizer *t, int64_t id)
{
    return id >= 0 && (uint64_t)id < t->size && t->by_id[id].special;
}

bool hg_tokenizer_control(const hg_tokenizer *t, int64_t id)
{
    return id != t->unk && hg_tokenizer_special(t, id);
}

void hg_tokenizer_set_lower(hg_tokenizer *t)
{
    t->lower = true;
}

/* Calls a token special; v is its text, or an object with it. */
static void mark_special(hg_tokenizer *t, const hg_jval *v)
{
    hg_str text;
    if (!hg_json_str(v, &text) && !hg_json_str(hg_json_get(v, "content"), &text)) return;
    int32_t id = hg_tok_find(t, text);
    if (id >= 0) t->by_id[id].special = true;
}

void hg_tokenizer_configure(hg_tokenizer *t, const hg_jval *config)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    const hg_jval *added = hg_json_get(config, "added_tokens_decoder"),
                  *more = hg_json_get(config, "additional_special_tokens");
    for (hg_json_iter it = hg_json_iter_of(hg_json_is_object(added) ? added : NULL); hg_json_next(&it);)
        if (hg_json_bool_or(hg_json_get(it.val, "special"), false)) mark_special(t, it.val);
    for (hg_json_iter it = hg_json_iter_of(hg_json_is_array(more) ? more : NULL); hg_json_next(&it);)
        mark_special(t, it.val);
    for (size_t i = 0; i < HG_LEN(names); i++) mark_special(t, hg_json_get(config, names[i]));
    t->clean_up = hg_json_bool_or(hg_json_get(config, "clean_up_tokenization_spaces"), t->clean_up);
}

/* ---- encode ---- */

/* What the pieces of a text take turns in. */
typedef struct job {
    const hg_tokenizer *t;
    bool harmless; /* control tokens are not looked for */
    hg_tok_list *out;
    hg_tok_pieces pieces;
    hg_buf normal;
    hg_bpe_work *work;
} job;

/* One piece of the pre-tokenizers. */
static hangar_code encode_piece(job *j, hg_str piece, hangar_err *err)
{
    switch (j->t->model) {
    case HG_TOK_BPE: return hg_bpe_encode(j->t, piece, &j->work, j->out, err);
    case HG_TOK_WORDPIECE: return hg_wordpiece_encode(j->t, piece, j->out, err);
    case HG_TOK_UNIGRAM: return hg_unigram_encode(j->t, piece, j->out, err);
    case HG_TOK_WORDLEVEL: break;
    }
    int32_t id = hg_tok_find(j->t, piece);
    if (id < 0) id = j->t->unk;
    if (id < 0)
        return hg_fail(err, HANGAR_E_INVALID,
                       "the word \"%.*s\" has no token, and none stands for the unknown",
                       piece.len < 64 ? (int)piece.len : 64, piece.ptr);
    return hg_tok_push(j->out, id, err);
}

/* Normalized text without added tokens; first: it begins where the whole text does. */
static hangar_code encode_plain(job *j, hg_str text, bool first, hangar_err *err)
{
    hangar_code code = hg_tok_pre_split(j->t, text, first, &j->pieces, err);
    for (size_t i = 0; i < j->pieces.spans.count && code == HANGAR_OK; i++) {
        hg_tok_span s = j->pieces.spans.items[i];
        code = encode_piece(j, (hg_str){j->pieces.text.data + s.start, s.end - s.start}, err);
    }
    return code;
}

/* The next added token that counts. */
static bool next_added(const job *j, const hg_tok_trie *trie, hg_str text, size_t from, hg_tok_hit *hit)
{
    for (size_t at = from; hg_tok_added_next(j->t, trie, text, from, at, hit); at = hit->end)
        if (!j->harmless || !hg_tokenizer_special(j->t, hit->id)) return true;
    return false;
}

/* Text between added tokens, before it is normalized. */
static hangar_code encode_between(job *j, hg_str text, bool first, hangar_err *err)
{
    size_t from = 0;
    hg_tok_hit hit;
    if (text.len == 0) return HANGAR_OK;
    hg_buf_reset(&j->normal);
    hangar_code code = hg_tok_normalize(j->t, text, &j->normal, err);
    hg_str normal = hg_buf_view(&j->normal);
    while (code == HANGAR_OK && next_added(j, &j->t->normalized, normal, from, &hit)) {
        code = encode_plain(j, (hg_str){normal.ptr + from, hit.start - from}, first && from == 0, err);
        if (code == HANGAR_OK) code = hg_tok_push(j->out, hit.id, err);
        from = hit.end;
    }
    if (code == HANGAR_OK)
        code = encode_plain(j, (hg_str){normal.ptr + from, normal.len - from}, first && from == 0, err);
    return code;
}

/* A text without what goes around it; first: it is not the rest of another. */
static hangar_code encode_text(const hg_tokenizer *t, hg_str text, bool first, bool harmless,
                               hg_tok_list *out, hangar_err *err)
{
    job j = {.t = t, .harmless = harmless, .out = out};
    size_t from = 0;
    hg_tok_hit hit;
    hangar_code code = HANGAR_OK;
    hg_buf_init(&j.pieces.text, HG_TOK_WORK_MAX);
    hg_buf_init(&j.normal, HG_TOK_WORK_MAX);
    while (code == HANGAR_OK && next_added(&j, &t->raw, text, from, &hit)) {
        code = encode_between(&j, (hg_str){text.ptr + from, hit.start - from}, first && from == 0, err);
        if (code == HANGAR_OK) code = hg_tok_push(out, hit.id, err);
        from = hit.end;
    }
    if (code == HANGAR_OK)
        code = encode_between(&j, (hg_str){text.ptr + from, text.len - from}, first && from == 0, err);
    hg_buf_deinit(&j.pieces.text);
    free(j.pieces.spans.items);
    hg_buf_deinit(&j.normal);
    hg_bpe_work_free(j.work);
    return code;
}

/*
 * A text of which no id may be a control token. Added tokens are not looked for, but the vocabulary itself may have one as a piece: then
 * the text is read in halves, until none of them gives it. A single character that is nothing else counts as unknown. The depth is the
 * logarithm of the length.
 */
static hangar_code encode_harmless(const hg_tokenizer *t, hg_str text, bool first, hg_tok_list *out,
                                   hangar_err *err)
{
    size_t before = out->len, half = text.len / 2, at;
    hangar_code code = encode_text(t, text, first, true, out, err);
    for (at = before; code == HANGAR_OK && at < out->len; at++)
        if (hg_tokenizer_control(t, out->ids[at])) break;
    if (code != HANGAR_OK || at == out->len) return code;
    out->len = before;
    while (half > 0 && ((unsigned char)text.ptr[half] & 0xc0) == 0x80) half--;
    if (half == 0) return t->unk >= 0 ? hg_tok_push(out, t->unk, err) : HANGAR_OK;
    code = encode_harmless(t, (hg_str){text.ptr, half}, first, out, err);
    if (code != HANGAR_OK) return code;
    return encode_harmless(t, (hg_str){text.ptr + half, text.len - half}, false, out, err);
}

/* The same for a text of bytes that may be no UTF-8. */
static hangar_code encode_bytes(const hg_tokenizer *t, hg_str text, bool harmless, hg_tok_list *out,
                                hangar_err *err)
{
    hg_buf whole;
    if (text.len > HG_TOKENIZER_TEXT_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a text of %zu bytes, over the limit of %zu", text.len,
                       HG_TOKENIZER_TEXT_MAX);
    hg_buf_init(&whole, 3 * HG_TOKENIZER_TEXT_MAX);
    hangar_code code = HANGAR_OK;
    if (!hg_utf8_valid(text)) {
        hg_uni_repair(&whole, text);
        code = hg_buf_check(&whole, err);
        text = hg_buf_view(&whole);
    }
    if (code == HANGAR_OK)
        code =
            harmless ? encode_harmless(t, text, true, out, err) : encode_text(t, text, true, false, out, err);
    hg_buf_deinit(&whole);
    return code;
}

hangar_code hg_tokenizer_encode_with(const hg_tokenizer *t, hg_str text, const hg_encode_options *options,
                                     hg_token_ids *out, hangar_err *err)
{
    static const hg_encode_options none = {0};
    const hg_encode_options *o = options ? options : &none;
    hg_tok_list a = {0}, b = {0};
    *out = (hg_token_ids){0};
    if (t->model == HG_TOK_BPE && !t->bpe.known)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "this tokenizer only decodes: its merges are not there");
    hangar_code code = encode_bytes(t, text, o->harmless, &a, err);
    if (code == HANGAR_OK && o->pair.ptr) code = encode_bytes(t, o->pair, o->harmless, &b, err);
    if (code == HANGAR_OK) code = hg_tok_post(t, &a, &b, o, out, err);
    free(a.ids);
    free(b.ids);
    return code;
}

hangar_code hg_tokenizer_encode(const hg_tokenizer *t, hg_str text, size_t max_tokens, hg_token_ids *out,
                                hangar_err *err)
{
    const hg_encode_options o = {.max_tokens = max_tokens};
    return hg_tokenizer_encode_with(t, text, &o, out, err);
}
