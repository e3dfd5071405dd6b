/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line that lies whole in what came is read where it lies; only a line that is cut is put together in a buffer. Every byte is looked at
 * once by memchr-like scanning and copied at most twice.
 */
#include "provider/sse.h"

#include <stdio.h>

#define START_OVER 4

void hg_sse_init(hg_sse *s, hg_sse_fn *fn, void *ctx)
{
    *s = (hg_sse){.fn = fn, .ctx = ctx};
    hg_buf_init(&s->line, HG_SSE_LINE_MAX);
    hg_buf_init(&s->data, HG_SSE_EVENT_MAX);
}

void hg_sse_deinit(hg_sse *s)
{
    hg_buf_deinit(&s->line);
    hg_buf_deinit(&s->data);
}

/* An empty line: the event is whole. One without data is none. */
static void dispatch(hg_sse *s)
{
    if (s->data.len) {
        hg_str data = hg_buf_view(&s->data);
        data.len--; /* the last LF */
        s->events++;
        if (!s->fn(s->ctx, s->event, data)) s->stopped = true;
    }
    hg_buf_reset(&s->data);
    s->event[0] = '\0';
}

static void take_line(hg_sse *s, hg_str line)
{
    hg_str name, value = line;
    if (line.len == 0) {
        dispatch(s);
        return;
    }
    if (!hg_str_cut(&value, ':', &name)) name = line, value = (hg_str){"", 0};
    if (value.len && value.ptr[0] == ' ') value.ptr++, value.len--;
    if (hg_str_eq(name, HG_STR("data"))) {
        hg_buf_str(&s->data, value);
        hg_buf_putc(&s->data, '\n');
    } else if (hg_str_eq(name, HG_STR("event"))) {
        snprintf(s->event, sizeof s->event, "%.*s", (int)(value.len < 64 ? value.len : 64), value.ptr);
    }
}

/* Passes over the mark of the byte order at the very start; what only looked like one is the begin of a line. */
static void skip_mark(hg_sse *s, hg_str *bytes)
{
    static const char mark[] = "\xEF\xBB\xBF";
    while (bytes->len && s->mark < 3 && bytes->ptr[0] == mark[s->mark]) {
        bytes->ptr++, bytes->len--;
        s->mark++;
    }
    if (s->mark == 3) s->mark = START_OVER;
    if (bytes->len == 0 || s->mark == START_OVER) return;
    hg_buf_add(&s->line, mark, s->mark);
    s->mark = START_OVER;
}

static hangar_code check(const hg_sse *s, hangar_err *err)
{
    hangar_code code = hg_buf_check(&s->line, err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "a line of the stream");
    code = hg_buf_check(&s->data, err);
    return hg_wrap(err, code, "an event of the stream");
}

/* Bytes up to the next end of a line. */
static size_t line_length(hg_str bytes)
{
    size_t n = 0;
    while (n < bytes.len && bytes.ptr[n] != '\n' && bytes.ptr[n] != '\r') n++;
    return n;
}

hangar_code hg_sse_feed(hg_sse *s, hg_str bytes, hangar_err *err)
{
    if (s->mark != START_OVER) skip_mark(s, &bytes);
    while (bytes.len && !s->stopped && s->line.state == HANGAR_OK && s->data.state == HANGAR_OK) {
        if (s->after_cr && bytes.ptr[0] == '\n') bytes.ptr++, bytes.len--;
        s->after_cr = false;
        size_t n = line_length(bytes);
        hg_str line = {bytes.ptr, n};
        bool whole = n < bytes.len;
        if (!whole || s->line.len || n > HG_SSE_LINE_MAX) {
            hg_buf_str(&s->line, line);
            line = hg_buf_view(&s->line);
        }
        if (!whole || s->line.state != HANGAR_OK) break;
        s->after_cr = bytes.ptr[n] == '\r';
        bytes.ptr += n + 1, bytes.len -= n + 1;
        take_line(s, line);
        hg_buf_reset(&s->line);
    }
    return check(s, err);
}
