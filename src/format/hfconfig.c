/* SPDX-License-Identifier: Apache-2.0 */
#include "format/hfconfig.h"

#include "base/fsx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses the text of a config.json. */
hangar_code hg_hfconfig_parse(hg_str json, hg_hfconfig *out, hangar_err *err)
{
    *out = (hg_hfconfig){0};
    hg_json_limits limits = {.bytes = HG_HFCONFIG_MAX, .depth = 32, .unique_keys = true};
    hangar_code code = hg_json_parse(json, &limits, &out->doc, err);
    if (code != HANGAR_OK) return code;
    out->root = hg_json_root(out->doc);
    if (hg_json_is_object(out->root)) return HANGAR_OK;
    hg_hfconfig_deinit(out);
    return hg_fail(err, HANGAR_E_INVALID, "is not an object");
}

/* Reads and parses a file. */
hangar_code hg_hfconfig_open(const char *path, hg_hfconfig *out, hangar_err *err)
{
    hg_buf text;
    *out = (hg_hfconfig){0};
    hg_buf_init(&text, HG_HFCONFIG_MAX);
    hangar_code code = hg_read_file(path, &text, err);
    if (code == HANGAR_OK) {
        code = hg_hfconfig_parse(hg_buf_view(&text), out, err);
        hg_wrap(err, code, "%s", hg_path_base(path));
    }
    hg_buf_deinit(&text);
    return code;
}

/* Frees it. */
void hg_hfconfig_deinit(hg_hfconfig *c)
{
    hg_json_free(c->doc);
    c->doc = NULL;
    c->root = NULL;
}

/* The first error, if any. */
hangar_code hg_hfconfig_check(const hg_hfconfig *c, hangar_err *err)
{
    if (c->wrong.code != HANGAR_OK && err) *err = c->wrong;
    return c->wrong.code;
}

/* Makes an error stick. */
void hg_hfconfig_wrong(hg_hfconfig *c, hangar_code code, const char *fmt, ...)
{
    if (c->wrong.code != HANGAR_OK) return;
    char words[HANGAR_ERR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    (void)hg_fail(&c->wrong, code, "config.json: %s", words);
}

/* A value that counts: NULL for a missing one and for null. */
static const hg_jval *value(const hg_hfconfig *c, const char *key)
{
    const hg_jval *v = hg_json_get(c->root, key);
    return hg_json_is_null(v) ? NULL : v;
}

/* Is there something? */
bool hg_hfconfig_has(const hg_hfconfig *c, const char *key)
{
    return value(c, key) != NULL;
}

/* A whole number. */
uint32_t hg_hfconfig_u32(hg_hfconfig *c, const char *key, uint32_t def, uint32_t min, uint32_t max)
{
    const hg_jval *v = value(c, key);
    uint64_t n = def;
    if (!v && (def < min || def > max)) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is missing", key);
        return min;
    }
    if (!v) return def;
    if (!hg_json_u64(v, &n) || n < min || n > max) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not a whole number from %u to %u", key, min, max);
        return min;
    }
    return (uint32_t)n;
}

/* A number. */
double hg_hfconfig_f64(hg_hfconfig *c, const char *key, double def, double min, double max)
{
    const hg_jval *v = value(c, key);
    double n = def;
    if (!v) return def;
    if (!hg_json_f64(v, &n) || !(n >= min && n <= max)) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not a number from %g to %g", key, min, max);
        return def;
    }
    return n;
}

/* A truth value. */
bool hg_hfconfig_bool(hg_hfconfig *c, const char *key, bool def)
{
    const hg_jval *v = value(c, key);
    bool b = def;
    if (v && !hg_json_bool(v, &b)) hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not true or false", key);
    return b;
}

/* A text. */
const char *hg_hfconfig_text(hg_hfconfig *c, const char *key, const char *def)
{
    const hg_jval *v = value(c, key);
    if (!v) return def;
    const char *text = hg_json_text(v);
    if (!text) hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not a text", key);
    return text ? text : def;
}

/* The model's class. */
const char *hg_hfconfig_class(const hg_hfconfig *c)
{
    return hg_json_text(hg_json_at(hg_json_get(c->root, "architectures"), 0));
}

/* The value as it stands in the file, shortened, for a message. */
static const char *shown(const hg_jval *v, char out[64])
{
    char *text = hg_json_print(v, false);
    snprintf(out, 64, "%s", text ? text : "?");
    if (text && strlen(text) > 63) snprintf(out + 60, 4, "...");
    free(text);
    return out;
}

/* Refuses every text but one. */
void hg_hfconfig_only(hg_hfconfig *c, const char *key, const char *wanted)
{
    char text[64];
    const hg_jval *v = value(c, key);
    const char *have = hg_json_text(v);
    if (v && (!have || strcmp(have, wanted) != 0)) {
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "%s %s (only \"%s\" is known)", key, shown(v, text),
                          wanted);
    }
}

/* Refuses the other truth value. */
void hg_hfconfig_only_bool(hg_hfconfig *c, const char *key, bool wanted)
{
    char text[64];
    const hg_jval *v = value(c, key);
    bool have = !wanted;
    if (v && (!hg_json_bool(v, &have) || have != wanted)) {
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "%s %s", key, shown(v, text));
    }
}

/* Refuses a key that says something. */
void hg_hfconfig_refuse(hg_hfconfig *c, const char *key)
{
    char text[64];
    const hg_jval *v = value(c, key);
    bool truth = false;
    double number = 0;
    if (!v) return;
    bool empty = (hg_json_is_string(v) && hg_json_text(v) && !hg_json_text(v)[0]) ||
                 (hg_json_bool(v, &truth) && !truth) || (hg_json_f64(v, &number) && number == 0) ||
                 ((hg_json_is_array(v) || hg_json_is_object(v)) && hg_json_len(v) == 0);
    if (!empty) hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "%s %s", key, shown(v, text));
}
