/* SPDX-License-Identifier: Apache-2.0 */
/* A try at a model in the cloud. */
#include "manager/ask_inner.h"

#include "base/mem.h"

#include <stdlib.h>

/* What a provider's failure means for the chain. */
static hg_fault fault_of(hg_cloud_fault fault)
{
    switch (fault) {
    case HG_CLOUD_TOO_LONG:
    case HG_CLOUD_CLIENT: return HG_FAULT_CLIENT;
    case HG_CLOUD_CONFIG:
    case HG_CLOUD_KEY: return HG_FAULT_LASTING;
    default: return HG_FAULT_PASSING;
    }
}

static void on_text(void *ctx, hg_str literal)
{
    hg_ask_try *t = ctx;
    hg_ask_piece(t->ask, literal, NULL);
}

static void on_tool(void *ctx, const char *id, const char *name, hg_str arguments)
{
    hg_ask_try *t = ctx;
    hg_ask_tool(t->ask, id, name, arguments);
}

static void on_end(void *ctx, hg_cloud_fault fault, double retry_after, const hg_cloud_end *end,
                   const hangar_err *err)
{
    hg_ask_try *t = ctx;
    hg_ask *a = t->ask;
    free(t);
    if (fault != HG_CLOUD_NONE) {
        hg_ask_failed(a, fault_of(fault), retry_after, err);
        return;
    }
    hg_ask_ended(a, &(hg_ask_end){.finish = end->finish,
                                  .prompt_tokens = end->prompt_tokens,
                                  .prompt_reused = -1,
                                  .generated_tokens = end->generated_tokens});
}

static void give_up(hg_ask_try *t)
{
    hg_cloud_cancel(t->cloud);
    free(t);
}

hangar_code hg_ask_cloud(hg_ask_try *t, hg_fault *out_fault, hangar_err *err)
{
    static const hg_cloud_fns fns = {.text = on_text, .tool = on_tool, .end = on_end};
    hg_ask *a = t->ask;
    const hg_entry *e = t->entry;
    const hg_settings *s = t->host->h->settings;
    t->give_up = give_up;
    t->target = (hg_cloud_target){.name = e->name,
                                  .provider = e->provider,
                                  .url = e->url,
                                  .model = e->model,
                                  .key_env = e->key_env,
                                  .extra = hg_json_root(e->extra),
                                  .first_timeout = s->serve_first_timeout,
                                  .stall_timeout = s->serve_stall_timeout};
    *out_fault = HG_FAULT_CLIENT;
    hg_buf begun;
    hg_buf_init(&begun, HG_ASK_TEXT_MAX);
    hangar_code code = a->text.len > 0 ? hg_words_text(hg_buf_view(&a->text), &begun, err) : HANGAR_OK;
    if (code == HANGAR_OK)
        code = hg_cloud_start(t->host->cloud, &t->target, hg_json_root(a->doc), hg_buf_view(&begun), &fns, t,
                              &t->cloud, err);
    hg_buf_deinit(&begun);
    return code;
}
