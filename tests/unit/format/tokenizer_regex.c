/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns as Oniguruma reads them: what they match, which are refused, and that none runs for ever. */
#include "format/tokenizer_inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

/* The matches of a pattern in brackets, what lies between as it is, into buf. */
static const char *marked(const char *pattern, bool literal, const char *text, char buf[512])
{
    hg_tok_regex *re = NULL;
    hg_tok_search s;
    hg_tok_spans spans = {0};
    hangar_err err = {0};
    if (hg_tok_regex_new(hg_str_of(pattern), literal, &re, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    assert_int_equal(hg_tok_search_init(&s, re, strlen(text), &err), HANGAR_OK);
    assert_int_equal(hg_tok_search_run(&s, hg_str_of(text), &spans, &err), HANGAR_OK);
    size_t n = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < spans.count; i++) {
        hg_tok_span p = spans.items[i];
        n += (size_t)snprintf(buf + n, 512 - n, p.match ? "[%.*s]" : "%.*s", (int)(p.end - p.start),
                              text + p.start);
    }
    free(spans.items);
    hg_tok_search_deinit(&s);
    hg_tok_regex_free(re);
    return buf;
}

static void what_matches(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text, *want;
    } cases[] = {
        {"a+", "baab", "b[aa]b"},
        {" ?\\p{L}+|\\s+(?!\\S)|\\s+", "a  bc  ", "[a][ ][ bc][  ]"},
        {"\\s+",
         "a\xc2\xa0\xe1\xa0\x8e"
         "b\xc2\x85",
         "a[\xc2\xa0]\xe1\xa0\x8e"
         "b[\xc2\x85]"}, /* U+180E is none */
        {"[^\\S\\n]+", "a \t\nb", "a[ \t]\nb"},
        {"\\w+", "caf\xc3\xa9_1-\xe2\x93\x90",
         "[caf\xc3\xa9_1]-[\xe2\x93\x90]"}, /* a circled letter is Alphabetic */
        {"[\\W&&[^ ]]+", "a -+ b", "a [-+] b"},
        {"\\bb",
         "ab b \xc3\xa9"
         "b",
         "ab [b] \xc3\xa9"
         "b"},
        {"\\h+", "xyz 1fG", "xyz [1f]G"},
        {"\\d+", "1\xd9\xa1\xc2\xb2", "[1\xd9\xa1]\xc2\xb2"},
        {"a{2}+", "aaaaa", "[aaaa]a"}, /* the interval again, not possessive */
        {"a{,2}b", "aaab b", "a[aab] [b]"},
        {"a{1,2}?", "aaa", "[a][a][a]"},
        {"a++a", "aaa", "aaa"},
        {"a{x}", "a{x}", "[a{x}]"},
        {"]}", "a]}", "a[]}]"},
        {"[]a]+", "a]b", "[a]]b"},
        {"[a[bc]]+", "abcd", "[abc]d"},
        {"[a-z&&[^aeiou]]+", "hello", "[h]e[ll]o"},
        {"[^a-z&&[^0-9]]", "a1-", "a[1][-]"}, /* "not" is of the whole intersection */
        {"[[:alpha:]_]+|[[:^alpha:]]", "ab_ 1", "[ab_][ ][1]"},
        {"[^(\\s|[.,])]+", "a(b|c .d", "[a]([b]|[c] .[d]"},
        {"(?i:'S|'LL)", "x's y'lL z'\xc5\xbf", "x['s] y['lL] z['\xc5\xbf]"}, /* the long s folds to s */
        {"(?i)a|b", "AB", "[A][B]"},
        {"(?<=a)b(?!c)", "ab abc b", "a[b] abc b"},
        {"^a|a$", "aa\na", "[a][a]\n[a]"}, /* at every line */
        {".+", "a\r\nb", "[a\r]\n[b]"},
        {"\\Aa|b\\z", "aab\nb", "[a]ab\n[b]"},
        {"\\u0041\\x42\\x{1F600}", "AB\xf0\x9f\x98\x80", "[AB\xf0\x9f\x98\x80]"},
        {"[\\x{4e00}-\\x{9fff}\xe3\x81\x80-\xe3\x82\x9f]+", "a\xe4\xb8\xad\xe3\x81\x82z",
         "a[\xe4\xb8\xad\xe3\x81\x82]z"},
        {"\\p{Han}+|\\p{^L}",
         "\xe4\xb8\xad"
         "a1",
         "[\xe4\xb8\xad]a[1]"},
        {"\\-\\/\\ \\'", "-/ '", "[-/ ']"},
        {"x*", "axb", "[]a[x]b[]"}, /* an empty match right behind another is none */
        {"(a|b)c", "acbc", "[ac][bc]"},
    };
    char buf[512];
    for (size_t i = 0; i < HG_LEN(cases); i++)
        assert_string_equal(marked(cases[i].pattern, false, cases[i].text, buf), cases[i].want);
    assert_string_equal(marked("a.", true, "a.ab", buf), "[a.]ab");
    assert_string_equal(marked("", true, "ab", buf), "ab");
}

static void what_is_refused(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(a)\\1",
                                           "\\k<x>",
                                           "(?<x>a)",
                                           "(?#c)",
                                           "(?m:.)",
                                           "(?x)a",
                                           "(?(1)a)",
                                           "a{2}?",
                                           "\\p{Nonsense}",
                                           "\\pL",
                                           "\\G",
                                           "\\R",
                                           "\\X",
                                           "\\K",
                                           "\\C",
                                           "[a",
                                           "(a",
                                           "a)",
                                           "[z-a]",
                                           "[a-\\d]",
                                           "[]",
                                           "[&&a]",
                                           "[a&&]",
                                           "*a",
                                           "(?R)",
                                           "(*FAIL)",
                                           "\\x{110000}",
                                           "[[:nope:]]",
                                           "\\",
                                           "[\\",
                                           "a\\Q",
                                           "[a-]x{99999999}"};
    for (size_t i = 0; i < HG_LEN(patterns); i++) {
        hg_tok_regex *re = NULL;
        hangar_err err = {0};
        if (hg_tok_regex_new(hg_str_of(patterns[i]), false, &re, &err) != HANGAR_E_UNSUPPORTED)
            fail_msg("\"%s\" is not refused: %s", patterns[i], err.msg);
        assert_null(re);
        assert_non_null(strstr(err.msg, "pattern"));
    }
}

/* What would take for ever, or grow with the square of the text, ends with LIMIT. */
static void what_takes_too_long(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(?:a|a)*[bz]",   "(?:a*)*[bz]",      "(?:[^zy]*+[yz]|[^z])*[xz]",
                                           "[^zy]++[zy]",    "(?=.*[zb]|a)[bz]", "(a+)+[bz]$",
                                           "(?:a?){60}[bz]", "(?:a|aa)+$[bz]"};
    size_t limited = 0;
    size_t len = (size_t)60000;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'a', len);
    for (size_t i = 0; i < HG_LEN(patterns); i++) {
        hg_tok_regex *re = NULL;
        hg_buf out;
        hangar_err err = {0};
        clock_t from = clock();
        hg_buf_init(&out, 4 * HG_MIB);
        assert_int_equal(hg_tok_regex_new(hg_str_of(patterns[i]), false, &re, &err), HANGAR_OK);
        hangar_code code = hg_tok_regex_replace(re, (hg_str){text, len}, HG_STR("x"), &out, &err);
        if (code != HANGAR_OK && code != HANGAR_E_LIMIT) fail_msg("%s: %s", patterns[i], err.msg);
        limited += code == HANGAR_E_LIMIT;
        double seconds = (double)(clock() - from) / CLOCKS_PER_SEC;
        if (seconds > 20) fail_msg("\"%s\" took %.1f s", patterns[i], seconds);
        hg_tok_regex_free(re);
        hg_buf_deinit(&out);
    }
    assert_true(limited >= 5);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_matches), cmocka_unit_test(what_is_refused),
                                       cmocka_unit_test(what_takes_too_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
