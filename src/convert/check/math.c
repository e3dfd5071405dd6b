/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mathematics of the reference, all in double. What takes the time, linear maps, scores and activations, is spread over the cores; a linear
 * map expands some rows of its weight to double and multiplies them with all rows of x, four by two.
 */
#include "convert/check/inner.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define BLOCK  16   /* weight rows expanded at a time */
#define STRIDE 4096 /* numbers that one thread takes at a time, one by one */

#define INLINE static inline __attribute__((always_inline))

/* Four doubles side by side; reads need no alignment. */
typedef double quad __attribute__((vector_size(32), aligned(8), may_alias));

/* By its place: how such a vector is handed over depends on what the compiler may use. */
INLINE double sum4(const quad *s)
{
    return ((*s)[0] + (*s)[1]) + ((*s)[2] + (*s)[3]);
}

INLINE double dot(const double *a, const double *b, size_t n)
{
    quad s = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) s += *(const quad *)(a + i) * *(const quad *)(b + i);
    double sum = sum4(&s);
    for (; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* y += s x */
INLINE void add_scaled(double *y, const double *x, double s, size_t n)
{
    quad by = {s, s, s, s};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) *(quad *)(y + i) += by * *(const quad *)(x + i);
    for (; i < n; i++) y[i] += s * x[i];
}

/* Products of two rows of x with four rows of w: y[k] = w[k] x, y[4 + k] = w[k] z. */
INLINE void dot_four_by_two(const double *x, const double *z, const double *w, size_t n, double y[8])
{
    quad s[8] = {{0}};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        quad xi = *(const quad *)(x + i), zi = *(const quad *)(z + i);
        for (size_t k = 0; k < 4; k++) {
            quad wi = *(const quad *)(w + k * n + i);
            s[k] += wi * xi;
            s[4 + k] += wi * zi;
        }
    }
    for (size_t k = 0; k < 8; k++) y[k] = sum4(&s[k]);
    for (; i < n; i++) {
        for (size_t k = 0; k < 4; k++) {
            y[k] += w[k * n + i] * x[i];
            y[4 + k] += w[k * n + i] * z[i];
        }
    }
}

/* `count` columns of y from `first` on: y[t] = w x[t], w [count][in]. */
HG_REF_MANY static void multiply(double *y, const double *x, const double *w, size_t rows, size_t in,
                                 size_t out, size_t first, size_t count)
{
    for (size_t t = 0; t < rows; t += 2) {
        bool pair = t + 1 < rows;
        const double *x0 = x + t * in, *x1 = pair ? x0 + in : x0;
        double *y0 = y + t * out + first, *y1 = pair ? y0 + out : y0, s[8];
        size_t o = 0;
        for (; o + 4 <= count; o += 4) {
            dot_four_by_two(x0, x1, w + o * in, in, s);
            for (size_t k = 0; k < 4; k++) {
                y1[o + k] = s[4 + k];
                y0[o + k] = s[k];
            }
        }
        for (; o < count; o++) {
            y1[o] = dot(w + o * in, x1, in);
            y0[o] = dot(w + o * in, x0, in);
        }
    }
}

static void add_bias(double *y, const double *b, size_t rows, size_t columns)
{
    for (size_t t = 0; b && t < rows; t++) {
        for (size_t o = 0; o < columns; o++) y[t * columns + o] += b[o];
    }
}

typedef struct linear {
    const double *x;
    double *y, *parts; /* parts: one of BLOCK rows for each thread */
    hg_plain_mat w;
    size_t rows;
} linear;

static void linear_block(void *ctx, size_t item, unsigned who)
{
    const linear *l = ctx;
    size_t first = item * BLOCK, in = l->w.columns, out = l->w.rows;
    size_t count = out - first < BLOCK ? out - first : BLOCK;
    double *part = l->parts + who * BLOCK * in;
    hg_plain_expand(&l->w, first, count, part);
    multiply(l->y, l->x, part, l->rows, in, out, first, count);
}

/* y = W x + b. */
double *hg_plain_linear(hg_plain_state *r, const double *x, size_t rows, hg_plain_mat w, const double *b)
{
    if (r->code != HANGAR_OK) return NULL;
    double *y = hg_plain_array_new(r, rows, w.rows);
    hg_plain_block *mark = r->blocks;
    linear l = {x, y, hg_plain_array_new(r, BLOCK * r->threads, w.columns), w, rows};
    double each = (double)rows * (double)BLOCK * (double)w.columns;
    hg_plain_spread(r, (w.rows + BLOCK - 1) / BLOCK, each, linear_block, &l);
    hg_plain_release(r, mark);
    if (hg_plain_go(r)) add_bias(y, b, rows, w.rows);
    return y;
}

/* y[t] += x[t] w for a row w of the weight, where x[t] is one number of each `pitch`. */
HG_REF_MANY static void add_row(double *y, const double *x, const double *w, size_t rows, size_t pitch,
                                size_t columns)
{
    for (size_t t = 0; t < rows; t++) add_scaled(y + t * columns, w, x[t * pitch], columns);
}

/* y = x W + b with W [in, out]. */
double *hg_plain_linear_turned(hg_plain_state *r, const double *x, size_t rows, hg_plain_mat w,
                               const double *b)
{
    if (r->code != HANGAR_OK) return NULL;
    double *y = hg_plain_array_new(r, rows, w.columns);
    double *row = hg_plain_array_new(r, 1, w.columns);
    for (size_t i = 0; i < w.rows; i++) {
        hg_plain_spend(r, (double)rows * (double)w.columns);
        if (!hg_plain_go(r)) continue;
        hg_plain_expand(&w, i, 1, row);
        add_row(y, x + i, row, rows, w.rows, w.columns);
    }
    if (hg_plain_go(r)) add_bias(y, b, rows, w.columns);
    return y;
}

/* A named linear map. */
double *hg_plain_project(hg_plain_state *r, const double *x, size_t rows, size_t in, size_t out, bool bias,
                         const char *at, const char *name)
{
    char full[HG_REF_NAME_MAX];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    hg_plain_mat w = hg_plain_matrix(r, at, full, out, in);
    (void)snprintf(full, sizeof full, "%s.bias", name);
    const double *b = bias ? hg_plain_vector(r, at, full, w.rows) : NULL;
    return hg_plain_linear(r, x, rows, w, b);
}

/* Rows of a table. */
double *hg_plain_embed(hg_plain_state *r, const int64_t *ids, size_t rows, hg_plain_mat table, double scale)
{
    double *x = hg_plain_array_new(r, rows, table.columns);
    for (size_t t = 0; hg_plain_go(r) && t < rows; t++) {
        if (ids[t] < 0 || (uint64_t)ids[t] >= table.rows) {
            hg_plain_fail(r, HANGAR_E_USAGE, "number %lld is not in a table of %llu rows", (long long)ids[t],
                          (unsigned long long)table.rows);
            break;
        }
        double *xt = x + t * table.columns;
        hg_plain_expand(&table, (uint64_t)ids[t], 1, xt);
        for (size_t i = 0; i < table.columns; i++) xt[i] *= scale;
    }
    return x;
}

/* One row: y = x / sqrt(mean x^2 + eps) * w, or (x - mean) / sqrt(variance + eps) * w + b. */
static void normalize_row(double *y, const double *x, size_t n, const hg_plain_norm *norm, const double *w,
                          const double *b)
{
    double mean = 0, square = 0;
    for (size_t i = 0; !norm->rms && i < n; i++) mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / (double)n;
    double inverse = 1 / sqrt(square + norm->eps);
    for (size_t i = 0; i < n; i++) {
        double weight = !w ? 1 : norm->plus_one ? 1 + w[i] : w[i];
        y[i] = (x[i] - mean) * inverse * weight + (b ? b[i] : 0);
    }
}

/* A norm of rows. */
double *hg_plain_normalize(hg_plain_state *r, const double *x, size_t rows, size_t columns,
                           const hg_plain_norm *norm, const char *at, const char *name)
{
    char full[HG_REF_NAME_MAX];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    const double *w = norm->plain ? NULL : hg_plain_vector(r, at, full, columns);
    (void)snprintf(full, sizeof full, "%s.bias", name);
    const double *b = norm->plain || norm->rms || !norm->bias ? NULL : hg_plain_vector(r, at, full, columns);
    double *y = hg_plain_array_new(r, rows, columns);
    for (size_t t = 0; hg_plain_go(r) && t < rows; t++) {
        normalize_row(y + t * columns, x + t * columns, columns, norm, w, b);
    }
    return y;
}

static double activate(double x, hg_plain_act act)
{
    switch (act) {
    case HG_REF_RELU: return x > 0 ? x : 0;
    case HG_REF_GELU: return 0.5 * x * (1 + erf(x / sqrt(2.0)));
    case HG_REF_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case HG_REF_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    case HG_REF_SILU: return x / (1 + exp(-x));
    case HG_REF_TANH: return tanh(x);
    case HG_REF_RELU2: return x > 0 ? x * x : 0;
    }
    return x;
}

typedef struct activation {
    double *x;
    size_t count;
    hg_plain_act act;
} activation;

static void activate_some(void *ctx, size_t item, unsigned who)
{
    const activation *a = ctx;
    size_t first = item * STRIDE, end = a->count - first < STRIDE ? a->count : first + STRIDE;
    (void)who;
    for (size_t i = first; i < end; i++) a->x[i] = activate(a->x[i], a->act);
}

/* x = act(x). */
void hg_plain_activate(hg_plain_state *r, double *x, size_t count, hg_plain_act act)
{
    activation a = {x, count, act};
    hg_plain_spread(r, (count + STRIDE - 1) / STRIDE, STRIDE, activate_some, &a);
}

/* e^x / sum of e^x, from which the highest is taken off first; -inf counts for nothing. */
void hg_plain_softmax(double *x, size_t count)
{
    double most = -(double)INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < count; i++) {
        x[i] = most > -(double)INFINITY ? exp(x[i] - most) : 0;
        sum += x[i];
    }
    for (size_t i = 0; sum > 0 && i < count; i++) x[i] /= sum;
}

/* x += scale * y. */
void hg_plain_add(hg_plain_state *r, double *x, const double *y, size_t count, double scale)
{
    for (size_t i = 0; hg_plain_go(r) && i < count; i++) x[i] += scale * y[i];
}

/* x *= y. */
void hg_plain_multiply(hg_plain_state *r, double *x, const double *y, size_t count)
{
    for (size_t i = 0; hg_plain_go(r) && i < count; i++) x[i] *= y[i];
}

/* x *= scale. */
void hg_plain_scale(hg_plain_state *r, double *x, size_t count, double scale)
{
    for (size_t i = 0; hg_plain_go(r) && i < count; i++) x[i] *= scale;
}

/* x = cap tanh(x / cap). */
void hg_plain_softcap(hg_plain_state *r, double *x, size_t count, double cap)
{
    for (size_t i = 0; hg_plain_go(r) && i < count; i++) x[i] = cap * tanh(x[i] / cap);
}

/* Whether query i of row b may look at key j. */
static bool visible(const hg_plain_attention *a, size_t b, size_t i, size_t j)
{
    size_t apart = i > j ? i - j : j - i;
    if (a->mask && !a->mask[b * a->keys + j]) return false;
    if (a->causal && j > i) return false;
    if (a->window && i >= j && i - j >= a->window) return false;
    return !a->around || apart <= a->around;
}

typedef struct attending {
    const hg_plain_attention *a;
    const double *q, *k, *v;
    double *out, *scores; /* scores: of one query, for each thread */
} attending;

/* Query i of head h of row b. Scores with all keys: scale * (q k + key bias), soft cap, pair biases; -inf where it may not look. */
HG_REF_MANY static void attend_one(const attending *d, size_t b, size_t h, size_t i, double *s)
{
    const hg_plain_attention *a = d->a;
    size_t pitch = a->kv_heads * a->dim, group = h / (a->heads / a->kv_heads);
    size_t at = ((b * a->queries + i) * a->heads + h) * a->dim;
    const double *k = d->k + b * a->keys * pitch + group * a->dim;
    const double *v = d->v + b * a->keys * pitch + group * a->dim;
    for (size_t j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j)) {
            s[j] = -(double)INFINITY;
            continue;
        }
        s[j] = dot(d->q + at, k + j * pitch, a->dim);
        if (a->key_bias) s[j] += a->key_bias[(b * a->heads + h) * a->keys + j];
        s[j] *= a->scale;
        if (a->cap > 0) s[j] = a->cap * tanh(s[j] / a->cap);
        if (a->pair_bias) s[j] += a->pair_bias[(h * a->queries + i) * a->keys + j];
        if (a->full_bias) s[j] += a->full_bias[((b * a->heads + h) * a->queries + i) * a->keys + j];
    }
    hg_plain_softmax(s, a->keys);
    for (size_t j = 0; j < a->keys; j++)
        if (s[j] > 0) add_scaled(d->out + at, v + j * pitch, s[j], a->dim);
}

static void attend_item(void *ctx, size_t item, unsigned who)
{
    const attending *d = ctx;
    size_t i = item % d->a->queries, n = item / d->a->queries;
    attend_one(d, n / d->a->heads, n % d->a->heads, i, d->scores + who * d->a->keys);
}

/* Attention of all heads. */
double *hg_plain_attend(hg_plain_state *r, const double *q, const double *k, const double *v,
                        const hg_plain_attention *a)
{
    if (r->code != HANGAR_OK) return NULL;
    double *out = hg_plain_array_new(r, a->batch * a->queries, a->heads * a->dim);
    hg_plain_block *mark = r->blocks;
    attending d = {a, q, k, v, out, hg_plain_array_new(r, r->threads, a->keys)};
    hg_plain_spread(r, a->batch * a->heads * a->queries, 2.0 * (double)a->keys * (double)a->dim, attend_item,
                    &d);
    hg_plain_release(r, mark);
    return out;
}

/* The windows of a one-dimensional convolution as rows. */
double *hg_plain_unfold(hg_plain_state *r, const double *x, const hg_plain_window *w, size_t *out_width)
{
    size_t out = w->width + 2 * w->pad < w->kernel ? 0 : (w->width + 2 * w->pad - w->kernel) / w->stride + 1;
    double *rows = hg_plain_array_new(r, w->batch * out, w->channels * w->kernel);
    *out_width = out;
    for (size_t n = 0; hg_plain_go(r) && n < w->batch * out; n++) {
        size_t b = n / out, start = n % out * w->stride;
        for (size_t c = 0; c < w->channels; c++) {
            for (size_t k = 0; k < w->kernel; k++) {
                size_t at = start + k; /* in the padded row */
                if (at < w->pad || at - w->pad >= w->width) continue;
                at -= w->pad;
                rows[(n * w->channels + c) * w->kernel + k] = w->by_rows
                                                                  ? x[(b * w->width + at) * w->channels + c]
                                                                  : x[(b * w->channels + c) * w->width + at];
            }
        }
    }
    return rows;
}

/* Projections, attention, projection. */
double *hg_plain_mha(hg_plain_state *r, const double *x, const double *y, size_t width,
                     const hg_plain_attention *a, const hg_plain_mha_names *n, const char *at)
{
    size_t wide = a->heads * a->dim, narrow = a->kv_heads * a->dim;
    size_t queries = a->batch * a->queries, keys = a->batch * a->keys;
    const double *q = hg_plain_project(r, x, queries, width, wide, n->bias, at, n->q);
    const double *k = hg_plain_project(r, y, keys, width, narrow, n->bias && !n->key_free, at, n->k);
    const double *v = hg_plain_project(r, y, keys, width, narrow, n->bias, at, n->v);
    return hg_plain_project(r, hg_plain_attend(r, q, k, v, a), queries, wide, width, n->bias || n->out_bias,
                            at, n->o);
}

/* W_down act(W_up x) */
double *hg_plain_mlp(hg_plain_state *r, const double *x, size_t rows, size_t width, size_t inner,
                     hg_plain_act act, bool bias, const char *at, const char *up, const char *down)
{
    double *h = hg_plain_project(r, x, rows, width, inner, bias, at, up);
    hg_plain_activate(r, h, rows * inner, act);
    return hg_plain_project(r, h, rows, inner, width, bias, at, down);
}

/* T5's buckets of distances: each small distance has its own, larger ones share by their logarithm; in float, as the tables were trained. */
size_t hg_plain_bucket(int64_t apart, bool both_ways, size_t buckets, size_t farthest)
{
    size_t first = 0;
    if (both_ways) {
        buckets /= 2;
        if (apart > 0) first = buckets;
        apart = apart < 0 ? -apart : apart;
    } else {
        apart = apart < 0 ? -apart : 0;
    }
    size_t exact = buckets / 2, n = (size_t)apart;
    if (n < exact) return first + n;
    float far = logf((float)n / (float)exact) / (float)log((double)farthest / (double)exact);
    size_t late = exact + (size_t)(far * (float)(buckets - exact));
    return first + (late < buckets ? late : buckets - 1);
}

/* The bias of each head for each pair of positions. */
double *hg_plain_bucket_bias(hg_plain_state *r, hg_plain_mat table, size_t queries, size_t keys,
                             bool both_ways, size_t farthest)
{
    size_t heads = table.columns;
    double *bias = hg_plain_array_new(r, heads * queries, keys);
    double *rows = hg_plain_array_new(r, table.rows, heads);
    if (hg_plain_go(r)) hg_plain_expand(&table, 0, table.rows, rows);
    for (size_t n = 0; hg_plain_go(r) && n < queries * keys; n++) {
        int64_t i = (int64_t)(n / keys), j = (int64_t)(n % keys);
        size_t bucket = hg_plain_bucket(j - i, both_ways, table.rows, farthest);
        for (size_t h = 0; h < heads; h++) bias[h * queries * keys + n] = rows[bucket * heads + h];
    }
    return bias;
}
