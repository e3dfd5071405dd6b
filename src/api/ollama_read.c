/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's requests to questions: /api/generate, /api/chat, /api/embed, /api/embeddings. */
#include "api/dialect.h"
#include "base/mem.h"
#include "format/generate.h"

#include <math.h>
#include <stdio.h>

const char *hg_ollama_model(const hg_jval *body, hangar_err *err)
{
    const char *model = hg_json_text(hg_json_get(body, "model"));
    if (!model || !model[0]) model = hg_json_text(hg_json_get(body, "name"));
    if (model && model[0]) return model;
    hg_fail(err, HANGAR_E_USAGE, "\"model\" must name a model");
    return NULL;
}

/* ---- what all questions have ---- */

/* How far an answer may go: above 0 so many tokens, else as far as the context. */
static hangar_code read_predict(const hg_jval *options, hg_jw *w, hangar_err *err)
{
    int64_t n = 0;
    const hg_jval *v = hg_json_get(options, "num_predict");
    if (hg_json_i64(v, &n) && n <= 0 && n >= -2) return HANGAR_OK;
    return hg_read_integer(options, "num_predict", 1, HG_GENERATE_CONTEXT_MAX, "max_tokens", w, err);
}

/* Options that would change the answer and that no engine here has. Those that only change its speed are passed over. */
static hangar_code refuse_options(const hg_jval *options, hangar_err *err)
{
    static const struct {
        const char *key;
        double off;
    } none[] = {{"mirostat", 0}, {"tfs_z", 1}, {"typical_p", 1}};
    for (size_t i = 0; i < HG_LEN(none); i++) {
        const hg_jval *v = hg_json_get(options, none[i].key);
        double n = NAN;
        if (hg_json_is_null(v) || (hg_json_f64(v, &n) && n == none[i].off)) continue;
        return hg_fail(err, HANGAR_E_USAGE, "\"options.%s\" cannot be used: only %g is possible", none[i].key,
                       none[i].off);
    }
    return HANGAR_OK;
}

static hangar_code read_options(const hg_jval *options, hg_jw *w, hangar_err *err)
{
    if (!hg_json_is_null(options) && !hg_json_is_object(options))
        return hg_fail(err, HANGAR_E_USAGE, "\"options\" must be an object");
    hangar_code code = refuse_options(options, err);
    if (code == HANGAR_OK) code = hg_read_sampling(options, w, err);
    if (code == HANGAR_OK) code = read_predict(options, w, err);
    if (code == HANGAR_OK)
        code = hg_read_integer(options, "num_ctx", 0, HG_GENERATE_CONTEXT_MAX, "context", w, err);
    return hg_wrap(err, code, "options");
}

static hangar_code read_format(const hg_jval *format, hg_jw *w, bool *out_json, hangar_err *err)
{
    const char *word = hg_json_text(format);
    *out_json = false;
    if (hg_json_is_null(format) || hg_streq(word, "")) return HANGAR_OK;
    *out_json = true;
    if (hg_json_is_object(format)) return hg_read_schema(format, "format", w, err);
    if (!hg_streq(word, "json"))
        return hg_fail(err, HANGAR_E_USAGE, "\"format\" must be \"json\" or a JSON Schema, an object");
    hg_jw_bool(w, "json", true);
    return HANGAR_OK;
}

/* Members that generate and chat have in common. *out_whole: the answer must not be spliced. */
static hangar_code read_common(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hg_jw *w, bool *out_whole,
                               hangar_err *err)
{
    int64_t top;
    hangar_code code = hg_read_nothing(body, "think", "no model here tells its thoughts apart", err);
    if (code == HANGAR_OK) code = read_options(hg_json_get(body, "options"), w, err);
    if (code == HANGAR_OK) code = read_format(hg_json_get(body, "format"), w, out_whole, err);
    if (code == HANGAR_OK) code = hg_read_logprobs(body, w, f, &top, err);
    if (code == HANGAR_OK) code = hg_read_keep_alive(hg_json_get(body, "keep_alive"), &spec->keep_alive, err);
    spec->streams = hg_json_bool_or(hg_json_get(body, "stream"), true);
    return code;
}

static hangar_code begin(const hg_jval *body, hg_ask_kind kind, hg_ask_spec *spec, hg_jw **w, hangar_err *err)
{
    *spec = (hg_ask_spec){.kind = kind, .file = -1, .keep_alive = NAN};
    *w = hg_jw_new();
    if (!*w) return hg_fail_memory(err);
    spec->model = hg_ollama_model(body, err);
    hg_jw_obj(*w, NULL);
    return spec->model ? HANGAR_OK : HANGAR_E_USAGE;
}

/* A request without a question: load the model, or with keep_alive 0 let it go. */
static hg_ollama_want want_of(const hg_ask_spec *spec)
{
    return spec->keep_alive == 0 ? HG_OLLAMA_UNLOAD : HG_OLLAMA_LOAD;
}

/* ---- generate ---- */

static hangar_code read_prompt(const hg_jval *body, hg_jw *w, hangar_err *err)
{
    hg_str system = {0};
    const hg_jval *prompt = hg_json_get(body, "prompt");
    if (hg_json_bool_or(hg_json_get(body, "raw"), false)) {
        hg_jw_val(w, "prompt", prompt);
        return hg_read_nothing(body, "system", "a \"raw\" prompt is taken as it is", err);
    }
    if (!hg_json_is_null(hg_json_get(body, "system")) && !hg_json_str(hg_json_get(body, "system"), &system))
        return hg_fail(err, HANGAR_E_USAGE, "\"system\" must be text");
    hg_jw_arr(w, "messages");
    if (system.len) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "role", "system");
        hg_jw_str(w, "content", system);
        hg_jw_end(w);
    }
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "role", "user");
    hg_jw_val(w, "content", prompt);
    hg_jw_end(w);
    hg_jw_end(w);
    return HANGAR_OK;
}

hangar_code hg_ollama_generate_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hg_ollama_want *want,
                                    hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = NULL;
    hg_str prompt = {0};
    bool whole = false;
    hangar_code code = begin(body, HG_ASK_GENERATE, spec, &w, err);
    if (code == HANGAR_OK) code = hg_read_nothing(body, "images", "no model here sees pictures", err);
    if (code == HANGAR_OK)
        code = hg_read_nothing(body, "template", "the model's own is used; \"raw\" leaves it away", err);
    if (code == HANGAR_OK)
        code = hg_read_nothing(body, "suffix", "the engines do not fill in before a text", err);
    if (code == HANGAR_OK)
        code = hg_read_nothing(body, "context", "no state is kept; /api/chat takes a conversation", err);
    if (code == HANGAR_OK) code = read_common(body, spec, f, w, &whole, err);
    if (code != HANGAR_OK) return code;
    const hg_jval *p = hg_json_get(body, "prompt");
    if (!hg_json_is_null(p) && !hg_json_str(p, &prompt))
        return hg_fail(err, HANGAR_E_USAGE, "\"prompt\" must be text");
    *want = prompt.len ? HG_OLLAMA_ASK : want_of(spec);
    if (*want != HG_OLLAMA_ASK) return HANGAR_OK;
    spec->spliceable = spec->streams && !whole;
    code = read_prompt(body, w, err);
    return code == HANGAR_OK ? hg_read_doc(w, &spec->doc, err) : code;
}

/* ---- chat ---- */

/* Calls that no tool has answered yet: this dialect names a tool's answer by the tool, or not at all. */
typedef struct pending {
    char id[HG_TOOL_CALLS_MAX][64];
    char name[HG_TOOL_CALLS_MAX][HG_TOOL_NAME_MAX + 1];
    size_t count, made;
} pending;

static hangar_code read_calls(const hg_jval *calls, size_t message, pending *p, hg_jw *w, hangar_err *err)
{
    if (hg_json_len(calls) == 0) return HANGAR_OK;
    if (!hg_json_is_array(calls) || hg_json_len(calls) > HG_TOOL_CALLS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "\"messages[%zu].tool_calls\" must be a list of at most %d",
                       message, HG_TOOL_CALLS_MAX);
    p->count = 0;
    hg_jw_arr(w, "tool_calls");
    for (hg_json_iter it = hg_json_iter_of(calls); hg_json_next(&it);) {
        char where[80];
        const hg_jval *fn = hg_json_get(it.val, "function");
        const char *id = hg_json_text(hg_json_get(it.val, "id"));
        snprintf(where, sizeof where, "messages[%zu].tool_calls[%zu].function", message, it.index);
        if (id && strlen(id) >= sizeof p->id[0])
            return hg_fail(err, HANGAR_E_USAGE,
                           "\"messages[%zu].tool_calls[%zu].id\" is longer than %zu bytes", message, it.index,
                           sizeof p->id[0] - 1);
        if (id && id[0]) snprintf(p->id[p->count], sizeof p->id[0], "%s", id);
        else snprintf(p->id[p->count], sizeof p->id[0], "call_%zu", p->made++);
        hangar_code code = hg_read_tool_call(p->id[p->count], hg_json_get(fn, "name"),
                                             hg_json_get(fn, "arguments"), where, w, err);
        if (code != HANGAR_OK) return code;
        snprintf(p->name[p->count], sizeof p->name[0], "%s", hg_json_text(hg_json_get(fn, "name")));
        p->count++;
    }
    hg_jw_end(w);
    return HANGAR_OK;
}

/* The call that a tool's message answers: the one it names, else the first of that tool, else the first; it is struck off. */
static hangar_code answer_call(const hg_jval *m, size_t message, pending *p, hg_jw *w, hangar_err *err)
{
    const char *id = hg_json_text(hg_json_get(m, "tool_call_id"));
    const char *name = hg_json_text(hg_json_get(m, "tool_name"));
    size_t i = 0;
    if (id && id[0]) {
        while (i < p->count && !hg_streq(p->id[i], id)) i++;
    } else if (name && name[0]) {
        while (i < p->count && !hg_streq(p->name[i], name)) i++;
    }
    if (i >= p->count && !(id && id[0]))
        return hg_fail(err, HANGAR_E_USAGE, "\"messages[%zu]\" answers no call of a tool that came before it",
                       message);
    hg_jw_text(w, "tool_call_id", id && id[0] ? id : p->id[i]);
    if (i < p->count) hg_jw_text(w, "name", p->name[i]);
    else if (name) hg_jw_text(w, "name", name);
    if (i < p->count) {
        p->count--;
        memmove(p->id[i], p->id[i + 1], (p->count - i) * sizeof p->id[0]);
        memmove(p->name[i], p->name[i + 1], (p->count - i) * sizeof p->name[0]);
    }
    return HANGAR_OK;
}

static hangar_code read_message(const hg_jval *m, size_t index, pending *p, hg_jw *w, hangar_err *err)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    const char *role = hg_json_text_or(hg_json_get(m, "role"), "");
    const hg_jval *content = hg_json_get(m, "content");
    hg_str text = {"", 0};
    bool known = false;
    for (size_t i = 0; i < HG_LEN(roles) && !known; i++) known = hg_streq(role, roles[i]);
    if (!known)
        return hg_fail(err, HANGAR_E_USAGE, "\"messages[%zu].role\" must be system, user, assistant or tool",
                       index);
    if (!hg_json_is_null(content) && !hg_json_str(content, &text))
        return hg_fail(err, HANGAR_E_USAGE, "\"messages[%zu].content\" must be text", index);
    hangar_code code = hg_read_nothing(m, "images", "no model here sees pictures", err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "messages[%zu]", index);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "role", role);
    hg_jw_str(w, "content", text);
    if (hg_streq(role, "assistant")) code = read_calls(hg_json_get(m, "tool_calls"), index, p, w, err);
    if (hg_streq(role, "tool")) code = answer_call(m, index, p, w, err);
    hg_jw_end(w);
    return code;
}

static hangar_code read_messages(const hg_jval *list, hg_jw *w, hangar_err *err)
{
    if (hg_json_len(list) > HG_GENERATE_MESSAGES_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "\"messages\" must be a list of at most %d messages",
                       HG_GENERATE_MESSAGES_MAX);
    HG_AUTO(hg_auto_free) pending *p = hg_calloc(1, sizeof *p);
    if (!p) return hg_fail_memory(err);
    hangar_code code = HANGAR_OK;
    hg_jw_arr(w, "messages");
    for (hg_json_iter it = hg_json_iter_of(list); code == HANGAR_OK && hg_json_next(&it);)
        code = read_message(it.val, it.index, p, w, err);
    hg_jw_end(w);
    return code;
}

hangar_code hg_ollama_chat_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hg_ollama_want *want,
                                hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = NULL;
    const hg_jval *messages = hg_json_get(body, "messages");
    size_t tools = 0;
    bool whole = false;
    hangar_code code = begin(body, HG_ASK_GENERATE, spec, &w, err);
    if (code == HANGAR_OK) code = read_common(body, spec, f, w, &whole, err);
    if (code != HANGAR_OK) return code;
    if (!hg_json_is_null(messages) && !hg_json_is_array(messages))
        return hg_fail(err, HANGAR_E_USAGE, "\"messages\" must be a list");
    *want = hg_json_len(messages) ? HG_OLLAMA_ASK : want_of(spec);
    if (*want != HG_OLLAMA_ASK) return HANGAR_OK;
    code = read_messages(messages, w, err);
    if (code == HANGAR_OK) code = hg_read_tools(hg_json_get(body, "tools"), w, &tools, err);
    spec->spliceable = spec->streams && !whole && tools == 0;
    return code == HANGAR_OK ? hg_read_doc(w, &spec->doc, err) : code;
}

/* ---- vectors ---- */

static hangar_code read_embed(const hg_jval *body, const char *key, hg_ask_spec *spec, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = NULL;
    size_t count = 0;
    hangar_code code = begin(body, HG_ASK_EMBED, spec, &w, err);
    if (code == HANGAR_OK) code = hg_read_inputs(hg_json_get(body, key), key, w, &count, err);
    if (code == HANGAR_OK && count == 0)
        code = hg_fail(err, HANGAR_E_USAGE, "\"%s\" must hold at least one text", key);
    if (code == HANGAR_OK) code = hg_read_keep_alive(hg_json_get(body, "keep_alive"), &spec->keep_alive, err);
    return code == HANGAR_OK ? hg_read_doc(w, &spec->doc, err) : code;
}

hangar_code hg_ollama_embed_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err)
{
    const hg_jval *dimensions = hg_json_get(body, "dimensions");
    hangar_code code = read_embed(body, "input", spec, err);
    f->no_cut = !hg_json_bool_or(hg_json_get(body, "truncate"), true);
    if (code == HANGAR_OK && !hg_json_is_null(dimensions) &&
        (!hg_json_i64(dimensions, &f->dimensions) || f->dimensions < 0))
        code = hg_fail(err, HANGAR_E_USAGE, "\"dimensions\" must be a whole number from 0");
    return code;
}

hangar_code hg_ollama_embeddings_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err)
{
    f->single = true;
    return read_embed(body, "prompt", spec, err);
}
