/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call from prompt to DONE: tokens in, tokens out, text in pieces.
 *
 * What the context already holds is kept as far as the new prompt begins the same way, so the turns of a
 * conversation are read once. Between two tokens, and inside a decode through the abort callback, the socket
 * is looked at: anything there ends the call.
 *
 * An answer that goes on from a begun text reads that text behind the prompt (format/begun.h). At temperature 0 the model is asked at each
 * token of it whether it would have written another.
 */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/wire.h"
#include "format/output.h"
#include "format/begun.h"

#include <math.h>
#include <stdlib.h>

#define ROWS_BYTES ((size_t)32 << 20) /* of the scores of a begun text that are made at once */
#define ROWS_MAX   64
#define ROWS_AGAIN \
    4 /* tokens that are read at once behind one that was not the tokenizer's; doubled each time it goes well */

/* A running call. */
typedef struct run {
    hg_llama *l;
    hg_generate_call call;
    hg_reader reader;
    hg_ids64 prompt;
    hg_begun begun;
    hg_ids64 made;
    hg_output answer;
    struct llama_sampler *sampler;
    struct llama_sampler *grammar; /* NULL = the answer is held to none */
    llama_token_data *list;        /* what the samplers choose from, one for each token of the vocabulary */
    int32_t row;                   /* where the scores behind the last token lie */
    size_t reused;
    const char *finish;
    double prompt_seconds, generate_seconds;
} run;

static hangar_code cancelled(hangar_err *err)
{
    return hg_fail(err, HANGAR_E_CANCELLED, "cancelled");
}

/* Why a decode ended, as an error; code is llama_decode's. */
static hangar_code decode_failed(const hg_llama *l, int32_t code, hangar_err *err)
{
    if (hg_wire_pending(l->fd)) return cancelled(err);
    if (code == 1) return hg_fail(err, HANGAR_E_TOO_LONG, "the context of %u tokens is full", l->n_ctx);
    return hg_fail(err, HANGAR_E_ENGINE, "llama.cpp stopped with code %d", code);
}

/* Takes tokens into the context and remembers them. all: scores behind each of them, else behind the last alone. */
static hangar_code decode(run *r, const int64_t *ids, size_t n, bool all, hangar_err *err)
{
    static int8_t ones[ROWS_MAX];
    hg_llama *l = r->l;
    if (!hg_grow((void **)&l->seen, &l->seen_cap, l->seen_len + n, sizeof *l->seen))
        return hg_fail_memory(err);
    llama_token *at = l->seen + l->seen_len;
    for (size_t i = 0; i < n; i++) at[i] = (llama_token)ids[i];
    struct llama_batch batch = llama_batch_get_one(at, (int32_t)n);
    if (all) {
        memset(ones, 1, sizeof ones);
        batch.logits = ones;
    }
    int32_t rc = llama_decode(l->ctx, batch);
    if (rc != 0) {
        hangar_code code = decode_failed(l, rc, err);
        llama_memory_clear(llama_get_memory(l->ctx), true);
        l->seen_len = 0;
        return code;
    }
    l->seen_len += n;
    r->row = -1;
    return HANGAR_OK;
}

/* Forgets all but the first tokens; false when the engine forgot everything. */
static bool keep(hg_llama *l, size_t tokens)
{
    llama_memory_t memory = llama_get_memory(l->ctx);
    bool cut = llama_memory_seq_rm(memory, 0, (llama_pos)tokens, -1);
    if (!cut) llama_memory_clear(memory, true);
    l->seen_len = cut ? tokens : 0;
    return cut;
}

/* Keeps the part of the context that the prompt begins with; at least one token is left to decode, for its
 * logits. */
static size_t reuse(hg_llama *l, const hg_ids64 *prompt)
{
    size_t same = 0;
    while (same < l->seen_len && same + 1 < prompt->count && l->seen[same] == prompt->ids[same]) same++;
    return keep(l, same) ? same : 0;
}

/* Reads tokens batch by batch, with a sign of life behind each; done and total are what it tells. */
static hangar_code read_batches(run *r, const int64_t *ids, size_t count, size_t done, size_t total,
                                hangar_err *err)
{
    size_t batch = llama_n_batch(r->l->ctx);
    hangar_code code = HANGAR_OK;
    for (size_t at = 0; at < count && code == HANGAR_OK;) {
        size_t n = count - at < batch ? count - at : batch;
        code = decode(r, ids + at, n, false, err);
        at += n;
        if (code == HANGAR_OK) code = hg_llama_alive(r->l, done + at, total, err);
    }
    return code;
}

/* Reads the prompt, but for what the context holds of it. */
static hangar_code read_prompt(run *r, hangar_err *err)
{
    hg_llama *l = r->l;
    size_t total = r->prompt.count + r->begun.ids.count;
    if (total >= l->n_ctx)
        return hg_fail(
            err, HANGAR_E_TOO_LONG,
            "the prompt has %zu tokens and the context %u; make it shorter or raise --context-length", total,
            l->n_ctx);
    r->reused = reuse(l, &r->prompt);
    return read_batches(r, r->prompt.ids + r->reused, r->prompt.count - r->reused, r->reused, total, err);
}

/* ---- choosing ---- */

/* What the samplers choose by the scores; `held`: of the tokens that the grammar allows. */
static hangar_code pick(run *r, const float *scores, bool held, int64_t *out, hangar_err *err)
{
    int32_t n = llama_vocab_n_tokens(r->l->vocab);
    for (int32_t i = 0; i < n; i++) r->list[i] = (llama_token_data){i, scores[i], 0};
    llama_token_data_array list = {.data = r->list, .size = (size_t)n, .selected = -1};
    if (held) llama_sampler_apply(r->grammar, &list);
    llama_sampler_apply(r->sampler, &list);
    if (list.selected < 0 || (size_t)list.selected >= list.size)
        return hg_fail(err, HANGAR_E_ENGINE, "llama.cpp chooses no token");
    const llama_token_data *chosen = &list.data[list.selected];
    if (isinf(chosen->logit) && chosen->logit < 0)
        return hg_fail(err, HANGAR_E_ENGINE, "no token is allowed here");
    *out = chosen->id;
    return HANGAR_OK;
}

/* Whether the grammar allows a token. */
static bool is_allowed(run *r, int64_t id)
{
    llama_token_data one = {.id = (llama_token)id};
    llama_token_data_array list = {.data = &one, .size = 1, .selected = -1};
    llama_sampler_apply(r->grammar, &list);
    return !(isinf(one.logit) && one.logit < 0);
}

/*
 * What the samplers choose by the scores of a row; they do not count it yet. To ask a grammar of one token is cheap, of all tokens it is dear:
 * so it is asked of all only when it does not allow the one that would be chosen without it.
 */
static hangar_code choose(run *r, int64_t *out, hangar_err *err)
{
    const float *scores = llama_get_logits_ith(r->l->ctx, r->row);
    if (!scores) return hg_fail(err, HANGAR_E_ENGINE, "llama.cpp gives no scores");
    hangar_code code = pick(r, scores, false, out, err);
    if (code != HANGAR_OK || !r->grammar) return code;
    hg_llama_guard(r->l->fd, true);
    if (!is_allowed(r, *out)) code = pick(r, scores, true, out, err);
    hg_llama_guard(r->l->fd, false);
    return code;
}

/* A token stands: samplers and grammar go on from it. */
static void accept(run *r, int64_t id)
{
    llama_sampler_accept(r->sampler, (llama_token)id);
    if (!r->grammar) return;
    hg_llama_guard(r->l->fd, true);
    llama_sampler_accept(r->grammar, (llama_token)id);
    hg_llama_guard(r->l->fd, false);
}

/* How likely a token is that was chosen by the scores of the row. */
static hangar_code note(run *r, int64_t id, hangar_err *err)
{
    if (!r->answer.want_logprobs) return HANGAR_OK;
    const float *scores = llama_get_logits_ith(r->l->ctx, r->row);
    return scores ? hg_output_chosen(&r->answer, scores, (size_t)llama_vocab_n_tokens(r->l->vocab), id, err)
                  : hg_fail(err, HANGAR_E_ENGINE, "llama.cpp gives no scores");
}

/* ---- what was begun ---- */

/* How many rows of scores are made at once. */
static size_t rows_of(const run *r)
{
    size_t n = ROWS_BYTES / sizeof(float) / (size_t)llama_vocab_n_tokens(r->l->vocab);
    size_t batch = llama_n_batch(r->l->ctx);
    if (n > ROWS_MAX) n = ROWS_MAX;
    if (n > batch) n = batch;
    return n > 0 ? n : 1;
}

/* The context goes back to the prompt and the first `at` tokens of what was begun. */
static hangar_code go_back(run *r, size_t at, hangar_err *err)
{
    if (keep(r->l, r->prompt.count + at)) return HANGAR_OK; /* and the scores behind them are still there */
    hangar_code code = read_batches(r, r->prompt.ids, r->prompt.count, 0, r->prompt.count + at, err);
    if (code == HANGAR_OK)
        code = read_batches(r, r->begun.ids.ids, at, r->prompt.count, r->prompt.count + at, err);
    return code;
}

/* Asks the model at the place `at`, whose scores lie in the row; *out_changed: the tokens from there on are others now. */
static hangar_code ask(run *r, size_t at, bool *out_changed, hangar_err *err)
{
    int64_t id = 0;
    hangar_code code = choose(r, &id, err);
    if (code == HANGAR_OK) code = hg_begun_prefer(&r->begun, at, id, out_changed, err);
    if (code == HANGAR_OK && r->prompt.count + r->begun.ids.count >= r->l->n_ctx)
        code = hg_fail(err, HANGAR_E_TOO_LONG, "the prompt and what is begun do not fit the context of %u",
                       r->l->n_ctx);
    if (code == HANGAR_OK && at < r->begun.ids.count) accept(r, r->begun.ids.ids[at]);
    return code;
}

/* Reads what was begun and asks at every token of it. */
static hangar_code read_asking(run *r, hangar_err *err)
{
    size_t most = rows_of(r), rows = most;
    bool changed = false;
    hangar_code code = r->begun.ids.count > 0 ? ask(r, 0, &changed, err) : HANGAR_OK;
    for (size_t at = 0; at < r->begun.ids.count && code == HANGAR_OK;) {
        size_t left = r->begun.ids.count - at, n = left < rows ? left : rows, i = 1;
        code = decode(r, r->begun.ids.ids + at, n, true, err);
        changed = false;
        /* Behind the last token of what was begun the answer itself chooses. */
        for (; i <= n && at + i < r->begun.ids.count && code == HANGAR_OK && !changed; i++) {
            r->row = (int32_t)i - 1;
            code = ask(r, at + i, &changed, err);
        }
        if (changed) i--;
        else i = n;
        at += i;
        r->row = (int32_t)i - 1;
        if (code == HANGAR_OK && i < n) code = go_back(r, at, err);
        rows = changed ? ROWS_AGAIN : rows * 2;
        if (rows > most) rows = most;
        if (code == HANGAR_OK)
            code = hg_llama_alive(r->l, r->prompt.count + at, r->prompt.count + r->begun.ids.count, err);
    }
    return code;
}

/* Reads what was begun. */
static hangar_code read_begun(run *r, hangar_err *err)
{
    const hg_ids64 *ids = &r->begun.ids;
    if (r->call.temperature <= 0) return read_asking(r, err);
    for (size_t i = 0; i < ids->count; i++) accept(r, ids->ids[i]);
    return read_batches(r, ids->ids, ids->count, r->prompt.count, r->prompt.count + ids->count, err);
}

/* ---- the answer ---- */

/* The first token when it is the one that runs beyond what was begun, else one that the samplers choose. */
static hangar_code next_token(run *r, int64_t *out, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    bool beyond = r->begun.beyond > 0 && r->made.count == 0;
    *out = r->begun.last;
    if (!beyond) code = choose(r, out, err);
    if (code == HANGAR_OK) code = note(r, *out, err);
    if (code == HANGAR_OK) accept(r, *out);
    return code == HANGAR_OK ? hg_ids64_add(&r->made, *out, err) : code;
}

/* Adds a token's text, without what of it was out already. */
static hangar_code add_piece(run *r, int64_t id, hg_buf *work, hangar_err *err)
{
    hg_buf_reset(work);
    hangar_code code = r->reader.piece(r->l, id, work, err);
    if (code != HANGAR_OK) return code;
    hg_str text = hg_buf_view(work);
    if (text.len == 0 && llama_vocab_is_control(r->l->vocab, (llama_token)id)) {
        const char *mark = llama_vocab_get_text(r->l->vocab, (llama_token)id);
        if (mark && hg_output_wants(&r->answer, hg_str_of(mark))) text = hg_str_of(mark);
    }
    if (r->begun.beyond > 0 && r->made.count == 1 && text.len > r->begun.fresh)
        text = (hg_str){text.ptr + (text.len - r->begun.fresh), r->begun.fresh};
    return hg_output_text(&r->answer, text, err);
}

/* Token after token until an end. */
static hangar_code write_tokens(run *r, hg_buf *work, hangar_err *err)
{
    hg_llama *l = r->l;
    hangar_code code = HANGAR_OK;
    r->finish = "length";
    while (code == HANGAR_OK && (int64_t)r->made.count < r->call.max_tokens) {
        int64_t id = 0;
        if (hg_wire_pending(l->fd)) return cancelled(err);
        code = next_token(r, &id, err);
        if (code != HANGAR_OK) return code;
        if (llama_vocab_is_eog(l->vocab, (llama_token)id)) {
            r->finish = "stop";
            break;
        }
        code = add_piece(r, id, work, err);
        if (code == HANGAR_OK) code = hg_output_send(&r->answer, false, err);
        if (code != HANGAR_OK) return code;
        if (r->answer.tail.stopped) {
            r->finish = "stop";
            break;
        }
        if (l->seen_len + 1 > l->n_ctx || (int64_t)r->made.count >= r->call.max_tokens) break;
        code = decode(r, &id, 1, false, err);
    }
    return code == HANGAR_OK ? hg_output_send(&r->answer, true, err) : code;
}

static hangar_code write_answer(run *r, hangar_err *err)
{
    hg_buf work;
    hg_buf_init(&work, HG_TOKENIZER_TEXT_MAX);
    hangar_code code = write_tokens(r, &work, err);
    hg_buf_deinit(&work);
    return code;
}

/* The DONE document. */
static hg_jw *done(const run *r)
{
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_str(w, "text", hg_output_all(&r->answer));
    hg_jw_arr(w, "tokens");
    for (size_t i = 0; i < r->made.count; i++) hg_jw_i64(w, NULL, r->made.ids[i]);
    hg_jw_end(w);
    hg_jw_text(w, "finish", hg_output_finish(&r->answer, r->finish));
    hg_jw_u64(w, "prompt_tokens", r->prompt.count);
    hg_jw_u64(w, "prompt_reused", r->reused);
    if (r->call.begun.len > 0) hg_jw_u64(w, "begun_tokens", r->begun.ids.count);
    hg_jw_u64(w, "generated_tokens", r->made.count);
    hg_jw_f64(w, "prompt_seconds", r->prompt_seconds);
    hg_jw_f64(w, "generate_seconds", r->generate_seconds);
    hg_jw_end(w);
    return w;
}

/* ---- a call ---- */

static hangar_code send_piece(void *ctx, hg_jw *doc, hangar_err *err)
{
    run *r = ctx;
    r->l->spoke = r->answer.spoke;
    return hg_wire_send_doc(r->l->fd, HG_WIRE_PIECE, doc, NULL, 0, err);
}

static hangar_code send_alive(void *ctx, hangar_err *err)
{
    const run *r = ctx;
    return hg_llama_alive(r->l, 0, 0, err);
}

/* All that is needed before the first token is read. */
static hangar_code prepare(run *r, const hg_jval *doc, hangar_err *err)
{
    hg_llama *l = r->l;
    const hg_output_out out = {.ctx = r, .piece = send_piece, .alive = send_alive};
    l->spoke = hg_now();
    hangar_code code = hg_generate_call_read(doc, &r->call, err);
    if (code == HANGAR_OK) code = hg_output_init(&r->answer, &r->call, &r->reader, &out, err);
    if (code == HANGAR_OK) code = hg_llama_context(l, r->call.context, err);
    if (code == HANGAR_OK) code = hg_llama_prompt(l, &r->call, &r->prompt, err);
    if (code == HANGAR_OK) code = hg_begun_init(&r->begun, &r->reader, r->call.begun, err);
    if (code == HANGAR_OK) code = hg_llama_sampler(l, &r->call, &r->sampler, err);
    if (code == HANGAR_OK) code = hg_llama_grammar(l, &r->call, &r->grammar, err);
    r->list = hg_calloc((size_t)llama_vocab_n_tokens(l->vocab), sizeof *r->list);
    return code == HANGAR_OK && !r->list ? hg_fail_memory(err) : code;
}

hangar_code hg_llama_generate(hg_llama *l, const hg_jval *doc, hg_jw **out_done, hangar_err *err)
{
    run r = {.l = l, .reader = hg_llama_reader(l), .finish = "stop", .row = -1};
    hangar_code code = prepare(&r, doc, err);
    double begin = hg_now();
    if (code == HANGAR_OK) code = read_prompt(&r, err);
    if (code == HANGAR_OK) code = read_begun(&r, err);
    double read = hg_now();
    if (code == HANGAR_OK) code = write_answer(&r, err);
    r.prompt_seconds = read - begin;
    r.generate_seconds = hg_now() - read;
    if (code == HANGAR_OK && !(*out_done = done(&r))) code = hg_fail_memory(err);
    if (r.sampler) llama_sampler_free(r.sampler);
    if (r.grammar) llama_sampler_free(r.grammar);
    hg_output_deinit(&r.answer);
    hg_begun_deinit(&r.begun);
    hg_ids64_deinit(&r.prompt);
    hg_ids64_deinit(&r.made);
    free(r.list);
    return code;
}
