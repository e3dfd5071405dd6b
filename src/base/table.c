/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a command line by a table. The values go into one zeroed block laid out by the caller's struct; a list
 * (HG_TEXTS) is an array of ours, one per row, that the block points to. Every mistake is USAGE with a next step.
 */
#include "base/table_inner.h"

#include "base/mem.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

static size_t params_count(const hg_param *params)
{
    size_t count = 0;
    while (params[count].name) count++;
    return count;
}

/* What a row is called in messages: --dry-run, or REF for a positional; dry_run in JSON. */
static const char *shown_name(const hg_reading *r, size_t row, char buf[64])
{
    const hg_param *p = &r->params[row];
    if (r->members) return hg_param_member(p, buf);
    if (!p->positional) {
        snprintf(buf, 64, "--%s", p->name);
        return buf;
    }
    snprintf(buf, 64, "%s", p->metavar ? p->metavar : p->name);
    if (!p->metavar)
        for (char *c = buf; *c; c++)
            if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 'a' + 'A');
    return buf;
}

/* ---- the nearest name ---- */

#define NEAR_MAX 40 /* longer words are not compared */

/* Edits (insert, drop, change, swap of neighbours) that turn a into b; lengths at most NEAR_MAX. */
static size_t edits(hg_str a, hg_str b)
{
    size_t rows[3][NEAR_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.len; j++) before[j] = last[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t best = last[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            if (swapped && before[j - 2] + 1 < best) best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[b.len];
}

/* How far `name` is from `word`; a beginning of the name that was typed counts as near. */
static size_t distance(hg_str word, hg_str name)
{
    size_t d = edits(word, name);
    if (word.len >= 2 && hg_str_starts(name, word) && d > 1) d = 1;
    return d;
}

const char *hg_nearest(const char *word, const char *const *names)
{
    hg_str w = hg_str_of(word);
    if (w.len == 0 || w.len > NEAR_MAX) return NULL;
    const char *best = NULL;
    size_t limit = w.len <= 2 ? 1 : w.len <= 5 ? 2 : w.len / 3 + 1;
    size_t least = limit + 1;
    for (; *names; names++) {
        hg_str name = hg_str_of(*names);
        if (name.len > NEAR_MAX) continue;
        size_t d = distance(w, name);
        if (d < least && d < name.len) {
            least = d;
            best = *names;
        }
    }
    return best;
}

/* ---- one value ---- */

/* Whether `text` is one of the words in "a|b|c". */
static bool is_choice(const char *choices, const char *text)
{
    hg_str rest = hg_str_of(choices), word;
    while (rest.len) {
        hg_str_cut(&rest, '|', &word);
        if (hg_str_eq(word, hg_str_of(text))) return true;
    }
    return false;
}

#define CHOICES_MAX 32

/* USAGE: not one of the words; names the nearest one. */
static hangar_code wrong_choice(const hg_reading *r, size_t row, const char *text)
{
    const char *choices = r->params[row].choices;
    char name[64], *words = hg_strdup(choices);
    if (!words) return hg_fail_memory(r->err);
    const char *list[CHOICES_MAX + 1] = {NULL};
    size_t count = 0;
    for (char *at = words, *save = NULL, *word; count < CHOICES_MAX && (word = strtok_r(at, "|", &save));
         at = NULL)
        list[count++] = word;
    const char *near = hg_nearest(text, list);
    const char *what = shown_name(r, row, name);
    if (near) hg_fail(r->err, HANGAR_E_USAGE, "%s cannot be '%s'; did you mean %s?", what, text, near);
    else hg_fail(r->err, HANGAR_E_USAGE, "%s cannot be '%s'; it is one of %s", what, text, choices);
    free(words);
    return HANGAR_E_USAGE;
}

/* Whether v lies in the row's range. */
static hangar_code check_range(const hg_reading *r, size_t row, double v, const char *text)
{
    const hg_param *p = &r->params[row];
    char name[64];
    if ((p->min == 0 && p->max == 0) || (v >= p->min && v <= p->max)) return HANGAR_OK;
    if (isinf(p->max) || p->max >= 9e18)
        return hg_fail(r->err, HANGAR_E_USAGE, "%s must be at least %.15g, not %s", shown_name(r, row, name),
                       p->min, text);
    return hg_fail(r->err, HANGAR_E_USAGE, "%s must be from %.15g to %.15g, not %s", shown_name(r, row, name),
                   p->min, p->max, text);
}

/* A whole decimal number with an optional sign. */
static bool read_int(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    uint64_t n;
    if (*text == '-' || *text == '+') text++;
    if (!hg_u64_parse(hg_str_of(text), &n)) return false;
    if (n > (uint64_t)INT64_MAX + (negative ? 1 : 0)) return false;
    *out = negative ? (n > (uint64_t)INT64_MAX ? INT64_MIN : -(int64_t)n) : (int64_t)n;
    return true;
}

/* A decimal number, always with a point whatever the locale; no hex, no "inf". */
static bool read_number(const char *text, double *out)
{
    if (*text == '\0' || strspn(text, "0123456789+-.eE") != strlen(text)) return false;
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (*end || end == text || !isfinite(v)) return false;
    *out = v;
    return true;
}

static hangar_code add_text(hg_reading *r, size_t row, const char *text, bool by_default)
{
    const hg_param *p = &r->params[row];
    hg_text_list *list = &r->lists[row];
    if (!by_default && !list->given) {
        list->given = true;
        list->len = 0;
    }
    if (!hg_grow((void **)&r->out->lists[row], &list->cap, list->len + 2, sizeof(char *)))
        return hg_fail_memory(r->err);
    const char **items = r->out->lists[row];
    items[list->len++] = text;
    items[list->len] = NULL;
    memcpy((char *)r->out->values + p->at, &items, sizeof items);
    return HANGAR_OK;
}

hangar_code hg_reading_malformed(const hg_reading *r, size_t row, const char *text, const char *wanted)
{
    char name[64];
    return hg_fail(r->err, HANGAR_E_USAGE, "%s needs %s, not '%s'", shown_name(r, row, name), wanted, text);
}

hangar_code hg_reading_set(hg_reading *r, size_t row, const char *text, bool by_default)
{
    const hg_param *p = &r->params[row];
    void *to = (char *)r->out->values + p->at;
    hangar_code code = HANGAR_OK;
    int64_t whole;
    double number;
    uint64_t size;
    switch (p->type) {
    case HG_TEXT: memcpy(to, &text, sizeof text); return HANGAR_OK;
    case HG_REST:
    case HG_TEXTS: return add_text(r, row, text, by_default);
    case HG_CHOICE:
        if (!is_choice(p->choices, text)) return wrong_choice(r, row, text);
        memcpy(to, &text, sizeof text);
        return HANGAR_OK;
    case HG_FLAG: {
        bool on = is_choice("true|yes|on|1", text);
        if (!on && !is_choice("false|no|off|0", text))
            return hg_reading_malformed(r, row, text, "true or false");
        memcpy(to, &on, sizeof on);
        return HANGAR_OK;
    }
    case HG_INT:
        if (!read_int(text, &whole)) return hg_reading_malformed(r, row, text, "a whole number");
        if ((code = check_range(r, row, (double)whole, text)) == HANGAR_OK) memcpy(to, &whole, sizeof whole);
        return code;
    case HG_NUMBER:
        if (!read_number(text, &number)) return hg_reading_malformed(r, row, text, "a number");
        if ((code = check_range(r, row, number, text)) == HANGAR_OK) memcpy(to, &number, sizeof number);
        return code;
    case HG_SIZE:
        if (!hg_size_parse(hg_str_of(text), &size))
            return hg_reading_malformed(r, row, text, "a size such as 10M");
        if ((code = check_range(r, row, (double)size, text)) == HANGAR_OK) memcpy(to, &size, sizeof size);
        return code;
    case HG_DURATION:
        if (!hg_duration_parse(hg_str_of(text), &number))
            return hg_reading_malformed(r, row, text, "a time such as 30s or 5m");
        if ((code = check_range(r, row, number, text)) == HANGAR_OK) memcpy(to, &number, sizeof number);
        return code;
    }
    return hg_fail(r->err, HANGAR_E_INTERNAL, "--%s has no type", p->name);
}

static hangar_code give(hg_reading *r, size_t row, const char *text)
{
    r->given[row] = true;
    return hg_reading_set(r, row, text, false);
}

/* ---- options ---- */

static bool find_long(const hg_reading *r, hg_str name, size_t *row)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->params[i].positional || !hg_str_eq(hg_str_of(r->params[i].name), name)) continue;
        *row = i;
        return true;
    }
    return false;
}

static hangar_code unknown_long(const hg_reading *r, hg_str name)
{
    char word[NEAR_MAX + 2];
    const char *near = NULL;
    const char **names = hg_calloc(r->count + 1, sizeof *names);
    if (!names) return hg_fail_memory(r->err);
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++)
        if (!r->params[i].positional) names[count++] = r->params[i].name;
    if (name.len < sizeof word) {
        memcpy(word, name.ptr, name.len);
        word[name.len] = '\0';
        near = hg_nearest(word, names);
    }
    free(names);
    if (near)
        return hg_fail(r->err, HANGAR_E_USAGE, "there is no --%.*s; did you mean --%s?", HG_STR_ARG(name),
                       near);
    return hg_fail(r->err, HANGAR_E_USAGE, "there is no option --%.*s", HG_STR_ARG(name));
}

/* The value of an option that stands in the next argument. "--x" there is a forgotten value rather than one. */
static hangar_code next_value(hg_reading *r, size_t row, const char **out)
{
    char name[64];
    const char *next = r->at < r->argc ? r->argv[r->at] : NULL;
    if (!next) return hg_fail(r->err, HANGAR_E_USAGE, "%s needs a value", shown_name(r, row, name));
    if (next[0] == '-' && next[1] == '-')
        return hg_fail(r->err, HANGAR_E_USAGE, "%s needs a value; one that begins with -- is given as %s=%s",
                       shown_name(r, row, name), name, next);
    r->at++;
    *out = next;
    return HANGAR_OK;
}

/* --name, --name=value, --name value, --no-flag. */
static hangar_code read_long(hg_reading *r, const char *arg)
{
    hg_str rest = hg_str_of(arg + 2), name;
    bool has_value = hg_str_cut(&rest, '=', &name);
    const char *value = rest.ptr;
    size_t row;
    if (!find_long(r, name, &row)) {
        hg_str bare = name;
        bool no = hg_str_starts(name, HG_STR("no-"));
        if (no) bare = (hg_str){name.ptr + 3, name.len - 3};
        if (!no || !find_long(r, bare, &row) || r->params[row].type != HG_FLAG) return unknown_long(r, name);
        if (has_value) return hg_fail(r->err, HANGAR_E_USAGE, "--%.*s takes no value", HG_STR_ARG(name));
        return give(r, row, "false");
    }
    if (r->params[row].type == HG_FLAG) return give(r, row, has_value ? value : "true");
    if (!has_value) {
        hangar_code code = next_value(r, row, &value);
        if (code != HANGAR_OK) return code;
    }
    return give(r, row, value);
}

/* -q, -qn, -n5, -n 5. */
static hangar_code read_letters(hg_reading *r, const char *arg)
{
    for (const char *c = arg + 1; *c; c++) {
        size_t row = 0;
        while (row < r->count && r->params[row].letter != *c) row++;
        if (row == r->count)
            return hg_fail(r->err, HANGAR_E_USAGE,
                           "there is no option -%c (in '%s'); -- before a text ends the options", *c, arg);
        if (r->params[row].type == HG_FLAG) {
            hangar_code code = give(r, row, "true");
            if (code != HANGAR_OK) return code;
            continue;
        }
        const char *value = c + 1;
        if (*value == '=') value++;
        if (c[1] == '\0') {
            hangar_code code = next_value(r, row, &value);
            if (code != HANGAR_OK) return code;
        }
        return give(r, row, value);
    }
    return HANGAR_OK;
}

/* ---- positionals and the whole ---- */

static hangar_code read_positional(hg_reading *r, const char *arg)
{
    for (size_t i = 0; i < r->count; i++) {
        if (!r->params[i].positional || r->params[i].type == HG_REST) continue;
        if (r->given[i] && r->params[i].type != HG_TEXTS) continue;
        return give(r, i, arg);
    }
    return hg_fail(r->err, HANGAR_E_USAGE, "'%s' is one argument too many", arg);
}

/* What stands behind "--", for the row that takes it; without one those are positionals. */
static hangar_code read_rest(hg_reading *r, bool *taken)
{
    size_t row = 0;
    hangar_code code = HANGAR_OK;
    while (row < r->count && r->params[row].type != HG_REST) row++;
    *taken = row < r->count;
    while (*taken && code == HANGAR_OK && r->at < r->argc) code = give(r, row, r->argv[r->at++]);
    return code;
}

static hangar_code read_all(hg_reading *r)
{
    hangar_code code = HANGAR_OK;
    bool options = true;
    while (code == HANGAR_OK && r->at < r->argc) {
        const char *arg = r->argv[r->at++];
        if (!options || arg[0] != '-' || arg[1] == '\0') code = read_positional(r, arg);
        else if (hg_streq(arg, "--")) {
            bool taken;
            code = read_rest(r, &taken);
            options = false;
        } else if (arg[1] == '-') code = read_long(r, arg);
        else code = read_letters(r, arg);
    }
    return code;
}

static hangar_code read_defaults(hg_reading *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (!r->params[i].def) continue;
        hangar_code code = hg_reading_set(r, i, r->params[i].def, true);
        if (code != HANGAR_OK) return code;
    }
    return HANGAR_OK;
}

hangar_code hg_reading_begin(hg_reading *r, const hg_param *params, size_t size, hg_args *out,
                             hangar_err *err)
{
    *r = (hg_reading){.params = params, .count = params_count(params), .out = out, .err = err};
    *out = (hg_args){.values = hg_calloc(1, size),
                     .lists = hg_calloc(r->count, sizeof *out->lists),
                     .list_count = r->count};
    r->lists = hg_calloc(r->count, sizeof *r->lists);
    r->given = hg_calloc(r->count, sizeof *r->given);
    if (!out->values || !out->lists || !r->lists || !r->given) return hg_fail_memory(err);
    return read_defaults(r);
}

hangar_code hg_reading_end(hg_reading *r, hangar_code code)
{
    for (size_t i = 0; code == HANGAR_OK && i < r->count; i++) {
        char name[64];
        if (r->params[i].required && !r->given[i])
            code = hg_fail(r->err, HANGAR_E_USAGE, "%s is missing", shown_name(r, i, name));
    }
    free(r->lists);
    free(r->given);
    if (code != HANGAR_OK) hg_args_deinit(r->out);
    return code;
}

hangar_code hg_args_parse(const hg_param *params, size_t size, int argc, char *const *argv, hg_args *out,
                          hangar_err *err)
{
    hg_reading r;
    hangar_code code = hg_reading_begin(&r, params, size, out, err);
    r.argc = argc;
    r.argv = argv;
    if (code == HANGAR_OK) code = read_all(&r);
    return hg_reading_end(&r, code);
}

void hg_args_deinit(hg_args *args)
{
    for (size_t i = 0; args->lists && i < args->list_count; i++) free((void *)args->lists[i]);
    free((void *)args->lists);
    free(args->values);
    *args = (hg_args){0};
}
