/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a JSON object by a table of parameters. A number goes through its text, so that ranges, units and words of an error are those
 * of the command line; what differs is which JSON types a row takes.
 */
#include "base/table_inner.h"

#include "base/mem.h"

#include <stdio.h>

const char *hg_param_member(const hg_param *p, char buf[64])
{
    snprintf(buf, 64, "%s", p->name);
    for (char *c = buf; *c; c++)
        if (*c == '-') *c = '_';
    return buf;
}

/* The row of a member, or false. */
static bool find_member(const hg_reading *r, hg_str key, size_t *row)
{
    char name[64];
    for (size_t i = 0; i < r->count; i++) {
        if (!hg_str_eq(hg_str_of(hg_param_member(&r->params[i], name)), key)) continue;
        *row = i;
        return true;
    }
    return false;
}

/* USAGE: names the member that is near. */
static hangar_code unknown_member(const hg_reading *r, hg_str key)
{
    char shown[128], word[64] = "";
    const char *near = NULL;
    char(*names)[64] = hg_calloc(r->count, sizeof *names);
    const char **list = hg_calloc(r->count + 1, sizeof *list);
    size_t count = 0;
    if (key.len && key.len < sizeof word && !memchr(key.ptr, 0, key.len)) memcpy(word, key.ptr, key.len);
    for (size_t i = 0; names && list && i < r->count; i++)
        if (!r->params[i].local) list[count++] = hg_param_member(&r->params[i], names[i]);
    if (list) near = hg_nearest(word, list);
    hg_escape(key, shown, sizeof shown);
    if (near) hg_fail(r->err, HANGAR_E_USAGE, "there is no '%s'; did you mean %s?", shown, near);
    else hg_fail(r->err, HANGAR_E_USAGE, "there is no '%s'", shown);
    free((void *)list);
    free(names);
    return HANGAR_E_USAGE;
}

/* USAGE: a value of another type, or a text that C cannot hold. */
static hangar_code wrong_type(const hg_reading *r, size_t row, const hg_jval *v, const char *wanted)
{
    char *text = hg_json_print(v, false);
    char shown[64];
    if (!text) return hg_fail_memory(r->err);
    hg_escape(hg_str_of(text), shown, sizeof shown);
    free(text);
    return hg_reading_malformed(r, row, shown, wanted);
}

/* A number, or (`texts`) a text with a unit. */
static hangar_code read_number(hg_reading *r, size_t row, const hg_jval *v, bool texts, const char *wanted)
{
    const char *given = texts ? hg_json_text(v) : NULL;
    if (given) return hg_reading_set(r, row, given, false);
    if (!hg_json_is_number(v)) return wrong_type(r, row, v, wanted);
    char *text = hg_json_print(v, false);
    if (!text) return hg_fail_memory(r->err);
    hangar_code code = hg_reading_set(r, row, text, false);
    free(text);
    return code;
}

static hangar_code read_text(hg_reading *r, size_t row, const hg_jval *v, const char *wanted)
{
    const char *text = hg_json_text(v);
    return text ? hg_reading_set(r, row, text, false) : wrong_type(r, row, v, wanted);
}

static hangar_code read_list(hg_reading *r, size_t row, const hg_jval *v)
{
    hangar_code code = HANGAR_OK;
    if (!hg_json_is_array(v)) return wrong_type(r, row, v, "a list of texts");
    for (hg_json_iter it = hg_json_iter_of(v); code == HANGAR_OK && hg_json_next(&it);)
        code = read_text(r, row, it.val, "a list of texts");
    return code;
}

static hangar_code read_value(hg_reading *r, size_t row, const hg_jval *v)
{
    bool on;
    switch (r->params[row].type) {
    case HG_TEXT:
    case HG_CHOICE: return read_text(r, row, v, "a text");
    case HG_REST:
    case HG_TEXTS: return read_list(r, row, v);
    case HG_FLAG:
        if (!hg_json_bool(v, &on)) return wrong_type(r, row, v, "true or false");
        return hg_reading_set(r, row, on ? "true" : "false", false);
    case HG_INT: return read_number(r, row, v, false, "a whole number");
    case HG_NUMBER: return read_number(r, row, v, false, "a number");
    case HG_SIZE: return read_number(r, row, v, true, "a size such as 10485760 or \"10M\"");
    case HG_DURATION: return read_number(r, row, v, true, "a time such as 30 or \"5m\"");
    }
    return hg_fail(r->err, HANGAR_E_INTERNAL, "%s has no type", r->params[row].name);
}

static hangar_code read_member(hg_reading *r, hg_str key, const hg_jval *v)
{
    char name[64];
    size_t row;
    if (!find_member(r, key, &row)) return unknown_member(r, key);
    if (r->params[row].local)
        return hg_fail(r->err, HANGAR_E_USAGE, "%s has a meaning on the command line alone",
                       hg_param_member(&r->params[row], name));
    if (r->given[row])
        return hg_fail(r->err, HANGAR_E_USAGE, "%s is given twice", hg_param_member(&r->params[row], name));
    if (hg_json_is_null(v) || (hg_json_is_array(v) && hg_json_len(v) == 0 && r->params[row].type == HG_TEXTS))
        return HANGAR_OK;
    r->given[row] = true;
    return read_value(r, row, v);
}

hangar_code hg_args_from_json(const hg_param *params, size_t size, const hg_jval *obj, hg_args *out,
                              hangar_err *err)
{
    hg_reading r;
    hangar_code code = hg_reading_begin(&r, params, size, out, err);
    r.members = true;
    if (code == HANGAR_OK && obj && !hg_json_is_object(obj))
        code = hg_fail(err, HANGAR_E_USAGE, "what is asked must be a JSON object");
    for (hg_json_iter it = hg_json_iter_of(obj); code == HANGAR_OK && hg_json_next(&it);)
        code = read_member(&r, it.key, it.val);
    return hg_reading_end(&r, code);
}
