/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers with calls in them, in pieces. The first byte says how: forced or not, and how long the pieces are. Whatever comes, every byte is
 * settled once, what is held back is bounded, arguments are an object, and pieces of any length give the same.
 */
#include "format/toolcall.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct heard {
    hg_buf out;
    size_t upto, calls;
} heard;

static hangar_code on_text(void *ctx, hg_str text, size_t upto, hangar_err *err)
{
    heard *h = ctx;
    (void)err;
    if (text.len == 0 || upto < h->upto + text.len) abort();
    h->upto = upto;
    hg_buf_str(&h->out, text);
    return HANGAR_OK;
}

static hangar_code on_call(void *ctx, hg_str name, hg_str arguments, size_t upto, hangar_err *err)
{
    heard *h = ctx;
    hg_json *doc = NULL;
    (void)err;
    if (upto < h->upto || name.len == 0 || name.len > HG_TOOLCALL_NAME_MAX) abort();
    if (hg_json_parse(arguments, NULL, &doc, NULL) != HANGAR_OK || !hg_json_is_object(hg_json_root(doc)))
        abort();
    hg_json_free(doc);
    h->upto = upto;
    if (++h->calls > HG_TOOLCALLS_MAX) abort();
    hg_buf_putc(&h->out, '\x01');
    hg_buf_str(&h->out, name);
    hg_buf_str(&h->out, arguments);
    return HANGAR_OK;
}

/* The answer in pieces of `each` bytes. */
static void feed(heard *h, const hg_jval *tools, hg_str answer, bool forced, size_t each)
{
    hg_toolcalls p;
    const hg_toolcall_sink sink = {h, on_text, on_call};
    hangar_err err = {0};
    *h = (heard){0};
    hg_buf_init(&h->out, (size_t)16 << 20);
    hg_toolcalls_init(&p, tools, forced, 0, &sink);
    for (size_t at = 0; at < answer.len; at += each) {
        size_t n = answer.len - at < each ? answer.len - at : each;
        if (hg_toolcalls_add(&p, (hg_str){answer.ptr + at, n}, &err) != HANGAR_OK) abort();
        if (p.held.len > HG_TOOLCALL_BYTES_MAX + each) abort();
    }
    if (hg_toolcalls_end(&p, &err) != HANGAR_OK || h->upto > answer.len) abort();
    hg_toolcalls_deinit(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char given[] = "[{\"type\":\"function\",\"function\":{\"name\":\"add\"}}]";
    if (size < 1 || size > 65536) return 0;
    hg_json *tools = NULL;
    heard a, b;
    if (hg_json_parse(HG_STR(given), NULL, &tools, NULL) != HANGAR_OK) return 0;
    const hg_str answer = {(const char *)data + 1, size - 1};
    feed(&a, hg_json_root(tools), answer, data[0] & 1, (size_t)(data[0] >> 1) + 1);
    feed(&b, hg_json_root(tools), answer, data[0] & 1, size);
    if (!hg_str_eq(hg_buf_view(&a.out), hg_buf_view(&b.out)) || a.calls != b.calls) abort();
    hg_buf_deinit(&a.out);
    hg_buf_deinit(&b.out);
    hg_json_free(tools);
    return 0;
}
