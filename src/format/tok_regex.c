/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searching by a pattern of the file, with PCRE2, whose only user this is. The pattern may be hostile, and so may the
 * text: PCRE2 calls back at each item of the pattern, and what it did since then (one step, and as many as it moved along
 * the text) is taken from an account that grows with the text's length alone. When it is empty the answer is LIMIT.
 */
#include "format/tokenizer_inner.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define PATTERN_MAX    ((size_t)16 << 10) /* bytes of a pattern */
#define STEPS_PER_BYTE 256
#define STEPS_AT_LEAST 1000000
#define HEAP_MAX       ((uint32_t)256 << 10) /* KiB that PCRE2 may take for backtracking */
#define NEST_MAX       80                    /* groups inside each other, as PCRE2 gets the pattern */

struct hg_tok_regex {
    char *text; /* a literal; NULL for a pattern */
    size_t len;
    pcre2_code *code;
};

hangar_code hg_tok_spans_add(hg_tok_spans *s, size_t start, size_t end, bool match, hangar_err *err)
{
    if (!hg_grow((void **)&s->items, &s->cap, s->count + 1, sizeof *s->items)) return hg_fail_memory(err);
    s->items[s->count++] = (hg_tok_span){start, end, match};
    return HANGAR_OK;
}

void hg_tok_regex_free(hg_tok_regex *re)
{
    if (!re) return;
    pcre2_code_free(re->code);
    free(re->text);
    free(re);
}

static hangar_code compile(hg_tok_regex *re, hg_str pattern, hangar_err *err)
{
    hg_buf text;
    hg_buf_init(&text, 64 * PATTERN_MAX);
    hangar_code code = hg_tok_pattern_translate(pattern, &text, err);
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (code == HANGAR_OK && !context) code = hg_fail_memory(err);
    if (code == HANGAR_OK) {
        int why = 0;
        PCRE2_SIZE where = 0;
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        pcre2_set_parens_nest_limit(context, NEST_MAX);
        re->code = pcre2_compile((PCRE2_SPTR)hg_buf_text(&text), text.len,
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_AUTO_CALLOUT |
                                     PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_UTF_CHECK,
                                 &why, &where, context);
        if (!re->code) {
            PCRE2_UCHAR words[128] = {0};
            pcre2_get_error_message(why, words, sizeof words);
            code = hg_fail(err, HANGAR_E_UNSUPPORTED, "the pattern \"%.*s\": %s", HG_STR_ARG(pattern),
                           (char *)words);
        }
    }
    pcre2_compile_context_free(context);
    hg_buf_deinit(&text);
    return code;
}

hangar_code hg_tok_regex_new(hg_str pattern, bool literal, hg_tok_regex **out, hangar_err *err)
{
    *out = NULL;
    if (pattern.len > PATTERN_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a pattern of %zu bytes, over the limit of %zu", pattern.len,
                       PATTERN_MAX);
    hg_tok_regex *re = hg_calloc(1, sizeof *re);
    if (!re) return hg_fail_memory(err);
    hangar_code code = HANGAR_OK;
    if (literal) {
        re->text = hg_strndup(pattern.ptr, pattern.len);
        re->len = pattern.len;
        if (!re->text) code = hg_fail_memory(err);
    } else {
        code = compile(re, pattern, err);
    }
    if (code != HANGAR_OK) hg_tok_regex_free(re);
    else *out = re;
    return code;
}

/* Takes what was done from the account. */
static int count_steps(pcre2_callout_block *block, void *data)
{
    hg_tok_search *s = data;
    uint64_t at = block->current_position, cost = 1 + (at > s->last ? at - s->last : s->last - at);
    s->last = at;
    if (cost > s->steps) {
        s->steps = 0;
        return PCRE2_ERROR_CALLOUT;
    }
    s->steps -= cost;
    return 0;
}

hangar_code hg_tok_search_init(hg_tok_search *s, const hg_tok_regex *re, size_t text_len, hangar_err *err)
{
    *s = (hg_tok_search){.re = re, .steps = STEPS_AT_LEAST + STEPS_PER_BYTE * (uint64_t)text_len};
    if (!re->code) return HANGAR_OK;
    s->data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    s->context = context;
    if (!s->data || !context) {
        hg_tok_search_deinit(s);
        return hg_fail_memory(err);
    }
    pcre2_set_match_limit(context, UINT32_MAX); /* the account is what counts */
    pcre2_set_depth_limit(context, UINT32_MAX);
    pcre2_set_heap_limit(context, HEAP_MAX);
    return HANGAR_OK;
}

void hg_tok_search_deinit(hg_tok_search *s)
{
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->context);
    s->data = s->context = NULL;
}

/* The next match at or after `from`; *found says whether there is one. */
static hangar_code find(hg_tok_search *s, hg_str text, size_t from, hg_tok_span *hit, bool *found,
                        hangar_err *err)
{
    const hg_tok_regex *re = s->re;
    *found = false;
    if (!re->code) {
        const char *at = re->len > 0 && from < text.len
                             ? memmem(text.ptr + from, text.len - from, re->text, re->len)
                             : NULL;
        *found = at != NULL;
        if (at) *hit = (hg_tok_span){(size_t)(at - text.ptr), (size_t)(at - text.ptr) + re->len, true};
        return HANGAR_OK;
    }
    s->last = from;
    pcre2_set_callout(s->context, count_steps, s);
    int rc =
        pcre2_match(re->code, (PCRE2_SPTR)text.ptr, text.len, from, PCRE2_NO_UTF_CHECK, s->data, s->context);
    if (rc == PCRE2_ERROR_NOMATCH) return HANGAR_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return hg_fail_memory(err);
    if (rc < 0)
        return hg_fail(err, HANGAR_E_LIMIT, "a pattern of the tokenizer takes too many steps on this text");
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->data);
    *found = true;
    *hit = (hg_tok_span){at[0], at[1], true};
    return HANGAR_OK;
}

/* An empty match right behind another counts for nothing, as in the onig crate. */
hangar_code hg_tok_search_run(hg_tok_search *s, hg_str text, hg_tok_spans *out, hangar_err *err)
{
    size_t from = 0, done = 0;
    bool after = false, found = true; /* after: a match ends at `done` */
    hangar_code code = HANGAR_OK;
    if (text.len == 0) return HANGAR_OK;
    while (code == HANGAR_OK && from <= text.len) {
        hg_tok_span hit;
        code = find(s, text, from, &hit, &found, err);
        if (code != HANGAR_OK || !found) break;
        bool nothing = hit.start == hit.end;
        if (!nothing || !after || hit.start != done) {
            if (hit.start > done) code = hg_tok_spans_add(out, done, hit.start, false, err);
            if (code == HANGAR_OK) code = hg_tok_spans_add(out, hit.start, hit.end, true, err);
            done = hit.end;
            after = true;
        }
        from = hit.end;
        if (nothing) from += hit.end < text.len ? hg_uni_len(text.ptr + hit.end) : 1;
    }
    if (code == HANGAR_OK && done < text.len) code = hg_tok_spans_add(out, done, text.len, false, err);
    return code;
}

hangar_code hg_tok_regex_replace(const hg_tok_regex *re, hg_str text, hg_str with, hg_buf *out,
                                 hangar_err *err)
{
    hg_tok_search s;
    hg_tok_spans spans = {0};
    hangar_code code = hg_tok_search_init(&s, re, text.len, err);
    if (code != HANGAR_OK) return code;
    code = hg_tok_search_run(&s, text, &spans, err);
    for (size_t i = 0; i < spans.count && code == HANGAR_OK; i++) {
        hg_tok_span span = spans.items[i];
        if (span.match) hg_buf_str(out, with);
        else hg_buf_add(out, text.ptr + span.start, span.end - span.start);
    }
    free(spans.items);
    hg_tok_search_deinit(&s);
    return code == HANGAR_OK ? hg_buf_check(out, err) : code;
}
