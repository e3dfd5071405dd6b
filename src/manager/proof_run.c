/* SPDX-License-Identifier: Apache-2.0 */
/* Running any converted model on the inputs of proof.h. Graphs tell by their ports what they want. */
#include "base/mem.h"
#include "manager/proof.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL   "model"
#define ENCODER "encoder_model"
#define DECODER "decoder_model_merged"
#define PAST    "past_key_values."

static bool has_port(const hg_or_session *s, const char *graph, const char *name)
{
    hg_or_tensor port;
    return hg_or_port(s, graph, "inputs", name, &port);
}

/* How this model is run. */
hg_proof_kind hg_proof_kind_of(const hg_or_session *s)
{
    if (hg_or_name(s, DECODER, "inputs", 0)) return HG_PROOF_ENCDEC;
    return has_port(s, MODEL, PAST "0.key") ? HG_PROOF_DECODER : HG_PROOF_WHOLE;
}

/* ---- outputs ---- */

void hg_proof_output_deinit(hg_proof_output *o)
{
    for (size_t i = 0; i < o->count; i++) free(o->items[i].data);
    o->count = 0;
}

const hg_proof_array *hg_proof_output_get(const hg_proof_output *o, const char *name)
{
    for (size_t i = 0; i < o->count; i++) {
        if (strcmp(o->items[i].name, name) == 0) return &o->items[i];
    }
    return NULL;
}

/* A new array of a shape, zeros. */
static hangar_code new_array(hg_proof_output *o, const char *name, const int64_t *shape, size_t rank,
                             hg_proof_array **out, hangar_err *err)
{
    hg_or_tensor t = {.rank = rank};
    if (o->count == HG_PROOF_ARRAYS_MAX || strlen(name) >= sizeof o->items[0].name)
        return hg_fail(err, HANGAR_E_LIMIT, "more outputs than %d, or too long a name", HG_PROOF_ARRAYS_MAX);
    memcpy(t.shape, shape, rank * sizeof *shape);
    hg_proof_array *a = &o->items[o->count];
    *a = (hg_proof_array){.rank = rank, .count = hg_or_count(&t)};
    snprintf(a->name, sizeof a->name, "%s", name);
    memcpy(a->shape, shape, rank * sizeof *shape);
    a->data = hg_calloc(a->count, sizeof *a->data);
    if (!a->data) return hg_fail_memory(err);
    o->count++;
    *out = a;
    return HANGAR_OK;
}

static hangar_code copy_output(const hg_or_tensor *t, hg_proof_output *o, hangar_err *err)
{
    hg_proof_array *a;
    hangar_code code = new_array(o, t->name, t->shape, t->rank, &a, err);
    if (code == HANGAR_OK && t->bytes) memcpy(a->data, t->data, t->bytes);
    return code;
}

/* ---- inputs of one call ---- */

/* An input, if the graph has it. */
static void give(const hg_or_session *s, hg_or_call *c, const char *name, hg_or_type type, const void *data,
                 size_t rank, const int64_t *shape)
{
    if (!data || c->count == HG_OR_INPUTS_MAX || !has_port(s, c->graph, name)) return;
    hg_or_tensor *t = &c->inputs[c->count++];
    *t = (hg_or_tensor){.name = name, .type = type, .rank = rank, .data = data};
    memcpy(t->shape, shape, rank * sizeof *shape);
    t->bytes = hg_or_count(t) * hg_or_type_size(type);
}

/* ---- everything at once ---- */

static hangar_code run_whole(hg_or_session *s, const hg_ref_input *in, hg_proof_output *out, hangar_err *err)
{
    const int64_t tokens[] = {(int64_t)in->batch, (int64_t)in->length};
    const int64_t picture[] = {(int64_t)in->batch, (int64_t)in->channels, (int64_t)in->height,
                               (int64_t)in->width};
    const int64_t sound[] = {(int64_t)in->batch, (int64_t)in->sample_count};
    HG_AUTO(hg_auto_free) int64_t *plain = hg_calloc(2 * in->batch * in->length + 1, sizeof *plain);
    if (!plain) return hg_fail_memory(err);
    int64_t *ones = plain + in->batch * in->length;
    for (size_t i = 0; i < in->batch * in->length; i++) ones[i] = 1;
    hg_or_call c = {.graph = MODEL};
    give(s, &c, "input_ids", HG_OR_I64, in->ids, 2, tokens);
    give(s, &c, "attention_mask", HG_OR_I64, in->mask ? in->mask : ones, 2, tokens);
    give(s, &c, "token_type_ids", HG_OR_I64, in->types ? in->types : plain, 2, tokens);
    give(s, &c, "pixel_values", HG_OR_F32, in->pixels, 4, picture);
    give(s, &c, "input_values", HG_OR_F32, in->samples, 2, sound);
    hg_frame answer = {0};
    hangar_code code = hg_or_run(s, &c, &answer, err);
    const char *name;
    for (size_t i = 0; code == HANGAR_OK && (name = hg_or_name(s, MODEL, "outputs", i)); i++) {
        hg_or_tensor t;
        code = hg_or_output(&answer, name, &t, err);
        if (code == HANGAR_OK) code = copy_output(&t, out, err);
    }
    hg_frame_deinit(&answer);
    return code;
}

/* ---- with a cache ---- */

/* What a decoder is given from call to call: nothing in the first one, then what came out as present, which the runner keeps. */
typedef struct cache {
    hg_or_tensor past[HG_OR_INPUTS_MAX - 8]; /* empty ones */
    char present[HG_OR_INPUTS_MAX - 8][96];
    size_t count;
    bool filled;
} cache;

static hangar_code cache_init(const hg_or_session *s, const char *graph, size_t batch, cache *c,
                              hangar_err *err)
{
    *c = (cache){0};
    const char *name;
    for (size_t i = 0; (name = hg_or_name(s, graph, "inputs", i)); i++) {
        hg_or_tensor port;
        if (strncmp(name, PAST, strlen(PAST)) != 0) continue;
        if (c->count == HG_LEN(c->past))
            return hg_fail(err, HANGAR_E_LIMIT, "more than %zu past tensors", HG_LEN(c->past));
        if (!hg_or_port(s, graph, "inputs", name, &port) || port.rank != 4)
            return hg_fail(err, HANGAR_E_ENGINE, "input %s has an unexpected shape", name);
        snprintf(c->present[c->count], sizeof c->present[0], "present.%s", name + strlen(PAST));
        c->past[c->count++] = (hg_or_tensor){.name = name,
                                             .type = port.type,
                                             .rank = 4,
                                             .shape = {(int64_t)batch, port.shape[1], 0, port.shape[3]}};
    }
    return HANGAR_OK;
}

/* Keys and values of an encoder are those of the first call. */
static void cache_give(const cache *c, hg_or_call *to)
{
    for (size_t i = 0; i < c->count && to->count < HG_OR_INPUTS_MAX; i++) {
        hg_or_tensor *t = &to->inputs[to->count++];
        *t = c->past[i];
        if (c->filled) t->kept = c->present[i];
        if (!c->filled || !strstr(c->present[i], ".encoder.")) to->keep[to->keep_count++] = c->present[i];
    }
}

/* A decoder at work. */
typedef struct decoding {
    hg_or_session *s;
    const char *graph;
    const hg_ref_input *in;
    cache cache;
    const hg_proof_array *hidden; /* of an encoder; NULL = none */
    hg_proof_array *logits;       /* NULL until the first piece */
    hg_proof_output *out;
} decoding;

/* Columns [from, from + n) of a [batch][length] array, one row behind the other; the caller's. */
static int64_t *columns(const int64_t *from, size_t batch, size_t length, size_t first, size_t n)
{
    int64_t *to = hg_calloc(batch * n, sizeof *to);
    for (size_t b = 0; to && b < batch; b++) memcpy(to + b * n, from + b * length + first, n * sizeof *to);
    return to;
}

/* The number of real tokens before each. */
int64_t *hg_proof_positions(const hg_ref_input *in)
{
    int64_t *to = hg_calloc(in->batch * in->length, sizeof *to);
    for (size_t b = 0; to && b < in->batch; b++) {
        int64_t seen = 0;
        for (size_t i = b * in->length; i < (b + 1) * in->length; i++) {
            bool real = !in->mask || in->mask[i] != 0;
            to[i] = in->positions ? in->positions[i] : real ? seen : 1;
            seen += real;
        }
    }
    return to;
}

/* Puts the logits of a piece where they belong. */
static hangar_code take_logits(decoding *d, const hg_frame *answer, size_t first, size_t n, hangar_err *err)
{
    hg_or_tensor t;
    hangar_code code = hg_or_output(answer, "logits", &t, err);
    if (code != HANGAR_OK) return code;
    const hg_ref_input *in = d->in;
    if (t.rank != 3 || t.shape[0] != (int64_t)in->batch || t.shape[1] != (int64_t)n)
        return hg_fail(err, HANGAR_E_ENGINE, "logits have an unexpected shape");
    size_t vocab = (size_t)t.shape[2];
    const int64_t shape[] = {(int64_t)in->batch, (int64_t)in->length, t.shape[2]};
    if (!d->logits) code = new_array(d->out, "logits", shape, 3, &d->logits, err);
    if (code == HANGAR_OK && d->logits->shape[2] != t.shape[2])
        code = hg_fail(err, HANGAR_E_ENGINE, "logits have an unexpected shape");
    for (size_t b = 0; code == HANGAR_OK && b < in->batch; b++)
        memcpy(d->logits->data + (b * in->length + first) * vocab, HG_OR_FLOATS(&t) + b * n * vocab,
               n * vocab * sizeof(float));
    return code;
}

/* Feeds tokens [first, first + n). */
static hangar_code decode_piece(decoding *d, size_t first, size_t n, hangar_err *err)
{
    const hg_ref_input *in = d->in;
    size_t seen = first + n, count = in->batch * in->length;
    HG_AUTO(hg_auto_free) int64_t *ones = hg_calloc(count + in->batch * in->source_length + 1, sizeof *ones);
    HG_AUTO(hg_auto_free) int64_t *all = hg_proof_positions(in);
    HG_AUTO(hg_auto_free) int64_t *ids = columns(in->ids, in->batch, in->length, first, n);
    if (!ones || !all || !ids) return hg_fail_memory(err);
    for (size_t i = 0; i < count + in->batch * in->source_length; i++) ones[i] = 1;
    HG_AUTO(hg_auto_free)
    int64_t *mask = columns(in->mask ? in->mask : ones, in->batch, in->length, 0, seen);
    HG_AUTO(hg_auto_free) int64_t *positions = columns(all, in->batch, in->length, first, n);
    if (!mask || !positions) return hg_fail_memory(err);
    uint8_t cached = d->cache.filled;
    const int64_t tokens[] = {(int64_t)in->batch, (int64_t)n}, total[] = {(int64_t)in->batch, (int64_t)seen};
    const int64_t source[] = {(int64_t)in->batch, d->hidden ? d->hidden->shape[1] : 0}, one[] = {1};
    hg_or_call c = {.graph = d->graph, .output = "logits"};
    give(d->s, &c, "input_ids", HG_OR_I64, ids, 2, tokens);
    give(d->s, &c, "attention_mask", HG_OR_I64, mask, 2, total);
    give(d->s, &c, "position_ids", HG_OR_I64, positions, 2, tokens);
    give(d->s, &c, "use_cache_branch", HG_OR_BOOL, &cached, 1, one);
    if (d->hidden) {
        give(d->s, &c, "encoder_hidden_states", HG_OR_F32, d->hidden->data, 3, d->hidden->shape);
        give(d->s, &c, "encoder_attention_mask", HG_OR_I64, in->source_mask ? in->source_mask : ones, 2,
             source);
    }
    cache_give(&d->cache, &c);
    hg_frame answer = {0};
    hangar_code code = hg_or_run(d->s, &c, &answer, err);
    if (code == HANGAR_OK) code = take_logits(d, &answer, first, n, err);
    d->cache.filled = true;
    hg_frame_deinit(&answer);
    return code;
}

static hangar_code run_decoder(hg_or_session *s, const char *graph, const hg_ref_input *in,
                               const hg_proof_array *hidden, const size_t *pieces, hg_proof_output *out,
                               hangar_err *err)
{
    decoding d = {.s = s, .graph = graph, .in = in, .hidden = hidden, .out = out};
    size_t done = 0;
    hangar_code code = cache_init(s, graph, in->batch, &d.cache, err);
    while (code == HANGAR_OK && done < in->length) {
        size_t n = pieces && *pieces ? *pieces++ : in->length - done;
        if (n > in->length - done) n = in->length - done;
        code = decode_piece(&d, done, n, err);
        done += n;
    }
    return code;
}

/* ---- encoder and decoder ---- */

void hg_proof_give_states(hg_ref_input *in, const hg_proof_output *have)
{
    const hg_proof_array *hidden = hg_proof_output_get(have, "last_hidden_state");
    if (!hidden || hidden->rank != 3) return;
    in->states = hidden->data;
    in->states_length = (size_t)hidden->shape[1];
    in->states_width = (size_t)hidden->shape[2];
}

/* What the encoder gave before. */
static hangar_code take_states(const hg_ref_input *in, hg_proof_output *out, hangar_err *err)
{
    hg_proof_array *a;
    const int64_t shape[] = {(int64_t)in->batch, (int64_t)in->states_length, (int64_t)in->states_width};
    hangar_code code = new_array(out, "last_hidden_state", shape, 3, &a, err);
    if (code == HANGAR_OK) memcpy(a->data, in->states, a->count * sizeof *a->data);
    return code;
}

static hangar_code run_encoder(hg_or_session *s, const hg_ref_input *in, hg_proof_output *out,
                               hangar_err *err)
{
    const int64_t tokens[] = {(int64_t)in->batch, (int64_t)in->source_length};
    const int64_t mel[] = {(int64_t)in->batch, (int64_t)in->mels, (int64_t)in->frames};
    HG_AUTO(hg_auto_free) int64_t *ones = hg_calloc(in->batch * in->source_length + 1, sizeof *ones);
    if (!ones) return hg_fail_memory(err);
    for (size_t i = 0; i < in->batch * in->source_length; i++) ones[i] = 1;
    hg_or_call c = {.graph = ENCODER};
    give(s, &c, "input_features", HG_OR_F32, in->features, 3, mel);
    give(s, &c, "input_ids", HG_OR_I64, in->source, 2, tokens);
    give(s, &c, "attention_mask", HG_OR_I64, in->source_mask ? in->source_mask : ones, 2, tokens);
    hg_frame answer = {0};
    hg_or_tensor hidden;
    hangar_code code = hg_or_run(s, &c, &answer, err);
    if (code == HANGAR_OK) code = hg_or_output(&answer, "last_hidden_state", &hidden, err);
    if (code == HANGAR_OK && hidden.rank != 3)
        code = hg_fail(err, HANGAR_E_ENGINE, "last_hidden_state has an unexpected shape");
    if (code == HANGAR_OK) code = copy_output(&hidden, out, err);
    hg_frame_deinit(&answer);
    return code;
}

/* Runs a model. */
hangar_code hg_proof_run(hg_or_session *s, const hg_ref_input *in, const size_t *pieces, hg_proof_output *out,
                         hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    *out = (hg_proof_output){0};
    switch (hg_proof_kind_of(s)) {
    case HG_PROOF_WHOLE: code = run_whole(s, in, out, err); break;
    case HG_PROOF_DECODER: code = run_decoder(s, MODEL, in, NULL, pieces, out, err); break;
    case HG_PROOF_ENCDEC:
        code = in->states ? take_states(in, out, err) : run_encoder(s, in, out, err);
        if (code == HANGAR_OK && in->ids)
            code =
                run_decoder(s, DECODER, in, hg_proof_output_get(out, "last_hidden_state"), pieces, out, err);
        break;
    }
    if (code != HANGAR_OK) hg_proof_output_deinit(out);
    return code;
}
