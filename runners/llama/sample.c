/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters of a call, checked again on this side of the wire, and the samplers they stand for. */
#include "runner.h"

#include "base/clock.h"
#include "engine/llama_ops.h"

#include <math.h>

#define GRAMMAR_MAX    ((size_t)1 << 20)
#define PENALTY_WINDOW 64 /* tokens that repeat_penalty looks back on */

/* A number within [min, max]; its default when it is not there. */
static hangar_code number(const hg_jval *doc, const char *key, double min, double max, double def,
                          double *out, hangar_err *err)
{
    const hg_jval *v = hg_json_get(doc, key);
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
    const hg_jval *v = hg_json_get(doc, key);
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
    if (hg_json_len(stops) > HG_LLAMA_STOPS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "at most %d stop strings", HG_LLAMA_STOPS_MAX);
    for (hg_json_iter it = hg_json_iter_of(stops); hg_json_next(&it);) {
        hg_str s = {0};
        if (!hg_json_str(it.val, &s) || s.len == 0 || s.len > HG_LLAMA_STOP_BYTES)
            return hg_fail(err, HANGAR_E_USAGE, "a stop string has 1 to %d bytes", HG_LLAMA_STOP_BYTES);
    }
    return HANGAR_OK;
}

hangar_code hg_llama_call_read(const hg_jval *doc, hg_llama_call *out, hangar_err *err)
{
    *out = (hg_llama_call){
        .grammar = hg_json_text(hg_json_get(doc, "grammar")),
        .json_schema = hg_json_text(hg_json_get(doc, "json_schema")),
        .prompt = hg_json_text(hg_json_get(doc, "prompt")),
        .messages = hg_json_get(doc, "messages"),
        .stop = hg_json_get(doc, "stop"),
    };
    hangar_code code = number(doc, "temperature", 0, HG_LLAMA_TEMPERATURE_MAX, 0.8, &out->temperature, err);
    if (code == HANGAR_OK) code = number(doc, "top_p", HG_LLAMA_TOP_P_MIN, 1, 0.95, &out->top_p, err);
    if (code == HANGAR_OK) code = number(doc, "min_p", 0, 1, 0.05, &out->min_p, err);
    if (code == HANGAR_OK)
        code = number(doc, "repeat_penalty", HG_LLAMA_PENALTY_MIN, HG_LLAMA_PENALTY_MAX, 1,
                      &out->repeat_penalty, err);
    if (code == HANGAR_OK) code = integer(doc, "top_k", 0, HG_LLAMA_TOP_K_MAX, 40, &out->top_k, err);
    if (code == HANGAR_OK)
        code = integer(doc, "max_tokens", 1, HG_LLAMA_CONTEXT_MAX, 512, &out->max_tokens, err);
    if (code == HANGAR_OK) code = integer(doc, "seed", INT64_MIN, INT64_MAX, -1, &out->seed, err);
    if (code == HANGAR_OK) code = integer(doc, "context", 0, HG_LLAMA_CONTEXT_MAX, 0, &out->context, err);
    if (code == HANGAR_OK) code = check_stops(out->stop, err);
    if (code == HANGAR_OK && out->grammar && out->json_schema)
        code = hg_fail(err, HANGAR_E_USAGE, "either a grammar or a JSON schema, not both");
    return code;
}

/* Adds a sampler to the chain; a NULL one is the failure of its maker. */
static hangar_code chain_add(struct llama_sampler *chain, struct llama_sampler *s, const char *what,
                             hangar_err *err)
{
    if (!s) return hg_fail(err, HANGAR_E_USAGE, "%s", what);
    llama_sampler_chain_add(chain, s);
    return HANGAR_OK;
}

/* The constraint on the answer, if there is one: no constraint is ever dropped in silence. */
static hangar_code add_grammar(const hg_llama *l, const hg_llama_call *call, struct llama_sampler *chain,
                               hangar_err *err)
{
    if (!call->grammar && !call->json_schema) return HANGAR_OK;
    hg_buf text;
    hg_buf_init(&text, GRAMMAR_MAX);
    hangar_code code = HANGAR_OK;
    if (call->json_schema) code = hg_schema_grammar(call->json_schema, &text, err);
    else hg_buf_puts(&text, call->grammar);
    if (code == HANGAR_OK) code = hg_buf_check(&text, err);
    if (code == HANGAR_OK)
        code = chain_add(chain, llama_sampler_init_grammar(l->vocab, hg_buf_text(&text), "root"),
                         "the grammar cannot be read: it must be GBNF with a rule named root", err);
    hg_buf_deinit(&text);
    return code;
}

hangar_code hg_llama_sampler(const hg_llama *l, const hg_llama_call *call, struct llama_sampler **out,
                             hangar_err *err)
{
    struct llama_sampler *chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (!chain) return hg_fail_memory(err);
    static const char no_room[] = "the engine refuses a sampler";
    hangar_code code = add_grammar(l, call, chain, err);
    if (code == HANGAR_OK && call->repeat_penalty != 1)
        code = chain_add(chain,
                         llama_sampler_init_penalties(llama_vocab_n_tokens(l->vocab), PENALTY_WINDOW,
                                                      (float)call->repeat_penalty, 0, 0),
                         no_room, err);
    if (call->temperature <= 0) {
        if (code == HANGAR_OK) code = chain_add(chain, llama_sampler_init_greedy(), no_room, err);
    } else {
        if (code == HANGAR_OK && call->top_k > 0)
            code = chain_add(chain, llama_sampler_init_top_k((int32_t)call->top_k), no_room, err);
        if (code == HANGAR_OK && call->top_p < 1)
            code = chain_add(chain, llama_sampler_init_top_p((float)call->top_p, 1), no_room, err);
        if (code == HANGAR_OK && call->min_p > 0)
            code = chain_add(chain, llama_sampler_init_min_p((float)call->min_p, 1), no_room, err);
        if (code == HANGAR_OK)
            code = chain_add(chain, llama_sampler_init_temp((float)call->temperature), no_room, err);
        uint32_t seed = call->seed >= 0 ? (uint32_t)(call->seed ^ (call->seed >> 32))
                                        : (uint32_t)(hg_random() * (double)UINT32_MAX);
        if (code == HANGAR_OK) code = chain_add(chain, llama_sampler_init_dist(seed), no_room, err);
    }
    if (code != HANGAR_OK) {
        llama_sampler_free(chain);
        return code;
    }
    *out = chain;
    return HANGAR_OK;
}
