/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speech to tokens, window by window. A window is as long as the model's encoder (30 s); it is filled from the
 * stream, made into features (normalised by itself, as if it were alone), encoded, and decoded. With times,
 * the next window begins where the last complete segment ended, as Whisper was published; without, right
 * behind. A window in which the model hears nobody (no_speech over NO_SPEECH and an answer it does not believe
 * in itself) has no segments. Between all steps hangar may cancel.
 */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
#define NO_SPEECH  0.6  /* probability of silence over which an unsure answer is dropped */
#define UNSURE     -1.0 /* average log probability below which an answer is unsure       */
#define TIME_STEP  0.02 /* seconds between two timestamp tokens                          */
#define REST_MIN   1600 /* samples at the end that are too few to be a window: 0.1 s     */
#define TICK_EVERY 0.5  /* seconds                                                       */
#define PROMPT_MAX 4
#define IDS_MAX    65536 /* of a list of ids in a CALL                                    */

typedef struct call {
    hg_onnx *o;
    hg_graph *encoder, *decoder;
    hg_stream sound;
    /* from the frame */
    int mels, frames;
    int64_t start, no_speech, language, task;
    int64_t *languages;
    size_t language_count;
    size_t max_tokens, beams;
    bool asked_timestamps;
    hg_rules rules;
    size_t windows;
} call;

/* ---- the frame ---- */

/* A list of ids of the frame, the caller's; entries that are no ids are an error. */
static hangar_code read_ids(const hg_jval *list, const char *key, int64_t **out, size_t *count,
                            hangar_err *err)
{
    const hg_jval *v = hg_json_get(list, key);
    size_t len = hg_json_len(v);
    if (len > IDS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "%s has %zu ids, at most %d are read", key, len, IDS_MAX);
    *out = hg_calloc(len, sizeof **out);
    if (!*out) return hg_fail_memory(err);
    for (hg_json_iter it = hg_json_iter_of(v); hg_json_next(&it);)
        if (!hg_json_i64(it.val, &(*out)[(*count)++]))
            return hg_fail(err, HANGAR_E_INVALID, "%s[%zu] is not an id", key, it.index);
    return HANGAR_OK;
}

/* A whole number of the frame within limits. */
static hangar_code read_int(const hg_jval *doc, const char *key, int64_t min, int64_t max, int64_t *out,
                            hangar_err *err)
{
    if (!hg_json_i64(hg_json_get(doc, key), out) || *out < min || *out > max)
        return hg_fail(err, HANGAR_E_INVALID, "%s must be a number from %lld to %lld", key, (long long)min,
                       (long long)max);
    return HANGAR_OK;
}

/* Number of features and frames of a window. */
static hangar_code read_window(const hg_jval *doc, call *c, hangar_err *err)
{
    int64_t mels = 0, frames = 0;
    hangar_code code = read_int(doc, "mels", 1, HG_ONNX_MELS_MAX, &mels, err);
    if (code == HANGAR_OK) code = read_int(doc, "frames", 2, HG_ONNX_WINDOW_FRAMES, &frames, err);
    c->mels = (int)mels;
    c->frames = (int)frames;
    return code;
}

static hangar_code read_call(const hg_jval *doc, call *c, hangar_err *err)
{
    const int64_t any = INT32_MAX;
    int64_t max_tokens = 0, beams = 0;
    hangar_code code = read_window(doc, c, err);
    const struct {
        const char *key;
        int64_t min, max, *to;
    } numbers[] = {{"start", 0, any, &c->start},
                   {"eos", 0, any, &c->rules.eos},
                   {"no_timestamps", -1, any, &c->rules.no_timestamps},
                   {"no_speech", -1, any, &c->no_speech},
                   {"language", -1, any, &c->language},
                   {"task", -1, any, &c->task},
                   {"max_initial_timestamp", -1, any, &c->rules.max_initial},
                   {"max_tokens", PROMPT_MAX + 1, 65536, &max_tokens},
                   {"beams", 1, HG_ONNX_BEAMS_MAX, &beams}};
    for (size_t i = 0; i < HG_LEN(numbers) && code == HANGAR_OK; i++)
        code = read_int(doc, numbers[i].key, numbers[i].min, numbers[i].max, numbers[i].to, err);
    c->max_tokens = (size_t)max_tokens;
    c->beams = (size_t)beams;
    c->asked_timestamps = hg_json_bool_or(hg_json_get(doc, "timestamps"), false);
    if (code == HANGAR_OK)
        code = read_ids(doc, "suppress", &c->rules.suppress, &c->rules.suppress_count, err);
    if (code == HANGAR_OK)
        code = read_ids(doc, "begin_suppress", &c->rules.begin_suppress, &c->rules.begin_count, err);
    if (code == HANGAR_OK) code = read_ids(doc, "languages", &c->languages, &c->language_count, err);
    if (code == HANGAR_OK && c->asked_timestamps && c->rules.no_timestamps < 0)
        code = hg_fail(err, HANGAR_E_UNSUPPORTED, "the model knows no timestamps");
    return code;
}

static void call_deinit(call *c)
{
    hg_stream_close(&c->sound);
    free(c->languages);
    free(c->rules.suppress);
    free(c->rules.begin_suppress);
}

/* ---- encoder ---- */

/* Features of a window; the caller's, [1][mels][frames]. */
static hangar_code features(hg_onnx *o, int mels, int frames, const float *samples, size_t count, float **out,
                            hangar_err *err)
{
    if (!o->mel || o->mel_bins != mels) {
        hg_mel_free(o->mel);
        o->mel = NULL;
        hangar_code code = hg_mel_new(mels, &o->mel, err);
        if (code != HANGAR_OK) return code;
        o->mel_bins = mels;
    }
    *out = hg_calloc((size_t)mels * (size_t)frames, sizeof **out);
    if (!*out) return hg_fail_memory(err);
    hg_mel_window(o->mel, samples, count, frames, *out);
    return HANGAR_OK;
}

/* Runs the encoder on features. */
static hangar_code encode(hg_onnx *o, hg_graph *g, const float *mel, int mels, int frames, OrtValue **out,
                          hangar_err *err)
{
    int64_t dims[3] = {1, mels, frames};
    OrtValue *in = NULL;
    const char *in_name = "input_features", *out_name = "last_hidden_state";
    if (!hg_port_get(&g->ins, in_name) || !hg_port_get(&g->outs, out_name))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "graph %s has no %s or no %s", g->name, in_name, out_name);
    hangar_code code =
        hg_tensor_over(o, mel, (uint64_t)mels * (uint64_t)frames * sizeof *mel, dims, 3, F32, &in, err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o,
                             o->api->Run(g->session, NULL, &in_name, (const OrtValue *const *)&in, 1,
                                         &out_name, 1, out),
                             g->name, err);
    hg_value_free(o, &in);
    return code;
}

hangar_code hg_onnx_encode(hg_onnx *o, const hg_jval *doc, const char *bin, size_t bin_len, hg_jw **out_done,
                           void **out_bin, size_t *out_len, hangar_err *err)
{
    call c = {.o = o};
    float *mel = NULL;
    OrtValue *values[2] = {NULL, NULL};
    const char *const names[2] = {"input_features", "last_hidden_state"};
    hangar_code code = read_window(doc, &c, err);
    hg_graph *g = code == HANGAR_OK ? hg_onnx_graph(o, "encoder_model", err) : NULL;
    if (code == HANGAR_OK && !g) code = HANGAR_E_NOT_FOUND;
    if (code == HANGAR_OK)
        code = features(o, c.mels, c.frames, (const float *)(const void *)bin, bin_len / sizeof(float), &mel,
                        err);
    if (code == HANGAR_OK) code = encode(o, g, mel, c.mels, c.frames, &values[1], err);
    int64_t dims[3] = {1, c.mels, c.frames};
    if (code == HANGAR_OK)
        code = hg_tensor_over(o, mel, (uint64_t)c.mels * (uint64_t)c.frames * sizeof *mel, dims, 3, F32,
                              &values[0], err);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    if (code == HANGAR_OK) code = hg_onnx_pack(o, values, names, 2, w, out_bin, out_len, err);
    hg_value_free(o, &values[0]);
    hg_value_free(o, &values[1]);
    free(mel);
    if (code == HANGAR_OK) *out_done = w;
    else hg_jw_free(w);
    return code;
}

/* ---- decoder ---- */

/* The likeliest of the call's languages, by the scores behind the start token. */
static hangar_code find_language(call *c, hg_decoder *d, hangar_err *err)
{
    const float *logits = NULL;
    size_t vocab = 0;
    hangar_code code = hg_decoder_step(d, &c->start, 1, &logits, &vocab, err);
    for (size_t i = 0; code == HANGAR_OK && i < c->language_count; i++) {
        int64_t id = c->languages[i];
        if (id < 0 || (size_t)id >= vocab) continue;
        if (c->language < 0 || logits[id] > logits[c->language]) c->language = id;
    }
    if (code == HANGAR_OK) code = hg_decoder_rewind(d, err);
    return code == HANGAR_OK ? hg_stream_between(&c->sound, err) : code;
}

/* Start, language, task, and that no times are wanted. */
static size_t make_prompt(const call *c, int64_t prompt[PROMPT_MAX])
{
    size_t count = 0;
    prompt[count++] = c->start;
    if (c->language >= 0) prompt[count++] = c->language;
    if (c->task >= 0) prompt[count++] = c->task;
    if (!c->rules.timestamps && c->rules.no_timestamps >= 0) prompt[count++] = c->rules.no_timestamps;
    return count;
}

/* The answer to what the encoder gave. */
static hangar_code search(call *c, hg_decoder *d, hg_found *found, hangar_err *err)
{
    int64_t prompt[PROMPT_MAX];
    hg_search s = {.rules = &c->rules,
                   .prompt = prompt,
                   .prompt_len = make_prompt(c, prompt),
                   .max_tokens = c->max_tokens,
                   .beams = c->beams,
                   .no_speech = c->no_speech,
                   .between = hg_stream_between,
                   .ctx = &c->sound};
    return hg_search_run(&s, d, found, err);
}

static hangar_code decode(call *c, OrtValue *hidden, hg_found *found, hangar_err *err)
{
    hg_decoder *d = NULL;
    hangar_code code = hg_decoder_new(c->o, c->decoder, hidden, &d, err);
    if (code != HANGAR_OK) return code;
    if (c->language < 0 && c->language_count > 0) code = find_language(c, d, err);
    if (code == HANGAR_OK) code = search(c, d, found, err);
    hg_decoder_free(d);
    return code;
}

/* ---- segments ---- */

static void write_segment(hg_jw *w, double start, double end, const int64_t *tokens, size_t count)
{
    hg_jw_obj(w, NULL);
    hg_jw_f64(w, "start", start);
    hg_jw_f64(w, "end", end);
    hg_jw_arr(w, "tokens");
    for (size_t i = 0; i < count; i++) hg_jw_i64(w, NULL, tokens[i]);
    hg_jw_end(w);
    hg_jw_end(w);
}

/* Seconds of a timestamp token within its window; `def` when it is none. No later than the window's sound. */
static double time_of(const call *c, int64_t token, double def)
{
    double length = (double)c->sound.filled / HG_MEL_RATE;
    return token > c->rules.no_timestamps
               ? fmin((double)(token - c->rules.no_timestamps - 1) * TIME_STEP, length)
               : def;
}

/* Cuts an answer with times into segments; returns how many samples of the window are dealt with. */
static size_t write_timed(const call *c, const hg_found *f, hg_jw *w)
{
    double base = (double)c->sound.offset / HG_MEL_RATE, length = (double)c->sound.filled / HG_MEL_RATE;
    int64_t begin = c->rules.no_timestamps + 1;
    const int64_t *t = f->tokens;
    size_t n = f->count, from = 0;
    bool open_end =
        n >= 2 && t[n - 1] >= begin && t[n - 2] < begin; /* it ends with one time, not with a pair */
    for (size_t i = 1; i <= n; i++) {
        bool pair = i < n && t[i] >= begin && t[i - 1] >= begin;
        bool last = i == n && open_end && from > 0;
        if (!pair && !last) continue;
        write_segment(w, base + time_of(c, t[from], 0), base + time_of(c, t[i - 1], length), t + from,
                      i - from);
        from = i;
    }
    if (from == 0) { /* no pair: the whole window is one segment */
        double start = n ? time_of(c, t[0], 0) : 0, end = n > 1 ? time_of(c, t[n - 1], length) : length;
        if (n > 0) write_segment(w, base + start, base + end, t, n);
        return c->sound.filled;
    }
    if (open_end) return c->sound.filled;
    size_t dealt = (size_t)llround(time_of(c, t[from - 1], length) * HG_MEL_RATE);
    return dealt > 0 && dealt < c->sound.filled ? dealt : c->sound.filled;
}

static size_t write_plain(const call *c, const hg_found *f, hg_jw *w)
{
    double base = (double)c->sound.offset / HG_MEL_RATE;
    if (f->count > 0)
        write_segment(w, base, base + (double)c->sound.filled / HG_MEL_RATE, f->tokens, f->count);
    return c->sound.filled;
}

/* Sends the window's PIECE; *dealt is how far the stream moves on. */
static hangar_code send_piece(call *c, const hg_found *f, size_t *dealt, hangar_err *err)
{
    bool silence = f->no_speech > NO_SPEECH && f->average < UNSURE;
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_u64(w, "window", c->windows);
    hg_jw_i64(w, "language", c->language);
    hg_jw_f64(w, "no_speech", f->no_speech);
    hg_jw_arr(w, "segments");
    if (silence) *dealt = c->sound.filled;
    else *dealt = c->rules.timestamps ? write_timed(c, f, w) : write_plain(c, f, w);
    hg_jw_end(w);
    hg_jw_end(w);
    return hg_wire_send_doc(c->o->fd, HG_WIRE_PIECE, w, NULL, 0, err);
}

/* ---- windows ---- */

/* One window from features to PIECE. The extra sample of the stream is not looked at. */
static hangar_code window(call *c, size_t *dealt, hangar_err *err)
{
    size_t held = c->sound.filled;
    if (c->sound.filled == c->sound.room) c->sound.filled--;
    float *mel = NULL;
    OrtValue *hidden = NULL;
    hg_found found = {0};
    hangar_code code = features(c->o, c->mels, c->frames, c->sound.samples, c->sound.filled, &mel, err);
    if (code == HANGAR_OK) code = encode(c->o, c->encoder, mel, c->mels, c->frames, &hidden, err);
    free(mel);
    if (code == HANGAR_OK) code = hg_stream_between(&c->sound, err);
    if (code == HANGAR_OK) code = decode(c, hidden, &found, err);
    if (code == HANGAR_OK) code = send_piece(c, &found, dealt, err);
    free(found.tokens);
    hg_value_free(c->o, &hidden);
    c->sound.filled = held;
    return code;
}

static hangar_code all_windows(call *c, hangar_err *err)
{
    hangar_code code = hg_stream_fill(&c->sound, err);
    if (code != HANGAR_OK) return code;
    if (c->sound.filled == 0) return hg_fail(err, HANGAR_E_INVALID, "there is no sound in the file");
    bool longer = c->sound.filled == c->sound.room;
    c->rules.timestamps = c->asked_timestamps || (longer && c->rules.no_timestamps >= 0);
    while (code == HANGAR_OK && (c->windows == 0 || c->sound.filled >= REST_MIN)) {
        size_t dealt = 0;
        code = window(c, &dealt, err);
        if (code != HANGAR_OK) break;
        c->windows++;
        hg_stream_drop(&c->sound, dealt);
        code = hg_stream_fill(&c->sound, err);
    }
    c->sound.offset += c->sound.filled;
    return code;
}

/* The streams and graphs of a call. */
static hangar_code open_call(call *c, int audio, hangar_err *err)
{
    c->encoder = hg_onnx_graph(c->o, "encoder_model", err);
    c->decoder = c->encoder ? hg_onnx_graph(c->o, "decoder_model_merged", err) : NULL;
    if (!c->decoder) return HANGAR_E_NOT_FOUND;
    return hg_stream_open(&c->sound, c->o, audio, (size_t)c->frames * HG_MEL_HOP, err);
}

hangar_code hg_onnx_transcribe(hg_onnx *o, const hg_jval *doc, int audio, hg_jw **out_done, hangar_err *err)
{
    double from = hg_now();
    call c = {.o = o};
    hangar_code code = read_call(doc, &c, err);
    if (code == HANGAR_OK) code = open_call(&c, audio, err);
    if (code == HANGAR_OK) code = all_windows(&c, err);
    if (code == HANGAR_OK) {
        hg_jw *w = hg_jw_new();
        hg_jw_obj(w, NULL);
        hg_jw_f64(w, "duration", (double)c.sound.offset / HG_MEL_RATE);
        hg_jw_u64(w, "windows", c.windows);
        hg_jw_f64(w, "seconds", hg_now() - from);
        *out_done = w;
    }
    call_deinit(&c);
    return code;
}
