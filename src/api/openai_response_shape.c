/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/responses, the way out: a response object, or the events that build one, each with its number. */
#include "api/dialect.h"
#include "base/mem.h"

#include <stdio.h>

/* ---- objects ---- */

/* A message item; `text` is the inside of a JSON string. done = false: as it begins. */
static void put_message(const hg_shape *f, hg_str text, bool done, const char *status, hg_buf *out)
{
    hg_buf_printf(out,
                  "{\"id\":\"msg_%s%02zu\",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\","
                  "\"content\":[",
                  f->id, f->item_count, status);
    if (done) {
        hg_buf_puts(out, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"");
        hg_buf_str(out, text);
        hg_buf_puts(out, "\"}");
    }
    hg_buf_puts(out, "]}");
}

static void put_call(const hg_shape *f, const hg_said_tool *t, bool done, hg_buf *out)
{
    hg_buf_printf(out,
                  "{\"id\":\"fc_%s%02zu\",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":", f->id,
                  f->item_count, done ? "completed" : "in_progress");
    hg_put_json(out, hg_str_of(t->id));
    hg_buf_puts(out, ",\"name\":");
    hg_put_json(out, hg_str_of(t->name));
    hg_buf_puts(out, ",\"arguments\":");
    hg_put_json(out, done ? hg_str_of(t->arguments) : HG_STR(""));
    hg_buf_putc(out, '}');
}

/* Adds the finished item to the response's output. */
static void keep_message(hg_shape *f, const char *status)
{
    if (f->item_count) hg_buf_putc(&f->items, ',');
    put_message(f, hg_buf_view(&f->said), true, status, &f->items);
    f->item_count++;
}

static void keep_call(hg_shape *f, const hg_said_tool *t)
{
    if (f->item_count) hg_buf_putc(&f->items, ',');
    put_call(f, t, true, &f->items);
    f->item_count++;
}

static void put_usage(const hg_ask_end *e, hg_buf *out)
{
    if (!e || e->prompt_tokens < 0 || e->generated_tokens < 0) {
        hg_buf_puts(out, "null");
        return;
    }
    int64_t reused = e->prompt_reused > 0 ? e->prompt_reused : 0;
    hg_buf_printf(
        out,
        "{\"input_tokens\":%lld,\"input_tokens_details\":{\"cached_tokens\":%lld},\"output_tokens\":%lld,"
        "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":%lld}",
        (long long)e->prompt_tokens, (long long)reused, (long long)e->generated_tokens,
        (long long)(e->prompt_tokens + e->generated_tokens));
}

/* Why a response ended before it was complete; NULL = it is complete. */
static const char *cut_by(const hg_ask_end *e)
{
    if (e && hg_streq(e->finish, "length")) return "max_output_tokens";
    return e && hg_streq(e->finish, "content_filter") ? "content_filter" : NULL;
}

static void put_response(const hg_shape *f, const char *status, const hg_ask_end *e, const hangar_err *failed,
                         hg_buf *out)
{
    const char *cut = cut_by(e);
    hg_buf_printf(out, "{\"id\":\"resp_%s\",\"object\":\"response\",\"created_at\":%lld,\"status\":\"%s\"",
                  f->id, (long long)f->created, status);
    hg_buf_puts(out, ",\"background\":false,\"error\":");
    if (failed) {
        hg_buf_printf(out, "{\"code\":\"%s\",\"message\":",
                      failed->code == HANGAR_E_RATE_LIMITED ? "rate_limit_exceeded" : "server_error");
        hg_put_json(out, hg_str_of(failed->msg));
        hg_buf_putc(out, '}');
    } else {
        hg_buf_puts(out, "null");
    }
    hg_buf_puts(out, ",\"incomplete_details\":");
    if (cut) hg_buf_printf(out, "{\"reason\":\"%s\"}", cut);
    else hg_buf_puts(out, "null");
    hg_buf_puts(out, ",\"model\":");
    hg_put_json(out, hg_str_of(f->model));
    hg_buf_puts(out, ",\"output\":[");
    hg_buf_str(out, hg_buf_view(&f->items));
    hg_buf_puts(out, "],\"usage\":");
    put_usage(e, out);
    hg_buf_putc(out, ',');
    hg_buf_str(out, hg_literal_inner(hg_str_of(f->echo))); /* an object without its braces */
    hg_buf_putc(out, '}');
}

/* ---- events ---- */

/* An event up to its own members. */
static void begin_event(hg_shape *f, const char *type, hg_buf *out)
{
    hg_buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%lld,", type, type,
                  (long long)f->sequence++);
}

static void end_event(hg_buf *out)
{
    hg_buf_puts(out, "}\n\n");
}

static void put_state(hg_shape *f, const char *type, const char *status, const hg_ask_end *e,
                      const hangar_err *failed, hg_buf *out)
{
    begin_event(f, type, out);
    hg_buf_puts(out, "\"response\":");
    put_response(f, status, e, failed, out);
    end_event(out);
}

static void begin(hg_shape *f, hg_buf *out)
{
    put_state(f, "response.created", "in_progress", NULL, NULL, out);
    put_state(f, "response.in_progress", "in_progress", NULL, NULL, out);
}

/* The members that name the part of a message. */
static void put_place(const hg_shape *f, hg_buf *out)
{
    hg_buf_printf(out, "\"item_id\":\"msg_%s%02zu\",\"output_index\":%zu,\"content_index\":0,", f->id,
                  f->item_count, f->item_count);
}

static void open_message(hg_shape *f, hg_buf *out)
{
    begin_event(f, "response.output_item.added", out);
    hg_buf_printf(out, "\"output_index\":%zu,\"item\":", f->item_count);
    put_message(f, HG_STR(""), false, "in_progress", out);
    end_event(out);
    begin_event(f, "response.content_part.added", out);
    put_place(f, out);
    hg_buf_puts(out, "\"part\":{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"\"}");
    end_event(out);
    hg_buf_reset(&f->said);
    f->item_open = true;
    hg_buf_reset(&f->lead);
    put_place(f, &f->lead);
    hg_buf_puts(&f->lead, "\"logprobs\":[],\"delta\":");
}

static void close_message(hg_shape *f, const char *status, hg_buf *out)
{
    if (!f->item_open) return;
    f->item_open = false;
    begin_event(f, "response.output_text.done", out);
    put_place(f, out);
    hg_buf_puts(out, "\"logprobs\":[],\"text\":\"");
    hg_buf_str(out, hg_buf_view(&f->said));
    hg_buf_putc(out, '"');
    end_event(out);
    begin_event(f, "response.content_part.done", out);
    put_place(f, out);
    hg_buf_puts(out, "\"part\":{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"");
    hg_buf_str(out, hg_buf_view(&f->said));
    hg_buf_puts(out, "\"}");
    end_event(out);
    begin_event(f, "response.output_item.done", out);
    hg_buf_printf(out, "\"output_index\":%zu,\"item\":", f->item_count);
    put_message(f, hg_buf_view(&f->said), true, status, out);
    end_event(out);
    keep_message(f, status);
}

static void text(hg_shape *f, hg_str literal, const hg_jval *logprobs, hg_buf *out)
{
    (void)logprobs;
    if (!f->item_open) open_message(f, out);
    hg_buf_str(&f->said, hg_literal_inner(literal));
    if (f->said.state != HANGAR_OK) out->state = f->said.state; /* looked at by the caller */
    begin_event(f, "response.output_text.delta", out);
    hg_buf_str(out, hg_buf_view(&f->lead));
    hg_buf_str(out, literal);
    end_event(out);
}

static hangar_code tool(hg_shape *f, const hg_said_tool *t, hg_buf *out, hangar_err *err)
{
    (void)err;
    close_message(f, "completed", out);
    begin_event(f, "response.output_item.added", out);
    hg_buf_printf(out, "\"output_index\":%zu,\"item\":", f->item_count);
    put_call(f, t, false, out);
    end_event(out);
    static const char *const kinds[][2] = {{"response.function_call_arguments.delta", "delta"},
                                           {"response.function_call_arguments.done", "arguments"}};
    for (size_t i = 0; i < HG_LEN(kinds); i++) {
        begin_event(f, kinds[i][0], out);
        hg_buf_printf(out, "\"item_id\":\"fc_%s%02zu\",\"output_index\":%zu,", f->id, f->item_count,
                      f->item_count);
        if (i == 1) {
            hg_buf_puts(out, "\"name\":");
            hg_put_json(out, hg_str_of(t->name));
            hg_buf_putc(out, ',');
        }
        hg_buf_printf(out, "\"%s\":", kinds[i][1]);
        hg_put_json(out, hg_str_of(t->arguments));
        end_event(out);
    }
    begin_event(f, "response.output_item.done", out);
    hg_buf_printf(out, "\"output_index\":%zu,\"item\":", f->item_count);
    put_call(f, t, true, out);
    end_event(out);
    keep_call(f, t);
    return HANGAR_OK;
}

static void end(hg_shape *f, const hg_ask_end *e, hg_buf *out)
{
    const char *status = cut_by(e) ? "incomplete" : "completed";
    if (f->item_count == 0 && !f->item_open) open_message(f, out); /* an answer of no text is one, too */
    close_message(f, status, out);
    put_state(f, cut_by(e) ? "response.incomplete" : "response.completed", status, e, NULL, out);
}

static void fail(hg_shape *f, const hangar_err *err, hg_buf *out)
{
    if (f->item_open) { /* what was said stays in the response; the events of its end are left out, for it has none */
        f->item_open = false;
        keep_message(f, "incomplete");
    }
    put_state(f, "response.failed", "failed", NULL, err, out);
}

static hangar_code whole(hg_shape *f, const hg_ask_end *e, hg_buf *out, hangar_err *err)
{
    const char *status = cut_by(e) ? "incomplete" : "completed";
    if (f->said.len || f->tool_count == 0) keep_message(f, status);
    for (size_t i = 0; i < f->tool_count; i++) keep_call(f, &f->tools[i]);
    put_response(f, status, e, NULL, out);
    return hg_buf_check(&f->items, err);
}

const hg_shape_fns hg_shape_openai_response = {.stream_type = "text/event-stream",
                                               .begin = begin,
                                               .text = text,
                                               .tool = tool,
                                               .end = end,
                                               .fail = fail,
                                               .whole = whole};
