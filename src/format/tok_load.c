/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json: the vocabulary and the model here, the other parts by their own files. */
#include "format/tokenizer_inner.h"

#include <stdlib.h>

hangar_code hg_tok_new(hg_tokenizer **out, size_t expect, hangar_err *err)
{
    hg_tokenizer *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    t->unk = -1;
    hg_tok_bare(&t->single, &t->pair);
    hangar_code code = hg_tok_map_init(&t->map, expect, err);
    if (code != HANGAR_OK) hg_tokenizer_free(t);
    else *out = t;
    return code;
}

/* A short text of the model, "" when it is missing or null. */
static hangar_code model_text(const hg_jval *model, const char *key, const char *def, hg_str *out,
                              hangar_err *err)
{
    const hg_jval *v = hg_json_get(model, key);
    *out = hg_str_of(def);
    if (!hg_json_is_null(v) && (!hg_json_text(v) || !hg_json_str(v, out)))
        return hg_fail(err, HANGAR_E_INVALID, "\"%s\" is not a text", key);
    if (out->len > 64) return hg_fail(err, HANGAR_E_LIMIT, "\"%s\" has more than 64 bytes", key);
    return HANGAR_OK;
}

/* unk_token: a name, which must be there for WordPiece; def NULL: BPE, which may never need it. */
static hangar_code read_unk(hg_tokenizer *t, const hg_jval *model, const char *def, hangar_err *err)
{
    const hg_jval *v = hg_json_get(model, "unk_token");
    hg_str name = hg_str_of(def);
    if (!hg_json_str(v, &name) && !name.ptr) return HANGAR_OK;
    t->unk = hg_tok_find(t, name);
    t->bpe.no_unk = t->unk < 0;
    if (t->unk < 0 && def)
        return hg_fail(err, HANGAR_E_INVALID, "no token \"%.*s\" for the unknown", HG_STR_ARG(name));
    return HANGAR_OK;
}

static hangar_code read_wordpiece(hg_tokenizer *t, const hg_jval *model, hangar_err *err)
{
    hg_str prefix = {0};
    hangar_code code = read_unk(t, model, "[UNK]", err);
    if (code == HANGAR_OK) code = model_text(model, "continuing_subword_prefix", "##", &prefix, err);
    int64_t max_word = hg_json_i64_or(hg_json_get(model, "max_input_chars_per_word"), 100);
    if (code == HANGAR_OK && (max_word < 1 || max_word > 10000))
        code = hg_fail(err, HANGAR_E_LIMIT, "words of up to %lld characters, over the limit of 10000",
                       (long long)max_word);
    t->max_word = (size_t)max_word;
    return code == HANGAR_OK ? hg_wordpiece_seal(t, prefix, err) : code;
}

/* The two texts of a merge: ["a", "b"], or "a b", which a space parts that stands in neither. */
static bool merge_parts(const hg_jval *v, hg_str *left, hg_str *right)
{
    if (hg_json_is_array(v))
        return hg_json_len(v) == 2 && hg_json_str(hg_json_at(v, 0), left) &&
               hg_json_str(hg_json_at(v, 1), right);
    if (!hg_json_str(v, right)) return false;
    return hg_str_cut(right, ' ', left) && !memchr(right->ptr, ' ', right->len);
}

static hangar_code read_merges(hg_tokenizer *t, const hg_jval *merges, hangar_err *err)
{
    if (!hg_json_is_array(merges)) return hg_fail(err, HANGAR_E_INVALID, "\"merges\" is not a list");
    hangar_code code = hg_bpe_init(&t->bpe, hg_json_len(merges), err);
    for (hg_json_iter it = hg_json_iter_of(merges); code == HANGAR_OK && hg_json_next(&it);) {
        hg_str left, right;
        if (!merge_parts(it.val, &left, &right))
            return hg_fail(err, HANGAR_E_INVALID, "the merge %zu is not two texts", it.index);
        code = hg_bpe_add(t, left, right, (uint32_t)it.index, err);
    }
    return code;
}

static hangar_code read_bpe(hg_tokenizer *t, const hg_jval *model, hangar_err *err)
{
    hg_str prefix = {0}, suffix = {0};
    hangar_code code = read_unk(t, model, NULL, err);
    if (code == HANGAR_OK) code = model_text(model, "continuing_subword_prefix", "", &prefix, err);
    if (code == HANGAR_OK) code = model_text(model, "end_of_word_suffix", "", &suffix, err);
    if (code != HANGAR_OK) return code;
    hg_bpe *b = &t->bpe;
    b->prefix = hg_strndup(prefix.ptr, prefix.len);
    b->suffix = hg_strndup(suffix.ptr, suffix.len);
    if (!b->prefix || !b->suffix) return hg_fail_memory(err);
    b->fallback = hg_json_bool_or(hg_json_get(model, "byte_fallback"), false);
    b->fuse_unk = hg_json_bool_or(hg_json_get(model, "fuse_unk"), false);
    b->ignore_merges = hg_json_bool_or(hg_json_get(model, "ignore_merges"), false);
    code = read_merges(t, hg_json_get(model, "merges"), err);
    return code == HANGAR_OK ? hg_bpe_seal(t, err) : code;
}

/* A word without a token is an error when there is no token for it either; that shows when a text has one. */
static hangar_code read_wordlevel(hg_tokenizer *t, const hg_jval *model, hangar_err *err)
{
    hg_str name;
    (void)err;
    if (hg_json_str(hg_json_get(model, "unk_token"), &name)) t->unk = hg_tok_find(t, name);
    return HANGAR_OK;
}

/* The model's type; files from before there was a name are known by their fields. */
static const char *type_of(const hg_jval *model)
{
    const char *type = hg_json_text(hg_json_get(model, "type"));
    if (type) return type;
    if (hg_json_is_array(hg_json_get(model, "vocab"))) return "Unigram";
    if (hg_json_get(model, "merges")) return "BPE";
    return hg_json_get(model, "continuing_subword_prefix") ? "WordPiece" : "WordLevel";
}

static hangar_code read_model(hg_tokenizer *t, const hg_jval *model, hangar_err *err)
{
    static const struct {
        const char *type;
        hg_tok_model model;
        hangar_code (*read)(hg_tokenizer *t, const hg_jval *model, hangar_err *err);
    } models[] = {{"BPE", HG_TOK_BPE, read_bpe},
                  {"WordPiece", HG_TOK_WORDPIECE, read_wordpiece},
                  {"Unigram", HG_TOK_UNIGRAM, hg_unigram_read},
                  {"WordLevel", HG_TOK_WORDLEVEL, read_wordlevel}};
    const char *type = type_of(model);
    for (size_t i = 0; i < HG_LEN(models); i++) {
        if (!hg_streq(type, models[i].type)) continue;
        t->model = models[i].model;
        hangar_code code = HANGAR_OK;
        if (t->model != HG_TOK_UNIGRAM) code = hg_tok_read_vocab(t, hg_json_get(model, "vocab"), false, err);
        if (code == HANGAR_OK && t->size == 0 && t->model != HG_TOK_UNIGRAM)
            code = hg_fail(err, HANGAR_E_INVALID, "the vocabulary is empty");
        if (code == HANGAR_OK) code = models[i].read(t, model, err);
        return hg_wrap(err, code, "model %s", type);
    }
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "model: the type \"%s\" is not known", type);
}

static hangar_code read_added(hg_tokenizer *t, const hg_jval *list, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(list); code == HANGAR_OK && hg_json_next(&it);) {
        hg_str text = {0};
        if (!hg_json_str(hg_json_get(it.val, "content"), &text))
            return hg_fail(err, HANGAR_E_INVALID, "added_tokens[%zu] has no content", it.index);
        code = hg_tok_set_added(t, text, hg_json_i64_or(hg_json_get(it.val, "id"), -1), it.val, err);
    }
    return code;
}

/* No decoder: spaces between the tokens. And BPE's end of a word is a space when the decoder does not know of it. */
static hangar_code finish_decoder(hg_tokenizer *t, hangar_err *err)
{
    const char *suffix = t->model == HG_TOK_BPE ? t->bpe.suffix : NULL;
    if (t->dec.count == 0)
        return hg_tok_steps_add(&t->dec, HG_DEC_JOIN, err) ? HANGAR_OK : HANGAR_E_NO_MEMORY;
    for (size_t i = 0; i < t->dec.count; i++)
        if (t->dec.items[i].kind == HG_DEC_BPE) suffix = NULL;
    if (!suffix || !*suffix) return HANGAR_OK;
    t->end_suffix = hg_strdup(suffix);
    return t->end_suffix ? HANGAR_OK : hg_fail_memory(err);
}

hangar_code hg_tokenizer_parse(const hg_jval *root, hg_tokenizer **out, hangar_err *err)
{
    *out = NULL;
    hg_tokenizer *t = NULL;
    const hg_jval *model = hg_json_get(root, "model");
    if (!hg_json_is_object(model)) return hg_fail(err, HANGAR_E_INVALID, "tokenizer.json: no model");
    hangar_code code = hg_tok_new(&t, hg_json_len(hg_json_get(model, "vocab")), err);
    if (code != HANGAR_OK) return code;
    code = read_model(t, model, err);
    if (code == HANGAR_OK) code = read_added(t, hg_json_get(root, "added_tokens"), err);
    if (code == HANGAR_OK) code = hg_tok_read_normalizer(hg_json_get(root, "normalizer"), &t->norm, err);
    if (code == HANGAR_OK) code = hg_tok_read_pre(hg_json_get(root, "pre_tokenizer"), &t->pre, err);
    if (code == HANGAR_OK) code = hg_tok_read_post(t, hg_json_get(root, "post_processor"), err);
    if (code == HANGAR_OK) code = hg_tok_read_decoder(hg_json_get(root, "decoder"), &t->dec, err);
    if (code == HANGAR_OK) code = finish_decoder(t, err);
    if (code == HANGAR_OK) code = hg_tok_added_seal(t, err);
    if (code != HANGAR_OK) {
        hg_tokenizer_free(t);
        return hg_wrap(err, code, "tokenizer.json");
    }
    *out = t;
    return HANGAR_OK;
}
