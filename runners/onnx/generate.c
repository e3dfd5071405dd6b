/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The op "generate": one call from prompt to DONE, in the words of the llama runner.
 *
 * A decoder alone ("model") keeps its cache from call to call: as far as the new prompt begins like what the cache holds, nothing is read
 * again. Beside an encoder ("encoder_model", "decoder_model_merged") the prompt goes through the encoder, and the decoder begins anew.
 *
 * The prompt goes in by chunks of a fixed size, so that the same call gives the same numbers on a busy machine, and so small that the
 * scores of a chunk, of which only the last row is looked at, stay within LOGITS_MAX. Between two runs of the graph the socket is looked
 * at, and during a run by a thread of its own: anything there ends the call.
 *
 * An answer that goes on from a begun text reads that text behind the prompt (format/begun.h). At temperature 0 a decoder alone is asked at
 * each token of it whether it would have written another.
 */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/wire.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_MAX  128                  /* tokens of a prompt that are read at once */
#define CHUNK_MIN  8                    /* however large the vocabulary */
#define LOGITS_MAX ((uint64_t)64 << 20) /* bytes that the scores of a chunk may take */
#define AGAIN \
    4 /* tokens read at once behind one that was not the tokenizer's; doubled each time it goes well */
#define ID_MAX ((int64_t)1 << 31)

struct hg_writer {
    const hg_onnx *o;
    hg_graph *graph;
    hg_decoder *decoder;
    OrtValue *hidden, *mask; /* the encoder's output and its mask */
    int64_t *seen;           /* what the decoder's cache holds */
    size_t seen_len, seen_cap;
};

/* A running call. */
typedef struct run {
    hg_onnx *o;
    hg_writer *w;
    hg_generate_call call;
    hg_reader reader;
    hg_text_stream *stream;
    hg_sampler sampler;
    hg_output answer;
    hg_ids64 prompt;
    hg_begun begun;
    hg_ids64 made; /* the answer's tokens, those of what was begun included */
    size_t old;    /* how many those are */
    size_t context, reused;
    float *row; /* scores behind the last token; the decoder's */
    size_t vocab;
    float *work; /* a copy of them that the sampler changes */
    size_t work_cap;
    const char *finish;
    double prompt_seconds, generate_seconds;
} run;

void hg_writer_free(hg_writer *w)
{
    if (!w) return;
    hg_decoder_free(w->decoder);
    hg_value_free(w->o, &w->hidden);
    hg_value_free(w->o, &w->mask);
    free(w->seen);
    free(w);
}

/* ---- ending a run of the graph from outside ---- */

typedef struct watch {
    const hg_onnx *o;
    pthread_t thread;
    int ends[2]; /* closing ends[1] ends the thread */
    bool runs;
} watch;

/* Waits until hangar has something to say, or for the end of the call. */
static void *watch_socket(void *arg)
{
    const watch *w = arg;
    struct pollfd p[2] = {{.fd = w->o->fd, .events = POLLIN}, {.fd = w->ends[0], .events = POLLIN}};
    while (poll(p, 2, -1) < 0) continue;
    if (p[0].revents) {
        OrtStatus *status = w->o->api->RunOptionsSetTerminate(w->o->run_options);
        if (status) w->o->api->ReleaseStatus(status);
    }
    return NULL;
}

/* Without a thread or its pipe the call is looked after only between two runs of the graph. */
static hangar_code watch_begin(hg_onnx *o, watch *w, hangar_err *err)
{
    *w = (watch){.o = o, .ends = {-1, -1}};
    hangar_code code = hg_onnx_check(o, o->api->CreateRunOptions(&o->run_options), "options", err);
    if (code != HANGAR_OK || pipe(w->ends) != 0) return code;
    w->runs = pthread_create(&w->thread, NULL, watch_socket, w) == 0;
    return code;
}

static void watch_end(hg_onnx *o, watch *w)
{
    if (w->ends[1] >= 0) close(w->ends[1]);
    if (w->runs) pthread_join(w->thread, NULL);
    if (w->ends[0] >= 0) close(w->ends[0]);
    if (o->run_options) o->api->ReleaseRunOptions(o->run_options);
    o->run_options = NULL;
}

/* CANCELLED when hangar has something to say: during a call that is a cancel, or its end. */
static hangar_code asked_to_end(const run *r, hangar_err *err)
{
    return hg_wire_pending(r->o->fd) ? hg_fail(err, HANGAR_E_CANCELLED, "cancelled") : HANGAR_OK;
}

/* ---- frames ---- */

static hangar_code send_tick(run *r, size_t done, size_t total, hangar_err *err)
{
    char text[64];
    int len = snprintf(text, sizeof text, "{\"done\":%zu,\"total\":%zu}", done, total);
    r->answer.spoke = hg_now();
    return hg_wire_send(r->o->fd, HG_WIRE_TICK, (hg_str){text, (size_t)len}, NULL, 0, err);
}

static hangar_code send_piece(void *ctx, hg_jw *doc, hangar_err *err)
{
    const run *r = ctx;
    return hg_wire_send_doc(r->o->fd, HG_WIRE_PIECE, doc, NULL, 0, err);
}

static hangar_code send_alive(void *ctx, hangar_err *err)
{
    return send_tick(ctx, 0, 0, err);
}

/* The DONE document. */
static hg_jw *done(const run *r)
{
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_str(w, "text", hg_output_all(&r->answer));
    hg_jw_arr(w, "tokens");
    for (size_t i = r->old; i < r->made.count; i++) hg_jw_i64(w, NULL, r->made.ids[i]);
    hg_jw_end(w);
    hg_jw_text(w, "finish", hg_output_finish(&r->answer, r->finish));
    hg_jw_u64(w, "prompt_tokens", r->prompt.count);
    hg_jw_u64(w, "prompt_reused", r->reused);
    if (r->call.begun.len > 0) hg_jw_u64(w, "begun_tokens", r->old);
    hg_jw_u64(w, "generated_tokens", r->made.count - r->old);
    hg_jw_f64(w, "prompt_seconds", r->prompt_seconds);
    hg_jw_f64(w, "generate_seconds", r->generate_seconds);
    hg_jw_bool(w, "cache_in_place", hg_decoder_in_place(r->w->decoder));
    hg_jw_end(w);
    return w;
}

/* ---- the prompt ---- */

/* A prompt that was given as ids. */
static hangar_code read_ids(const hg_jval *list, hg_ids64 *out, hangar_err *err)
{
    size_t n = hg_json_len(list);
    if (!hg_json_is_array(list) || n == 0 || n > HG_GENERATE_CONTEXT_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "ids must be 1 to %d token ids", HG_GENERATE_CONTEXT_MAX);
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(list); code == HANGAR_OK && hg_json_next(&it);) {
        int64_t id = -1;
        if (!hg_json_i64(it.val, &id) || id < 0 || id >= ID_MAX)
            return hg_fail(err, HANGAR_E_USAGE, "id %zu is no token id", it.index + 1);
        code = hg_ids64_add(out, id, err);
    }
    return code;
}

/* How many tokens prompt and answer may have together. */
static hangar_code read_context(run *r, hangar_err *err)
{
    int64_t trained = r->o->text ? r->o->text->context : 0, n = r->call.context;
    if (trained > 0 && n > trained)
        return hg_fail(err, HANGAR_E_LIMIT,
                       "a context of %lld tokens is over the %lld this model was made for", (long long)n,
                       (long long)trained);
    if (n <= 0) n = trained > 0 && trained < HG_GENERATE_CONTEXT ? trained : HG_GENERATE_CONTEXT;
    r->context = (size_t)n;
    size_t tokens = r->prompt.count + r->begun.ids.count;
    if (tokens < r->context) return HANGAR_OK;
    if (trained > 0 && n >= trained)
        return hg_fail(
            err, HANGAR_E_TOO_LONG,
            "the prompt has %zu tokens, and with its answer this model reads at most %lld; make it shorter",
            tokens, (long long)trained);
    return hg_fail(err, HANGAR_E_TOO_LONG,
                   "the prompt has %zu tokens and the context %zu; make it shorter or raise --context-length",
                   tokens, r->context);
}

static hangar_code read_prompt(run *r, const hg_jval *doc, hangar_err *err)
{
    const hg_jval *ids = hg_json_get(doc, "ids");
    hangar_code code =
        ids ? read_ids(ids, &r->prompt, err) : hg_text_prompt(r->o->text, &r->call, &r->prompt, err);
    if (code == HANGAR_OK && r->prompt.count == 0) code = hg_fail(err, HANGAR_E_USAGE, "the prompt is empty");
    if (code == HANGAR_OK) code = hg_begun_init(&r->begun, &r->reader, r->call.begun, err);
    return code == HANGAR_OK ? read_context(r, err) : code;
}

/* ---- the decoder ---- */

/* A step that failed; CANCELLED when it was ended from outside. A run that the engine refused left the cache as it was. */
static hangar_code step_failed(run *r, hangar_code code, hangar_err *err)
{
    hangar_code cut = HANGAR_OK;
    if (code != HANGAR_E_ENGINE) {
        r->w->seen_len = 0;
        cut = hg_decoder_cut(r->w->decoder, 0, NULL);
    } else if (hg_wire_pending(r->o->fd)) {
        return hg_fail(err, HANGAR_E_CANCELLED, "cancelled");
    }
    return cut == HANGAR_E_NO_MEMORY ? cut : code;
}

/* Takes tokens into the cache and remembers them. all: the scores behind each of them are kept, else the last ones are in the row. */
static hangar_code feed_how(run *r, const int64_t *ids, size_t n, bool all, hangar_err *err)
{
    hg_writer *w = r->w;
    hangar_code code = asked_to_end(r, err);
    if (code != HANGAR_OK) return code;
    if (!hg_grow((void **)&w->seen, &w->seen_cap, w->seen_len + n, sizeof *w->seen))
        return hg_fail_memory(err);
    code = all ? hg_decoder_feed_all(w->decoder, ids, n, err)
               : hg_decoder_feed(w->decoder, ids, n, &r->row, &r->vocab, err);
    if (code != HANGAR_OK) return step_failed(r, code, err);
    memcpy(w->seen + w->seen_len, ids, n * sizeof *ids);
    w->seen_len += n;
    return HANGAR_OK;
}

static hangar_code feed(run *r, const int64_t *ids, size_t n, hangar_err *err)
{
    return feed_how(r, ids, n, false, err);
}

/* Tokens of a prompt that are read at once: few of a large vocabulary. */
static size_t chunk_of(const hg_graph *g)
{
    const hg_port *logits = hg_port_get(&g->outs, "logits");
    uint64_t vocab = logits && logits->rank == 3 && logits->dims[2] > 0 ? (uint64_t)logits->dims[2] : 1;
    uint64_t n = LOGITS_MAX / sizeof(float) / vocab;
    return n < CHUNK_MIN ? CHUNK_MIN : n > CHUNK_MAX ? CHUNK_MAX : (size_t)n;
}

/* Feeds tokens chunk by chunk, with a sign of life behind each. */
static hangar_code feed_chunks(run *r, const int64_t *ids, size_t count, size_t done, size_t total,
                               hangar_err *err)
{
    size_t chunk = chunk_of(r->w->graph);
    hangar_code code = HANGAR_OK;
    for (size_t at = 0; at < count && code == HANGAR_OK;) {
        size_t n = count - at < chunk ? count - at : chunk;
        code = feed(r, ids + at, n, err);
        at += n;
        if (code == HANGAR_OK) code = send_tick(r, done + at, total, err);
    }
    return code;
}

/* Feeds what the cache does not hold of a list of tokens; of the last one at least the scores are needed. */
static hangar_code feed_all(run *r, const int64_t *ids, size_t count, size_t total, hangar_err *err)
{
    hg_writer *w = r->w;
    size_t same = 0;
    while (same < w->seen_len && same + 1 < count && w->seen[same] == ids[same]) same++;
    hangar_code code = hg_decoder_cut(w->decoder, same, err);
    w->seen_len = hg_decoder_length(w->decoder);
    r->reused = w->seen_len;
    return code == HANGAR_OK ? feed_chunks(r, ids + r->reused, count - r->reused, r->reused, total, err)
                             : code;
}

/* A decoder reads the tokens that it writes: a prompt with others is one of another model's tokenizer. */
static hangar_code check_ids(const run *r, hangar_err *err)
{
    const hg_port *logits = hg_port_get(&r->w->graph->outs, "logits");
    int64_t vocab = logits && logits->rank == 3 ? logits->dims[2] : -1;
    for (size_t i = 0; i < r->prompt.count && vocab > 0; i++)
        if (r->prompt.ids[i] >= vocab)
            return hg_fail(
                err, HANGAR_E_INVALID,
                "the prompt has the token %lld, and the model knows %lld: this tokenizer.json is not its own",
                (long long)r->prompt.ids[i], (long long)vocab);
    return HANGAR_OK;
}

/* A decoder alone: that of the last call, or a new one. */
static hangar_code open_alone(run *r, hangar_err *err)
{
    hg_onnx *o = r->o;
    if (!o->writer) {
        o->writer = hg_calloc(1, sizeof *o->writer);
        if (!o->writer) return hg_fail_memory(err);
        o->writer->o = o;
        o->writer->graph = hg_onnx_graph(o, "model", err);
        if (!o->writer->graph) return HANGAR_E_NOT_FOUND;
        hangar_code code = hg_decoder_new(o, o->writer->graph, NULL, &o->writer->decoder, err);
        if (code != HANGAR_OK) return code;
    }
    r->w = o->writer;
    hangar_code code = check_ids(r, err);
    return code == HANGAR_OK
               ? feed_all(r, r->prompt.ids, r->prompt.count, r->prompt.count + r->begun.ids.count, err)
               : code;
}

/* The prompt through the encoder: w->hidden and w->mask. */
static hangar_code encode(run *r, hg_graph *encoder, hangar_err *err)
{
    hg_onnx *o = r->o;
    hg_writer *w = r->w;
    int64_t dims[2] = {1, (int64_t)r->prompt.count}, got[HG_ONNX_RANK_MAX];
    const char *names[2] = {"input_ids", "attention_mask"}, *const out[1] = {"last_hidden_state"};
    const hg_port *given = hg_port_get(&encoder->outs, out[0]), *taken;
    if (!given) return hg_fail(err, HANGAR_E_UNSUPPORTED, "graph %s has no last_hidden_state", encoder->name);
    taken = hg_port_get(&r->w->graph->ins, "encoder_hidden_states");
    if (taken && taken->type != given->type)
        return hg_fail(err, HANGAR_E_INVALID, "the encoder gives %s and the decoder wants %s",
                       hg_type_name(given->type), hg_type_name(taken->type));
    void *ones = NULL;
    const void *data = NULL;
    OrtValue *ids = NULL;
    hangar_code code = hg_tensor_over(o, r->prompt.ids, r->prompt.count * sizeof(int64_t), dims, 2,
                                      ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &ids, err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o,
                             o->api->CreateTensorAsOrtValue(o->allocator, dims, 2,
                                                            ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &w->mask),
                             "mask", err);
    if (code == HANGAR_OK) code = hg_onnx_check(o, o->api->GetTensorMutableData(w->mask, &ones), "mask", err);
    for (size_t i = 0; i < r->prompt.count && code == HANGAR_OK; i++) ((int64_t *)ones)[i] = 1;
    if (code == HANGAR_OK) {
        const OrtValue *const ins[2] = {ids, w->mask};
        code = hg_onnx_check(o,
                             o->api->Run(encoder->session, o->run_options, names, ins,
                                         hg_port_get(&encoder->ins, names[1]) ? 2 : 1, out, 1, &w->hidden),
                             encoder->name, err);
        if (code != HANGAR_OK && hg_wire_pending(o->fd)) code = hg_fail(err, HANGAR_E_CANCELLED, "cancelled");
    }
    if (code == HANGAR_OK) code = hg_tensor_view(o, w->hidden, given->type, 3, &data, got, err);
    hg_value_free(o, &ids);
    return code;
}

/* A decoder beside an encoder: new for each call. */
static hangar_code open_beside(run *r, hg_graph *encoder, hangar_err *err)
{
    hg_onnx *o = r->o;
    hg_writer_free(o->writer);
    r->w = o->writer = hg_calloc(1, sizeof *o->writer);
    if (!r->w) return hg_fail_memory(err);
    r->w->o = o;
    r->w->graph = hg_onnx_graph(o, "decoder_model_merged", err);
    if (!r->w->graph) return HANGAR_E_NOT_FOUND;
    if (!o->text || o->text->start < 0)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "config.json has no decoder_start_token_id");
    hangar_code code = encode(r, encoder, err);
    if (code == HANGAR_OK) code = send_tick(r, r->prompt.count, r->prompt.count, err);
    if (code == HANGAR_OK) code = hg_decoder_new(o, r->w->graph, r->w->hidden, &r->w->decoder, err);
    if (code != HANGAR_OK) return code;
    hg_decoder_set_mask(r->w->decoder, r->w->mask);
    return feed(r, &o->text->start, 1, err);
}

/* ---- choosing ---- */

static bool is_among(const int64_t *ids, size_t count, int64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id) return true;
    return false;
}

/* A token by the scores of the row, which stay as they are. */
static hangar_code choose(run *r, int64_t *out, hangar_err *err)
{
    const hg_text *t = r->o->text;
    if (!hg_grow((void **)&r->work, &r->work_cap, r->vocab, sizeof *r->work)) return hg_fail_memory(err);
    memcpy(r->work, r->row, r->vocab * sizeof *r->work);
    for (size_t i = 0; t && i < t->never_count; i++)
        if ((uint64_t)t->never[i] < r->vocab) r->work[t->never[i]] = -INFINITY;
    return hg_sampler_pick(&r->sampler, r->work, r->vocab, r->made.ids, r->made.count, out, err);
}

/* The next token: one that runs beyond what was begun, a forced one, or by its score. */
static hangar_code next_token(run *r, int64_t *out, hangar_err *err)
{
    const hg_text *t = r->o->text;
    hangar_code code = HANGAR_OK;
    if (r->begun.beyond > 0 && r->made.count == r->old) *out = r->begun.last;
    else if (t && t->first >= 0 && r->made.count == 0 && r->w->hidden) *out = t->first;
    else code = choose(r, out, err);
    if (code == HANGAR_OK) code = hg_output_chosen(&r->answer, r->row, r->vocab, *out, err);
    return code == HANGAR_OK ? hg_ids64_add(&r->made, *out, err) : code;
}

/* ---- what was begun ---- */

/* The cache goes back to the prompt and the first `at` tokens of what was begun. */
static hangar_code go_back(run *r, size_t at, hangar_err *err)
{
    hg_writer *w = r->w;
    size_t total = r->prompt.count + at;
    hangar_code code = hg_decoder_cut(w->decoder, total, err);
    w->seen_len = hg_decoder_length(w->decoder);
    if (code != HANGAR_OK || w->seen_len == total) return code;
    code = feed_chunks(r, r->prompt.ids, r->prompt.count, 0, total, err);
    return code == HANGAR_OK ? feed_chunks(r, r->begun.ids.ids, at, r->prompt.count, total, err) : code;
}

/* Asks the model at the place `at`, whose scores are in the row; *out_changed: the tokens from there on are others now. */
static hangar_code ask(run *r, size_t at, bool *out_changed, hangar_err *err)
{
    int64_t id = 0;
    hangar_code code = choose(r, &id, err);
    if (code == HANGAR_OK) code = hg_begun_prefer(&r->begun, at, id, out_changed, err);
    if (code == HANGAR_OK && r->prompt.count + r->begun.ids.count >= r->context)
        code = hg_fail(err, HANGAR_E_TOO_LONG, "the prompt and what is begun do not fit the context of %zu",
                       r->context);
    if (code == HANGAR_OK && at < r->begun.ids.count)
        code = hg_ids64_add(&r->made, r->begun.ids.ids[at], err);
    return code;
}

/* Reads what was begun and asks at every token of it. */
static hangar_code read_asking(run *r, hangar_err *err)
{
    size_t most = chunk_of(r->w->graph), chunk = most;
    bool changed = false;
    hangar_code code = r->begun.ids.count > 0 ? ask(r, 0, &changed, err) : HANGAR_OK;
    for (size_t at = 0; at < r->begun.ids.count && code == HANGAR_OK;) {
        size_t left = r->begun.ids.count - at, n = left < chunk ? left : chunk, i = 1;
        code = feed_how(r, r->begun.ids.ids + at, n, true, err);
        changed = false;
        /* Behind the last token of what was begun the answer itself chooses. */
        for (; i <= n && at + i < r->begun.ids.count && code == HANGAR_OK && !changed; i++) {
            code = hg_decoder_row(r->w->decoder, i - 1, &r->row, &r->vocab, err);
            if (code == HANGAR_OK) code = ask(r, at + i, &changed, err);
        }
        i = changed ? i - 1 : n;
        at += i;
        if (code == HANGAR_OK) code = hg_decoder_row(r->w->decoder, i - 1, &r->row, &r->vocab, err);
        if (code == HANGAR_OK && i < n) code = go_back(r, at, err);
        chunk = changed ? AGAIN : chunk * 2;
        if (chunk > most) chunk = most;
        if (code == HANGAR_OK) code = send_tick(r, r->prompt.count + at, r->prompt.count + at, err);
    }
    return code;
}

/* Reads what was begun. */
static hangar_code read_begun(run *r, hangar_err *err)
{
    const hg_text *t = r->o->text;
    hangar_code code = HANGAR_OK;
    if (r->begun.ids.count == 0) return code;
    if (r->call.temperature <= 0 && !r->w->hidden) {
        code = read_asking(r, err);
    } else {
        if (t && t->first >= 0 && r->w->hidden) code = hg_ids64_add(&r->made, t->first, err);
        for (size_t i = 0; i < r->begun.ids.count && code == HANGAR_OK; i++)
            code = hg_ids64_add(&r->made, r->begun.ids.ids[i], err);
        size_t total = r->prompt.count + r->made.count;
        if (code == HANGAR_OK) code = feed_chunks(r, r->made.ids, r->made.count, r->prompt.count, total, err);
    }
    r->old = r->made.count;
    return code;
}

/* ---- the answer ---- */

/* Token after token until an end. */
static hangar_code write_answer(run *r, hangar_err *err)
{
    const hg_text *t = r->o->text;
    hangar_code code = HANGAR_OK;
    r->finish = "length";
    while (code == HANGAR_OK && (int64_t)(r->made.count - r->old) < r->call.max_tokens) {
        int64_t id = 0;
        code = next_token(r, &id, err);
        if (code != HANGAR_OK) return code;
        bool end = t && is_among(t->eos, t->eos_count, id);
        if (!end) code = hg_text_piece(r->stream, id, &r->reader, &r->answer, err);
        if (code == HANGAR_OK) code = hg_output_send(&r->answer, false, err);
        if (code != HANGAR_OK) return code;
        if (end || r->answer.tail.stopped) {
            r->finish = "stop";
            break;
        }
        if (r->w->seen_len + 1 > r->context || (int64_t)(r->made.count - r->old) >= r->call.max_tokens) break;
        code = feed(r, &id, 1, err);
    }
    if (code == HANGAR_OK) code = hg_text_flush(r->stream, &r->answer, err);
    if (r->answer.tail.stopped) r->finish = "stop";
    return code == HANGAR_OK ? hg_output_send(&r->answer, true, err) : code;
}

/*
 * Where the text comes from. It goes on from the prompt, unless that was a conversation or went through an encoder; and from what was begun.
 */
static hangar_code open_stream(run *r, hangar_err *err)
{
    bool on = !(r->o->text && hg_templates_any(&r->o->text->templates) && !r->call.prompt) &&
              !hg_onnx_graph(r->o, "encoder_model", NULL);
    hg_ids64 before = {0};
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; on && i < r->prompt.count && code == HANGAR_OK; i++)
        code = hg_ids64_add(&before, r->prompt.ids[i], err);
    for (size_t i = 0; i < r->old && code == HANGAR_OK; i++)
        code = hg_ids64_add(&before, r->made.ids[i], err);
    if (code == HANGAR_OK) code = hg_text_stream_new(r->o->text, before.ids, before.count, &r->stream, err);
    if (code == HANGAR_OK) hg_text_stream_skip(r->stream, r->begun.beyond);
    hg_ids64_deinit(&before);
    return code;
}

/* From the prompt to the end of the answer. */
static hangar_code answer(run *r, hangar_err *err)
{
    hg_graph *encoder = hg_onnx_graph(r->o, "encoder_model", NULL);
    watch w;
    double begin = hg_now();
    hangar_code code = watch_begin(r->o, &w, err);
    if (code == HANGAR_OK) code = encoder ? open_beside(r, encoder, err) : open_alone(r, err);
    if (code == HANGAR_OK) code = read_begun(r, err);
    if (code == HANGAR_OK) code = open_stream(r, err);
    double read = hg_now();
    if (code == HANGAR_OK) code = write_answer(r, err);
    watch_end(r->o, &w);
    r->prompt_seconds = read - begin;
    r->generate_seconds = hg_now() - read;
    return code;
}

hangar_code hg_onnx_generate(hg_onnx *o, const hg_jval *doc, hg_jw **out_done, hangar_err *err)
{
    run r = {.o = o, .reader = hg_text_reader(o->text), .finish = "stop"};
    const hg_output_out out = {.ctx = &r, .piece = send_piece, .alive = send_alive};
    hangar_code code = hg_generate_call_read(doc, &r.call, err);
    if (code == HANGAR_OK && (r.call.grammar || r.call.json_schema || r.call.json))
        code = hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "answers by a grammar or a JSON schema are only for GGUF models (llama.cpp)");
    if (code == HANGAR_OK && r.call.tool_choice == HG_TOOLS_FORCED)
        code =
            hg_fail(err, HANGAR_E_UNSUPPORTED, "calls of tools are forced only with GGUF models (llama.cpp)");
    if (code == HANGAR_OK) code = hg_output_init(&r.answer, &r.call, &r.reader, &out, err);
    hg_sampler_init(&r.sampler, &r.call);
    if (code == HANGAR_OK) code = read_prompt(&r, doc, err);
    if (code == HANGAR_OK) code = answer(&r, err);
    if (code == HANGAR_OK && !(*out_done = done(&r))) code = hg_fail_memory(err);
    /* A decoder that could not be made, or is for one call. */
    if (o->writer && (!o->writer->decoder || o->writer->hidden)) {
        hg_writer_free(o->writer);
        o->writer = NULL;
    }
    hg_text_stream_free(r.stream);
    hg_sampler_deinit(&r.sampler);
    hg_output_deinit(&r.answer);
    hg_begun_deinit(&r.begun);
    hg_ids64_deinit(&r.prompt);
    hg_ids64_deinit(&r.made);
    free(r.work);
    return code;
}
