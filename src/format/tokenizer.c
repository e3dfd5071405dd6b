/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary: tokens by id, and their ids sorted by text for lookups by bisection (no hash that a hostile
 * file could make collide). Added tokens are cut out of a text first, the longest that fits at each place;
 * what lies between goes to the model's own algorithm.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>

hangar_code hg_tok_push(hg_tok_list *list, int64_t id, hangar_err *err)
{
    if (list->len >= HG_TOKENIZER_TEXT_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a text of more than %zu tokens", HG_TOKENIZER_TEXT_MAX);
    if (!hg_grow((void **)&list->ids, &list->cap, list->len + 1, sizeof *list->ids))
        return hg_fail_memory(err);
    list->ids[list->len++] = id;
    return HANGAR_OK;
}

/* ---- vocabulary ---- */

void hg_tokenizer_free(hg_tokenizer *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->size; i++) free(t->by_id[i].text);
    free(t->by_id);
    free(t->sorted);
    free(t->added);
    free(t->prefix);
    free(t);
}

/* Gives an id its text; the same text twice for one id is fine. */
static hangar_code set_token(hg_tokenizer *t, hg_str text, int64_t id, hangar_err *err)
{
    if (id < 0 || (uint64_t)id >= HG_TOKENIZER_IDS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "the token id %lld is over the limit of %zu", (long long)id,
                       HG_TOKENIZER_IDS_MAX);
    if (text.len > HG_TOKENIZER_TOKEN_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "token %lld has %zu bytes, over the limit of %zu", (long long)id,
                       text.len, HG_TOKENIZER_TOKEN_MAX);
    size_t at = (size_t)id;
    if (at >= t->size) {
        if (!hg_grow((void **)&t->by_id, &t->cap, at + 1, sizeof *t->by_id)) return hg_fail_memory(err);
        memset(t->by_id + t->size, 0, (at + 1 - t->size) * sizeof *t->by_id);
        t->size = at + 1;
    }
    hg_tok_entry *e = &t->by_id[at];
    if (e->text && hg_str_eq((hg_str){e->text, e->len}, text)) return HANGAR_OK;
    if (e->text)
        return hg_fail(err, HANGAR_E_INVALID, "two tokens have the id %lld: \"%s\" and \"%.*s\"",
                       (long long)id, e->text, HG_STR_ARG(text));
    e->text = hg_strndup(text.ptr, text.len);
    e->len = text.len;
    return e->text ? HANGAR_OK : hg_fail_memory(err);
}

/* The same for an added token with its flags (doc may be NULL: none). */
static hangar_code set_added(hg_tokenizer *t, hg_str text, int64_t id, const hg_jval *doc, hangar_err *err)
{
    if (t->added_count >= HG_TOKENIZER_ADDED_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "more than %zu added tokens", HG_TOKENIZER_ADDED_MAX);
    if (text.len == 0) return hg_fail(err, HANGAR_E_INVALID, "the added token %lld is empty", (long long)id);
    hangar_code code = set_token(t, text, id, err);
    if (code != HANGAR_OK) return code;
    hg_tok_entry *e = &t->by_id[id];
    if (e->added) return HANGAR_OK;
    if (!hg_grow((void **)&t->added, &t->added_cap, t->added_count + 1, sizeof *t->added))
        return hg_fail_memory(err);
    t->added[t->added_count++] = id;
    t->added_first[(unsigned char)text.ptr[0]] = true;
    e->added = true;
    e->single_word = hg_json_bool_or(hg_json_get(doc, "single_word"), false);
    e->lstrip = hg_json_bool_or(hg_json_get(doc, "lstrip"), false);
    e->rstrip = hg_json_bool_or(hg_json_get(doc, "rstrip"), false);
    return HANGAR_OK;
}

/* {"token": id, ...} */
static hangar_code read_vocab(hg_tokenizer *t, const hg_jval *vocab, bool added, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    if (!hg_json_is_object(vocab)) return hg_fail(err, HANGAR_E_INVALID, "the vocabulary is not an object");
    for (hg_json_iter it = hg_json_iter_of(vocab); code == HANGAR_OK && hg_json_next(&it);) {
        int64_t id = -1;
        if (!hg_json_i64(it.val, &id))
            return hg_fail(err, HANGAR_E_INVALID, "the token \"%.*s\" has no id", HG_STR_ARG(it.key));
        code = added ? set_added(t, it.key, id, NULL, err) : set_token(t, it.key, id, err);
    }
    return code;
}

static int compare_texts(const hg_tok_entry *a, hg_str b)
{
    size_t n = a->len < b.len ? a->len : b.len;
    int c = n ? memcmp(a->text, b.ptr, n) : 0;
    return c ? c : (a->len > b.len) - (a->len < b.len);
}

static int by_text(const void *a, const void *b, void *ctx)
{
    const hg_tokenizer *t = ctx;
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    const hg_tok_entry *e = &t->by_id[y];
    int c = compare_texts(&t->by_id[x], (hg_str){e->text, e->len});
    return c ? c : (x > y) - (x < y);
}

static int longest_first(const void *a, const void *b, void *ctx)
{
    const hg_tokenizer *t = ctx;
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    size_t lx = t->by_id[x].len, ly = t->by_id[y].len;
    return lx != ly ? (lx < ly ? 1 : -1) : (x > y) - (x < y);
}

static void sort_added(hg_tokenizer *t)
{
    if (t->added_count > 0) qsort_r(t->added, t->added_count, sizeof *t->added, longest_first, t);
}

/* Makes the lookups, when all tokens are in. */
static hangar_code seal(hg_tokenizer *t, hangar_err *err)
{
    if (t->size == 0) return hg_fail(err, HANGAR_E_INVALID, "the vocabulary is empty");
    t->sorted = hg_calloc(t->size, sizeof *t->sorted);
    if (!t->sorted) return hg_fail_memory(err);
    for (size_t i = 0; i < t->size; i++)
        if (t->by_id[i].text) t->sorted[t->sorted_count++] = (int64_t)i;
    qsort_r(t->sorted, t->sorted_count, sizeof *t->sorted, by_text, t);
    sort_added(t);
    return HANGAR_OK;
}

int64_t hg_tok_find(const hg_tokenizer *t, hg_str text)
{
    size_t low = 0, high = t->sorted_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare_texts(&t->by_id[t->sorted[mid]], text) < 0) low = mid + 1;
        else high = mid;
    }
    if (low == t->sorted_count || compare_texts(&t->by_id[t->sorted[low]], text) != 0) return -1;
    return t->sorted[low];
}

int64_t hg_tokenizer_id(const hg_tokenizer *t, const char *text)
{
    return hg_tok_find(t, hg_str_of(text));
}

const char *hg_tokenizer_text(const hg_tokenizer *t, int64_t id)
{
    return id >= 0 && (uint64_t)id < t->size ? t->by_id[id].text : NULL;
}

void hg_tokenizer_set_lower(hg_tokenizer *t)
{
    t->lower = true;
}

size_t hg_tokenizer_size(const hg_tokenizer *t)
{
    return t->size;
}

/* ---- tokenizer.json ---- */

/* UNSUPPORTED unless the part is missing, null, or of that type. */
static hangar_code want_type(const hg_jval *root, const char *part, const char *type, hangar_err *err)
{
    const hg_jval *v = hg_json_get(root, part);
    const char *got = hg_json_text_or(hg_json_get(v, "type"), "");
    if (hg_json_is_null(v) || hg_streq(got, type)) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "tokenizer.json: %s of type \"%s\", only %s is known", part,
                   got, type);
}

/* Adds one token to the template around the text. */
static hangar_code add_around(hg_tokenizer *t, bool after, int64_t id, hangar_err *err)
{
    size_t *count = after ? &t->after_count : &t->before_count;
    if (*count >= HG_LEN(t->before))
        return hg_fail(err, HANGAR_E_LIMIT, "a template of more than %zu tokens on a side",
                       HG_LEN(t->before));
    if (!hg_tokenizer_text(t, id))
        return hg_fail(err, HANGAR_E_INVALID, "the template names the token %lld, which is not there",
                       (long long)id);
    (after ? t->after : t->before)[(*count)++] = id;
    return HANGAR_OK;
}

/* TemplateProcessing: the items of "single". */
static hangar_code read_template(hg_tokenizer *t, const hg_jval *post, hangar_err *err)
{
    bool after = false;
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(post, "single"));
         code == HANGAR_OK && hg_json_next(&it);) {
        const char *name = hg_json_text(hg_json_path(it.val, "SpecialToken", "id", NULL));
        if (!name) {
            if (after || !hg_json_get(it.val, "Sequence"))
                return hg_fail(err, HANGAR_E_UNSUPPORTED,
                               "tokenizer.json: post_processor with a template that is not known");
            after = true;
            continue;
        }
        const hg_jval *ids = hg_json_path(post, "special_tokens", name, "ids", NULL);
        for (hg_json_iter id = hg_json_iter_of(ids); code == HANGAR_OK && hg_json_next(&id);)
            code = add_around(t, after, hg_json_i64_or(id.val, -1), err);
    }
    return code;
}

/* What is put around a text. */
static hangar_code read_post(hg_tokenizer *t, const hg_jval *post, hangar_err *err)
{
    const char *type = hg_json_text_or(hg_json_get(post, "type"), "");
    if (hg_json_is_null(post)) return HANGAR_OK;
    if (hg_streq(type, "TemplateProcessing")) return read_template(t, post, err);
    if (!hg_streq(type, "BertProcessing"))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "tokenizer.json: post_processor of type \"%s\"", type);
    hangar_code code = add_around(t, false, hg_json_i64_or(hg_json_at(hg_json_get(post, "cls"), 1), -1), err);
    if (code == HANGAR_OK)
        code = add_around(t, true, hg_json_i64_or(hg_json_at(hg_json_get(post, "sep"), 1), -1), err);
    return code;
}

/* BertNormalizer's switches: strip_accents that is not said goes with lowercase. */
static void read_normalizer(hg_tokenizer *t, const hg_jval *n, const char *lower, const char *chinese)
{
    t->clean = hg_json_bool_or(hg_json_get(n, "clean_text"), true);
    t->chinese = hg_json_bool_or(hg_json_get(n, chinese), true);
    t->lower = hg_json_bool_or(hg_json_get(n, lower), true);
    t->strip = hg_json_bool_or(hg_json_get(n, "strip_accents"), t->lower);
}

static hangar_code read_wordpiece(hg_tokenizer *t, const hg_jval *root, hangar_err *err)
{
    const hg_jval *model = hg_json_get(root, "model"), *normalizer = hg_json_get(root, "normalizer");
    hangar_code code = want_type(root, "normalizer", "BertNormalizer", err);
    if (code == HANGAR_OK) code = want_type(root, "pre_tokenizer", "BertPreTokenizer", err);
    if (code != HANGAR_OK) return code;
    if (hg_json_is_null(hg_json_get(root, "pre_tokenizer")))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "tokenizer.json: WordPiece without a pre_tokenizer");
    if (!hg_json_is_null(normalizer)) read_normalizer(t, normalizer, "lowercase", "handle_chinese_chars");
    const char *prefix = hg_json_text_or(hg_json_get(model, "continuing_subword_prefix"), "##");
    const char *unk = hg_json_text_or(hg_json_get(model, "unk_token"), "[UNK]");
    int64_t max_word = hg_json_i64_or(hg_json_get(model, "max_input_chars_per_word"), 100);
    t->unk = hg_tokenizer_id(t, unk);
    if (t->unk < 0 || strlen(prefix) > 64 || max_word < 1 || max_word > 10000)
        return hg_fail(err, HANGAR_E_INVALID,
                       "tokenizer.json: no token \"%s\", or an odd prefix or word length", unk);
    t->max_word = (size_t)max_word;
    t->prefix = hg_strdup(prefix);
    if (!t->prefix) return hg_fail_memory(err);
    return read_post(t, hg_json_get(root, "post_processor"), err);
}

/* Byte-level BPE, as far as decoding needs it. */
static hangar_code check_bpe(const hg_jval *root, hangar_err *err)
{
    const hg_jval *model = hg_json_get(root, "model");
    if (*hg_json_text_or(hg_json_get(model, "continuing_subword_prefix"), "") ||
        *hg_json_text_or(hg_json_get(model, "end_of_word_suffix"), "") ||
        hg_json_bool_or(hg_json_get(model, "byte_fallback"), false))
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "tokenizer.json: BPE with prefixes, suffixes or byte_fallback");
    return want_type(root, "decoder", "ByteLevel", err);
}

static hangar_code read_added(hg_tokenizer *t, const hg_jval *list, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(list); code == HANGAR_OK && hg_json_next(&it);) {
        hg_str text = {0};
        if (!hg_json_str(hg_json_get(it.val, "content"), &text))
            return hg_fail(err, HANGAR_E_INVALID, "tokenizer.json: added_tokens[%zu] has no content",
                           it.index);
        code = set_added(t, text, hg_json_i64_or(hg_json_get(it.val, "id"), -1), it.val, err);
    }
    return code;
}

hangar_code hg_tokenizer_parse(const hg_jval *root, hg_tokenizer **out, hangar_err *err)
{
    *out = NULL;
    const hg_jval *model = hg_json_get(root, "model");
    const char *type = hg_json_text_or(hg_json_get(model, "type"), "");
    hg_tokenizer *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    hangar_code code = read_vocab(t, hg_json_get(model, "vocab"), false, err);
    if (code == HANGAR_OK) code = read_added(t, hg_json_get(root, "added_tokens"), err);
    if (code == HANGAR_OK) code = seal(t, err);
    if (code != HANGAR_OK) {
        code = hg_wrap(err, code, "tokenizer.json");
    } else if (hg_streq(type, "WordPiece")) {
        code = read_wordpiece(t, root, err);
    } else if (hg_streq(type, "BPE")) {
        t->kind = HG_TOK_BPE;
        code = check_bpe(root, err);
    } else {
        code = hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "tokenizer.json: model of type \"%s\", only WordPiece and BPE are known", type);
    }
    if (code != HANGAR_OK) hg_tokenizer_free(t);
    else *out = t;
    return code;
}

/* ---- the older files ---- */

/* The text of a token of tokenizer_config.json: a string, or an object with "content". */
static const char *config_token(const hg_jval *config, const char *key, const char *def)
{
    const hg_jval *v = hg_json_get(config, key);
    const char *text = hg_json_text(v);
    return text ? text : hg_json_text_or(hg_json_get(v, "content"), def);
}

static hangar_code read_lines(hg_tokenizer *t, hg_str vocab, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (int64_t id = 0; vocab.len > 0 && code == HANGAR_OK; id++) {
        hg_str line;
        hg_str_cut(&vocab, '\n', &line);
        if (line.len > 0 && line.ptr[line.len - 1] == '\r') line.len--;
        code = set_token(t, line, id, err);
    }
    return code;
}

/* Special tokens by name; [CLS] and [SEP] also go around the text. */
static hangar_code read_specials(hg_tokenizer *t, const hg_jval *config, hangar_err *err)
{
    static const char *const keys[][2] = {{"unk_token", "[UNK]"},
                                          {"cls_token", "[CLS]"},
                                          {"sep_token", "[SEP]"},
                                          {"pad_token", "[PAD]"},
                                          {"mask_token", "[MASK]"}};
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < HG_LEN(keys) && code == HANGAR_OK; i++) {
        const char *text = config_token(config, keys[i][0], keys[i][1]);
        int64_t id = hg_tokenizer_id(t, text);
        if (id < 0 && i > 2) continue;
        if (id < 0) return hg_fail(err, HANGAR_E_INVALID, "vocab.txt has no token \"%s\"", text);
        if (i == 0) t->unk = id;
        code = set_added(t, hg_str_of(text), id, NULL, err);
        if (code == HANGAR_OK && (i == 1 || i == 2)) code = add_around(t, i == 2, id, err);
    }
    sort_added(t);
    return code;
}

hangar_code hg_tokenizer_from_lines(hg_str vocab, const hg_jval *config, hg_tokenizer **out, hangar_err *err)
{
    *out = NULL;
    hg_tokenizer *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    hangar_code code = read_lines(t, vocab, err);
    if (code == HANGAR_OK) code = seal(t, err);
    if (code == HANGAR_OK) code = read_specials(t, config, err);
    if (code == HANGAR_OK) {
        read_normalizer(t, config, "do_lower_case", "tokenize_chinese_chars");
        t->max_word = 100;
        t->prefix = hg_strdup("##");
        if (!t->prefix) code = hg_fail_memory(err);
    }
    if (code != HANGAR_OK) hg_tokenizer_free(t);
    else *out = t;
    return code;
}

hangar_code hg_tokenizer_from_vocab(const hg_jval *vocab, const hg_jval *added, hg_tokenizer **out,
                                    hangar_err *err)
{
    *out = NULL;
    hg_tokenizer *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    t->kind = HG_TOK_BPE;
    hangar_code code = read_vocab(t, vocab, false, err);
    if (code == HANGAR_OK && added) code = read_vocab(t, added, true, err);
    if (code == HANGAR_OK) code = seal(t, err);
    if (code != HANGAR_OK) hg_tokenizer_free(t);
    else *out = t;
    return code;
}

/* ---- encode ---- */

/* Letters, digits and marks of words, as far as single_word asks. */
static bool in_word(hg_str text, size_t at)
{
    unsigned char c = at < text.len ? (unsigned char)text.ptr[at] : ' ';
    return c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* The longest added token that stands at `at`, or -1. */
static int64_t added_at(const hg_tokenizer *t, hg_str text, size_t at)
{
    if (!t->added_first[(unsigned char)text.ptr[at]]) return -1;
    for (size_t i = 0; i < t->added_count; i++) {
        const hg_tok_entry *e = &t->by_id[t->added[i]];
        if (e->len > text.len - at || memcmp(text.ptr + at, e->text, e->len) != 0) continue;
        if (e->single_word && ((at > 0 && in_word(text, at - 1)) || in_word(text, at + e->len))) continue;
        return t->added[i];
    }
    return -1;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The text as ids: added tokens, and pieces of what lies between. */
static hangar_code encode_all(const hg_tokenizer *t, hg_str text, hg_tok_list *list, hangar_err *err)
{
    size_t from = 0, at = 0;
    hangar_code code = HANGAR_OK;
    while (at < text.len && code == HANGAR_OK) {
        int64_t id = added_at(t, text, at);
        if (id < 0) {
            at++;
            continue;
        }
        const hg_tok_entry *e = &t->by_id[id];
        size_t end = at;
        while (e->lstrip && end > from && is_blank(text.ptr[end - 1])) end--;
        code = hg_wordpiece_encode(t, (hg_str){text.ptr + from, end - from}, list, err);
        if (code == HANGAR_OK) code = hg_tok_push(list, id, err);
        at += e->len;
        while (e->rstrip && at < text.len && is_blank(text.ptr[at])) at++;
        from = at;
    }
    if (code == HANGAR_OK)
        code = hg_wordpiece_encode(t, (hg_str){text.ptr + from, text.len - from}, list, err);
    return code;
}

hangar_code hg_tokenizer_encode(const hg_tokenizer *t, hg_str text, size_t max_tokens, hg_token_ids *out,
                                hangar_err *err)
{
    *out = (hg_token_ids){0};
    size_t around = t->before_count + t->after_count;
    if (t->kind != HG_TOK_WORDPIECE) return hg_fail(err, HANGAR_E_UNSUPPORTED, "this tokenizer only decodes");
    if (text.len > HG_TOKENIZER_TEXT_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a text of %zu bytes, over the limit of %zu", text.len,
                       HG_TOKENIZER_TEXT_MAX);
    if (!hg_utf8_valid(text)) return hg_fail(err, HANGAR_E_INVALID, "the text is not UTF-8");
    if (max_tokens && max_tokens <= around)
        return hg_fail(err, HANGAR_E_LIMIT, "%zu tokens leave no room for a text", max_tokens);
    hg_tok_list list = {0};
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < t->before_count && code == HANGAR_OK; i++)
        code = hg_tok_push(&list, t->before[i], err);
    if (code == HANGAR_OK) code = encode_all(t, text, &list, err);
    if (code == HANGAR_OK && max_tokens && list.len + t->after_count > max_tokens) {
        list.len = max_tokens - t->after_count;
        out->truncated = true;
    }
    for (size_t i = 0; i < t->after_count && code == HANGAR_OK; i++)
        code = hg_tok_push(&list, t->after[i], err);
    if (code != HANGAR_OK) {
        free(list.ids);
        return code;
    }
    out->ids = list.ids;
    out->count = list.len;
    return HANGAR_OK;
}

/* ---- decode ---- */

hangar_code hg_tokenizer_decode(const hg_tokenizer *t, const int64_t *ids, size_t count, hg_buf *out,
                                hangar_err *err)
{
    if (t->kind != HG_TOK_BPE) return hg_fail(err, HANGAR_E_UNSUPPORTED, "this tokenizer only encodes");
    hg_buf bytes;
    hg_buf_init(&bytes, HG_TOKENIZER_TEXT_MAX);
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || (uint64_t)ids[i] >= t->size) continue;
        const hg_tok_entry *e = &t->by_id[ids[i]];
        if (e->text && !e->added) hg_bpe_bytes((hg_str){e->text, e->len}, &bytes);
    }
    hangar_code code = hg_buf_check(&bytes, err);
    if (code == HANGAR_OK) hg_buf_utf8(out, hg_buf_view(&bytes));
    hg_buf_deinit(&bytes);
    return code == HANGAR_OK ? hg_buf_check(out, err) : code;
}
