/* SPDX-License-Identifier: Apache-2.0 */
/* The samplers that the parameters of a call stand for. */
#include "runner.h"

#include "base/clock.h"

#define GRAMMAR_MAX ((size_t)1 << 20)

/* Adds a sampler to the chain; a NULL one is the failure of its maker. */
static hangar_code chain_add(struct llama_sampler *chain, struct llama_sampler *s, const char *what,
                             hangar_err *err)
{
    if (!s) return hg_fail(err, HANGAR_E_USAGE, "%s", what);
    llama_sampler_chain_add(chain, s);
    return HANGAR_OK;
}

/* The text of the grammar; empty when the answer is held to none. */
static hangar_code grammar_text(const hg_llama *l, const hg_generate_call *call, hg_buf *out, hangar_err *err)
{
    const char *schema = call->json ? "{\"type\":\"object\"}" : call->json_schema;
    hangar_code code = HANGAR_OK;
    if (schema) {
        code = hg_schema_grammar(schema, out, err);
    } else if (call->tool_choice == HG_TOOLS_FORCED) {
        bool list = hg_str_starts(hg_templates_call_mark(&l->templates), HG_STR("["));
        code = hg_tools_grammar(call->tools, call->tool_name, list, out, err);
    } else if (call->grammar) {
        hg_buf_puts(out, call->grammar);
    }
    if (code == HANGAR_OK) code = hg_buf_check(out, err);
    return code == HANGAR_OK ? hg_grammar_check(hg_buf_text(out), err) : code;
}

hangar_code hg_llama_grammar(const hg_llama *l, const hg_generate_call *call, struct llama_sampler **out,
                             hangar_err *err)
{
    hg_buf text;
    *out = NULL;
    hg_buf_init(&text, GRAMMAR_MAX);
    hangar_code code = grammar_text(l, call, &text, err);
    if (code == HANGAR_OK && (text.len > 0 || call->grammar)) {
        hg_llama_guard(l->fd, true);
        *out = llama_sampler_init_grammar(l->vocab, hg_buf_text(&text), "root");
        hg_llama_guard(l->fd, false);
        if (!*out)
            code = hg_fail(err, HANGAR_E_USAGE,
                           "the grammar cannot be read: it must be GBNF with a rule named root");
    }
    hg_buf_deinit(&text);
    return code;
}

hangar_code hg_llama_sampler(const hg_llama *l, const hg_generate_call *call, struct llama_sampler **out,
                             hangar_err *err)
{
    struct llama_sampler *chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (!chain) return hg_fail_memory(err);
    static const char no_room[] = "the engine refuses a sampler";
    hangar_code code = HANGAR_OK;
    if (call->repeat_penalty != 1 || call->presence_penalty != 0 || call->frequency_penalty != 0)
        code = chain_add(chain,
                         llama_sampler_init_penalties(llama_vocab_n_tokens(l->vocab),
                                                      HG_GENERATE_PENALTY_WINDOW, (float)call->repeat_penalty,
                                                      (float)call->frequency_penalty,
                                                      (float)call->presence_penalty),
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
