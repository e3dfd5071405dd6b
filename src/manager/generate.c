/* SPDX-License-Identifier: Apache-2.0 */
/* hangar_generate: the words of a conversation to the runner, llama.cpp's or ONNX Runtime's, the pieces of its answer to the job. */
#include "base/mem.h"
#include "format/generate.h"
#include "manager/generate.h"
#include "manager/loaded.h"

#include <math.h>

/* The caller's options over the defaults, each within its range. */
static hangar_code options_read(const hangar_generate_options *given, hangar_generate_options *out,
                                hangar_err *err)
{
    *out = (hangar_generate_options)HANGAR_GENERATE_OPTIONS_INIT;
    hangar_code code = hg_options_read(given, offsetof(hangar_generate_options, top_p),
                                       "hangar_generate_options", out, sizeof *out, err);
    if (code != HANGAR_OK) return code;
    struct {
        const char *name;
        double value, min, max;
    } const ranges[] = {
        {"temperature", out->temperature, 0, HG_GENERATE_TEMPERATURE_MAX},
        {"top_p", out->top_p, HG_GENERATE_TOP_P_MIN, 1},
        {"min_p", out->min_p, 0, 1},
        {"repeat_penalty", out->repeat_penalty, HG_GENERATE_PENALTY_MIN, HG_GENERATE_PENALTY_MAX},
        {"top_k", out->top_k, 0, HG_GENERATE_TOP_K_MAX},
        {"max_tokens", out->max_tokens, 1, HG_GENERATE_CONTEXT_MAX},
        {"context_length", out->context_length, 0, HG_GENERATE_CONTEXT_MAX},
    };
    for (size_t i = 0; i < HG_LEN(ranges); i++)
        if (!isfinite(ranges[i].value) || ranges[i].value < ranges[i].min || ranges[i].value > ranges[i].max)
            return hg_fail(err, HANGAR_E_USAGE, "%s must be from %g to %g", ranges[i].name, ranges[i].min,
                           ranges[i].max);
    if (out->grammar && out->json_schema)
        return hg_fail(err, HANGAR_E_USAGE, "either a grammar or a JSON schema, not both");
    return HANGAR_OK;
}

/* The conversation: as messages for the model's template, or as one text as it is. */
static hangar_code write_prompt(hg_jw *w, const hangar_message *messages, size_t count, bool raw,
                                hangar_err *err)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    if (count == 0 || count > HG_GENERATE_MESSAGES_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "a conversation has 1 to %d messages, not %zu",
                       HG_GENERATE_MESSAGES_MAX, count);
    if (raw && count != 1) return hg_fail(err, HANGAR_E_USAGE, "a raw prompt is one message, not %zu", count);
    if (!raw) hg_jw_arr(w, "messages");
    for (size_t i = 0; i < count; i++) {
        const char *role = messages[i].role, *content = messages[i].content;
        bool known = hg_streq(role, roles[0]) || hg_streq(role, roles[1]) || hg_streq(role, roles[2]);
        if (!known || !content || !hg_utf8_valid(hg_str_of(content)))
            return hg_fail(err, HANGAR_E_USAGE,
                           "message %zu needs a role (system, user, assistant) and UTF-8 text", i + 1);
        if (raw) {
            hg_jw_text(w, "prompt", content);
            return HANGAR_OK;
        }
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "role", role);
        hg_jw_text(w, "content", content);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    return HANGAR_OK;
}

hangar_code hg_generate_write(const hangar_message *messages, size_t count,
                              const hangar_generate_options *options, char **out, hangar_err *err)
{
    hangar_generate_options given;
    const hangar_generate_options *o = &given;
    hangar_code code = options_read(options, &given, err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "op", "generate");
    code = write_prompt(w, messages, count, o->raw, err);
    if (code != HANGAR_OK) return code;
    hg_jw_f64(w, "temperature", o->temperature);
    hg_jw_f64(w, "top_p", o->top_p);
    hg_jw_f64(w, "min_p", o->min_p);
    hg_jw_i64(w, "top_k", o->top_k);
    hg_jw_f64(w, "repeat_penalty", o->repeat_penalty);
    hg_jw_i64(w, "max_tokens", o->max_tokens);
    hg_jw_i64(w, "seed", o->seed);
    hg_jw_i64(w, "context", o->context_length);
    if (o->stop) {
        hg_jw_arr(w, "stop");
        for (const char *const *s = o->stop; *s; s++) hg_jw_text(w, NULL, *s);
        hg_jw_end(w);
    }
    if (o->grammar) hg_jw_text(w, "grammar", o->grammar);
    if (o->json_schema) hg_jw_text(w, "json_schema", o->json_schema);
    return hg_jw_finish(w, false, out, err);
}

/* A piece of the answer, to whoever listens; what was told is kept for an answer that is cut short. */
typedef struct listener {
    hangar_job *job;
    hg_buf text;
} listener;

static hangar_code on_piece(void *ctx, const hg_frame *piece, hangar_err *err)
{
    listener *l = ctx;
    hg_str text = {0};
    if (!hg_json_str(hg_json_get(hg_json_root(piece->doc), "text"), &text))
        return hg_fail(err, HANGAR_E_ENGINE, "the runner sent a piece without text");
    hg_buf_str(&l->text, text);
    hg_job_text(l->job, text);
    return hg_buf_check(&l->text, err);
}

/* The document: what the runner reports, with the model's name and the time its load took. `done` is NULL for
 * a cancelled answer. */
static hangar_code result(const hangar_model *m, const hg_jval *done, const listener *l, char **out,
                          hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    static const char *const inner[] = {"cache_in_place",
                                        NULL}; /* what is nobody's business but the engine's */
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "model", m->name);
    if (done) {
        hg_jw_members(w, done, inner);
    } else {
        hg_jw_str(w, "text", hg_buf_view(&l->text));
        hg_jw_text(w, "finish", "cancelled");
    }
    hg_jw_f64(w, "load_seconds", m->load_seconds);
    return hg_jw_finish(w, false, out, err);
}

hangar_code hangar_generate(hangar_model *model, const hangar_message *messages, size_t count,
                            const hangar_generate_options *options, hangar_job *job, char **out_json,
                            hangar_err *err)
{
    if (out_json) *out_json = NULL;
    HG_AUTO(hg_auto_free) char *call = NULL;
    hangar_code code = hg_model_need(model, &hg_loader_llama, err);
    if (code == HANGAR_OK) code = hg_generate_write(messages, count, options, &call, err);
    if (code != HANGAR_OK) return code;
    listener l = {.job = job};
    hg_buf_init(&l.text, 64 * HG_MIB);
    hg_frame done = {0};
    code = hg_runner_call(model->runner, hg_str_of(call), NULL, 0, on_piece, &l, job, &done, err);
    if (out_json && code == HANGAR_OK) code = result(model, hg_json_root(done.doc), &l, out_json, err);
    else if (out_json && code == HANGAR_E_CANCELLED && result(model, NULL, &l, out_json, NULL) != HANGAR_OK)
        *out_json = NULL;
    hg_frame_deinit(&done);
    hg_buf_deinit(&l.text);
    return code;
}
