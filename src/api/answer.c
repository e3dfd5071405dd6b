/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request, one question, one answer in the request's shape. Until the first byte is out a failure is a status; afterwards it is the
 * shape's own event, and the stream ends there. A client that leaves ends the generation.
 */
#include "api/dialect.h"
#include "base/clock.h"

#include <unistd.h>

typedef struct answer {
    hg_shape shape; /* first: a shape is its answer */
    hg_req *r;
    hg_ask *ask; /* NULL = none runs */
    hg_buf out;  /* what the shape writes in one turn; empty between two */
    bool begun;  /* the stream has begun */
    hangar_err
        bad; /* what went wrong in a callback after which the question must go on; told at the next chance */
} answer;

static void leave(void *state)
{
    answer *a = state;
    hg_ask *ask = a->ask;
    a->ask = NULL;
    if (ask) hg_ask_cancel(ask);
    hg_shape_deinit(&a->shape);
    hg_buf_deinit(&a->out);
}

static void gone(void *ctx)
{
    answer *a = ctx;
    hg_ask *ask = a->ask;
    a->ask = NULL;
    if (ask) hg_ask_cancel(ask);
}

hg_shape *hg_answer_shape(hg_req *r, const hg_shape_fns *fns)
{
    answer *a = hg_req_state(r, sizeof *a, leave);
    if (!a) {
        hangar_err err = {0};
        hg_fail_memory(&err);
        hg_reply_error(r, &err, -1);
        return NULL;
    }
    hg_shape_init(&a->shape, fns, hg_req_id(r), hg_wall());
    hg_buf_init(&a->out, 4 * HG_ANSWER_BYTES); /* an answer may hold its text up to three times */
    a->r = r;
    return &a->shape;
}

/* ---- the answer's end, good or bad; the request must not be touched afterwards ---- */

static void say_who(const answer *a)
{
    hg_reply_header(a->r, "x-hangar-model", a->shape.model);
    if (a->shape.fell_back) hg_reply_header(a->r, "x-hangar-fallback", "1");
}

/* A question that a model cannot answer is a wrong one in these dialects (400), whose clients would send it again for a 501. */
static void reply_failed(hg_req *r, const hangar_err *err, double retry_after)
{
    hangar_err told = *err;
    if (told.code == HANGAR_E_UNSUPPORTED) told.code = HANGAR_E_USAGE;
    hg_reply_error(r, &told, retry_after);
}

static void end_badly(answer *a, const hangar_err *err, double retry_after)
{
    if (!a->begun) {
        reply_failed(a->r, err, retry_after);
        return;
    }
    hg_buf_reset(&a->out);
    a->shape.fns->fail(&a->shape, err, &a->out);
    if (a->out.state == HANGAR_OK) hg_stream_write(a->r, hg_buf_view(&a->out));
    hg_stream_end(a->r);
}

/* From a callback of the question, which goes on else. */
static void give_up(answer *a, const hangar_err *err)
{
    hg_ask *ask = a->ask;
    a->ask = NULL;
    if (ask) hg_ask_cancel(ask);
    end_badly(a, err, -1);
}

/* ---- what the question tells ---- */

/* Before the first piece: the head of the answer is known now, and not earlier, so that a failure until here has a status of its own. */
static void begin(answer *a)
{
    if (a->begun) return;
    a->begun = true;
    say_who(a);
    hg_stream_begin(a->r, 200, a->shape.fns->stream_type);
    if (a->shape.fns->begin) a->shape.fns->begin(&a->shape, &a->out);
}

/* Sends what was written in this turn; false: it could not be, and the answer is over. */
static bool send_out(answer *a)
{
    hangar_err err = {0};
    if (hg_buf_check(&a->out, &err) != HANGAR_OK) {
        give_up(a, &err);
        return false;
    }
    hg_stream_write(a->r, hg_buf_view(&a->out));
    return true;
}

static void on_head(void *ctx, const hg_ask_head *head)
{
    answer *a = ctx;
    if (a->bad.code == HANGAR_OK) (void)!hg_shape_head(&a->shape, head, &a->bad);
}

static void on_text(void *ctx, hg_str literal, const hg_jval *logprobs)
{
    answer *a = ctx;
    if (!a->shape.streaming) {
        if (a->bad.code == HANGAR_OK) (void)!hg_shape_keep(&a->shape, literal, logprobs, &a->bad);
        return;
    }
    if (literal.len <= 2 && !logprobs) return;
    if (a->bad.code != HANGAR_OK) {
        give_up(a, &a->bad);
        return;
    }
    hg_buf_reset(&a->out);
    begin(a);
    a->shape.fns->text(&a->shape, literal, logprobs, &a->out);
    (void)send_out(a);
}

static void on_tool(void *ctx, const char *id, const char *name, hg_str arguments)
{
    answer *a = ctx;
    const hg_said_tool *tool = NULL;
    if (a->bad.code == HANGAR_OK && !a->shape.fns->tool)
        hg_fail(&a->bad, HANGAR_E_ENGINE, "the model called a tool that nobody offered");
    if (a->bad.code == HANGAR_OK) (void)!hg_shape_keep_tool(&a->shape, id, name, arguments, &tool, &a->bad);
    if (!a->shape.streaming) return;
    hg_buf_reset(&a->out);
    if (a->bad.code == HANGAR_OK) {
        begin(a);
        (void)!a->shape.fns->tool(&a->shape, tool, &a->out, &a->bad);
    }
    if (a->bad.code != HANGAR_OK) give_up(a, &a->bad);
    else (void)send_out(a);
}

static void reply_whole(answer *a, const hg_ask_end *end)
{
    hangar_err err = {0};
    hg_buf_reset(&a->out);
    hangar_code code = a->shape.fns->whole(&a->shape, end, &a->out, &err);
    if (code == HANGAR_OK) code = hg_buf_check(&a->out, &err);
    if (code != HANGAR_OK) {
        hg_reply_error(a->r, &err, -1);
        return;
    }
    say_who(a);
    if (a->shape.type) hg_reply_bytes(a->r, 200, a->shape.type, hg_buf_view(&a->out));
    else hg_reply_json(a->r, 200, hg_buf_take(&a->out));
}

static void on_end(void *ctx, const hg_ask_end *end)
{
    answer *a = ctx;
    a->ask = NULL;
    if (a->bad.code != HANGAR_OK) {
        end_badly(a, &a->bad, -1);
        return;
    }
    if (!a->shape.streaming) {
        reply_whole(a, end);
        return;
    }
    hg_buf_reset(&a->out);
    begin(a);
    a->shape.fns->end(&a->shape, end, &a->out);
    if (send_out(a)) hg_stream_end(a->r);
}

static void on_fail(void *ctx, const hangar_err *err, bool begun, double retry_after)
{
    answer *a = ctx;
    (void)begun; /* what counts is what this client has */
    a->ask = NULL;
    end_badly(a, err, retry_after);
}

void hg_answer_ask(hg_req *r, hg_shape *f, hg_ask_spec *spec, hangar_code code, const hangar_err *err)
{
    static const hg_ask_fns fns = {
        .head = on_head, .text = on_text, .tool = on_tool, .end = on_end, .fail = on_fail};
    answer *a = (answer *)f;
    hangar_err why = err ? *err : (hangar_err){0};
    f->streaming = spec->streams;
    if (code == HANGAR_OK) {
        code = hg_ask_start(hg_req_host(r), spec, &fns, a, &a->ask, &why);
    } else {
        hg_json_free(spec->doc);
        if (spec->file >= 0) close(spec->file);
    }
    spec->doc = NULL;
    spec->file = -1;
    if (code != HANGAR_OK) {
        a->ask = NULL;
        reply_failed(r, &why, -1);
        return;
    }
    hg_req_on_gone(r, gone, a);
}
