/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/arch/rope.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TWO_PI    6.283185307179586
#define THETA_MIN 1.001 /* at 1 nothing is slower than anything else */

/* ---- config.json ---- */

static void kind_of(hg_rope *r, hg_hfconfig *c)
{
    static const struct {
        const char *name;
        hg_rope_kind kind;
    } kinds[] = {{"default", HG_ROPE_DEFAULT}, {"linear", HG_ROPE_LINEAR}, {"dynamic", HG_ROPE_DYNAMIC},
                 {"llama3", HG_ROPE_LLAMA3},   {"yarn", HG_ROPE_YARN},     {"longrope", HG_ROPE_LONG},
                 {"su", HG_ROPE_LONG}};
    const char *old = hg_hfconfig_text(c, "type", "default");
    const char *name = hg_hfconfig_text(c, "rope_type", old);
    for (size_t i = 0; i < HG_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, name) != 0) continue;
        r->kind = kinds[i].kind;
        /* the first Phi-3 called it so */
        if (r->kind == HG_ROPE_YARN && hg_hfconfig_has(c, "short_factor")) r->kind = HG_ROPE_LONG;
        return;
    }
    hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "rope_type %s", name);
}

/* A list of dim / 2 positive numbers. */
static const hg_jval *factors(const hg_rope *r, hg_hfconfig *c, const char *key)
{
    const hg_jval *list = hg_hfconfig_value(c, key);
    double number = 0;
    if (hg_json_len(list) != r->dim / 2 || !hg_json_is_array(list)) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s does not have %u numbers", key, r->dim / 2);
        return NULL;
    }
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);) {
        if (hg_json_f64(it.val, &number) && number > 0) continue;
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s has something else than positive numbers", key);
        return NULL;
    }
    return list;
}

/* 0.1 m ln(factor) + 1: yarn's remedy for softer attention. */
static double softness(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

static void read_llama3(hg_rope *r, hg_hfconfig *c)
{
    r->low = hg_hfconfig_f64(c, "low_freq_factor", 0, 1e-6, 1e6);
    r->high = hg_hfconfig_f64(c, "high_freq_factor", 0, 1e-6, 1e6);
    if (r->outer <= 0 && !hg_hfconfig_has(c, "original_max_position_embeddings"))
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "original_max_position_embeddings is missing");
    if (r->high <= r->low)
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "high_freq_factor is not above low_freq_factor");
}

static void read_yarn(hg_rope *r, hg_hfconfig *c)
{
    double m = hg_hfconfig_f64(c, "mscale", 0, 0, 1000),
           all = hg_hfconfig_f64(c, "mscale_all_dim", 0, 0, 1000);
    double scale =
        m > 0 && all > 0 ? softness(r->factor, m) / softness(r->factor, all) : softness(r->factor, 1);
    r->scale = hg_hfconfig_f64(c, "attention_factor", scale, 1e-6, 1e6);
    r->fast = hg_hfconfig_f64(c, "beta_fast", 32, 1e-6, 1e6);
    r->slow = hg_hfconfig_f64(c, "beta_slow", 1, 1e-6, 1e6);
    r->truncate = hg_hfconfig_bool(c, "truncate", true);
}

static void read_long(hg_rope *r, hg_hfconfig *c)
{
    double scale = r->factor <= 1 || r->trained <= 1 ? 1 : sqrt(1 + log(r->factor) / log(r->trained));
    r->brief = factors(r, c, "short_factor");
    r->wide = factors(r, c, "long_factor");
    r->scale = hg_hfconfig_f64(c, "attention_factor", scale, 1e-6, 1e6);
}

/* What a dictionary of rope settings says; c may be empty. */
static void read_kind(hg_rope *r, hg_hfconfig *c)
{
    static const char *const others[] = {"finetuned", NULL};
    kind_of(r, c);
    r->theta = hg_hfconfig_f64(c, "rope_theta", r->theta, THETA_MIN, 1e18);
    r->partial = hg_hfconfig_f64(c, "partial_rotary_factor", r->partial, 1e-6, 1);
    r->trained = hg_hfconfig_f64(c, "original_max_position_embeddings", r->trained, 1, 1e12);
    if (r->outer > 0) r->trained = r->outer;
    r->dim = (uint32_t)(r->head_dim * r->partial);
    if (r->dim < 2 || r->dim % 2 || r->dim > HG_ROPE_DIM_MAX)
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "head_dim %u, of which %u numbers turn", r->head_dim,
                          r->dim);
    /* the factor may be left to the two lengths */
    double factor = r->kind == HG_ROPE_LONG || r->kind == HG_ROPE_YARN ? r->most / r->trained : 1;
    if (r->kind != HG_ROPE_DEFAULT && factor == 1 && r->kind != HG_ROPE_LONG && !hg_hfconfig_has(c, "factor"))
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "factor of the rotary positions is missing");
    r->factor = hg_hfconfig_f64(c, "factor", factor, 1e-6, 1e9);
    r->scale = 1;
    switch (r->kind) {
    case HG_ROPE_LLAMA3: read_llama3(r, c); break;
    case HG_ROPE_YARN: read_yarn(r, c); break;
    case HG_ROPE_LONG: read_long(r, c); break;
    default: break;
    }
    hg_hfconfig_ignore(c, others);
}

static hg_rope from(const hg_rope_defaults *def)
{
    return (hg_rope){.head_dim = def->head_dim,
                     .theta = def->theta,
                     .partial = def->partial > 0 ? def->partial : 1,
                     .trained = def->positions,
                     .most = def->positions};
}

static bool same_list(const hg_jval *a, const hg_jval *b)
{
    if (hg_json_len(a) != hg_json_len(b)) return false;
    for (size_t i = 0; i < hg_json_len(a); i++) {
        if (hg_json_f64_or(hg_json_at(a, i), 0) != hg_json_f64_or(hg_json_at(b, i), 0)) return false;
    }
    return true;
}

/* Both spellings in one file must say the same; `old` is what holds beside them. */
static void agree(const hg_rope *r, hg_rope old, hg_hfconfig *c)
{
    hg_hfconfig sub;
    hg_hfconfig_enter(c, "rope_scaling", &sub);
    if (!sub.root) return;
    old.theta = r->theta;
    old.partial = r->partial;
    read_kind(&old, &sub);
    hg_hfconfig_leave(c, &sub);
    bool same = old.kind == r->kind && old.factor == r->factor && old.low == r->low && old.high == r->high &&
                old.fast == r->fast && old.slow == r->slow && old.scale == r->scale &&
                old.truncate == r->truncate && old.theta == r->theta && old.dim == r->dim &&
                same_list(old.brief, r->brief) && same_list(old.wide, r->wide);
    if (!same || (r->kind != HG_ROPE_DEFAULT && old.trained != r->trained))
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "rope_scaling says something else than rope_parameters");
}

/* Reads the rotary positions. */
void hg_rope_read(hg_rope *r, hg_hfconfig *c, const hg_rope_defaults *def)
{
    hg_hfconfig sub;
    *r = from(def);
    r->partial = hg_hfconfig_f64(c, "partial_rotary_factor", r->partial, 1e-6, 1);
    r->outer = hg_hfconfig_f64(c, "original_max_position_embeddings", 0, 1, 1e12);
    r->theta = hg_hfconfig_f64(c, "rope_theta", r->theta, THETA_MIN, 1e18);
    const hg_rope alone = *r;
    hg_hfconfig_enter(c, "rope_parameters", &sub);
    bool both = sub.root != NULL;
    if (!both) hg_hfconfig_enter(c, "rope_scaling", &sub);
    read_kind(r, &sub);
    hg_hfconfig_leave(c, &sub);
    if (both) agree(r, alone, c);
}

/* Reads those of one type of layer. */
void hg_rope_read_of(hg_rope *r, hg_hfconfig *c, const char *type, const hg_rope_defaults *def, bool scaled)
{
    hg_hfconfig all, sub;
    *r = from(def);
    hg_hfconfig_enter(c, "rope_parameters", &all);
    if (!all.root) {
        hg_hfconfig none = {0};
        if (scaled) r->theta = hg_hfconfig_f64(c, "rope_theta", r->theta, THETA_MIN, 1e18);
        if (scaled) hg_hfconfig_enter(c, "rope_scaling", &none);
        read_kind(r, &none);
        hg_hfconfig_leave(c, &none);
        return;
    }
    if (!hg_json_get(all.root, type)) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "rope_parameters has no %s", type);
        return;
    }
    hg_hfconfig_enter(&all, type, &sub);
    read_kind(r, &sub);
    hg_hfconfig_leave(&all, &sub);
    static const char *const types[] = {"full_attention", "sliding_attention", "rope_type", NULL};
    hg_hfconfig_ignore(&all, types); /* the other type's, and what is said for none of them */
    hg_hfconfig_leave(c, &all);
    static const char *const old[] = {"rope_theta", "rope_scaling", "rope_local_base_freq", NULL};
    hg_hfconfig_ignore(c, old); /* the new spelling holds */
}

/* ---- frequencies ---- */

static double plain(const hg_rope *r, uint32_t j)
{
    return pow(r->theta, -2.0 * j / r->dim);
}

/* By wave lengths: long ones are stretched, short ones stay. */
static double llama3(const hg_rope *r, uint32_t j)
{
    double f = plain(r, j), wave = TWO_PI / f;
    if (wave < r->trained / r->high) return f;
    if (wave > r->trained / r->low) return f / r->factor;
    double smooth = (r->trained / wave - r->low) / (r->high - r->low);
    return (1 - smooth) * f / r->factor + smooth * f;
}

/* The j whose angle turns `times` times within the trained length. */
static double turning(const hg_rope *r, double times)
{
    return r->dim * log(r->trained / (times * TWO_PI)) / (2 * log(r->theta));
}

static double yarn(const hg_rope *r, uint32_t j)
{
    double low = turning(r, r->fast), high = turning(r, r->slow);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, r->dim - 1);
    if (low == high) high += 0.001;
    double ramp = fmin(fmax((j - low) / (high - low), 0), 1), f = plain(r, j);
    return f / r->factor * ramp + f * (1 - ramp);
}

static double frequency(const hg_rope *r, uint32_t j)
{
    switch (r->kind) {
    case HG_ROPE_LINEAR: return plain(r, j) / r->factor;
    case HG_ROPE_LLAMA3: return llama3(r, j);
    case HG_ROPE_YARN: return yarn(r, j);
    default: return plain(r, j);
    }
}

static hg_value *floats(hg_build *b, const char *name, const float *numbers, uint32_t count)
{
    return hg_graph_inline(b->g, name, HG_ONNX_FLOAT, HG_SHAPE(HG_DIM(count)), numbers,
                           count * sizeof(float));
}

static hg_value *one_float(hg_build *b, const char *name, double number)
{
    const float f = (float)number;
    return floats(b, name, &f, 1);
}

/* The frequencies, each divided by its entry in a list (NULL: as they are). */
static hg_value *fixed(hg_build *b, const char *name, const hg_rope *r, const hg_jval *list)
{
    float f[HG_ROPE_DIM_MAX / 2];
    for (uint32_t j = 0; j < r->dim / 2; j++) f[j] = (float)frequency(r, j);
    for (hg_json_iter it = hg_json_iter_of(list); list && hg_json_next(&it);)
        if (it.index < r->dim / 2)
            f[it.index] = (float)(frequency(r, (uint32_t)it.index) / hg_json_f64_or(it.val, 1));
    return floats(b, name, f, r->dim / 2);
}

/* The largest position + 1: how long the longest text is without its padding; FLOAT [1]. */
static hg_value *length_of(hg_build *b, hg_value *positions)
{
    static const int64_t flat[] = {-1};
    hg_value *p = hg_op_view(b->g, "flat", positions, flat, 1);
    p = hg_op_reduce(b->g, "ReduceMax", "longest", p, 0, true);
    p = hg_op_cast(b->g, "longest_float", p, HG_ONNX_FLOAT);
    return hg_op_add(b->g, "length", p, one_float(b, "one", 1));
}

/* theta (factor L / most - (factor - 1))^(dim / (dim - 2)) instead of theta, L the length, at least `most`. */
static hg_value *growing(hg_build *b, const hg_rope *r, hg_value *positions)
{
    float power[HG_ROPE_DIM_MAX / 2];
    hg_value *length =
        hg_op_binary(b->g, "Max", "at_least", length_of(b, positions), one_float(b, "most", r->most));
    hg_value *grown = hg_op_mul(b->g, "stretched", length, one_float(b, "stretch", r->factor / r->most));
    grown = hg_op_sub(b->g, "growth", grown, one_float(b, "less", r->factor - 1));
    double exponent = r->dim > 2 ? (double)r->dim / (r->dim - 2) : 1;
    for (uint32_t j = 0; j < r->dim / 2; j++) power[j] = (float)(-2.0 * j / r->dim * exponent);
    grown = hg_op_binary(b->g, "Pow", "grown", grown, floats(b, "powers", power, r->dim / 2));
    return hg_op_mul(b->g, "frequencies", grown, fixed(b, "plain", r, NULL));
}

/* One list up to the trained length, the other beyond it. */
static hg_value *chosen(hg_build *b, const hg_rope *r, hg_value *positions)
{
    hg_value *beyond = hg_op_compare(b->g, "Greater", "beyond", length_of(b, positions),
                                     one_float(b, "trained", r->trained));
    return hg_op_where(b->g, "frequencies", beyond, fixed(b, "wide", r, r->wide),
                       fixed(b, "brief", r, r->brief));
}

/* cos and sin. */
hg_rotary hg_rope_make(hg_build *b, const char *name, const hg_rope *r, hg_value *positions)
{
    hg_value *f;
    hg_graph_enter(b->g, "%s", name);
    switch (r->kind) {
    case HG_ROPE_DYNAMIC: f = growing(b, r, positions); break;
    case HG_ROPE_LONG: f = chosen(b, r, positions); break;
    default: f = fixed(b, "frequencies", r, NULL); break;
    }
    hg_rotary out = hg_op_rotary(b->g, "angles", positions, f, r->dim, r->scale);
    hg_graph_leave(b->g);
    return out;
}
