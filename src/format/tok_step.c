/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The normalizer, pre_tokenizer and decoder of a tokenizer.json, read into flat lists of steps: a Sequence is its
 * members one after the other. Three tables say which types there are and which function reads each one's fields.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>

/* GPT-2's pattern, which the type ByteLevel implies. */
#define GPT2     "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define TEXT_MAX ((size_t)4096) /* bytes of a prefix, a replacement and the like */

typedef struct step_type {
    const char *name;
    hg_tok_kind kind;
    hangar_code (*read)(const hg_jval *v, hg_tok_step *s, hangar_err *err); /* NULL: no fields */
} step_type;

typedef struct part {
    const char *name;    /* of the key in tokenizer.json */
    const char *members; /* of a Sequence */
    const step_type *types;
    size_t count;
} part;

void hg_tok_steps_deinit(hg_tok_steps *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->items[i].text);
        free(s->items[i].more);
        hg_tok_regex_free(s->items[i].regex);
        hg_tok_charsmap_free(s->items[i].map);
    }
    free(s->items);
    *s = (hg_tok_steps){0};
}

hg_tok_step *hg_tok_steps_add(hg_tok_steps *s, hg_tok_kind kind, hangar_err *err)
{
    if (s->count >= HG_TOKENIZER_STEPS_MAX) {
        hg_fail(err, HANGAR_E_LIMIT, "more than %zu steps", HG_TOKENIZER_STEPS_MAX);
        return NULL;
    }
    if (!hg_grow((void **)&s->items, &s->cap, s->count + 1, sizeof *s->items)) {
        hg_fail_memory(err);
        return NULL;
    }
    s->items[s->count] = (hg_tok_step){.kind = kind};
    return &s->items[s->count++];
}

/* ---- fields ---- */

/* A text field into the step; def when it is missing (NULL: it must be there). */
static hangar_code read_text(const hg_jval *v, const char *key, const char *def, char **out, size_t *len,
                             hangar_err *err)
{
    hg_str text = hg_str_of(def);
    const hg_jval *field = hg_json_get(v, key);
    if (!hg_json_is_null(field) && !hg_json_str(field, &text))
        return hg_fail(err, HANGAR_E_INVALID, "\"%s\" is not a text", key);
    if (!text.ptr) return hg_fail(err, HANGAR_E_INVALID, "\"%s\" is missing", key);
    if (text.len > TEXT_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "\"%s\" has %zu bytes, over the limit of %zu", key, text.len,
                       TEXT_MAX);
    *out = hg_strndup(text.ptr, text.len);
    if (len) *len = text.len;
    return *out ? HANGAR_OK : hg_fail_memory(err);
}

/* A text of exactly one character. */
static hangar_code read_char(const hg_jval *v, const char *key, const char *def, hg_tok_step *s,
                             hangar_err *err)
{
    uint32_t c;
    hangar_code code = read_text(v, key, def, &s->text, &s->text_len, err);
    if (code == HANGAR_OK &&
        (s->text_len == 0 || hg_utf8_next((hg_str){s->text, s->text_len}, &c) != s->text_len))
        code = hg_fail(err, HANGAR_E_INVALID, "\"%s\" is not one character", key);
    return code;
}

/* {"String": "a"} or {"Regex": "a+"}; in old files a text alone. */
static hangar_code read_pattern(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    hg_str text;
    const hg_jval *pattern = hg_json_get(v, "pattern");
    if (hg_json_str(hg_json_get(pattern, "String"), &text) || hg_json_str(pattern, &text))
        return hg_tok_regex_new(text, true, &s->regex, err);
    if (hg_json_str(hg_json_get(pattern, "Regex"), &text))
        return hg_tok_regex_new(text, false, &s->regex, err);
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "a pattern that is neither String nor Regex");
}

static hangar_code read_behavior(const hg_jval *v, const char *def, hg_tok_step *s, hangar_err *err)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    const char *name = hg_json_text_or(hg_json_get(v, "behavior"), def);
    for (size_t i = 0; i < HG_LEN(names); i++)
        if (hg_streq(name, names[i])) {
            s->behavior = (hg_tok_behavior)i;
            return HANGAR_OK;
        }
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "the behavior \"%s\"", name ? name : "");
}

static bool flag(const hg_jval *v, const char *key, bool def)
{
    return hg_json_bool_or(hg_json_get(v, key), def);
}

/* A count of characters or tokens. */
static hangar_code read_count(const hg_jval *v, const char *key, int64_t def, int64_t least, size_t *out,
                              hangar_err *err)
{
    int64_t n = hg_json_i64_or(hg_json_get(v, key), def);
    if (n < least || n > (int64_t)TEXT_MAX)
        return hg_fail(err, HANGAR_E_INVALID, "\"%s\" is not from %lld to %zu", key, (long long)least,
                       TEXT_MAX);
    *out = (size_t)n;
    return HANGAR_OK;
}

/* ---- normalizers ---- */

static hangar_code read_strip(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    (void)err;
    s->a = flag(v, "strip_left", true);
    s->b = flag(v, "strip_right", true);
    return HANGAR_OK;
}

static hangar_code read_replace(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    hangar_code code = read_pattern(v, s, err);
    return code == HANGAR_OK ? read_text(v, "content", "", &s->text, &s->text_len, err) : code;
}

static hangar_code read_prepend(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    return read_text(v, "prepend", "\xe2\x96\x81", &s->text, &s->text_len, err);
}

static hangar_code read_charsmap(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    hg_str text;
    if (!hg_json_str(hg_json_get(v, "precompiled_charsmap"), &text))
        return hg_fail(err, HANGAR_E_INVALID, "\"precompiled_charsmap\" is missing");
    return hg_tok_charsmap_new(text, &s->map, err);
}

static hangar_code read_bert(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    (void)err;
    s->a = flag(v, "clean_text", true);
    s->b = flag(v, "handle_chinese_chars", true);
    s->d = flag(v, "lowercase", true);
    s->c = flag(v, "strip_accents", s->d); /* what is not said goes with lowercase */
    return HANGAR_OK;
}

static const step_type normalizers[] = {
    {"NFC", HG_NORM_NFC, NULL},
    {"NFD", HG_NORM_NFD, NULL},
    {"NFKC", HG_NORM_NFKC, NULL},
    {"NFKD", HG_NORM_NFKD, NULL},
    {"Lowercase", HG_NORM_LOWER, NULL},
    {"Strip", HG_NORM_STRIP, read_strip},
    {"StripAccents", HG_NORM_STRIP_ACCENTS, NULL},
    {"Replace", HG_NORM_REPLACE, read_replace},
    {"Prepend", HG_NORM_PREPEND, read_prepend},
    {"Precompiled", HG_NORM_CHARSMAP, read_charsmap},
    {"BertNormalizer", HG_NORM_BERT, read_bert},
    {"Nmt", HG_NORM_NMT, NULL},
    {"ByteLevel", HG_NORM_BYTES, NULL},
};

/* ---- pre-tokenizers ---- */

hangar_code hg_tok_gpt2_regex(hg_tok_regex **out, hangar_err *err)
{
    return hg_tok_regex_new(HG_STR(GPT2), false, out, err);
}

static hangar_code read_byte_level(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    s->a = flag(v, "add_prefix_space", true);
    return flag(v, "use_regex", true) ? hg_tok_gpt2_regex(&s->regex, err) : HANGAR_OK;
}

static hangar_code read_split(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    s->a = flag(v, "invert", false);
    hangar_code code = read_behavior(v, "", s, err);
    return code == HANGAR_OK ? read_pattern(v, s, err) : code;
}

/* The scheme; add_prefix_space is how older files say it. */
static hangar_code read_scheme(const hg_jval *v, size_t *out, hangar_err *err)
{
    static const char *const names[] = {"always", "first", "never"};
    bool prefix = flag(v, "add_prefix_space", true);
    const char *name = hg_json_text_or(hg_json_get(v, "prepend_scheme"), prefix ? "always" : "never");
    for (size_t i = 0; i < HG_LEN(names); i++)
        if (hg_streq(name, names[i])) {
            *out = i;
            return HANGAR_OK;
        }
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "the prepend_scheme \"%s\"", name);
}

static hangar_code read_metaspace(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    s->a = flag(v, "split", true);
    hangar_code code = read_scheme(v, &s->n, err);
    return code == HANGAR_OK ? read_char(v, "replacement", "\xe2\x96\x81", s, err) : code;
}

static hangar_code read_digits(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    (void)err;
    s->behavior = flag(v, "individual_digits", false) ? HG_TOK_ISOLATED : HG_TOK_CONTIGUOUS;
    return HANGAR_OK;
}

static hangar_code read_punctuation(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    return read_behavior(v, "Isolated", s, err);
}

static hangar_code read_delimiter(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    s->behavior = HG_TOK_REMOVED;
    hangar_code code = read_char(v, "delimiter", NULL, s, err);
    return code == HANGAR_OK ? hg_tok_regex_new((hg_str){s->text, s->text_len}, true, &s->regex, err) : code;
}

static hangar_code read_length(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    return read_count(v, "length", 5, 1, &s->n, err);
}

static const step_type pre_tokenizers[] = {
    {"ByteLevel", HG_PRE_BYTES, read_byte_level},
    {"Split", HG_PRE_SPLIT, read_split},
    {"Metaspace", HG_PRE_METASPACE, read_metaspace},
    {"BertPreTokenizer", HG_PRE_BERT, NULL},
    {"WhitespaceSplit", HG_PRE_SPACE, NULL},
    {"Whitespace", HG_PRE_WORDS, NULL},
    {"Digits", HG_PRE_DIGITS, read_digits},
    {"Punctuation", HG_PRE_PUNCT, read_punctuation},
    {"CharDelimiterSplit", HG_PRE_SPLIT, read_delimiter},
    {"FixedLength", HG_PRE_LENGTH, read_length},
};

/* ---- decoders ---- */

static hangar_code read_wordpiece(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    s->a = flag(v, "cleanup", true);
    return read_text(v, "prefix", "##", &s->text, &s->text_len, err);
}

static hangar_code read_metaspace_decoder(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    size_t scheme = HG_TOK_ALWAYS;
    hangar_code code = read_scheme(v, &scheme, err);
    s->a = scheme != HG_TOK_NEVER;
    return code == HANGAR_OK ? read_char(v, "replacement", "\xe2\x96\x81", s, err) : code;
}

static hangar_code read_strip_decoder(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    hangar_code code = read_char(v, "content", NULL, s, err);
    if (code == HANGAR_OK) code = read_count(v, "start", 0, 0, &s->n, err);
    return code == HANGAR_OK ? read_count(v, "stop", 0, 0, &s->m, err) : code;
}

static hangar_code read_bpe_decoder(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    hangar_code code = read_text(v, "suffix", "</w>", &s->text, &s->text_len, err);
    if (code == HANGAR_OK && s->text_len > 0)
        code = hg_tok_regex_new((hg_str){s->text, s->text_len}, true, &s->regex, err);
    return code;
}

static hangar_code read_ctc(const hg_jval *v, hg_tok_step *s, hangar_err *err)
{
    s->a = flag(v, "cleanup", true);
    hangar_code code = read_text(v, "pad_token", "<pad>", &s->text, &s->text_len, err);
    return code == HANGAR_OK ? read_text(v, "word_delimiter_token", "|", &s->more, &s->n, err) : code;
}

static const step_type decoders[] = {
    {"ByteLevel", HG_DEC_BYTES, NULL},
    {"WordPiece", HG_DEC_WORDPIECE, read_wordpiece},
    {"Metaspace", HG_DEC_METASPACE, read_metaspace_decoder},
    {"ByteFallback", HG_DEC_FALLBACK, NULL},
    {"Fuse", HG_DEC_FUSE, NULL},
    {"Strip", HG_DEC_STRIP, read_strip_decoder},
    {"Replace", HG_DEC_REPLACE, read_replace},
    {"BPEDecoder", HG_DEC_BPE, read_bpe_decoder},
    {"CTC", HG_DEC_CTC, read_ctc},
};

/* ---- reading ---- */

static const part parts[] = {
    {"normalizer", "normalizers", normalizers, HG_LEN(normalizers)},
    {"pre_tokenizer", "pretokenizers", pre_tokenizers, HG_LEN(pre_tokenizers)},
    {"decoder", "decoders", decoders, HG_LEN(decoders)},
};

/* One step, or the members of a Sequence. */
static hangar_code read_part(const hg_jval *v, const part *p, unsigned depth, hg_tok_steps *out,
                             hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    if (hg_json_is_null(v)) return HANGAR_OK;
    const char *type = hg_json_text_or(hg_json_get(v, "type"), "");
    if (hg_streq(type, "Sequence")) {
        if (depth >= HG_TOKENIZER_NEST_MAX)
            return hg_fail(err, HANGAR_E_LIMIT, "Sequences nested deeper than %u", HG_TOKENIZER_NEST_MAX);
        const hg_jval *members = hg_json_get(v, p->members);
        if (!hg_json_is_array(members))
            return hg_fail(err, HANGAR_E_INVALID, "a Sequence without \"%s\"", p->members);
        for (hg_json_iter it = hg_json_iter_of(members); code == HANGAR_OK && hg_json_next(&it);)
            code = read_part(it.val, p, depth + 1, out, err);
        return code;
    }
    for (size_t i = 0; i < p->count; i++) {
        if (!hg_streq(type, p->types[i].name)) continue;
        hg_tok_step *s = hg_tok_steps_add(out, p->types[i].kind, err);
        if (!s) return out->count >= HG_TOKENIZER_STEPS_MAX ? HANGAR_E_LIMIT : HANGAR_E_NO_MEMORY;
        code = p->types[i].read ? p->types[i].read(v, s, err) : HANGAR_OK;
        return hg_wrap(err, code, "%s", type);
    }
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "the type \"%s\" is not known", type);
}

hangar_code hg_tok_read_normalizer(const hg_jval *v, hg_tok_steps *out, hangar_err *err)
{
    return hg_wrap(err, read_part(v, &parts[0], 0, out, err), "%s", parts[0].name);
}

hangar_code hg_tok_read_pre(const hg_jval *v, hg_tok_steps *out, hangar_err *err)
{
    return hg_wrap(err, read_part(v, &parts[1], 0, out, err), "%s", parts[1].name);
}

hangar_code hg_tok_read_decoder(const hg_jval *v, hg_tok_steps *out, hangar_err *err)
{
    return hg_wrap(err, read_part(v, &parts[2], 0, out, err), "%s", parts[2].name);
}
