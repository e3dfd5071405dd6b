/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-room: provider */
/*
 * A stream of events, cut in pieces as the first byte says: whatever comes, the events are those that come when it is fed whole, in the same
 * order, and no data is longer than what came.
 */
#include "provider/sse.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct seen {
    hg_buf all;
    size_t most; /* events until it wants no more */
    size_t count;
    size_t limit; /* bytes that came */
} seen;

static bool on_event(void *ctx, const char *event, hg_str data)
{
    seen *s = ctx;
    if (data.len > s->limit || strlen(event) > 63) __builtin_trap();
    hg_buf_printf(&s->all, "%s|%zu|", event, data.len);
    hg_buf_str(&s->all, data);
    return ++s->count < s->most;
}

/* Feeds it in pieces of `step` bytes, 0 = growing ones. */
static hangar_code feed(seen *s, hg_str text, size_t step)
{
    hg_sse sse;
    hg_buf_init(&s->all, 64 * HG_MIB);
    hg_sse_init(&sse, on_event, s);
    hangar_code code = HANGAR_OK;
    for (size_t at = 0, n = 1; at < text.len; at += n) {
        n = step ? step : n + 1;
        if (n > text.len - at) n = text.len - at;
        code = hg_sse_feed(&sse, (hg_str){text.ptr + at, n}, NULL);
    }
    hg_sse_deinit(&sse);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    hg_str text = {(const char *)data + 1, size - 1};
    seen whole = {.most = data[0] & 0x80 ? 1 : SIZE_MAX, .limit = size};
    seen cut = whole;
    hangar_code a = feed(&whole, text, text.len), b = feed(&cut, text, data[0] & 0x3f);
    if (a != b || whole.count != cut.count) __builtin_trap();
    if (!hg_str_eq(hg_buf_view(&whole.all), hg_buf_view(&cut.all))) __builtin_trap();
    hg_buf_deinit(&whole.all);
    hg_buf_deinit(&cut.all);
    return 0;
}
