/* SPDX-License-Identifier: Apache-2.0 */
#include "format/output.h"

#include "base/clock.h"

#include <string.h>

/* A PIECE. */
static hangar_code send(hg_output *a, hg_jw *w, hangar_err *err)
{
    a->spoke = hg_now();
    return a->out.piece(a->out.ctx, w, err);
}

/* One PIECE of text that ends at `upto` in the answer. */
static hangar_code send_text(hg_output *a, hg_str text, size_t upto, hangar_err *err)
{
    hg_jw *w = hg_jw_new();
    hangar_code code = HANGAR_OK;
    hg_jw_obj(w, NULL);
    hg_jw_str(w, "text", text);
    if (a->want_logprobs) code = hg_logprobs_write(&a->likely, w, upto, err);
    hg_jw_end(w);
    if (code == HANGAR_OK) return send(a, w, err);
    hg_jw_free(w);
    return code;
}

/* ---- with calls ---- */

static hangar_code on_text(void *ctx, hg_str text, size_t upto, hangar_err *err)
{
    hg_output *a = ctx;
    hg_buf_str(&a->shown, text);
    hangar_code code = hg_buf_check(&a->shown, err);
    return code == HANGAR_OK ? send_text(a, text, upto, err) : code;
}

static hangar_code on_call(void *ctx, hg_str name, hg_str arguments, size_t upto, hangar_err *err)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    hg_output *a = ctx;
    char id[10] = "";
    for (size_t i = 0; i + 1 < sizeof id; i++)
        id[i] = letters[(size_t)(hg_random() * (double)(sizeof letters - 1))];
    hg_logprobs_drop(&a->likely, upto);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_obj(w, "tool_call");
    hg_jw_text(w, "id", id);
    hg_jw_str(w, "name", name);
    hg_jw_str(w, "arguments", arguments);
    hg_jw_end(w);
    hg_jw_end(w);
    return send(a, w, err);
}

hangar_code hg_output_init(hg_output *a, const hg_generate_call *call, const hg_reader *reader,
                           const hg_output_out *out, hangar_err *err)
{
    const hg_toolcall_sink sink = {.ctx = a, .text = on_text, .call = on_call};
    bool held_to = call->grammar || call->json_schema || call->json;
    *a = (hg_output){.out = *out,
                     .want_logprobs = call->want_logprobs,
                     .want_calls = call->tool_choice != HG_TOOLS_NONE && !held_to,
                     .spoke = hg_now()};
    hg_tail_init(&a->tail, call->stop);
    hg_tail_begin(&a->tail, call->begun);
    hg_logprobs_init(&a->likely, reader, call->logprobs, call->begun.len);
    hg_toolcalls_init(&a->calls, call->tools, call->tool_choice == HG_TOOLS_FORCED, call->begun.len, &sink);
    hg_buf_init(&a->shown, a->tail.text.max);
    return hg_buf_check(&a->tail.text, err);
}

void hg_output_deinit(hg_output *a)
{
    hg_tail_deinit(&a->tail);
    hg_logprobs_deinit(&a->likely);
    hg_toolcalls_deinit(&a->calls);
    hg_buf_deinit(&a->shown);
}

bool hg_output_wants(const hg_output *a, hg_str control)
{
    return a->want_calls && hg_toolcall_is_mark(control);
}

hg_str hg_output_all(const hg_output *a)
{
    return a->want_calls ? hg_buf_view(&a->shown) : hg_tail_new(&a->tail);
}

const char *hg_output_finish(const hg_output *a, const char *finish)
{
    return a->calls.count > 0 && strcmp(finish, "stop") == 0 ? "tool_calls" : finish;
}

hangar_code hg_output_chosen(hg_output *a, const float *scores, size_t vocab, int64_t id, hangar_err *err)
{
    return a->want_logprobs ? hg_logprobs_note(&a->likely, scores, vocab, id, err) : HANGAR_OK;
}

void hg_output_added(hg_output *a, size_t more)
{
    if (a->want_logprobs) hg_logprobs_place(&a->likely, a->tail.text.len + more);
}

hangar_code hg_output_text(hg_output *a, hg_str piece, hangar_err *err)
{
    /* What a stop string cuts off was text of this token, too. */
    size_t end = a->tail.text.len + piece.len;
    hangar_code code = hg_tail_add(&a->tail, piece, err);
    hg_output_added(a, end - a->tail.text.len);
    return code;
}

hangar_code hg_output_send(hg_output *a, bool all, hangar_err *err)
{
    hg_str ready = hg_tail_ready(&a->tail, all);
    hangar_code code = HANGAR_OK;
    a->tail.sent += ready.len;
    if (a->want_calls) {
        code = hg_toolcalls_add(&a->calls, ready, err);
        if (code == HANGAR_OK && all) code = hg_toolcalls_end(&a->calls, err);
    } else if (ready.len > 0) {
        code = send_text(a, ready, a->tail.sent, err);
    }
    double now = code == HANGAR_OK ? hg_now() : a->spoke;
    if (now - a->spoke < HG_OUTPUT_SILENCE) return code;
    a->spoke = now;
    return a->out.alive(a->out.ctx, err);
}
