/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mixture of experts: p = softmax(W_router x) over all experts; the `chosen` highest are taken, their p (made to sum to 1, where
 * the model does so) weigh the experts' answers: y = sum p_e * down_e(act(gate_e(x)) * up_e(x)).
 */
#include "convert/check/inner.h"

#include <stdio.h>
#include <string.h>

/* p [experts] -> the weights of the chosen ones, 0 for the rest. */
static void choose(double *p, const hg_plain_moe *m)
{
    double kept = 0;
    hg_plain_softmax(p, m->experts);
    for (size_t n = 0; n < m->chosen; n++) { /* the chosen ones are marked by a sign */
        size_t best = m->experts;
        for (size_t e = 0; e < m->experts; e++) {
            if (p[e] >= 0 && !signbit(p[e]) && (best == m->experts || p[e] > p[best])) best = e;
        }
        if (best == m->experts) break; /* no numbers at all */
        kept += p[best];
        p[best] = -p[best];
    }
    for (size_t e = 0; e < m->experts; e++) {
        p[e] = signbit(p[e]) ? -p[e] / (m->renormalize ? kept : 1) : 0;
    }
}

/* down(act(gate(x)) * up(x)) of one expert over n rows. */
static double *expert(hg_plain_state *r, const double *x, size_t n, size_t hidden, const hg_plain_moe *m,
                      const char *at)
{
    double *g = hg_plain_project(r, x, n, hidden, m->inner, false, at, m->gate);
    double *u = hg_plain_project(r, x, n, hidden, m->inner, false, at, m->up);
    hg_plain_activate(r, g, n * m->inner, m->act);
    hg_plain_multiply(r, g, u, n * m->inner);
    return hg_plain_project(r, g, n, m->inner, hidden, false, at, m->down);
}

/* The answer of all experts. */
double *hg_plain_mix(hg_plain_state *r, const double *x, size_t rows, size_t hidden, const hg_plain_moe *m,
                     const char *at)
{
    double *p = hg_plain_project(r, x, rows, hidden, m->experts, false, at, m->router);
    double *y = hg_plain_array_new(r, rows, hidden), *part = hg_plain_array_new(r, rows, hidden);
    for (size_t t = 0; hg_plain_go(r) && t < rows; t++) choose(p + t * m->experts, m);
    for (size_t e = 0; e < m->experts; e++) {
        hg_plain_block *mark = r->blocks;
        char inner[HG_REF_NAME_MAX], name[64];
        size_t n = 0;
        (void)snprintf(name, sizeof name, m->expert, e);
        (void)snprintf(inner, sizeof inner, "%s%s", at, name);
        for (size_t t = 0; hg_plain_go(r) && t < rows; t++) { /* the rows that chose this expert */
            if (p[t * m->experts + e] > 0) memcpy(part + n++ * hidden, x + t * hidden, hidden * sizeof *x);
        }
        if (r->dry) n = (rows * m->chosen + m->experts - 1) / m->experts;
        const double *z = n ? expert(r, part, n, hidden, m, inner) : NULL;
        n = 0;
        for (size_t t = 0; hg_plain_go(r) && t < rows; t++) {
            double weight = p[t * m->experts + e];
            if (!(weight > 0)) continue;
            for (size_t i = 0; i < hidden; i++) y[t * hidden + i] += weight * z[n * hidden + i];
            n++;
        }
        hg_plain_release(r, mark);
    }
    return y;
}
