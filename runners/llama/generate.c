/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call from prompt to DONE: tokens in, tokens out, text in pieces.
 *
 * What the context already holds is kept as far as the new prompt begins the same way, so the turns of a
 * conversation are read once. Between two tokens, and inside a decode through the abort callback, the socket
 * is looked at: anything there ends the call.
 */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/wire.h"

#include <stdlib.h>

/* A running call. */
typedef struct run {
    hg_llama *l;
    hg_generate_call call;
    hg_ids prompt;
    hg_ids made;
    hg_tail tail;
    struct llama_sampler *sampler;
    size_t reused;
    const char *finish;
    double prompt_seconds, generate_seconds;
} run;

/* Why a decode ended, as an error; code is llama_decode's. */
static hangar_code decode_failed(const hg_llama *l, int32_t code, hangar_err *err)
{
    if (hg_wire_pending(l->fd)) return hg_fail(err, HANGAR_E_CANCELLED, "cancelled");
    if (code == 1) return hg_fail(err, HANGAR_E_LIMIT, "the context of %u tokens is full", l->n_ctx);
    return hg_fail(err, HANGAR_E_ENGINE, "llama.cpp stopped with code %d", code);
}

/* Takes tokens into the context and remembers them. */
static hangar_code decode(hg_llama *l, llama_token *ids, size_t n, hangar_err *err)
{
    if (!hg_grow((void **)&l->seen, &l->seen_cap, l->seen_len + n, sizeof *l->seen))
        return hg_fail_memory(err);
    int32_t rc = llama_decode(l->ctx, llama_batch_get_one(ids, (int32_t)n));
    if (rc != 0) {
        hangar_code code = decode_failed(l, rc, err);
        llama_memory_clear(llama_get_memory(l->ctx), true);
        l->seen_len = 0;
        return code;
    }
    memcpy(l->seen + l->seen_len, ids, n * sizeof *ids);
    l->seen_len += n;
    return HANGAR_OK;
}

/* Keeps the part of the context that the prompt begins with; at least one token is left to decode, for its
 * logits. */
static size_t reuse(hg_llama *l, const hg_ids *prompt)
{
    size_t same = 0;
    while (same < l->seen_len && same + 1 < prompt->len && l->seen[same] == prompt->ids[same]) same++;
    llama_memory_t memory = llama_get_memory(l->ctx);
    if (!llama_memory_seq_rm(memory, 0, (llama_pos)same, -1)) {
        llama_memory_clear(memory, true);
        same = 0;
    }
    l->seen_len = same;
    return same;
}

/* Reads the prompt, batch by batch. */
static hangar_code read_prompt(run *r, hangar_err *err)
{
    hg_llama *l = r->l;
    if (r->prompt.len >= l->n_ctx)
        return hg_fail(
            err, HANGAR_E_LIMIT,
            "the prompt has %zu tokens and the context %u; make it shorter or raise --context-length",
            r->prompt.len, l->n_ctx);
    r->reused = reuse(l, &r->prompt);
    size_t batch = llama_n_batch(l->ctx);
    for (size_t at = r->reused; at < r->prompt.len;) {
        size_t n = r->prompt.len - at < batch ? r->prompt.len - at : batch;
        hangar_code code = decode(l, r->prompt.ids + at, n, err);
        if (code != HANGAR_OK) return code;
        at += n;
        char text[64];
        int len = snprintf(text, sizeof text, "{\"done\":%zu,\"total\":%zu}", at, r->prompt.len);
        code = hg_wire_send(l->fd, HG_WIRE_TICK, (hg_str){text, (size_t)len}, NULL, 0, err);
        if (code != HANGAR_OK) return code;
    }
    return HANGAR_OK;
}

/* Sends what may go out of the text. */
static hangar_code send_text(run *r, bool all, hangar_err *err)
{
    hg_str ready = hg_tail_ready(&r->tail, all);
    if (ready.len == 0) return HANGAR_OK;
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_str(w, "text", ready);
    hg_jw_end(w);
    r->tail.sent += ready.len;
    return hg_wire_send_doc(r->l->fd, HG_WIRE_PIECE, w, NULL, 0, err);
}

/* Adds a token's text. */
static hangar_code add_piece(run *r, llama_token id, hangar_err *err)
{
    char small[256];
    int32_t n = llama_token_to_piece(r->l->vocab, id, small, sizeof small, 0, false);
    if (n >= 0) return hg_tail_add(&r->tail, (hg_str){small, (size_t)n}, err);
    size_t room = (size_t) - (int64_t)n;
    char *large = hg_calloc(room, 1);
    if (!large) return hg_fail_memory(err);
    n = llama_token_to_piece(r->l->vocab, id, large, (int32_t)room, 0, false);
    hangar_code code = n < 0 ? hg_fail(err, HANGAR_E_ENGINE, "token %d has no text", id)
                             : hg_tail_add(&r->tail, (hg_str){large, (size_t)n}, err);
    free(large);
    return code;
}

/* Token after token until an end. */
static hangar_code write_answer(run *r, hangar_err *err)
{
    hg_llama *l = r->l;
    hangar_code code = HANGAR_OK;
    r->finish = "length";
    while (code == HANGAR_OK && (int64_t)r->made.len < r->call.max_tokens) {
        if (hg_wire_pending(l->fd)) return hg_fail(err, HANGAR_E_CANCELLED, "cancelled");
        llama_token id = llama_sampler_sample(r->sampler, l->ctx, -1);
        code = hg_ids_add(&r->made, id, err);
        if (code != HANGAR_OK) return code;
        if (llama_vocab_is_eog(l->vocab, id)) {
            r->finish = "stop";
            break;
        }
        code = add_piece(r, id, err);
        if (code == HANGAR_OK) code = send_text(r, false, err);
        if (code != HANGAR_OK) return code;
        if (r->tail.stopped) {
            r->finish = "stop";
            break;
        }
        if (l->seen_len + 1 > l->n_ctx || (int64_t)r->made.len >= r->call.max_tokens) break;
        code = decode(l, &id, 1, err);
    }
    return code == HANGAR_OK ? send_text(r, true, err) : code;
}

/* The DONE document. */
static hg_jw *done(const run *r)
{
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_str(w, "text", hg_buf_view(&r->tail.text));
    hg_jw_arr(w, "tokens");
    for (size_t i = 0; i < r->made.len; i++) hg_jw_i64(w, NULL, r->made.ids[i]);
    hg_jw_end(w);
    hg_jw_text(w, "finish", r->finish);
    hg_jw_u64(w, "prompt_tokens", r->prompt.len);
    hg_jw_u64(w, "prompt_reused", r->reused);
    hg_jw_u64(w, "generated_tokens", r->made.len);
    hg_jw_f64(w, "prompt_seconds", r->prompt_seconds);
    hg_jw_f64(w, "generate_seconds", r->generate_seconds);
    hg_jw_end(w);
    return w;
}

hangar_code hg_llama_generate(hg_llama *l, const hg_jval *doc, hg_jw **out_done, hangar_err *err)
{
    run r = {.l = l, .finish = "stop"};
    hangar_code code = hg_generate_call_read(doc, &r.call, err);
    hg_tail_init(&r.tail, r.call.stop);
    if (code == HANGAR_OK) code = hg_llama_context(l, r.call.context, err);
    if (code == HANGAR_OK) code = hg_llama_prompt(l, &r.call, &r.prompt, err);
    if (code == HANGAR_OK) code = hg_llama_sampler(l, &r.call, &r.sampler, err);
    double begin = hg_now();
    if (code == HANGAR_OK) code = read_prompt(&r, err);
    double read = hg_now();
    if (code == HANGAR_OK) code = write_answer(&r, err);
    r.prompt_seconds = read - begin;
    r.generate_seconds = hg_now() - read;
    if (code == HANGAR_OK && !(*out_done = done(&r))) code = hg_fail_memory(err);
    if (r.sampler) llama_sampler_free(r.sampler);
    hg_tail_deinit(&r.tail);
    free(r.prompt.ids);
    free(r.made.ids);
    return code;
}
