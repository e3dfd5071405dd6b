/* SPDX-License-Identifier: Apache-2.0 */
#include "format/output.h"

#include "base/clock.h"

hangar_code hg_output_init(hg_output *a, const hg_generate_call *call, const hg_reader *reader,
                           const hg_output_out *out, hangar_err *err)
{
    *a = (hg_output){.out = *out, .want_logprobs = call->want_logprobs, .spoke = hg_now()};
    hg_tail_init(&a->tail, call->stop);
    hg_tail_begin(&a->tail, call->begun);
    hg_logprobs_init(&a->likely, reader, call->logprobs, call->begun.len);
    return hg_buf_check(&a->tail.text, err);
}

void hg_output_deinit(hg_output *a)
{
    hg_tail_deinit(&a->tail);
    hg_logprobs_deinit(&a->likely);
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

/* One PIECE of text that ends at `upto` in the answer. */
static hangar_code send_piece(hg_output *a, hg_str text, size_t upto, hangar_err *err)
{
    hg_jw *w = hg_jw_new();
    hangar_code code = HANGAR_OK;
    hg_jw_obj(w, NULL);
    hg_jw_str(w, "text", text);
    if (a->want_logprobs) code = hg_logprobs_write(&a->likely, w, upto, err);
    hg_jw_end(w);
    if (code != HANGAR_OK) {
        hg_jw_free(w);
        return code;
    }
    a->spoke = hg_now();
    return a->out.piece(a->out.ctx, w, err);
}

hangar_code hg_output_send(hg_output *a, bool all, hangar_err *err)
{
    hg_str ready = hg_tail_ready(&a->tail, all);
    if (ready.len > 0) {
        a->tail.sent += ready.len;
        return send_piece(a, ready, a->tail.sent, err);
    }
    double now = hg_now();
    if (now - a->spoke < HG_OUTPUT_SILENCE) return HANGAR_OK;
    a->spoke = now;
    return a->out.alive(a->out.ctx, err);
}
