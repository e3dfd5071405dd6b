/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotary positions (Su et al., "RoFormer"): of a head the pairs (i, i + dim/2) are turned by position * inv[i], where
 * inv[i] = theta^(-2i/dim), and the published ways to reach longer texts, which change inv:
 *
 *   linear    inv / factor                                                              (Chen et al., position interpolation)
 *   dynamic   theta grows with the length once it is over max_position_embeddings        (NTK-aware)
 *   llama3    slow turns / factor, fast ones as they are, between them a blend           (Llama 3.1)
 *   yarn      the same by numbers of turns, and cosine and sine stretched                 (Peng et al., YaRN)
 *   longrope  inv / a factor of its own for each pair, one list for short and one for long (Ding et al., LongRoPE)
 */
#include "convert/check/inner.h"

#include <string.h>

/* What the kinds read. */
typedef struct scaling {
    const hg_jval *from;
    double theta, factor, original, most; /* factor NAN = not said */
    size_t length;
} scaling;

static double number(hg_plain_state *r, const hg_jval *from, const char *key, double def)
{
    const hg_jval *v = hg_json_get(from, key);
    double x = def;
    if (!hg_json_is_null(v) && !hg_json_f64(v, &x)) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s is no number", key);
    }
    return x;
}

static double need_factor(hg_plain_state *r, double factor)
{
    if (isnan(factor) || factor <= 0) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: factor of the rotary scaling is missing");
        return 1;
    }
    return factor;
}

/* inv[i] = theta^(-2i/dim) */
static void plain(hg_plain_rope *p, double theta)
{
    for (size_t i = 0; i < p->dim / 2; i++) p->inv[i] = pow(theta, -2.0 * (double)i / (double)p->dim);
}

static void linear(hg_plain_state *r, hg_plain_rope *p, const scaling *s)
{
    double factor = need_factor(r, s->factor);
    plain(p, s->theta);
    for (size_t i = 0; i < p->dim / 2; i++) p->inv[i] /= factor;
}

/* theta' = theta (factor L / max - (factor - 1))^(dim / (dim - 2)), L = the length but at least max */
static void dynamic(hg_plain_state *r, hg_plain_rope *p, const scaling *s)
{
    double factor = need_factor(r, s->factor), dim = (double)p->dim;
    double length = fmax((double)s->length, s->most);
    plain(p, s->theta * pow(factor * length / s->most - (factor - 1), dim / (dim - 2)));
}

/* By wavelength w = 2 pi / inv: w > original / low: inv / factor; w < original / high: inv; else a blend of the two by
 * (original / w - low) / (high - low). */
static void llama3(hg_plain_state *r, hg_plain_rope *p, const scaling *s)
{
    double factor = need_factor(r, s->factor);
    double low = number(r, s->from, "low_freq_factor", 1), high = number(r, s->from, "high_freq_factor", 4);
    plain(p, s->theta);
    for (size_t i = 0; i < p->dim / 2; i++) {
        double wave = 2 * M_PI / p->inv[i], blend = (s->original / wave - low) / (high - low);
        if (wave > s->original / low) p->inv[i] /= factor;
        else if (wave >= s->original / high) p->inv[i] *= (1 - blend) / factor + blend;
    }
}

static double mscale(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

/* The pair that makes `turns` whole turns over the original length. */
static double pair_of(const hg_plain_rope *p, const scaling *s, double turns)
{
    return (double)p->dim * log(s->original / (turns * 2 * M_PI)) / (2 * log(s->theta));
}

/* Pairs below `first` (over beta_fast turns) stay, those above `last` (under beta_slow) are divided, between them a ramp. */
static void yarn(hg_plain_state *r, hg_plain_rope *p, const scaling *s)
{
    double factor = need_factor(r, isnan(s->factor) ? s->most / s->original : s->factor);
    double fast = number(r, s->from, "beta_fast", 32), slow = number(r, s->from, "beta_slow", 1);
    double m = number(r, s->from, "mscale", 0), all = number(r, s->from, "mscale_all_dim", 0);
    double first = pair_of(p, s, fast), last = pair_of(p, s, slow);
    if (hg_json_bool_or(hg_json_get(s->from, "truncate"), true)) {
        first = floor(first);
        last = ceil(last);
    }
    first = fmax(first, 0);
    last = fmin(last, (double)p->dim - 1);
    if (first == last) last += 0.001;
    plain(p, s->theta);
    for (size_t i = 0; i < p->dim / 2; i++) {
        double ramp = fmin(fmax(((double)i - first) / (last - first), 0), 1);
        p->inv[i] *= ramp / factor + (1 - ramp);
    }
    p->stretch = m != 0 && all != 0 ? mscale(factor, m) / mscale(factor, all) : mscale(factor, 1);
    p->stretch = number(r, s->from, "attention_factor", p->stretch);
}

static void longrope(hg_plain_state *r, hg_plain_rope *p, const scaling *s)
{
    const char *key = (double)s->length > s->original ? "long_factor" : "short_factor";
    const hg_jval *list = hg_json_get(s->from, key);
    double factor = need_factor(r, isnan(s->factor) ? s->most / s->original : s->factor);
    if (hg_json_len(list) != p->dim / 2 || !hg_json_is_array(list)) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s has not %zu numbers", key, p->dim / 2);
        return;
    }
    plain(p, s->theta);
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);) {
        double by = hg_json_f64_or(it.val, 0);
        if (by <= 0) hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s holds what is no factor", key);
        p->inv[it.index] /= by > 0 ? by : 1;
    }
    p->stretch = factor <= 1 ? 1 : sqrt(1 + log(factor) / log(s->original));
    p->stretch = number(r, s->from, "attention_factor", p->stretch);
}

static const char *kind_of(const hg_jval *from)
{
    const char *kind = hg_json_text(hg_json_get(from, "rope_type"));
    if (!kind) kind = hg_json_text_or(hg_json_get(from, "type"), "default");
    return kind;
}

/* How much of a head is turned. */
static size_t turned(hg_plain_state *r, const hg_plain_rope_ask *ask, const hg_jval *from)
{
    double partial = ask->partial > 0 ? ask->partial : 1;
    if (ask->partial_key) partial = hg_plain_real(r, ask->partial_key, partial);
    partial = hg_plain_real(r, "partial_rotary_factor", partial);
    partial = number(r, from, "partial_rotary_factor", partial);
    if (ask->partial <= 0 && partial != 1) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                      "config.json: the reference does not know partial_rotary_factor here");
    }
    size_t dim = partial > 0 && partial <= 1 ? (size_t)((double)ask->head_dim * partial) : 0;
    if (dim < 2 || dim % 2) {
        hg_plain_fail(r, HANGAR_E_INVALID,
                      "config.json: rotary positions need an even part of a head, not %zu of %zu", dim,
                      ask->head_dim);
    }
    return dim;
}

static void scale(hg_plain_state *r, hg_plain_rope *p, const scaling *s)
{
    static const struct {
        const char *name;
        void (*run)(hg_plain_state *, hg_plain_rope *, const scaling *);
    } kinds[] = {{"linear", linear}, {"dynamic", dynamic},   {"llama3", llama3},
                 {"yarn", yarn},     {"longrope", longrope}, {"su", longrope}};
    const char *kind = kind_of(s->from);
    if (strcmp(kind, "default") == 0) {
        plain(p, s->theta);
        return;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, kind) != 0) continue;
        kinds[i].run(r, p, s);
        return;
    }
    hg_plain_fail(r, HANGAR_E_UNSUPPORTED, "config.json: the reference does not know rope_type \"%s\"", kind);
}

/* Reads and computes the frequencies. */
hg_plain_rope hg_plain_rope_read(hg_plain_state *r, const hg_plain_rope_ask *ask)
{
    hg_plain_rope p = {.stretch = 1};
    scaling s = {.from = hg_plain_key(r, "rope_parameters"), .length = ask->length};
    const hg_jval *own = ask->layer_type ? hg_json_get(s.from, ask->layer_type) : NULL;
    if (hg_json_is_object(own)) s.from = own;
    bool newer = s.from != NULL;
    if (ask->layer_type && !hg_json_is_object(own) && !ask->scaled) s.from = NULL;
    if (!newer && ask->scaled) s.from = hg_plain_key(r, "rope_scaling");
    s.theta = hg_plain_real(r, ask->theta_key ? ask->theta_key : "rope_theta", ask->theta);
    s.theta = number(r, s.from, "rope_theta", s.theta);
    s.most = (double)hg_plain_int(r, "max_position_embeddings", 2048, 1);
    s.original = number(r, s.from, "original_max_position_embeddings", s.most);
    s.original = hg_plain_real(r, "original_max_position_embeddings", s.original);
    s.factor = number(r, s.from, "factor", (double)NAN);
    p.dim = turned(r, ask, s.from);
    if (s.theta <= 1 || s.original <= 0) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: rope_theta or original_max_position_embeddings");
    }
    p.inv = hg_plain_array_new(r, 1, p.dim / 2);
    if (hg_plain_go(r)) scale(r, &p, &s);
    return p;
}

/* (x_i, x_{i+d/2}) -> (x_i cos - x_{i+d/2} sin, x_{i+d/2} cos + x_i sin) */
void hg_plain_rotate(hg_plain_state *r, double *x, size_t rows, size_t heads, size_t head_dim,
                     const hg_plain_rope *rope, const int64_t *positions)
{
    size_t half = rope->dim / 2;
    for (size_t t = 0; hg_plain_go(r) && t < rows; t++) {
        for (size_t i = 0; i < half; i++) {
            double angle = (double)positions[t] * rope->inv[i];
            double c = cos(angle) * rope->stretch, s = sin(angle) * rope->stretch;
            for (size_t h = 0; h < heads; h++) {
                double *a = x + (t * heads + h) * head_dim + i, *b = a + half, first = *a;
                *a = first * c - *b * s;
                *b = *b * c + first * s;
            }
        }
    }
}

/* The positions given, or 0 1 2 ... */
const int64_t *hg_plain_positions(hg_plain_state *r)
{
    size_t n = r->in->batch * r->in->length;
    if (r->in->positions) return r->in->positions;
    int64_t *p = (int64_t *)hg_plain_bytes_new(r, n, sizeof *p);
    for (size_t i = 0; hg_plain_go(r) && i < n; i++) p[i] = (int64_t)(i % r->in->length);
    return p;
}

/* The highest position + 1. */
size_t hg_plain_reach(hg_plain_state *r, const int64_t *positions, size_t count)
{
    int64_t most = 0;
    for (size_t i = 0; hg_plain_go(r) && i < count; i++) most = positions[i] > most ? positions[i] : most;
    return (size_t)most + 1;
}
