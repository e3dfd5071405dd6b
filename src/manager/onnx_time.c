/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs are described by name, not sent: the runner makes them (runners/onnx/time.c). */
#include "manager/onnx_time.h"

#include "base/mem.h"
#include "manager/load_onnx.h"

#include <stdlib.h>
#include <string.h>

#define MODEL   "model"
#define ENCODER "encoder_model"
#define DECODER "decoder_model_merged"

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The middle one. */
double hg_median(double *numbers, size_t n)
{
    if (n == 0) return 0;
    qsort(numbers, n, sizeof *numbers, compare);
    return n % 2 ? numbers[n / 2] : (numbers[n / 2 - 1] + numbers[n / 2]) / 2;
}

/* The main use of the model. */
double hg_times_score(const hg_times *t)
{
    return t->prefill + t->batch + t->steps * t->step;
}

typedef struct measure {
    hg_or_session *s;
    hg_proof_facts facts;
    int64_t positions; /* that the model has; 0 = not known */
    double seconds;    /* for each number */
} measure;

/* An input, left open. */
static void begin_input(hg_jw *w, const char *name, hg_or_type type, const int64_t *dims, size_t rank,
                        const char *how, double number)
{
    static const char *const types[] = {
        [HG_OR_F32] = "F32", [HG_OR_I64] = "I64", [HG_OR_BOOL] = "BOOL", [HG_OR_F16] = "F16"};
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", name);
    hg_jw_text(w, "dtype", types[type]);
    hg_jw_arr(w, "shape");
    for (size_t i = 0; i < rank; i++) hg_jw_i64(w, NULL, dims[i]);
    hg_jw_end(w);
    hg_jw_f64(w, how, number);
}

static void describe(hg_jw *w, const char *name, hg_or_type type, const int64_t *dims, size_t rank,
                     const char *how, double number)
{
    begin_input(w, name, type, dims, rank, how, number);
    hg_jw_end(w);
}

/* One input of a graph, by its name; false when nobody knows what it is. */
static bool describe_port(const hg_proof_facts *f, const hg_time_shape *s, const char *name,
                          const hg_or_tensor *port, hg_jw *w)
{
    const bool first = s->encoder != NULL;
    const int64_t tokens[] = {s->rows, s->length}, all[] = {s->rows, s->past + s->length},
                  source[] = {s->rows, s->source}, one[] = {1};
    int64_t big[4] = {s->rows, port->shape[1], port->shape[2], port->shape[3]};
    if (strncmp(name, "past_key_values.", 16) == 0 && port->rank == 4) {
        big[2] = !strstr(name, ".encoder.") ? s->past : first ? 0 : s->source;
        describe(w, name, port->type, big, 4, "random", 1);
    } else if (hg_streq(name, "input_ids")) {
        describe(w, name, HG_OR_I64, tokens, 2, "random", (double)f->vocab);
    } else if (hg_streq(name, "attention_mask")) {
        describe(w, name, HG_OR_I64, all, 2, "fill", 1);
    } else if (hg_streq(name, "token_type_ids") || hg_streq(name, "position_ids")) {
        describe(w, name, HG_OR_I64, tokens, 2, "fill", name[0] == 'p' ? (double)s->past : 0);
    } else if (hg_streq(name, "encoder_attention_mask")) {
        describe(w, name, HG_OR_I64, source, 2, "fill", 1);
    } else if (hg_streq(name, "use_cache_branch")) {
        describe(w, name, HG_OR_BOOL, one, 1, "fill", first ? 0 : 1);
    } else if (hg_streq(name, "encoder_hidden_states") && port->rank == 3) {
        big[1] = s->source;
        describe(w, name, port->type, big, 3, "random", 1);
    } else if (hg_streq(name, "input_features") && port->rank == 3) {
        begin_input(w, name, port->type, big, 3, "random", 1);
        hg_jw_i64(w, "sound", HG_TIME_SOUND);
        hg_jw_end(w);
    } else if (hg_streq(name, "pixel_values")) {
        int64_t picture[] = {1, (int64_t)f->channels, (int64_t)f->height, (int64_t)f->width};
        for (size_t i = 1; i < 4 && port->rank == 4; i++)
            if (port->shape[i] > 0) picture[i] = port->shape[i];
        describe(w, name, port->type, picture, 4, "random", 1);
    } else if (hg_streq(name, "input_values")) {
        const int64_t sound[] = {1, s->samples ? s->samples : HG_TIME_SAMPLES};
        describe(w, name, port->type, sound, 2, "random", 1);
    } else {
        return false;
    }
    return true;
}

/* All inputs of a graph; states of an encoder are made by it. */
static hangar_code describe_inputs(const hg_or_session *s, const hg_proof_facts *f,
                                   const hg_time_shape *shape, hg_jw *w, hangar_err *err)
{
    const char *name;
    hangar_code code = HANGAR_OK;
    hg_jw_arr(w, "inputs");
    for (size_t i = 0; code == HANGAR_OK && (name = hg_or_name(s, shape->graph, "inputs", i)); i++) {
        hg_or_tensor port;
        if (shape->encoder && hg_streq(name, "encoder_hidden_states")) {
            hg_time_shape of = {.graph = shape->encoder, .rows = shape->rows, .length = shape->source};
            hg_jw_obj(w, NULL);
            hg_jw_text(w, "name", name);
            hg_jw_text(w, "of", "last_hidden_state");
            hg_jw_text(w, "graph", of.graph);
            code = describe_inputs(s, f, &of, w, err);
            hg_jw_end(w);
        } else if (!hg_or_port(s, shape->graph, "inputs", name, &port) ||
                   !describe_port(f, shape, name, &port, w)) {
            code = hg_fail(err, HANGAR_E_UNSUPPORTED, "nobody knows how to time a graph with the input %s",
                           name);
        }
    }
    hg_jw_end(w);
    return code;
}

/* The call for runs of a graph. */
hangar_code hg_time_call(const hg_or_session *s, const hg_proof_facts *facts, const hg_time_shape *shape,
                         int warm, int repeats, double seconds, char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "op", "time");
    hg_jw_text(w, "graph", shape->graph);
    hg_jw_i64(w, "warm", warm);
    hg_jw_i64(w, "repeats", repeats);
    hg_jw_f64(w, "seconds", seconds);
    hangar_code code = describe_inputs(s, facts, shape, w, err);
    return code == HANGAR_OK ? hg_jw_finish(w, false, out, err) : code;
}

/* The median of one measurement. */
static hangar_code take(const measure *m, const hg_time_shape *s, double *out, hangar_err *err)
{
    double seconds[HG_TIME_REPEATS];
    size_t n = 0;
    hg_frame done = {0};
    HG_AUTO(hg_auto_free) char *call = NULL;
    hangar_code code =
        hg_time_call(m->s, &m->facts, s, HG_TIME_WARM, HG_TIME_REPEATS, m->seconds, &call, err);
    if (code == HANGAR_OK)
        code = hg_runner_call(m->s->runner, hg_str_of(call), NULL, 0, NULL, NULL, m->s->job, &done, err);
    if (code != HANGAR_OK) return code;
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(hg_json_root(done.doc), "seconds"));
         hg_json_next(&it) && n < HG_TIME_REPEATS;)
        if (hg_json_f64(it.val, &seconds[n])) n++;
    hg_frame_deinit(&done);
    if (n == 0) return hg_fail(err, HANGAR_E_ENGINE, "the runner timed nothing");
    *out = hg_median(seconds, n);
    return HANGAR_OK;
}

/* The fewest positions that config.json tells of; tables of some models keep two for padding. */
static int64_t read_positions(const hg_jval *root)
{
    static const char *const keys[] = {"max_position_embeddings", "n_positions", "max_target_positions",
                                       "n_ctx"};
    int64_t least = 0, n;
    const hg_jval *objects[] = {root, hg_json_get(root, "text_config")};
    for (size_t o = 0; o < HG_LEN(objects); o++)
        for (size_t k = 0; k < HG_LEN(keys); k++)
            if (hg_json_i64(hg_json_get(objects[o], keys[k]), &n) && n > 2 && (!least || n < least))
                least = n;
    return least ? least - 2 : 0;
}

/* As many as wanted, or as there are. */
static int64_t tokens_of(const measure *m, int64_t want)
{
    return m->positions && m->positions < want ? m->positions : want;
}

static hangar_code measure_whole(measure *m, hg_times *out, hangar_err *err)
{
    hg_or_tensor port;
    bool only_text = hg_or_port(m->s, MODEL, "inputs", "input_ids", &port) &&
                     !hg_or_port(m->s, MODEL, "inputs", "pixel_values", &port);
    hg_time_shape one = {.graph = MODEL, .rows = 1, .length = tokens_of(m, HG_TIME_TOKENS)};
    hg_time_shape many = {.graph = MODEL, .rows = HG_TIME_BATCH, .length = tokens_of(m, HG_TIME_SHORT)};
    if (!only_text) return take(m, &one, &out->prefill, err);
    m->seconds /= 2;
    hangar_code code = take(m, &one, &out->prefill, err);
    return code == HANGAR_OK ? take(m, &many, &out->batch, err) : code;
}

static hangar_code measure_decoder(measure *m, hg_times *out, hangar_err *err)
{
    int64_t tokens = tokens_of(m, HG_TIME_TOKENS);
    hg_time_shape first = {.graph = MODEL, .rows = 1, .length = tokens},
                  next = {.graph = MODEL, .rows = 1, .length = 1, .past = tokens};
    m->seconds /= 2;
    hangar_code code = take(m, &first, &out->prefill, err);
    return code == HANGAR_OK ? take(m, &next, &out->step, err) : code;
}

static hangar_code measure_encdec(measure *m, hg_times *out, hangar_err *err)
{
    hg_or_tensor port;
    double begin = 0;
    int64_t tokens = tokens_of(m, HG_TIME_TOKENS);
    bool sound = hg_or_port(m->s, ENCODER, "inputs", "input_features", &port);
    if (sound) out->steps = HG_TIME_SAID;
    int64_t states = hg_or_port(m->s, ENCODER, "outputs", "last_hidden_state", &port) && port.rank == 3 &&
                             port.shape[1] > 0
                         ? port.shape[1]
                         : tokens;
    hg_time_shape encoder = {.graph = ENCODER, .rows = 1, .length = tokens};
    hg_time_shape first = {.graph = DECODER,
                           .rows = 1,
                           .length = sound ? HG_TIME_PROMPT : 1,
                           .source = states,
                           .encoder = ENCODER};
    hg_time_shape next = {
        .graph = DECODER, .rows = 1, .length = 1, .past = tokens_of(m, HG_TIME_PAST), .source = states};
    m->seconds /= 3;
    hangar_code code = take(m, &encoder, &out->prefill, err);
    if (code == HANGAR_OK) code = take(m, &first, &begin, err);
    out->prefill += begin;
    return code == HANGAR_OK ? take(m, &next, &out->step, err) : code;
}

/* Measures a model. */
hangar_code hg_onnx_measure(hg_or_session *s, const hg_snapshot *snap, double seconds, hg_times *out,
                            hangar_err *err)
{
    measure m = {.s = s, .seconds = seconds};
    HG_AUTO(hg_json_auto_free) hg_json *config = NULL;
    *out = (hg_times){.steps = HG_TIME_STEPS};
    hangar_code code = hg_proof_facts_read(snap, s, &m.facts, err);
    if (code == HANGAR_OK) code = hg_load_json(snap, "config.json", &config, err);
    if (code != HANGAR_OK) return code;
    m.positions = read_positions(hg_json_root(config));
    switch (hg_proof_kind_of(s)) {
    case HG_PROOF_WHOLE: code = measure_whole(&m, out, err); break;
    case HG_PROOF_DECODER: code = measure_decoder(&m, out, err); break;
    case HG_PROOF_ENCDEC: code = measure_encdec(&m, out, err); break;
    }
    out->score = hg_times_score(out);
    return code;
}
