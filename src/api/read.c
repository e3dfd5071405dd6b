/* SPDX-License-Identifier: Apache-2.0 */
/* What the dialects read alike: numbers within their ranges, stop strings, tools, texts in parts, how long to keep a model. */
#include "api/dialect.h"
#include "base/mem.h"
#include "format/generate.h"

#include <math.h>
#include <stdio.h>

hangar_code hg_read_doc(hg_jw *w, hg_json **out, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *text = NULL;
    *out = NULL;
    hangar_code code = hg_jw_finish(w, false, &text, err);
    return code == HANGAR_OK ? hg_json_parse(hg_str_of(text), NULL, out, err) : code;
}

const char *hg_read_model(const hg_jval *body, hangar_err *err)
{
    const char *model = hg_json_text(hg_json_get(body, "model"));
    if (model && model[0]) return model;
    hg_fail(err, HANGAR_E_USAGE, "\"model\" must name a model");
    return NULL;
}

/* ---- numbers ---- */

hangar_code hg_read_number(const hg_jval *body, const char *key, double min, double max, const char *as,
                           hg_jw *w, hangar_err *err)
{
    double n = 0;
    const hg_jval *v = hg_json_get(body, key);
    if (hg_json_is_null(v)) return HANGAR_OK;
    if (!hg_json_f64(v, &n) || !(n >= min && n <= max))
        return hg_fail(err, HANGAR_E_USAGE, "\"%s\" must be a number from %g to %g", key, min, max);
    hg_jw_f64(w, as, n);
    return HANGAR_OK;
}

hangar_code hg_read_integer(const hg_jval *body, const char *key, int64_t min, int64_t max, const char *as,
                            hg_jw *w, hangar_err *err)
{
    int64_t n = 0;
    const hg_jval *v = hg_json_get(body, key);
    if (hg_json_is_null(v)) return HANGAR_OK;
    if (!hg_json_i64(v, &n) || n < min || n > max)
        return hg_fail(err, HANGAR_E_USAGE, "\"%s\" must be a whole number from %lld to %lld", key,
                       (long long)min, (long long)max);
    hg_jw_i64(w, as, n);
    return HANGAR_OK;
}

/* top_p of 0 asks for the likeliest token alone, which the least share does. */
static hangar_code read_top_p(const hg_jval *body, hg_jw *w, hangar_err *err)
{
    double p = 0;
    const hg_jval *v = hg_json_get(body, "top_p");
    if (!hg_json_f64(v, &p) || p < 0 || p >= HG_GENERATE_TOP_P_MIN)
        return hg_read_number(body, "top_p", 0, 1, "top_p", w, err);
    hg_jw_f64(w, "top_p", HG_GENERATE_TOP_P_MIN);
    return HANGAR_OK;
}

hangar_code hg_read_sampling(const hg_jval *body, hg_jw *w, hangar_err *err)
{
    hangar_code code =
        hg_read_number(body, "temperature", 0, HG_GENERATE_TEMPERATURE_MAX, "temperature", w, err);
    if (code == HANGAR_OK) code = read_top_p(body, w, err);
    if (code == HANGAR_OK) code = hg_read_number(body, "min_p", 0, 1, "min_p", w, err);
    if (code == HANGAR_OK) code = hg_read_integer(body, "top_k", 0, HG_GENERATE_TOP_K_MAX, "top_k", w, err);
    if (code == HANGAR_OK)
        code = hg_read_number(body, "repeat_penalty", HG_GENERATE_PENALTY_MIN, HG_GENERATE_PENALTY_MAX,
                              "repeat_penalty", w, err);
    static const char *const penalties[] = {"presence_penalty", "frequency_penalty"};
    for (size_t i = 0; i < HG_LEN(penalties) && code == HANGAR_OK; i++)
        code = hg_read_number(body, penalties[i], -HG_GENERATE_PRESENCE_MAX, HG_GENERATE_PRESENCE_MAX,
                              penalties[i], w, err);
    if (code == HANGAR_OK) code = hg_read_integer(body, "seed", INT64_MIN, INT64_MAX, "seed", w, err);
    return code == HANGAR_OK ? hg_read_stop(hg_json_get(body, "stop"), w, err) : code;
}

hangar_code hg_read_logprobs(const hg_jval *body, hg_jw *w, hg_shape *f, int64_t *out_top, hangar_err *err)
{
    const hg_jval *v = hg_json_get(body, "top_logprobs");
    *out_top = 0;
    f->logprobs = hg_json_bool_or(hg_json_get(body, "logprobs"), false);
    if (!hg_json_is_null(v) &&
        (!hg_json_i64(v, out_top) || *out_top < 0 || *out_top > HG_GENERATE_LOGPROBS_MAX))
        return hg_fail(err, HANGAR_E_USAGE, "\"top_logprobs\" must be a whole number from 0 to %d",
                       HG_GENERATE_LOGPROBS_MAX);
    if (f->logprobs) hg_jw_i64(w, "logprobs", *out_top);
    return HANGAR_OK;
}

static bool stop_fits(const hg_jval *v)
{
    const char *s = hg_json_text(v);
    return s && s[0] && strlen(s) <= HG_GENERATE_STOP_BYTES;
}

hangar_code hg_read_stop(const hg_jval *stop, hg_jw *w, hangar_err *err)
{
    if (hg_json_is_null(stop) || (hg_json_is_array(stop) && hg_json_len(stop) == 0)) return HANGAR_OK;
    bool fits = hg_json_is_string(stop) ? stop_fits(stop) : hg_json_is_array(stop);
    if (hg_json_is_array(stop)) {
        fits = hg_json_len(stop) <= HG_GENERATE_STOPS_MAX;
        for (hg_json_iter it = hg_json_iter_of(stop); fits && hg_json_next(&it);) fits = stop_fits(it.val);
    }
    if (!fits)
        return hg_fail(err, HANGAR_E_USAGE,
                       "\"stop\" must be a text or up to %d texts, of 1 to %d bytes each",
                       HG_GENERATE_STOPS_MAX, HG_GENERATE_STOP_BYTES);
    if (hg_json_is_array(stop)) {
        hg_jw_val(w, "stop", stop);
        return HANGAR_OK;
    }
    hg_jw_arr(w, "stop");
    hg_jw_val(w, NULL, stop);
    hg_jw_end(w);
    return HANGAR_OK;
}

hangar_code hg_read_nothing(const hg_jval *body, const char *key, const char *why, hangar_err *err)
{
    const hg_jval *v = hg_json_get(body, key);
    hg_str s = {0};
    if (hg_json_is_null(v)) return HANGAR_OK;
    if (hg_json_is_bool(v) && !hg_json_bool_or(v, true)) return HANGAR_OK;
    if (hg_json_is_number(v) && hg_json_f64_or(v, 1) == 0) return HANGAR_OK;
    if (hg_json_str(v, &s) && s.len == 0) return HANGAR_OK;
    if ((hg_json_is_array(v) || hg_json_is_object(v)) && hg_json_len(v) == 0) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_USAGE, "\"%s\" cannot be used: %s", key, why);
}

/* ---- tools ---- */

static bool tool_name_fits(hg_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !strchr("_-.:", c)) return false;
    }
    return name.len > 0 && name.len <= HG_TOOL_NAME_MAX && !memchr(name.ptr, '\0', name.len);
}

static hangar_code tool_name(const hg_jval *v, const char *where, hg_str *out, hangar_err *err)
{
    if (hg_json_str(v, out) && tool_name_fits(*out)) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_USAGE, "\"%s\" needs a \"name\" of 1 to %d letters, digits, _ - . :", where,
                   HG_TOOL_NAME_MAX);
}

hangar_code hg_read_tool(const hg_jval *fn, const char *where, hg_jw *w, hangar_err *err)
{
    hg_str name = {0};
    const hg_jval *description = hg_json_get(fn, "description"), *parameters = hg_json_get(fn, "parameters");
    hangar_code code = tool_name(hg_json_get(fn, "name"), where, &name, err);
    if (code != HANGAR_OK) return code;
    if (!hg_json_is_null(description) && !hg_json_is_string(description))
        return hg_fail(err, HANGAR_E_USAGE, "\"%s.description\" must be text", where);
    if (!hg_json_is_null(parameters) && !hg_json_is_object(parameters))
        return hg_fail(err, HANGAR_E_USAGE, "\"%s.parameters\" must be a JSON Schema, an object", where);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "type", "function");
    hg_jw_obj(w, "function");
    hg_jw_str(w, "name", name);
    if (!hg_json_is_null(description)) hg_jw_val(w, "description", description);
    if (!hg_json_is_null(parameters)) {
        hg_jw_val(w, "parameters", parameters);
    } else {
        hg_jw_obj(w, "parameters");
        hg_jw_text(w, "type", "object");
        hg_jw_obj(w, "properties");
        hg_jw_end(w);
        hg_jw_end(w);
    }
    if (hg_json_bool_or(hg_json_get(fn, "strict"), false)) hg_jw_bool(w, "strict", true);
    hg_jw_end(w);
    hg_jw_end(w);
    return HANGAR_OK;
}

/* Some templates want the name of the tool beside its answer. */
void hg_read_tool_answer(const char *id, const hg_jval *name, hg_jw *w)
{
    hg_jw_text(w, "tool_call_id", id);
    if (hg_json_is_string(name)) hg_jw_val(w, "name", name);
}

hangar_code hg_read_tools(const hg_jval *tools, hg_jw *w, size_t *out_count, hangar_err *err)
{
    *out_count = 0;
    if (hg_json_is_null(tools)) return HANGAR_OK;
    if (!hg_json_is_array(tools) || hg_json_len(tools) > HG_GENERATE_TOOLS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "\"tools\" must be a list of at most %d", HG_GENERATE_TOOLS_MAX);
    if (hg_json_len(tools) == 0) return HANGAR_OK;
    hg_jw_arr(w, "tools");
    for (hg_json_iter it = hg_json_iter_of(tools); hg_json_next(&it);) {
        char where[64];
        snprintf(where, sizeof where, "tools[%zu].function", it.index);
        const char *type = hg_json_text_or(hg_json_get(it.val, "type"), "function");
        if (strcmp(type, "function") != 0)
            return hg_fail(err, HANGAR_E_USAGE, "\"tools[%zu]\" is a \"%s\"; only functions can be called",
                           it.index, type);
        hangar_code code = hg_read_tool(hg_json_get(it.val, "function"), where, w, err);
        if (code != HANGAR_OK) return code;
    }
    hg_jw_end(w);
    *out_count = hg_json_len(tools);
    return HANGAR_OK;
}

hangar_code hg_read_tool_choice(const hg_jval *choice, const hg_jval *tools, bool nested, hg_jw *w,
                                hangar_err *err)
{
    if (hg_json_is_null(choice)) return HANGAR_OK;
    const char *word = hg_json_text(choice);
    bool any = hg_json_len(tools) > 0;
    if (word && (hg_streq(word, "none") || hg_streq(word, "auto") || hg_streq(word, "required"))) {
        if (!any && hg_streq(word, "required"))
            return hg_fail(err, HANGAR_E_USAGE,
                           "\"tool_choice\" is \"required\", and there are no \"tools\"");
        if (any) hg_jw_text(w, "tool_choice", word);
        return HANGAR_OK;
    }
    const hg_jval *at = nested ? hg_json_get(choice, "function") : choice;
    const char *name = hg_json_text(hg_json_get(at, "name"));
    if (!hg_streq(hg_json_text(hg_json_get(choice, "type")), "function") || !name)
        return hg_fail(
            err, HANGAR_E_USAGE,
            "\"tool_choice\" must be \"none\", \"auto\", \"required\" or name a function of \"tools\"");
    for (hg_json_iter it = hg_json_iter_of(tools); hg_json_is_array(tools) && hg_json_next(&it);) {
        const hg_jval *fn = nested ? hg_json_get(it.val, "function") : it.val;
        if (!hg_streq(hg_json_text(hg_json_get(fn, "name")), name)) continue;
        hg_jw_obj(w, "tool_choice");
        hg_jw_text(w, "name", name);
        hg_jw_end(w);
        return HANGAR_OK;
    }
    return hg_fail(err, HANGAR_E_USAGE, "\"tool_choice\" names \"%s\", which is none of \"tools\"", name);
}

hangar_code hg_read_tool_call(const char *id, const hg_jval *name, const hg_jval *arguments,
                              const char *where, hg_jw *w, hangar_err *err)
{
    hg_str text = {0}, called = {0};
    hangar_code code = tool_name(name, where, &called, err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_json_auto_free) hg_json *parsed = NULL;
    if (hg_json_str(arguments, &text)) {
        if (hg_str_trim(text).len == 0) text = HG_STR("{}");
        if (hg_json_parse(text, NULL, &parsed, NULL) == HANGAR_OK) arguments = hg_json_root(parsed);
    }
    if (!hg_json_is_object(arguments))
        return hg_fail(err, HANGAR_E_USAGE, "\"%s.arguments\" must be a JSON object", where);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "id", id);
    hg_jw_text(w, "type", "function");
    hg_jw_obj(w, "function");
    hg_jw_str(w, "name", called);
    hg_jw_val(w, "arguments", arguments);
    hg_jw_end(w);
    hg_jw_end(w);
    return HANGAR_OK;
}

/* ---- texts ---- */

hangar_code hg_read_content(const hg_jval *content, const char *where, const char *const *types, hg_buf *out,
                            hangar_err *err)
{
    hg_str text = {0};
    hg_buf_reset(out);
    if (hg_json_is_null(content)) return HANGAR_OK;
    if (hg_json_str(content, &text)) {
        hg_buf_str(out, text);
        return hg_buf_check(out, err);
    }
    if (!hg_json_is_array(content))
        return hg_fail(err, HANGAR_E_USAGE, "\"%s\" must be text or a list of parts", where);
    for (hg_json_iter it = hg_json_iter_of(content); hg_json_next(&it);) {
        const char *type = hg_json_text_or(hg_json_get(it.val, "type"), "");
        bool known = false;
        for (size_t i = 0; types[i] && !known; i++) known = hg_streq(type, types[i]);
        if (!known)
            return hg_fail(err, HANGAR_E_USAGE, "\"%s[%zu]\" is a part of type \"%s\"; only text can be read",
                           where, it.index, type);
        const hg_jval *said = hg_json_get(it.val, hg_streq(type, "refusal") ? "refusal" : "text");
        if (!hg_json_str(said, &text))
            return hg_fail(err, HANGAR_E_USAGE, "\"%s[%zu]\" needs a \"text\"", where, it.index);
        if (it.index > 0) hg_buf_putc(out, '\n');
        hg_buf_str(out, text);
    }
    return hg_buf_check(out, err);
}

hangar_code hg_read_schema(const hg_jval *schema, const char *where, hg_jw *w, hangar_err *err)
{
    if (!hg_json_is_object(schema))
        return hg_fail(err, HANGAR_E_USAGE, "\"%s\" must be a JSON Schema, an object", where);
    HG_AUTO(hg_auto_free) char *text = hg_json_print(schema, false);
    if (!text) return hg_fail_memory(err);
    hg_jw_text(w, "json_schema", text);
    return HANGAR_OK;
}

hangar_code hg_read_inputs(const hg_jval *input, const char *key, hg_jw *w, size_t *out_count,
                           hangar_err *err)
{
    *out_count = hg_json_is_array(input) ? hg_json_len(input) : 1;
    if (*out_count > HG_EMBED_INPUTS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "\"%s\" holds %zu texts; at most %d at once", key, *out_count,
                       HG_EMBED_INPUTS_MAX);
    hg_jw_arr(w, "input");
    for (hg_json_iter it = hg_json_iter_of(input); hg_json_is_array(input) && hg_json_next(&it);) {
        if (hg_json_is_number(it.val) || hg_json_is_array(it.val))
            return hg_fail(
                err, HANGAR_E_USAGE,
                "\"%s\" is a list of tokens; only texts can be embedded: each model has tokens of its own",
                key);
        if (!hg_json_text(it.val))
            return hg_fail(err, HANGAR_E_USAGE, "\"%s[%zu]\" must be text without NUL", key, it.index);
        hg_jw_val(w, NULL, it.val);
    }
    if (!hg_json_is_array(input)) {
        if (!hg_json_text(input))
            return hg_fail(err, HANGAR_E_USAGE, "\"%s\" must be a text or a list of texts, without NUL", key);
        hg_jw_val(w, NULL, input);
    }
    hg_jw_end(w);
    return HANGAR_OK;
}

/* ---- how long ---- */

/* "1h30m", "-1s", "500ms", "300": a sum of numbers with units, as Go writes durations; seconds when there is none. */
static bool read_duration(hg_str s, double *out)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    double sign = 1, sum = 0;
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        sign = s.ptr[0] == '-' ? -1 : 1;
        s = (hg_str){s.ptr + 1, s.len - 1};
    }
    if (s.len == 0 || s.len > 32) return false;
    while (s.len) {
        double n = 0, scale = 1, seconds = 1;
        size_t digits = 0, i = 0;
        for (bool point = false; i < s.len && (s.ptr[i] == '.' || (s.ptr[i] >= '0' && s.ptr[i] <= '9'));
             i++) {
            if (s.ptr[i] == '.') {
                if (point) return false;
                point = true;
                continue;
            }
            n = n * 10 + (s.ptr[i] - '0');
            if (point) scale *= 10;
            digits++;
        }
        s = (hg_str){s.ptr + i, s.len - i};
        bool found = s.len == 0;
        for (i = 0; !found && i < HG_LEN(units); i++) {
            hg_str unit = hg_str_of(units[i].unit);
            if (!hg_str_starts(s, unit)) continue;
            found = true;
            seconds = units[i].seconds;
            s = (hg_str){s.ptr + unit.len, s.len - unit.len};
        }
        if (digits == 0 || !found) return false;
        sum += n / scale * seconds;
    }
    *out = sign * sum;
    return true;
}

hangar_code hg_read_keep_alive(const hg_jval *v, double *out, hangar_err *err)
{
    hg_str s = {0};
    *out = NAN;
    if (hg_json_is_null(v)) return HANGAR_OK;
    bool read = hg_json_str(v, &s) ? s.len == 0 || read_duration(s, out) : hg_json_f64(v, out);
    if (!read)
        return hg_fail(
            err, HANGAR_E_USAGE,
            "\"keep_alive\" must be seconds or a duration such as \"5m\"; negative for ever, 0 not at all");
    return HANGAR_OK;
}
