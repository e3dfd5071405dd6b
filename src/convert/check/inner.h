/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tools of the reference. A run (hg_plain_state) keeps the first error; after one every function does nothing and gives NULL, so a
 * family's forward pass reads like its equations. The same pass gone through "dry" only counts the multiply-adds: arrays are NULL then
 * too, so whoever touches numbers asks hg_plain_go first. Arrays belong to the run and are freed with it, or at hg_plain_release.
 *
 * Activations are [rows][columns] of double, rows = batch * length.
 */
#ifndef HG_CONVERT_CHECK_INNER_H
#define HG_CONVERT_CHECK_INNER_H

#include "convert/check/reference.h"

#include "base/fsx.h"
#include "base/spread.h"

#include <math.h>

#define HG_REF_NAME_MAX 256

/* Several versions of one function, chosen when the program starts; sanitizers run before that choice can be made. */
#if !defined(__x86_64__) || defined(HG_SANITIZED)
#    define HG_REF_MANY
#elif defined(__clang__)
#    define HG_REF_MANY __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#    define HG_REF_MANY                                                              \
        __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), \
                       optimize("O3", "fp-contract="                                 \
                                      "fast")))
#endif

typedef struct hg_plain_block hg_plain_block;

typedef struct hg_plain_state {
    const hg_checkpoint *ck;
    const hg_jval *config; /* what the getters below read */
    const hg_ref_input *in;
    hangar_job *job;
    hg_ref_output *out;
    hangar_err *err;
    hangar_code code; /* the first error */
    const char *
        base; /* "model.": stands before names, or is missing from all of them in a checkpoint of the bare model */
    hg_map *maps;           /* one per file of the checkpoint, mapped at first use */
    hg_plain_block *blocks; /* arrays, newest first */
    uint64_t bytes;
    double work, asked; /* multiply-adds so far; at the last look at the clock */
    double until;       /* hg_now() at which the time is up; 0 = never */
    unsigned threads;
    bool dry;
} hg_plain_state;

/* ---- the run (run.c) ---- */

/* Numbers are there and nothing has gone wrong. */
static inline bool hg_plain_go(const hg_plain_state *r)
{
    return r->code == HANGAR_OK && !r->dry;
}
void hg_plain_fail(hg_plain_state *r, hangar_code code, const char *fmt, ...) HG_PRINTF(3, 4);
/* rows * columns zeros. */
double *hg_plain_array_new(hg_plain_state *r, size_t rows, size_t columns);
void *hg_plain_bytes_new(hg_plain_state *r, size_t count, size_t size);
/* Frees all arrays made since `mark` (= r->blocks at that time). */
void hg_plain_release(hg_plain_state *r, hg_plain_block *mark);
/* Counts work, and now and then asks whether the time is up or the job is cancelled. */
void hg_plain_spend(hg_plain_state *r, double work);
/* work(ctx, item, who) for each item, which takes about `each` multiply-adds, with who < r->threads; counts them. Touches nothing in a dry run. */
void hg_plain_spread(hg_plain_state *r, size_t count, double each, hg_spread_fn *work, void *ctx);
/* Copies an array into the output. */
void hg_plain_give(hg_plain_state *r, const char *name, const double *data, size_t rank, const size_t *shape);
/* USAGE unless the input has ids, and LIMIT where the sizes are beyond all sense. */
void hg_plain_need_ids(hg_plain_state *r);
/* The layers to run of a stack of n. */
size_t hg_plain_depth(const hg_plain_state *r, size_t n);

/* ---- config.json (config.c); null counts as absent ---- */

const hg_jval *hg_plain_key(const hg_plain_state *r, const char *key); /* NULL when absent or null */
/* A whole number from `least` to 2^31; absent: def, or INVALID when def is HG_REF_NEEDED. */
#define HG_REF_NEEDED INT64_MIN
size_t hg_plain_int(hg_plain_state *r, const char *key, int64_t def, int64_t least);
double hg_plain_real(hg_plain_state *r, const char *key, double def);
bool hg_plain_flag(hg_plain_state *r, const char *key, bool def);
const char *hg_plain_text(hg_plain_state *r, const char *key, const char *def);
/* UNSUPPORTED when the key is there with another value than false, null or the empty list. */
void hg_plain_refuse(hg_plain_state *r, const char *key);

typedef enum hg_plain_act {
    HG_REF_RELU,
    HG_REF_GELU,       /* x Phi(x) */
    HG_REF_GELU_TANH,  /* its approximation by tanh: gelu_new, gelu_pytorch_tanh, gelu_fast */
    HG_REF_QUICK_GELU, /* x sigmoid(1.702 x) */
    HG_REF_SILU,
    HG_REF_TANH,
    HG_REF_RELU2
} hg_plain_act;
hg_plain_act hg_plain_act_key(hg_plain_state *r, const char *key, const char *def);
hg_plain_act hg_plain_act_named(hg_plain_state *r, const char *key, const char *name);

/* What the class named by architectures[0] adds to the bare model. */
typedef enum hg_plain_head {
    HG_REF_BARE,
    HG_REF_CAUSAL,
    HG_REF_MASKED,
    HG_REF_SEQUENCE,
    HG_REF_TOKEN,
    HG_REF_QUESTION,
    HG_REF_IMAGE,
    HG_REF_GENERATE, /* ...ForConditionalGeneration, MarianMTModel */
    HG_REF_CTC
} hg_plain_head;
/* UNSUPPORTED for a class that is none of those in `allowed` (bits 1 << head). */
hg_plain_head hg_plain_head_key(hg_plain_state *r, unsigned allowed);

/* ---- weights (weights.c) ---- */

/* A matrix as it lies in the file, F64, F32, F16 or BF16; rank above 2: the trailing dimensions are one. */
typedef struct hg_plain_mat {
    const uint8_t *bytes;
    hg_dtype dtype;
    uint64_t rows, columns;
} hg_plain_mat;

/* Where a tensor of that name lies: as given, without the base, or by its older name; NULL when there is none. */
const hg_tensor *hg_plain_find(hg_plain_state *r, const char *at, const char *name, uint32_t *file);
bool hg_plain_has(hg_plain_state *r, const char *at, const char *name);
/* The tensor at + name must be there and be [rows, columns]. rows 0 = any. */
hg_plain_mat hg_plain_matrix(hg_plain_state *r, const char *at, const char *name, uint64_t rows,
                             uint64_t columns);
hg_plain_mat hg_plain_mat_part(hg_plain_mat m, uint64_t first, uint64_t rows);
/* `count` elements from the row `row` on, as double. */
void hg_plain_expand(const hg_plain_mat *m, uint64_t row, uint64_t rows, double *out);
/* A whole tensor of n elements as double. */
double *hg_plain_vector(hg_plain_state *r, const char *at, const char *name, uint64_t n);

/* ---- mathematics (math.c) ---- */

/* y = W x + b for each row of x; b may be NULL. */
double *hg_plain_linear(hg_plain_state *r, const double *x, size_t rows, hg_plain_mat w, const double *b);
/* The same with W stored [in, out]. */
double *hg_plain_linear_turned(hg_plain_state *r, const double *x, size_t rows, hg_plain_mat w,
                               const double *b);
/* at + name + ".weight" of [out, in] and, when `bias`, at + name + ".bias". out 0 = as many as the weight has rows (*got). */
double *hg_plain_project(hg_plain_state *r, const double *x, size_t rows, size_t in, size_t out, bool bias,
                         const char *at, const char *name);
/* E[ids] * scale + nothing; INVALID ids are USAGE. */
double *hg_plain_embed(hg_plain_state *r, const int64_t *ids, size_t rows, hg_plain_mat table, double scale);

typedef struct hg_plain_norm {
    bool rms;      /* x / rms(x) * w, else (x - mean) / deviation * w + b */
    bool plus_one; /* (1 + w) in place of w */
    bool plain;    /* no weight at all */
    bool bias;
    double eps;
} hg_plain_norm;
/* Over each `columns` numbers of x; the weights are at + name + ".weight", ".bias". */
double *hg_plain_normalize(hg_plain_state *r, const double *x, size_t rows, size_t columns,
                           const hg_plain_norm *norm, const char *at, const char *name);
void hg_plain_activate(hg_plain_state *r, double *x, size_t count, hg_plain_act act);
void hg_plain_softmax(double *x, size_t count);
/* x += scale * y */
void hg_plain_add(hg_plain_state *r, double *x, const double *y, size_t count, double scale);
void hg_plain_multiply(hg_plain_state *r, double *x, const double *y, size_t count);
void hg_plain_scale(hg_plain_state *r, double *x, size_t count, double scale);
/* cap * tanh(x / cap) */
void hg_plain_softcap(hg_plain_state *r, double *x, size_t count, double cap);

/*
 * out = softmax(scale * Q K^T + bias) V per head; Q is [batch * queries][heads * dim], K and V [batch * keys][kv_heads * dim]; heads share
 * keys in runs of heads / kv_heads.
 */
typedef struct hg_plain_attention {
    size_t batch, queries, keys, heads, kv_heads, dim;
    double scale;
    double cap;              /* soft cap of the scores; 0 = none */
    bool causal;             /* j <= i */
    size_t window;           /* i - j < window; 0 = no limit */
    size_t around;           /* |i - j| <= around; 0 = no limit */
    const int64_t *mask;     /* [batch][keys]; NULL = all */
    const double *key_bias;  /* [batch][heads][keys], added before the scale (ALiBi as Falcon has it) */
    const double *pair_bias; /* [heads][queries][keys], added after the scale */
    const double *full_bias; /* [batch][heads][queries][keys], added after the scale */
} hg_plain_attention;
double *hg_plain_attend(hg_plain_state *r, const double *q, const double *k, const double *v,
                        const hg_plain_attention *a);

/* x [batch][channels][width], or [batch * width][channels] when by_rows -> [batch * out][channels * kernel], so that a convolution
 * is a linear map of the rows. */
typedef struct hg_plain_window {
    size_t batch, width, channels, kernel, stride, pad;
    bool by_rows;
} hg_plain_window;
double *hg_plain_unfold(hg_plain_state *r, const double *x, const hg_plain_window *w, size_t *out_width);

/* Attention with its four projections: queries of x, keys and values of y, both `width` wide. */
typedef struct hg_plain_mha_names {
    const char *q, *k, *v, *o;
    bool bias;     /* of all four */
    bool key_free; /* but not of the keys (Whisper) */
    bool out_bias; /* of the output, whatever the others */
} hg_plain_mha_names;
double *hg_plain_mha(hg_plain_state *r, const double *x, const double *y, size_t width,
                     const hg_plain_attention *a, const hg_plain_mha_names *n, const char *at);
/* W_down act(W_up x), biases in both or none. */
double *hg_plain_mlp(hg_plain_state *r, const double *x, size_t rows, size_t width, size_t inner,
                     hg_plain_act act, bool bias, const char *at, const char *up, const char *down);
/* T5's buckets (Raffel et al.): the row of the table of biases for a key that stands `apart` behind the query. */
size_t hg_plain_bucket(int64_t apart, bool both_ways, size_t buckets, size_t farthest);
/* [heads][queries][keys] from a table [buckets][heads]. */
double *hg_plain_bucket_bias(hg_plain_state *r, hg_plain_mat table, size_t queries, size_t keys,
                             bool both_ways, size_t farthest);

/* ---- rotary positions (rope.c) ---- */

typedef struct hg_plain_rope {
    size_t dim;     /* of a head that is turned: the first ones; 0 = none */
    double *inv;    /* dim / 2 frequencies */
    double stretch; /* of cosine and sine */
} hg_plain_rope;
/*
 * Reads rope_parameters (also per layer type), or the older rope_theta and rope_scaling. `theta` and `partial` are what the architecture
 * takes when the file is silent; `length` is the highest position + 1 (dynamic, longrope).
 */
typedef struct hg_plain_rope_ask {
    const char *layer_type; /* "full_attention", "sliding_attention", or NULL */
    const char *theta_key;  /* the older key */
    double theta;
    bool scaled; /* the older rope_scaling is meant for this one */
    const char *partial_key;
    double partial; /* 0: the architecture turns whole heads, and another factor is UNSUPPORTED */
    size_t head_dim;
    size_t length;
} hg_plain_rope_ask;
hg_plain_rope hg_plain_rope_read(hg_plain_state *r, const hg_plain_rope_ask *ask);
/* Turns each head of x [rows][heads * head_dim], pairs (i, i + dim/2), by the angles position * inv. */
void hg_plain_rotate(hg_plain_state *r, double *x, size_t rows, size_t heads, size_t head_dim,
                     const hg_plain_rope *rope, const int64_t *positions);
/* in->positions, or 0 1 2 ... in each row. */
const int64_t *hg_plain_positions(hg_plain_state *r);
/* The highest of them + 1. */
size_t hg_plain_reach(hg_plain_state *r, const int64_t *positions, size_t count);

/* ---- experts (moe.c) ---- */

typedef struct hg_plain_moe {
    size_t experts, chosen, inner;
    bool renormalize; /* the chosen experts' weights to a sum of 1 */
    hg_plain_act act;
    const char *router; /* "mlp.gate" */
    const char *expert; /* "mlp.experts.%zu." */
    const char *gate, *up, *down;
} hg_plain_moe;
double *hg_plain_mix(hg_plain_state *r, const double *x, size_t rows, size_t hidden, const hg_plain_moe *m,
                     const char *at);

/* ---- families: each runs the whole model ---- */

typedef void hg_plain_family(hg_plain_state *r, const char *model_type);
hg_plain_family hg_plain_decoder, hg_plain_encoder, hg_plain_modernbert, hg_plain_deberta, hg_plain_whisper;
hg_plain_family hg_plain_bart, hg_plain_t5, hg_plain_vit, hg_plain_clip, hg_plain_wav2vec2;

/* The states an encoder-decoder is given (heads.c); NULL when its encoder has to run over the source ids. */
const double *hg_plain_states(hg_plain_state *r, size_t hidden, size_t *keys);

/* What stands behind an encoder (heads.c): x is [batch * length][hidden]. */
typedef struct hg_plain_heads {
    size_t hidden, vocab;
    const char *
        pooler; /* of the bare model, over token 0, then tanh: pooler_output, where the file has it; NULL = none */
    const char *seq_dense; /* over token 0, then seq_act, before the classifier */
    hg_plain_act seq_act;
    const char *words; /* the table that masked language models end with again */
    const char *lm_dense, *lm_norm, *lm_decoder, *lm_bias;
    bool dense_free;   /* lm_dense has no bias, */
    bool decoder_free; /* nor has the decoder */
    hg_plain_act lm_act;
    hg_plain_norm norm;
} hg_plain_heads;
void hg_plain_finish(hg_plain_state *r, double *x, hg_plain_head head, const hg_plain_heads *h);
/* Gives the logits of the linear map `name` over rows [shape...][hidden]; with `question` its two columns apart. */
void hg_plain_classify(hg_plain_state *r, const double *x, bool per_token, bool question, size_t hidden,
                       bool bias, const char *name);
/* The tokens 0 of each sequence: [batch][hidden]. */
double *hg_plain_first(hg_plain_state *r, const double *x, size_t hidden);
/* The masked language model's logits. */
void hg_plain_masked_lm(hg_plain_state *r, const double *x, const hg_plain_heads *h);
/* True when the table of words and the head are one: the config says so or the file has no head; UNSUPPORTED when it says so and
 * the file has two that differ. */
bool hg_plain_tied(hg_plain_state *r, bool def, const char *table, const char *head);

#endif
