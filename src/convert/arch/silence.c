/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/arch/silence.h"

#include <math.h>

#define REACH  2 /* positions behind the last frame of sound that its convolutions see */
#define MARGIN 4 /* and some more that are computed as ever */

static hg_value *list_of(hg_build *b, int64_t number)
{
    return hg_graph_ints(b->g, &number, 1);
}

/* Frames up to the last one that differs from the window's last: a list of one number. */
static hg_value *sound_frames(hg_build *b, hg_value *mel, int64_t frames)
{
    hg_graph *g = b->g;
    hg_value *last =
        hg_op_slice_axis(g, "last_frame", mel, 2, list_of(b, frames - 1), list_of(b, frames), HG_DIM(1));
    hg_value *differs = hg_op_unary(g, "Abs", "distance", hg_op_sub(g, "difference", mel, last));
    differs = hg_op_reduce(g, "ReduceMax", "distance_of_frame", differs, 1, false);
    differs = hg_op_reduce(g, "ReduceMax", "distance_of_all", differs, 0, false);
    differs = hg_op_compare(g, "Greater", "differs", differs, hg_graph_real_of(g, 0));
    hg_value *parts[] = {list_of(b, -1), hg_op_where_true(g, "loud", differs)};
    hg_value *loud = hg_op_concat_ints(g, "loud_or_none", parts, 2);
    hg_value *end = hg_op_slice_axis(g, "last_loud", loud, 0, list_of(b, -1), list_of(b, frames), HG_DIM(1));
    return hg_op_add(g, "sound_frames", end, list_of(b, 1));
}

/* How many samples there are, a list of one number: none when they save less than a third of the positions. */
static hg_value *count_samples(hg_build *b, hg_value *frames, int64_t positions, int64_t every)
{
    hg_graph *g = b->g;
    const int64_t least = positions * every / (3 * (every - 1));
    hg_value *sound = hg_op_div(g, "sound_halved", frames, list_of(b, 2));
    hg_value *rest = hg_op_sub(g, "silence", list_of(b, positions - REACH - MARGIN), sound);
    hg_value *enough = hg_op_compare(g, "GreaterOrEqual", "enough", rest, list_of(b, least));
    hg_value *samples = hg_op_div(g, "silence_sampled", rest, list_of(b, every));
    return hg_op_mul(g, "samples", samples, hg_op_cast(g, "enough_int", enough, HG_ONNX_INT64));
}

/* dense + every / 2 + every `behind`: the place of sample number `behind`. */
static hg_value *stretched(hg_build *b, const hg_silence *s, const char *name, hg_value *behind,
                           int64_t every)
{
    hg_value *first = hg_op_add(b->g, "first_sample", s->dense, hg_graph_int(b->g, every / 2));
    return hg_op_add(b->g, name, hg_op_mul(b->g, "sample_steps", behind, hg_graph_int(b->g, every)), first);
}

/* kept[t] = t below dense, else dense + every (t - dense) + every / 2; spread[p] = p below dense, else dense + (p - dense) / every. On its own
 * side of dense each of the two is the larger (the smaller) one. */
static void place_all(hg_build *b, hg_silence *s, hg_value *samples, int64_t positions, int64_t every)
{
    hg_graph *g = b->g;
    hg_value *zero = hg_graph_int(g, 0);
    hg_value *count = hg_op_add(g, "kept_count", s->dense, hg_op_squeeze(g, "sample_count", samples, 0));
    hg_value *t = hg_op_range(g, "kept_numbers", zero, count, "kept_length");
    hg_value *behind = hg_op_sub(g, "behind_sound", t, s->dense);
    s->kept = hg_op_binary(g, "Max", "kept", t, stretched(b, s, "sample_places", behind, every));
    hg_value *is_sample = hg_op_compare(g, "GreaterOrEqual", "is_sample", behind, zero);
    hg_value *weights =
        hg_op_where(g, "weights", is_sample, hg_graph_real_of(g, log((double)every)), hg_graph_real_of(g, 0));
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"weights_row", "weights_heads", "weights_batch"};
        weights = hg_op_unsqueeze(g, names[i], weights, 0);
    }
    s->weights = weights;
    hg_value *p = hg_op_range(g, "positions", zero, hg_graph_int(g, positions), "positions");
    hg_value *steps =
        hg_op_div(g, "spread_steps", hg_op_sub(g, "spread_behind", p, s->dense), hg_graph_int(g, every));
    s->spread = hg_op_binary(g, "Min", "spread", p, hg_op_add(g, "spread_places", steps, s->dense));
}

/* Where the sound ends, and what is computed. */
hg_silence hg_silence_find(hg_build *b, hg_value *mel, int64_t positions, int64_t every)
{
    hg_silence s = {0};
    hg_graph *g = b->g;
    hg_graph_enter(g, "silence");
    hg_value *samples = count_samples(b, sound_frames(b, mel, 2 * positions), positions, every);
    s.sampled = hg_op_compare(g, "Greater", "sampled", samples, list_of(b, 0));
    hg_value *left_out = hg_op_mul(g, "left_out", samples, list_of(b, every));
    hg_value *dense = hg_op_sub(g, "dense_list", list_of(b, positions), left_out);
    s.dense = hg_op_squeeze(g, "dense", dense, 0);
    place_all(b, &s, samples, positions, every);
    /* so many that position `dense`, whose state all samples begin with, does not see the end of the cut */
    hg_value *frames = hg_op_mul(g, "dense_frames", dense, list_of(b, 2));
    frames = hg_op_add(g, "needed_frames", frames, list_of(b, 2 * REACH));
    s.mel = hg_op_slice_axis(g, "needed", mel, 2, list_of(b, 0), frames, HG_SYM("frames"));
    hg_graph_leave(g);
    return s;
}

/* Every sample is silence: the state at `dense`, the first one without sound. */
hg_value *hg_silence_keep(hg_build *b, const hg_silence *s, hg_value *x)
{
    hg_value *from = hg_op_binary(b->g, "Min", "silence.states", s->kept, s->dense);
    return hg_op_gather(b->g, "kept", x, from, 1);
}

/* The weights as the scores' bias, which the fused node wants for every query. */
static hg_branch *sampled_branch(hg_build *b, const hg_silence *s, const hg_attention *a)
{
    hg_graph *g = b->g;
    hg_branch *branch = hg_graph_branch_begin(g, "sampled");
    hg_attention with = *a;
    const int64_t ones[] = {1, 1};
    hg_value *length = hg_op_shape(g, "length", s->kept, 0, 1);
    hg_value *parts[] = {hg_graph_ints(g, ones, 2), length, length};
    hg_dim kept = s->kept->shape.dims[0];
    with.bias = hg_op_expand(g, "weights", s->weights, hg_op_concat_ints(g, "weights_shape", parts, 3),
                             HG_SHAPE(HG_DIM(1), HG_DIM(1), kept, kept));
    hg_graph_branch_output(g, hg_op_attention(g, "attention", &with));
    hg_graph_branch_end(g);
    return branch;
}

static hg_branch *whole_branch(hg_build *b, const hg_attention *a)
{
    hg_branch *branch = hg_graph_branch_begin(b->g, "whole");
    hg_graph_branch_output(b->g, hg_op_attention(b->g, "attention", a));
    hg_graph_branch_end(b->g);
    return branch;
}

/* Without samples there is no bias, with which the fused node is slower. */
hg_value *hg_silence_attention(hg_build *b, const hg_silence *s, const hg_attention *a)
{
    hg_value *out = a->q;
    hg_branch *sampled = sampled_branch(b, s, a), *whole = whole_branch(b, a);
    hg_op_if(b->g, "attend", s->sampled, sampled, whole, &a->q->shape, 1, &out);
    return out;
}

/* Each position's own state, or that of its sample. */
hg_value *hg_silence_spread(hg_build *b, const hg_silence *s, hg_value *x)
{
    return hg_op_gather(b->g, "spread", x, s->spread, 1);
}

/* ---- states that repeat ---- */

static hg_branch *nothing_repeats(hg_build *b)
{
    hg_graph *g = b->g;
    const hg_shape none = HG_SHAPE(HG_DIM(0));
    hg_branch *branch = hg_graph_branch_begin(g, "cached");
    hg_graph_branch_output(g, hg_op_zeros(g, "no_rows", HG_ONNX_INT64, none));
    hg_graph_branch_output(g, hg_op_zeros(g, "no_places", HG_ONNX_INT64, none));
    hg_graph_branch_end(g);
    return branch;
}

/* The first row always differs; every other one when a number of it does. */
static hg_branch *some_repeat(hg_build *b, hg_value *h)
{
    hg_graph *g = b->g;
    hg_branch *branch = hg_graph_branch_begin(g, "first");
    hg_value *before = hg_op_slice_axis(g, "before", h, 1, list_of(b, 0), list_of(b, -1), HG_SYM("steps"));
    hg_value *behind =
        hg_op_slice_axis(g, "behind", h, 1, list_of(b, 1), list_of(b, INT32_MAX), HG_SYM("steps"));
    hg_value *step = hg_op_unary(g, "Abs", "step", hg_op_sub(g, "change", behind, before));
    step = hg_op_reduce(g, "ReduceMax", "step_of_row", step, 2, false);
    step = hg_op_reduce(g, "ReduceMax", "step_of_all", step, 0, false);
    hg_value *differs = hg_op_compare(g, "Greater", "differs", step, hg_graph_real_of(g, 0));
    hg_value *places = hg_op_add(g, "places", hg_op_where_true(g, "changes", differs), list_of(b, 1));
    hg_value *rows[] = {list_of(b, 0), places};
    hg_value *counts[] = {list_of(b, 0), hg_op_cast(g, "differs_int", differs, HG_ONNX_INT64)};
    hg_graph_branch_output(g, hg_op_concat_ints(g, "rows", rows, 2));
    hg_graph_branch_output(g, hg_op_cumsum(g, "of", hg_op_concat_ints(g, "counts", counts, 2), 0));
    hg_graph_branch_end(g);
    return branch;
}

/* Which rows have to be computed. */
hg_repeats hg_repeats_find(hg_build *b, hg_value *h, hg_value *cached)
{
    const hg_shape shapes[] = {HG_SHAPE(HG_SYM("differing")), HG_SHAPE(HG_SYM("encoder_sequence_length"))};
    hg_value *out[2];
    hg_graph_enter(b->g, "repeats");
    hg_branch *none = nothing_repeats(b), *some = some_repeat(b, h);
    hg_op_if(b->g, "find", cached, none, some, shapes, 2, out);
    hg_graph_leave(b->g);
    return (hg_repeats){out[0], out[1]};
}
