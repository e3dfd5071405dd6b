/* SPDX-License-Identifier: Apache-2.0 */
/* A model against itself: what one input gives may not depend on what else is asked, nor on how it is cut into steps. */
#include "manager/onnx_check.h"

#include <math.h>
#include <string.h>

/* Looks at every number. */
static void count_numbers(hg_report *r, const hg_proof_output *o)
{
    for (size_t i = 0; i < o->count; i++) {
        for (size_t k = 0; k < o->items[i].count; k++) r->not_finite += !isfinite(o->items[i].data[k]);
        r->numbers += o->items[i].count;
    }
}

/* Outputs that tell of a pair of inputs do not belong to one row. */
static bool of_pairs(const hg_proof_array *a)
{
    return strncmp(a->name, "logits_per_", 11) == 0;
}

/*
 * Row `row` of a batch against the same input alone. What a row has more than the single one is padding, left or right of the tokens.
 * NaN when shapes do not fit.
 */
static double row_difference(const hg_proof_output *batch, size_t row, const hg_proof_output *alone,
                             bool left)
{
    double worst = 0;
    for (size_t i = 0; i < alone->count; i++) {
        const hg_proof_array *y = &alone->items[i], *x = hg_proof_output_get(batch, y->name);
        if (of_pairs(y)) continue;
        if (!x || x->rank != y->rank || x->rank < 1 || x->shape[0] <= (int64_t)row || y->shape[0] != 1)
            return NAN;
        size_t each = x->count / (size_t)x->shape[0], skip = 0;
        if (each < y->count) return NAN;
        if (each > y->count) {
            size_t tokens = x->rank >= 2 ? (size_t)x->shape[1] : 0;
            if (tokens == 0 || y->count % (each / tokens) != 0) return NAN;
            if (left) skip = each - y->count;
        }
        worst = hg_report_worse(worst, hg_report_scaled(x->data + row * each + skip, y->data, y->count));
    }
    return worst;
}

/* Both rows of a batch against each alone. */
static hangar_code check_rows(hg_report *r, hg_or_session *s, hangar_err *err)
{
    hg_proof_input both = {0};
    hg_proof_output together = {0};
    double worst[2] = {0, 0};
    hangar_code code = hg_proof_input_make(s, &r->facts, 0, 2, true, &both, err);
    bool masked = both.masked;
    if (code == HANGAR_OK) code = hg_proof_run(s, &both.in, NULL, &together, err);
    count_numbers(r, &together);
    for (size_t row = 0; code == HANGAR_OK && row < 2; row++) {
        hg_proof_input one = {0};
        hg_proof_output alone = {0};
        code = hg_proof_input_make(s, &r->facts, row, 1, !masked, &one, err);
        if (code == HANGAR_OK) code = hg_proof_run(s, &one.in, NULL, &alone, err);
        if (code == HANGAR_OK) worst[row] = row_difference(&together, row, &alone, r->facts.left);
        hg_proof_output_deinit(&alone);
        hg_proof_input_deinit(&one);
    }
    hg_proof_output_deinit(&together);
    hg_proof_input_deinit(&both);
    if (code != HANGAR_OK) return code;
    double batch = masked ? worst[0] : hg_report_worse(worst[0], worst[1]);
    hg_report_limit(r, "batch", batch, r->form->wobble, "an input alone and in a batch");
    if (masked) hg_report_limit(r, "padding", worst[1], r->form->wobble, "a text with and without padding");
    return HANGAR_OK;
}

static hangar_code check_cache(hg_report *r, hg_or_session *s, hangar_err *err)
{
    static const size_t pieces[] = {3, 1, 1, 2, 0};
    hg_proof_input in = {0};
    hg_proof_output whole = {0}, steps = {0};
    hangar_code code = hg_proof_input_make(s, &r->facts, 0, 1, false, &in, err);
    if (code == HANGAR_OK) code = hg_proof_run(s, &in.in, NULL, &whole, err);
    count_numbers(r, &whole);
    hg_proof_give_states(&in.in, &whole);
    if (code == HANGAR_OK) code = hg_proof_run(s, &in.in, pieces, &steps, err);
    if (code == HANGAR_OK)
        hg_report_limit(r, "cache", row_difference(&steps, 0, &whole, false), r->form->wobble,
                        "%zu tokens at once, and in pieces of 3, 1, 1, 2 and the rest", r->facts.tokens);
    hg_proof_output_deinit(&whole);
    hg_proof_output_deinit(&steps);
    hg_proof_input_deinit(&in);
    return code;
}

/* All of it. A batch of two sounds of half a minute proves little for what it costs. */
hangar_code hg_report_self(hg_report *r, hg_or_session *s, hangar_err *err)
{
    hg_or_tensor port;
    bool features = hg_or_port(s, "encoder_model", "inputs", "input_features", &port);
    hangar_code code = features ? HANGAR_OK : check_rows(r, s, err);
    if (code == HANGAR_OK && hg_proof_kind_of(s) != HG_PROOF_WHOLE) code = check_cache(r, s, err);
    if (code == HANGAR_OK)
        hg_report_add(r, "finite", r->not_finite == 0, (double)r->not_finite, 0, "of %zu numbers",
                      r->numbers);
    return code;
}
