/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a call, and text on its way out. Tokens end anywhere: in the midst of a character, in the midst of a stop string. So a piece
 * goes out only when it is whole characters and no end of it is the beginning of a stop string.
 */
#include "format/generate.h"

#define TEXT_MAX ((size_t)64 << 20)

/* A member that is there and not null. */
static const hg_jval *member(const hg_jval *doc, const char *key)
{
    const hg_jval *v = hg_json_get(doc, key);
    return hg_json_is_null(v) ? NULL : v;
}

/* A number within [min, max]; its default when it is not there. */
static hangar_code number(const hg_jval *doc, const char *key, double min, double max, double def,
                          double *out, hangar_err *err)
{
    const hg_jval *v = member(doc, key);
    *out = def;
    if (!v) return HANGAR_OK;
    if (!hg_json_f64(v, out) || !(*out >= min) || !(*out <= max))
        return hg_fail(err, HANGAR_E_USAGE, "%s must be a number from %g to %g", key, min, max);
    return HANGAR_OK;
}

/* A whole number within [min, max]; its default when it is not there. */
static hangar_code integer(const hg_jval *doc, const char *key, int64_t min, int64_t max, int64_t def,
                           int64_t *out, hangar_err *err)
{
    const hg_jval *v = member(doc, key);
    *out = def;
    if (!v) return HANGAR_OK;
    if (!hg_json_i64(v, out) || *out < min || *out > max)
        return hg_fail(err, HANGAR_E_USAGE, "%s must be a whole number from %lld to %lld", key,
                       (long long)min, (long long)max);
    return HANGAR_OK;
}

/* The stop strings: few, short, not empty. */
static hangar_code check_stops(const hg_jval *stops, hangar_err *err)
{
    if (hg_json_len(stops) > HG_GENERATE_STOPS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "at most %d stop strings", HG_GENERATE_STOPS_MAX);
    for (hg_json_iter it = hg_json_iter_of(stops); hg_json_next(&it);) {
        hg_str s = {0};
        if (!hg_json_str(it.val, &s) || s.len == 0 || s.len > HG_GENERATE_STOP_BYTES)
            return hg_fail(err, HANGAR_E_USAGE, "a stop string has 1 to %d bytes", HG_GENERATE_STOP_BYTES);
    }
    return HANGAR_OK;
}

/* A text of at most `max` bytes, or NULL; never a value of another type taken for "none". */
static hangar_code text(const hg_jval *doc, const char *key, size_t max, const char **out, hangar_err *err)
{
    const hg_jval *v = member(doc, key);
    *out = hg_json_text(v);
    if (v && !*out) return hg_fail(err, HANGAR_E_USAGE, "%s must be text", key);
    if (*out && strlen(*out) > max)
        return hg_fail(err, HANGAR_E_LIMIT, "%s is over the limit of %zu bytes", key, max);
    return HANGAR_OK;
}

/* What the answer is held to: one thing at most. */
static hangar_code read_form(const hg_jval *doc, hg_generate_call *out, hangar_err *err)
{
    const hg_jval *json = member(doc, "json");
    hangar_code code = text(doc, "grammar", HG_GENERATE_GRAMMAR_BYTES, &out->grammar, err);
    if (code == HANGAR_OK) code = text(doc, "json_schema", HG_GENERATE_SCHEMA_BYTES, &out->json_schema, err);
    if (code != HANGAR_OK) return code;
    if (json && !hg_json_bool(json, &out->json))
        return hg_fail(err, HANGAR_E_USAGE, "json must be true or false");
    if (out->grammar && out->json_schema)
        return hg_fail(err, HANGAR_E_USAGE, "either a grammar or a JSON schema, not both");
    if (out->json && (out->grammar || out->json_schema))
        return hg_fail(err, HANGAR_E_USAGE, "either json or a grammar or a JSON schema, not two of them");
    return HANGAR_OK;
}

static bool is_tool_name(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    bool good = n > 0 && n <= HG_GENERATE_TOOL_NAME;
    for (size_t i = 0; i < n && good; i++) {
        char c = name[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c && strchr("_-.:", c));
    }
    return good;
}

/* Which tool an answer must be a call of; OpenAI's way to say it is understood, too. */
static hangar_code read_choice(const hg_jval *doc, hg_generate_call *out, hangar_err *err)
{
    const hg_jval *v = member(doc, "tool_choice");
    const char *word = hg_json_text(v);
    if (hg_json_is_object(v)) {
        const char *name = hg_json_text(hg_json_get(v, "name"));
        if (!name) name = hg_json_text(hg_json_path(v, "function", "name", NULL));
        bool found = false;
        for (hg_json_iter it = hg_json_iter_of(out->tools); hg_json_next(&it);)
            found |= hg_streq(hg_json_text(hg_json_path(it.val, "function", "name", NULL)), name);
        if (!name || !found) return hg_fail(err, HANGAR_E_USAGE, "tool_choice names no tool that is given");
        out->tool_name = name;
        out->tool_choice = HG_TOOLS_FORCED;
    } else if (!v || hg_streq(word, "auto")) {
        out->tool_choice = out->tools ? HG_TOOLS_AUTO : HG_TOOLS_NONE;
    } else if (hg_streq(word, "required")) {
        if (!out->tools) return hg_fail(err, HANGAR_E_USAGE, "a call is required and no tool is given");
        out->tool_choice = HG_TOOLS_FORCED;
    } else if (!hg_streq(word, "none")) {
        return hg_fail(err, HANGAR_E_USAGE, "tool_choice is \"auto\", \"none\", \"required\" or {\"name\"}");
    }
    return HANGAR_OK;
}

/* The tools, and what is to be done with them. */
static hangar_code read_tools(const hg_jval *doc, hg_generate_call *out, hangar_err *err)
{
    const hg_jval *tools = member(doc, "tools");
    size_t n = hg_json_len(tools);
    if (tools && !hg_json_is_array(tools)) return hg_fail(err, HANGAR_E_USAGE, "tools must be a list");
    if (n > HG_GENERATE_TOOLS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "at most %d tools, not %zu", HG_GENERATE_TOOLS_MAX, n);
    for (hg_json_iter it = hg_json_iter_of(tools); hg_json_next(&it);)
        if (!is_tool_name(hg_json_text(hg_json_path(it.val, "function", "name", NULL))))
            return hg_fail(
                err, HANGAR_E_USAGE,
                "tool %zu needs a function with a name of letters, digits and _ - . : (at most %d)",
                it.index + 1, HG_GENERATE_TOOL_NAME);
    out->tools = n > 0 ? tools : NULL;
    hangar_code code = read_choice(doc, out, err);
    if (code == HANGAR_OK && out->tool_choice == HG_TOOLS_FORCED &&
        (out->grammar || out->json_schema || out->json))
        return hg_fail(err, HANGAR_E_USAGE, "either a call is forced or the answer's form, not both");
    if (code == HANGAR_OK && out->tool_choice == HG_TOOLS_FORCED && out->prompt)
        return hg_fail(err, HANGAR_E_USAGE, "a forced call needs messages, not a prompt as it is");
    return code;
}

/* What is out already, and how many tokens of max_tokens it takes. */
static hangar_code read_begun(const hg_jval *doc, hg_generate_call *out, hangar_err *err)
{
    const hg_jval *v = member(doc, "begun");
    int64_t tokens = 0;
    if (v && !hg_json_str(v, &out->begun)) return hg_fail(err, HANGAR_E_USAGE, "begun must be text");
    if (out->begun.len > HG_GENERATE_BEGUN_BYTES)
        return hg_fail(err, HANGAR_E_LIMIT, "the begun text is over the limit of %zu bytes",
                       HG_GENERATE_BEGUN_BYTES);
    hangar_code code = integer(doc, "begun_tokens", 0, HG_GENERATE_CONTEXT_MAX, 0, &tokens, err);
    if (code != HANGAR_OK) return code;
    bool forced = out->tool_choice == HG_TOOLS_FORCED;
    if (out->begun.len > 0 && (out->grammar || out->json_schema || out->json || forced))
        return hg_fail(err, HANGAR_E_USAGE, "an answer that is held to a grammar cannot be gone on with");
    out->max_tokens = tokens < out->max_tokens ? out->max_tokens - tokens : 0;
    return HANGAR_OK;
}

/* Whether and how far likelihoods are told. */
static hangar_code read_logprobs(const hg_jval *doc, hg_generate_call *out, hangar_err *err)
{
    int64_t n = -1;
    hangar_code code = integer(doc, "logprobs", 0, HG_GENERATE_LOGPROBS_MAX, -1, &n, err);
    out->want_logprobs = n >= 0;
    out->logprobs = n > 0 ? (unsigned)n : 0;
    return code;
}

hangar_code hg_generate_call_read(const hg_jval *doc, hg_generate_call *out, hangar_err *err)
{
    *out = (hg_generate_call){
        .prompt = hg_json_text(hg_json_get(doc, "prompt")),
        .messages = hg_json_get(doc, "messages"),
        .stop = hg_json_get(doc, "stop"),
    };
    const double presence = HG_GENERATE_PRESENCE_MAX;
    hangar_code code =
        number(doc, "temperature", 0, HG_GENERATE_TEMPERATURE_MAX, 0.8, &out->temperature, err);
    if (code == HANGAR_OK) code = number(doc, "top_p", HG_GENERATE_TOP_P_MIN, 1, 0.95, &out->top_p, err);
    if (code == HANGAR_OK) code = number(doc, "min_p", 0, 1, 0.05, &out->min_p, err);
    if (code == HANGAR_OK)
        code = number(doc, "repeat_penalty", HG_GENERATE_PENALTY_MIN, HG_GENERATE_PENALTY_MAX, 1,
                      &out->repeat_penalty, err);
    if (code == HANGAR_OK)
        code = number(doc, "presence_penalty", -presence, presence, 0, &out->presence_penalty, err);
    if (code == HANGAR_OK)
        code = number(doc, "frequency_penalty", -presence, presence, 0, &out->frequency_penalty, err);
    if (code == HANGAR_OK) code = integer(doc, "top_k", 0, HG_GENERATE_TOP_K_MAX, 40, &out->top_k, err);
    if (code == HANGAR_OK)
        code = integer(doc, "max_tokens", 1, HG_GENERATE_CONTEXT_MAX, 512, &out->max_tokens, err);
    if (code == HANGAR_OK) code = integer(doc, "seed", INT64_MIN, INT64_MAX, -1, &out->seed, err);
    if (code == HANGAR_OK) code = integer(doc, "context", 0, HG_GENERATE_CONTEXT_MAX, 0, &out->context, err);
    if (code == HANGAR_OK) code = check_stops(out->stop, err);
    if (code == HANGAR_OK) code = read_form(doc, out, err);
    if (code == HANGAR_OK) code = read_tools(doc, out, err);
    if (code == HANGAR_OK) code = read_begun(doc, out, err);
    if (code == HANGAR_OK) code = read_logprobs(doc, out, err);
    return code;
}

void hg_tail_init(hg_tail *t, const hg_jval *stops)
{
    *t = (hg_tail){.stops = stops};
    hg_buf_init(&t->text, TEXT_MAX);
}

void hg_tail_deinit(hg_tail *t)
{
    hg_buf_deinit(&t->text);
}

void hg_tail_begin(hg_tail *t, hg_str begun)
{
    hg_buf_reset(&t->text);
    hg_buf_str(&t->text, begun);
    t->begun = t->sent = begun.len;
}

/*
 * Where the earliest stop string begins; SIZE_MAX when none is there. Nothing that this call sent can be part of one: it was held back
 * then. What an earlier call sent can be the beginning of one.
 */
static size_t find_stop(const hg_tail *t)
{
    size_t first = SIZE_MAX;
    for (hg_json_iter it = hg_json_iter_of(t->stops); hg_json_next(&it);) {
        hg_str stop = {0};
        size_t from = t->sent;
        if (!hg_json_str(it.val, &stop) || stop.len == 0 || t->text.len < stop.len) continue;
        if (t->sent == t->begun) from = t->begun >= stop.len ? t->begun - stop.len + 1 : 0;
        const char *begin = t->text.data + from;
        const char *hit = memmem(begin, t->text.len - from, stop.ptr, stop.len);
        if (hit && (size_t)(hit - t->text.data) < first) first = (size_t)(hit - t->text.data);
    }
    return first;
}

/* How many bytes at the end of the text are the beginning of a stop string. */
static size_t held_back(const hg_tail *t)
{
    size_t most = 0;
    for (hg_json_iter it = hg_json_iter_of(t->stops); hg_json_next(&it);) {
        hg_str stop = {0};
        if (!hg_json_str(it.val, &stop) || stop.len == 0) continue;
        size_t n = stop.len - 1 < t->text.len ? stop.len - 1 : t->text.len;
        for (; n > most; n--)
            if (memcmp(t->text.data + t->text.len - n, stop.ptr, n) == 0) most = n;
    }
    return most;
}

hangar_code hg_tail_add(hg_tail *t, hg_str piece, hangar_err *err)
{
    hg_buf_str(&t->text, piece);
    hangar_code code = hg_buf_check(&t->text, err);
    if (code != HANGAR_OK) return code;
    size_t at = t->text.len > t->begun ? find_stop(t) : SIZE_MAX;
    if (at != SIZE_MAX) {
        if (at < t->sent) at = t->sent;
        t->text.len = at;
        t->text.data[at] = '\0';
        t->stopped = true;
    }
    return HANGAR_OK;
}

hg_str hg_tail_new(const hg_tail *t)
{
    return (hg_str){hg_buf_text(&t->text) + t->begun, t->text.len - t->begun};
}

hg_str hg_tail_ready(const hg_tail *t, bool all)
{
    hg_str left = {hg_buf_text(&t->text) + t->sent, t->text.len - t->sent};
    if (all) return left;
    size_t held = held_back(t);
    left.len = held < left.len ? left.len - held : 0;
    left.len = hg_utf8_whole(left);
    return left;
}
