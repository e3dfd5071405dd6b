/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of asks (manager/metrics.def). */
#include "base/clock.h"
#include "manager/ask_inner.h"
#include "manager/metrics.h"

static const char *kind_name(hg_ask_kind kind)
{
    static const char *const names[] = {"generate", "embed", "classify", "transcribe"};
    return names[kind];
}

void hg_ask_count_first(const hg_ask *a)
{
    const hg_entry *e = a->targets[a->at];
    hg_metric_add(HG_M_FIRST_TOKEN, (const char *const[]){e->name}, hg_now() - a->began);
    if (e->kind == HG_ENTRY_CLOUD)
        hg_metric_add(HG_M_CLOUD_FIRST, (const char *const[]){e->provider}, hg_now() - a->tried_at);
}

/* Of a model in the cloud each try counts. */
void hg_ask_count_try(const hg_ask *a, hangar_code code)
{
    const hg_entry *e = a->targets[a->at];
    if (e->kind != HG_ENTRY_CLOUD) return;
    hg_metric_add(HG_M_CLOUD_CALLS, (const char *const[]){e->name, e->provider, hangar_code_name(code)}, 1);
    hg_metric_add(HG_M_CLOUD_SECONDS, (const char *const[]){e->provider}, hg_now() - a->tried_at);
}

void hg_ask_count_over(const hg_ask *a, hangar_code code)
{
    const char *const labels[] = {a->targets[0]->name, kind_name(a->kind), hangar_code_name(code)};
    hg_metric_add(HG_M_ASKS, labels, 1);
    hg_metric_add(HG_M_ASK_SECONDS, labels, hg_now() - a->began);
}

void hg_ask_count_words(const hg_ask *a, const hg_ask_end *end)
{
    const char *const model[] = {a->targets[a->at]->name};
    const char *const prompt[] = {"prompt"};
    int64_t read = end->prompt_tokens - (end->prompt_reused > 0 ? end->prompt_reused : 0);
    if (end->prompt_tokens > 0) {
        hg_metric_add(HG_M_PROMPT_TOKENS, model, (double)end->prompt_tokens);
        if (end->prompt_reused > 0) hg_metric_add(HG_M_CACHE_HITS, prompt, (double)end->prompt_reused);
        hg_metric_add(HG_M_CACHE_MISSES, prompt, (double)read);
        if (end->prompt_seconds > 0)
            hg_metric_add(HG_M_PROMPT_RATE, model, (double)read / end->prompt_seconds);
    }
    if (end->generated_tokens <= 0) return;
    hg_metric_add(HG_M_GENERATED_TOKENS, model, (double)end->generated_tokens);
    if (end->generate_seconds <= 0) return;
    hg_metric_add(HG_M_GENERATE_SECONDS, model, end->generate_seconds);
    hg_metric_add(HG_M_TOKEN_RATE, model, (double)end->generated_tokens / end->generate_seconds);
}

void hg_ask_count_fallback(const hg_ask *a, const char *to, hangar_code why)
{
    const char *const labels[] = {a->targets[0]->name, to, a->told ? "text" : "before",
                                  hangar_code_name(why)};
    hg_metric_add(HG_M_FALLBACKS, labels, 1);
}

void hg_ask_count_retry(const hg_ask *a)
{
    hg_metric_add(HG_M_RETRIES, (const char *const[]){a->targets[a->at]->name}, 1);
}
