/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-room: provider */
/*
 * A cloud's stream, in the dialect that the first byte names: whatever comes, text goes out as JSON string literals of valid UTF-8, tool calls
 * with a name and a JSON object, nothing after a fault, and a fault has words.
 */
#include "provider/dialect.h"
#include "provider/sse.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct heard {
    const hg_provider *provider;
    hg_cloud_answer answer;
} heard;

static void check_json(hg_str text, bool object)
{
    hg_json *doc = NULL;
    if (hg_json_parse(text, NULL, &doc, NULL) != HANGAR_OK) __builtin_trap();
    if (object ? !hg_json_is_object(hg_json_root(doc)) : !hg_json_is_string(hg_json_root(doc)))
        __builtin_trap();
    hg_json_free(doc);
}

static void on_text(void *ctx, hg_str literal)
{
    const heard *h = ctx;
    if (h->answer.fault != HG_CLOUD_NONE || literal.len < 3) __builtin_trap();
    check_json(literal, false);
}

static void on_tool(void *ctx, const char *id, const char *name, hg_str arguments)
{
    const heard *h = ctx;
    if (h->answer.fault != HG_CLOUD_NONE || !id || !name || !name[0]) __builtin_trap();
    check_json(arguments, true);
}

static bool on_event(void *ctx, const char *event, hg_str data)
{
    heard *h = ctx;
    hg_json *doc = NULL;
    const hg_json_limits limits = {.bytes = HG_SSE_EVENT_MAX, .depth = 64};
    if (hg_json_parse(data, &limits, &doc, NULL) == HANGAR_OK)
        h->provider->event(&h->answer, event, hg_json_root(doc));
    (void)hg_cloud_answer_words(hg_json_root(doc));
    hg_json_free(doc);
    return h->answer.fault == HG_CLOUD_NONE && !h->answer.done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const hg_cloud_fns fns = {.text = on_text, .tool = on_tool};
    const char *const *names = hg_cloud_providers();
    size_t count = 0;
    while (names[count]) count++;
    if (size == 0) return 0;
    heard h = {.provider = hg_provider_get(names[data[0] % count])};
    hg_sse sse;
    hg_cloud_answer_init(&h.answer, &fns, &h);
    hg_sse_init(&sse, on_event, &h);
    (void)hg_sse_feed(&sse, (hg_str){(const char *)data + 1, size - 1}, NULL);
    const hg_cloud_answer *a = &h.answer;
    if (a->fault != HG_CLOUD_NONE && (!a->err.msg[0] || a->err.code == HANGAR_OK)) __builtin_trap();
    if (a->tool_count > HG_ANSWER_TOOLS_MAX || a->prompt_tokens < -1 || a->generated_tokens < -1)
        __builtin_trap();
    if (h.provider->fault) {
        hg_json *doc = NULL;
        hg_cloud_fault fault = HG_CLOUD_CLIENT;
        double wait = -1;
        if (hg_json_parse((hg_str){(const char *)data + 1, size - 1}, NULL, &doc, NULL) == HANGAR_OK)
            h.provider->fault(hg_json_root(doc), 400, &fault, &wait);
        if (wait != -1 && wait < 0) __builtin_trap();
        hg_json_free(doc);
    }
    hg_sse_deinit(&sse);
    hg_cloud_answer_deinit(&h.answer);
    return 0;
}
