/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ONNX runner: the graphs of one model held by ONNX Runtime, answering the calls of engine/onnx_ops.h. One
 * thread speaks to hangar; the engine has its own. Everything that comes in a frame, and every tensor that a
 * graph gives back, is checked before it is used.
 */
#ifndef HG_RUNNER_ONNX_H
#define HG_RUNNER_ONNX_H

#include "base/err.h"
#include "base/fsx.h"
#include "base/json.h"
#include "engine/onnx_ops.h"
#include "format/output.h"
#include "format/begun.h"
#include "format/conversation.h"
#include "format/mel.h"
#include "format/tokenizer.h"

#include <onnxruntime_c_api.h>
#include <stdbool.h>
#include <stdint.h>

/* An input or output of a graph. dims: -1 = any length. */
typedef struct hg_port {
    char *name;
    ONNXTensorElementDataType type;
    size_t rank;
    int64_t dims[HG_ONNX_RANK_MAX];
} hg_port;

typedef struct hg_ports {
    hg_port *items;
    size_t count;
} hg_ports;

typedef struct hg_graph {
    char *name;
    OrtSession *session;
    hg_ports ins, outs;
    OrtValue **weights; /* the initializers that lie in our mappings */
    size_t weight_count;
} hg_graph;

/* An output of the op "run" that stays for a later one. */
typedef struct hg_kept {
    char *name;
    OrtValue *value;
} hg_kept;

typedef struct hg_onnx {
    int fd; /* the socket to hangar */
    const OrtApi *api;
    OrtEnv *env;
    OrtMemoryInfo *cpu;
    OrtAllocator *allocator; /* the engine's own, never freed */
    int threads;
    bool prepack;
    GraphOptimizationLevel level; /* what the engine may do to the graphs */
    bool loaded, media;           /* media: libav is there */
    int sandbox;                  /* hg_sandbox_enter's level */
    hg_map *maps;
    size_t map_count;
    hg_graph graphs[HG_ONNX_GRAPHS_MAX];
    size_t graph_count;
    hg_mel *mel; /* of the last call that needed one */
    int mel_bins;
    hg_kept kept[HG_ONNX_TENSORS_MAX];
    size_t kept_count;
    struct hg_text *text;       /* tokenizer and what belongs to it; NULL = LOAD brought none */
    struct hg_writer *writer;   /* the decoder of the last "generate", kept for the next */
    OrtRunOptions *run_options; /* of the running call, so that it can be ended from outside; NULL = none */
} hg_onnx;

/* libav.c: loads libav. INTERNAL when it cannot be. */
hangar_code hg_libav_ready(hangar_err *err);

/* session.c */
/* Finds the engine. ENGINE when it is too old; it is started by LOAD, which says how many threads it has. */
hangar_code hg_onnx_init(hg_onnx *o, hangar_err *err);
/* The engine's own error as ours; frees the status. NULL = OK. */
hangar_code hg_onnx_check(const hg_onnx *o, OrtStatus *status, const char *what, hangar_err *err);
/* LOAD: starts the engine, locks itself in, reads the texts, maps the weights, makes the sessions. Sends a TICK on o->fd for each. */
hangar_code hg_onnx_load(hg_onnx *o, const hg_jval *load, const char *bin, size_t bin_len, hangar_err *err);
/* The answer to LOAD; NULL when out of memory. */
hg_jw *hg_onnx_ready(const hg_onnx *o);
hg_graph *hg_onnx_graph(hg_onnx *o, const char *name, hangar_err *err); /* NULL: no such graph */
const hg_port *hg_port_get(const hg_ports *ports, const char *name);    /* NULL: not there */

/* tensor.c */
/* Bytes of an element; 0 for a type that does not travel. */
size_t hg_type_size(ONNXTensorElementDataType type);
const char *hg_type_name(ONNXTensorElementDataType type); /* "F32"; "?" for one that does not travel */
bool hg_type_parse(const char *name, ONNXTensorElementDataType *out);
/* Bytes of a tensor; false when that is over `max` or a dimension is negative. */
bool hg_tensor_bytes(ONNXTensorElementDataType type, const int64_t *dims, size_t rank, uint64_t max,
                     uint64_t *out);
/* A tensor over memory of the caller's, which must outlive it. */
hangar_code hg_tensor_over(const hg_onnx *o, const void *data, uint64_t bytes, const int64_t *dims,
                           size_t rank, ONNXTensorElementDataType type, OrtValue **out, hangar_err *err);
/* What a tensor holds. INVALID when its type is another or its rank is. */
hangar_code hg_tensor_view(const hg_onnx *o, const OrtValue *value, ONNXTensorElementDataType type,
                           size_t rank, const void **out_data, int64_t *out_dims, hangar_err *err);
void hg_value_free(const hg_onnx *o, OrtValue **value);
/* The op "run". *out_bin is the caller's. */
hangar_code hg_onnx_run(hg_onnx *o, const hg_jval *call, const char *bin, size_t bin_len, hg_jw **out_done,
                        void **out_bin, size_t *out_len, hangar_err *err);
/* Values as a DONE frame: names[i] describes values[i]. */
hangar_code hg_onnx_pack(const hg_onnx *o, OrtValue *const *values, const char *const *names, size_t count,
                         hg_jw *w, void **out_bin, size_t *out_len, hangar_err *err);

/* time.c: the op "time". */
hangar_code hg_onnx_time(hg_onnx *o, const hg_jval *call, hg_jw **out_done, hangar_err *err);

/* audio.c: any file that libav knows, as 16 kHz mono, in a stream */
typedef struct hg_audio hg_audio;
/*
 * Reads from `fd` (borrowed, must outlive it; pread, so that its position does not matter). INVALID when it is
 * no audio.
 */
hangar_code hg_audio_open(int fd, hg_audio **out, hangar_err *err);
void hg_audio_close(hg_audio *a);
/* Seconds that the file says it has; 0 = it does not say. */
double hg_audio_duration(const hg_audio *a);
/* Up to `want` samples; fewer only at the end. LIMIT behind HG_ONNX_AUDIO_MAX. */
hangar_code hg_audio_read(hg_audio *a, float *to, size_t want, size_t *out_got, hangar_err *err);

/* stream.c: a sound in windows, for calls that listen */
typedef struct hg_stream {
    hg_onnx *o;
    hg_audio *audio;
    float *samples;      /* [0, filled) of the window that begins at `offset` samples of the file */
    size_t room, filled; /* room: one window and one sample, to see whether more follows */
    uint64_t offset;
    bool ended;              /* nothing follows what is held */
    double total, last_tick; /* seconds that the file claims; clock */
} hg_stream;
/* A sound of at most HG_ONNX_AUDIO_MAX seconds; windows of `window` samples. To be closed also after a failure. */
hangar_code hg_stream_open(hg_stream *s, hg_onnx *o, int fd, size_t window, hangar_err *err);
void hg_stream_close(hg_stream *s);
/* Fills the window, and one sample more when there is one. */
hangar_code hg_stream_fill(hg_stream *s, hangar_err *err);
/* Moves on by `count` samples, at most as many as it holds. */
void hg_stream_drop(hg_stream *s, size_t count);
/* Between two steps: a sign of life, and whether hangar wants to end it (CANCELLED). ctx: the hg_stream. */
hangar_code hg_stream_between(void *ctx, hangar_err *err);

/* rules.c: which tokens may come next */
typedef struct hg_rules {
    int64_t eos;
    int64_t no_timestamps; /* -1: the model has no timestamps; else they begin behind it */
    int64_t max_initial;   /* highest first timestamp, as an index; -1 = any */
    bool timestamps;
    int64_t *suppress, *begin_suppress;
    size_t suppress_count, begin_count;
} hg_rules;
/* Sets the scores of forbidden tokens to -inf. tokens: what was generated so far, without the prompt. */
void hg_rules_apply(const hg_rules *r, const int64_t *tokens, size_t count, float *scores, size_t vocab);
/* log(sum(exp(scores))); -inf when all are. */
double hg_log_sum(const float *scores, size_t count);

/* decoder.c: the decoder with its cache */
typedef struct hg_decoder hg_decoder;
/* hidden: the encoder's output for one window; borrowed, must outlive it. */
hangar_code hg_decoder_new(hg_onnx *o, hg_graph *graph, OrtValue *hidden, hg_decoder **out, hangar_err *err);
void hg_decoder_free(hg_decoder *d);
/*
 * Feeds `each` tokens to every one of the rows of the batch ([rows][each]). *out_logits is
 * [rows][each][vocab], borrowed until the next step. The first step has one row.
 */
hangar_code hg_decoder_step(hg_decoder *d, const int64_t *ids, size_t each, const float **out_logits,
                            size_t *out_vocab, hangar_err *err);
/* Forgets all tokens. What a single row computed of the encoder's output stays. */
hangar_code hg_decoder_rewind(hg_decoder *d, hangar_err *err);
/* Row i becomes what row from[i] was, i < rows. */
hangar_code hg_decoder_select(hg_decoder *d, const size_t *from, size_t rows, hangar_err *err);

/* The attention mask of the encoder's output, for decoders that want it; borrowed like `hidden`. */
void hg_decoder_set_mask(hg_decoder *d, OrtValue *mask);
/*
 * Feeds `count` tokens to the one row. *out_row is the scores behind the last of them, borrowed until the next feed and the caller's to
 * change. A graph without encoder gets attention_mask and position_ids where it has such inputs.
 */
hangar_code hg_decoder_feed(hg_decoder *d, const int64_t *ids, size_t count, float **out_row,
                            size_t *out_vocab, hangar_err *err);
/* The same with the scores behind each of the tokens kept for hg_decoder_row, until the next feed. */
hangar_code hg_decoder_feed_all(hg_decoder *d, const int64_t *ids, size_t count, hangar_err *err);
/* Those behind the index-th of them, borrowed until the next call and the caller's to change. */
hangar_code hg_decoder_row(hg_decoder *d, size_t index, float **out_row, size_t *out_vocab, hangar_err *err);
/* Whether the cache stays in one place and grows there, as far as is known. */
bool hg_decoder_in_place(const hg_decoder *d);
/* Tokens that the cache holds. */
size_t hg_decoder_length(const hg_decoder *d);
/* Forgets all but the first `length` tokens of the one row; all of them when the graph keeps fewer than it was fed. */
hangar_code hg_decoder_cut(hg_decoder *d, size_t length, hangar_err *err);

/* sample.c: from scores to a token */
typedef struct hg_candidate {
    float score;
    uint32_t id;
} hg_candidate;
typedef struct hg_sampler {
    double temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    int64_t top_k;
    uint64_t state; /* of the random numbers */
    hg_candidate *list;
    size_t list_cap;
} hg_sampler;
/* A negative seed is replaced by a random one. */
void hg_sampler_init(hg_sampler *s, const hg_generate_call *call);
void hg_sampler_deinit(hg_sampler *s);
/* The next random number in [0, 1): SplitMix64 (Steele, Lea, Flood 2014) from the seed on, its upper 53 bits. */
double hg_sampler_uniform(hg_sampler *s);
/*
 * One token by its score; the likeliest, the first of equal ones, at temperature 0. scores: [vocab], changed by the penalty; -inf = never.
 * made: the answer so far. ENGINE when a score is NaN or +inf, or none is finite.
 */
hangar_code hg_sampler_pick(hg_sampler *s, float *scores, size_t vocab, const int64_t *made, size_t count,
                            int64_t *out, hangar_err *err);

/* text.c: tokenizer, chat template and the ids that end an answer, from the texts that came with LOAD */
typedef struct hg_text {
    int64_t *eos, *never; /* ids that end an answer; ids that no answer has */
    size_t eos_count, never_count;
    int64_t start, first; /* what a decoder beside an encoder begins with; the forced first id; -1 = none */
    int64_t context;      /* tokens the model was made for; 0 = not known */
    hg_tokenizer *tokenizer; /* NULL = there is none: prompts are ids, answers have no text */
    hg_templates templates;
} hg_text;
/* The "texts" of LOAD, which lie in its binary part. None: OK and *out NULL. */
hangar_code hg_text_new(const hg_jval *texts, const char *bin, size_t bin_len, hg_text **out,
                        hangar_err *err);
void hg_text_free(hg_text *t);
/* The prompt of a call as ids (the caller's): messages by the chat template, or a text as it is. t may be NULL: UNSUPPORTED. */
hangar_code hg_text_prompt(const hg_text *t, const hg_generate_call *call, hg_ids64 *out, hangar_err *err);
/*
 * The text of an answer, token by token. Without a tokenizer there is none. `before` are the tokens that the text goes on from, so that a
 * space at its beginning is kept and half a character is completed; count 0 when it stands by itself. *out is to be freed in any case.
 */
typedef struct hg_text_stream hg_text_stream;
hangar_code hg_text_stream_new(const hg_text *t, const int64_t *before, size_t count, hg_text_stream **out,
                               hangar_err *err);
/* The first `bytes` of the text are out already and left out. */
void hg_text_stream_skip(hg_text_stream *s, size_t bytes);
void hg_text_stream_free(hg_text_stream *s);
/* Adds what a token makes certain to the answer; and, at the end, what is left. */
hangar_code hg_text_piece(hg_text_stream *s, int64_t id, const hg_reader *reader, hg_output *to,
                          hangar_err *err);
hangar_code hg_text_flush(hg_text_stream *s, hg_output *to, hangar_err *err);
/* How the tokenizer reads and writes; t may be NULL, or have no tokenizer: then it reads nothing (UNSUPPORTED) and writes nothing. */
hg_reader hg_text_reader(const hg_text *t);

/* generate.c */
typedef struct hg_writer hg_writer;
/* The op "generate": sends PIECE and TICK on o->fd. */
hangar_code hg_onnx_generate(hg_onnx *o, const hg_jval *doc, hg_jw **out_done, hangar_err *err);
/* What a call left for the next. NULL is fine. */
void hg_writer_free(hg_writer *w);

/* search.c */
typedef struct hg_search {
    const hg_rules *rules;
    const int64_t *prompt;
    size_t prompt_len;
    size_t max_tokens; /* prompt and answer together */
    size_t beams;
    int64_t no_speech; /* id of the token, -1 = none */
    hangar_code (*between)(void *ctx,
                           hangar_err *err); /* called before each step; an error ends the search */
    void *ctx;
} hg_search;
typedef struct hg_found {
    int64_t *tokens; /* the answer without prompt and end; the caller's */
    size_t count;
    double average;   /* log probability per token, the end included */
    double no_speech; /* probability that nobody speaks; 0 = not known */
} hg_found;
hangar_code hg_search_run(const hg_search *s, hg_decoder *d, hg_found *out, hangar_err *err);

/* whisper.c */
/* The op "encode". */
hangar_code hg_onnx_encode(hg_onnx *o, const hg_jval *call, const char *bin, size_t bin_len, hg_jw **out_done,
                           void **out_bin, size_t *out_len, hangar_err *err);
/* The op "transcribe": sends PIECE and TICK on o->fd. audio: the file's descriptor. */
hangar_code hg_onnx_transcribe(hg_onnx *o, const hg_jval *call, int audio, hg_jw **out_done, hangar_err *err);

/* ctc.c */
/* The op "ctc": sends PIECE and TICK on o->fd. audio: the file's descriptor. */
hangar_code hg_onnx_ctc(hg_onnx *o, const hg_jval *call, int audio, hg_jw **out_done, hangar_err *err);

/* see.c */
/* The op "picture". file: the picture's descriptor. *out_bin is the caller's. */
hangar_code hg_onnx_picture(hg_onnx *o, const hg_jval *call, int file, hg_jw **out_done, void **out_bin,
                            size_t *out_len, hangar_err *err);

#endif
