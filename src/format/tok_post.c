/* SPDX-License-Identifier: Apache-2.0 */
/* What the model wants around a text or a pair: every post_processor becomes two templates. */
#include "format/tokenizer_inner.h"

#include <stdlib.h>

hangar_code hg_tok_around(hg_tok_template *into, int64_t what, int64_t type, const hg_tokenizer *t,
                          hangar_err *err)
{
    if (into->count >= HG_TOK_AROUND_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a template of more than %d items", HG_TOK_AROUND_MAX);
    if (what >= 0 && !hg_tokenizer_text(t, what))
        return hg_fail(err, HANGAR_E_INVALID, "the template names the token %lld, which is not there",
                       (long long)what);
    if (type < 0 || type > UINT8_MAX) return hg_fail(err, HANGAR_E_INVALID, "the type %lld", (long long)type);
    into->items[into->count++] = (hg_tok_item){(int32_t)what, (uint8_t)type};
    return HANGAR_OK;
}

void hg_tok_bare(hg_tok_template *single, hg_tok_template *pair)
{
    *single = (hg_tok_template){{{HG_TOK_A, 0}}, 1};
    *pair = (hg_tok_template){{{HG_TOK_A, 0}, {HG_TOK_B, 1}}, 2};
}

hangar_code hg_tok_cls_sep(hg_tokenizer *t, int64_t cls, int64_t sep, bool roberta, hangar_err *err)
{
    /* RoBERTa knows no types and puts two separators between; the JavaScript port gives the second text type 1. */
    uint8_t b = roberta ? 0 : 1;
    const struct {
        int64_t what;
        uint8_t type;
        bool single, pair;
    } items[] = {{cls, 0, true, true},     {HG_TOK_A, 0, true, true},  {sep, 0, true, true},
                 {sep, 0, false, roberta}, {HG_TOK_B, b, false, true}, {sep, b, false, true}};
    t->single.count = t->pair.count = 0;
    hangar_code code = HANGAR_OK;
    if (cls < 0 || sep < 0) return hg_fail(err, HANGAR_E_INVALID, "cls or sep is no token");
    for (size_t i = 0; i < HG_LEN(items) && code == HANGAR_OK; i++) {
        if (items[i].single) code = hg_tok_around(&t->single, items[i].what, items[i].type, t, err);
        if (code == HANGAR_OK && items[i].pair)
            code = hg_tok_around(&t->pair, items[i].what, items[i].type, t, err);
    }
    return code;
}

/* One side of a template: special tokens and the places of the texts. */
static hangar_code read_items(hg_tokenizer *t, const hg_jval *post, const char *key, hg_tok_template *into,
                              hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    bool seen[2] = {false, false};
    into->count = 0;
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(post, key)); code == HANGAR_OK && hg_json_next(&it);) {
        const hg_jval *special = hg_json_get(it.val, "SpecialToken"), *text = hg_json_get(it.val, "Sequence");
        int64_t type = hg_json_i64_or(hg_json_get(special ? special : text, "type_id"), 0);
        const char *id = hg_json_text_or(hg_json_get(special ? special : text, "id"), "");
        bool b = hg_streq(id, "B");
        if (special) {
            const hg_jval *ids = hg_json_path(post, "special_tokens", id, "ids", NULL);
            if (hg_json_len(ids) == 0)
                return hg_fail(err, HANGAR_E_INVALID, "the template's token \"%s\" is not described", id);
            for (hg_json_iter one = hg_json_iter_of(ids); code == HANGAR_OK && hg_json_next(&one);) {
                int64_t n = hg_json_i64_or(one.val, -1);
                if (n < 0) return hg_fail(err, HANGAR_E_INVALID, "an id of \"%s\" is none", id);
                code = hg_tok_around(into, n, type, t, err);
            }
        } else if (text && (b || hg_streq(id, "A")) && !seen[b]) {
            seen[b] = true;
            code = hg_tok_around(into, b ? HG_TOK_B : HG_TOK_A, type, t, err);
        } else {
            return hg_fail(err, HANGAR_E_UNSUPPORTED, "a template item that is not known");
        }
    }
    return code;
}

/* A template without "pair", or without a text in it, takes none. */
static hangar_code read_template(hg_tokenizer *t, const hg_jval *post, hangar_err *err)
{
    hangar_code code = read_items(t, post, "single", &t->single, err);
    return code == HANGAR_OK ? read_items(t, post, "pair", &t->pair, err) : code;
}

/* One post_processor; *done: one that puts tokens around was there. */
static hangar_code read_one(hg_tokenizer *t, const hg_jval *post, bool *done, hangar_err *err)
{
    const char *type = hg_json_text_or(hg_json_get(post, "type"), "");
    if (hg_streq(type, "ByteLevel")) return HANGAR_OK; /* trims offsets: ids stay as they are */
    bool bert = hg_streq(type, "BertProcessing"), roberta = hg_streq(type, "RobertaProcessing");
    if (!bert && !roberta && !hg_streq(type, "TemplateProcessing"))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "the type \"%s\" is not known", type);
    if (*done) return hg_fail(err, HANGAR_E_UNSUPPORTED, "more than one that puts tokens around a text");
    *done = true;
    if (!bert && !roberta) return read_template(t, post, err);
    return hg_tok_cls_sep(t, hg_json_i64_or(hg_json_at(hg_json_get(post, "cls"), 1), -1),
                          hg_json_i64_or(hg_json_at(hg_json_get(post, "sep"), 1), -1), roberta, err);
}

hangar_code hg_tok_read_post(hg_tokenizer *t, const hg_jval *post, hangar_err *err)
{
    bool done = false;
    hangar_code code = HANGAR_OK;
    hg_tok_bare(&t->single, &t->pair);
    if (hg_json_is_null(post)) return HANGAR_OK;
    if (!hg_streq(hg_json_text(hg_json_get(post, "type")), "Sequence"))
        return hg_wrap(err, read_one(t, post, &done, err), "post_processor");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(post, "processors"));
         code == HANGAR_OK && hg_json_next(&it);)
        code = read_one(t, it.val, &done, err);
    return hg_wrap(err, code, "post_processor");
}

/* ---- putting it around ---- */

/* How many ids of each text may stay: the longer loses first, as `tokenizers` truncates "longest first". */
static void share(size_t room, size_t *a, size_t *b)
{
    bool swap = *a > *b;
    size_t few = swap ? *b : *a, many = swap ? *a : *b;
    if (few + many <= room) return;
    many = few > room ? few : few > room - few ? few : room - few;
    if (few + many > room) {
        few = room / 2;
        many = few + room % 2;
    }
    *a = swap ? many : few;
    *b = swap ? few : many;
}

/* One item of a template: a token, or a text's ids. */
static void put_item(hg_tok_item item, const hg_tok_list *a, const hg_tok_list *b, hg_token_ids *out)
{
    const int64_t one = item.what, *ids = &one;
    size_t count = 1;
    if (item.what < 0) {
        const hg_tok_list *list = item.what == HG_TOK_A ? a : b;
        ids = list->ids;
        count = list->len;
    }
    if (count > 0) memcpy(out->ids + out->count, ids, count * sizeof *ids);
    if (out->types && count > 0) memset(out->types + out->count, item.type, count);
    out->count += count;
}

hangar_code hg_tok_post(const hg_tokenizer *t, hg_tok_list *a, hg_tok_list *b, const hg_encode_options *o,
                        hg_token_ids *out, hangar_err *err)
{
    const hg_tok_template *around = o->pair.ptr ? &t->pair : &t->single;
    size_t extra = 0;
    bool has_b = false;
    for (size_t i = 0; i < around->count; i++) {
        extra += around->items[i].what >= 0 && !o->plain;
        has_b = has_b || around->items[i].what == HG_TOK_B;
    }
    if (o->pair.ptr && !has_b)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "this model's tokenizer takes no second text");
    if (o->max_tokens && o->max_tokens <= extra)
        return hg_fail(err, HANGAR_E_LIMIT, "%zu tokens leave no room for a text", o->max_tokens);
    size_t before = a->len + b->len;
    if (o->max_tokens) share(o->max_tokens - extra, &a->len, &b->len);
    out->truncated = a->len + b->len < before;
    out->ids = hg_calloc(a->len + b->len + extra, sizeof *out->ids);
    if (o->types) out->types = hg_calloc(a->len + b->len + extra, 1);
    if (!out->ids || (o->types && !out->types)) {
        hg_token_ids_deinit(out);
        return hg_fail_memory(err);
    }
    for (size_t i = 0; i < around->count; i++)
        if (!o->plain || around->items[i].what < 0) put_item(around->items[i], a, b, out);
    return HANGAR_OK;
}
