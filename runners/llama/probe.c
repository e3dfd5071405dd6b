/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The op "probe": does the model still answer? One token goes through it behind what the context holds, and is taken out again, so that
 * the next question finds its conversation as it left it. In a full context the last token is read once more in its own place. Models whose memory
 * cannot forget one token (state space models) begin anew afterwards.
 */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/wire.h"

#include <math.h>

/* Takes what is behind the first `length` tokens out of the context. */
static void forget(hg_llama *l, size_t length)
{
    llama_memory_t memory = llama_get_memory(l->ctx);
    if (!llama_memory_seq_rm(memory, 0, (llama_pos)length, -1)) {
        llama_memory_clear(memory, true);
        length = 0;
    }
    l->seen_len = length;
}

/* The scores are numbers. */
static bool is_finite(const hg_llama *l)
{
    const float *scores = llama_get_logits_ith(l->ctx, -1);
    int32_t n = llama_vocab_n_tokens(l->vocab);
    for (int32_t i = 0; scores && i < n; i++)
        if (isnan(scores[i])) return false;
    return scores != NULL;
}

hangar_code hg_llama_probe(hg_llama *l, hg_jw **out_done, hangar_err *err)
{
    hangar_code code = l->ctx ? HANGAR_OK : hg_llama_context(l, 0, err);
    if (code != HANGAR_OK) return code;
    double from = hg_now();
    size_t held = l->seen_len;
    bool full = held >= l->n_ctx;
    llama_token id = held > 0 ? l->seen[held - 1] : llama_vocab_bos(l->vocab);
    if (id < 0) id = 0;
    if (full) forget(l, held - 1);
    bool again = full && l->seen_len + 1 == held; /* it comes back to its place */
    l->spoke = from;
    int32_t rc = llama_decode(l->ctx, llama_batch_get_one(&id, 1));
    bool good = rc == 0 && is_finite(l);
    if (rc == 0 && again) l->seen_len = held;
    else forget(l, l->seen_len);
    if (rc != 0 && hg_wire_pending(l->fd)) return hg_fail(err, HANGAR_E_CANCELLED, "cancelled");
    if (rc != 0) return hg_fail(err, HANGAR_E_ENGINE, "llama.cpp stopped with code %d", rc);
    if (!good) return hg_fail(err, HANGAR_E_ENGINE, "the model gives scores that are no numbers");
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_f64(w, "seconds", hg_now() - from);
    hg_jw_end(w);
    *out_done = w;
    return w ? HANGAR_OK : hg_fail_memory(err);
}
