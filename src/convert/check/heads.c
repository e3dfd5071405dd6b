/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind an encoder: a pooler, a masked language model, or classifiers of a text, of its tokens, of spans. */
#include "convert/check/inner.h"

#include <stdio.h>
#include <string.h>

/* Token 0 of each sequence. */
double *hg_plain_first(hg_plain_state *r, const double *x, size_t hidden)
{
    double *y = hg_plain_array_new(r, r->in->batch, hidden);
    for (size_t b = 0; hg_plain_go(r) && b < r->in->batch; b++) {
        memcpy(y + b * hidden, x + b * r->in->length * hidden, hidden * sizeof *y);
    }
    return y;
}

/* One column of x [rows][2] as an output. */
static void give_column(hg_plain_state *r, const char *name, const double *x, size_t column)
{
    const size_t shape[2] = {r->in->batch, r->in->length};
    double *y = hg_plain_array_new(r, shape[0], shape[1]);
    for (size_t t = 0; hg_plain_go(r) && t < shape[0] * shape[1]; t++) y[t] = x[2 * t + column];
    hg_plain_give(r, name, y, 2, shape);
}

/* logits = W x + b */
void hg_plain_classify(hg_plain_state *r, const double *x, bool per_token, bool question, size_t hidden,
                       bool bias, const char *name)
{
    size_t rows = per_token ? r->in->batch * r->in->length : r->in->batch;
    char full[HG_REF_NAME_MAX];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    hg_plain_mat w = hg_plain_matrix(r, "", full, question ? 2 : 0, hidden);
    const double *y = hg_plain_project(r, x, rows, hidden, w.rows, bias, "", name);
    if (question) {
        give_column(r, "start_logits", y, 0);
        give_column(r, "end_logits", y, 1);
        return;
    }
    const size_t tokens[3] = {r->in->batch, r->in->length, w.rows}, texts[2] = {r->in->batch, w.rows};
    hg_plain_give(r, "logits", y, per_token ? 3 : 2, per_token ? tokens : texts);
}

/* logits = E norm(act(W x + b)) + b' */
void hg_plain_masked_lm(hg_plain_state *r, const double *x, const hg_plain_heads *h)
{
    size_t rows = r->in->batch * r->in->length;
    const size_t shape[3] = {r->in->batch, r->in->length, h->vocab};
    char head[HG_REF_NAME_MAX], bias[HG_REF_NAME_MAX];
    double *y = hg_plain_project(r, x, rows, h->hidden, h->hidden, !h->dense_free, "", h->lm_dense);
    hg_plain_activate(r, y, rows * h->hidden, h->lm_act);
    y = hg_plain_normalize(r, y, rows, h->hidden, &h->norm, "", h->lm_norm);
    (void)snprintf(head, sizeof head, "%s.weight", h->lm_decoder);
    (void)snprintf(bias, sizeof bias, "%s.bias", h->lm_decoder);
    bool tied = hg_plain_tied(r, true, h->words, head);
    hg_plain_mat w = hg_plain_matrix(r, "", tied ? h->words : head, h->vocab, h->hidden);
    /* Tied, both names are one bias; else the decoder's own is what is added. */
    bool own = !tied && hg_plain_has(r, "", bias);
    if (!own && h->lm_bias && hg_plain_has(r, "", h->lm_bias))
        (void)snprintf(bias, sizeof bias, "%s", h->lm_bias);
    const double *b = h->decoder_free ? NULL : hg_plain_vector(r, "", bias, h->vocab);
    hg_plain_give(r, "logits", hg_plain_linear(r, y, rows, w, b), 3, shape);
}

/* The bare model's two outputs. */
static void bare(hg_plain_state *r, const double *x, const hg_plain_heads *h)
{
    const size_t shape[3] = {r->in->batch, r->in->length, h->hidden}, pooled[2] = {r->in->batch, h->hidden};
    char full[HG_REF_NAME_MAX] = "";
    hg_plain_give(r, "last_hidden_state", x, 3, shape);
    if (h->pooler) (void)snprintf(full, sizeof full, "%s.weight", h->pooler);
    if (!h->pooler || !hg_plain_has(r, "", full)) return;
    double *y = hg_plain_first(r, x, h->hidden);
    y = hg_plain_project(r, y, r->in->batch, h->hidden, h->hidden, true, "", h->pooler);
    hg_plain_activate(r, y, r->in->batch * h->hidden, HG_REF_TANH);
    hg_plain_give(r, "pooler_output", y, 2, pooled);
}

/* What the class asks for. */
void hg_plain_finish(hg_plain_state *r, double *x, hg_plain_head head, const hg_plain_heads *h)
{
    double *y;
    char dense[HG_REF_NAME_MAX] = "";
    if (head == HG_REF_MASKED) (void)snprintf(dense, sizeof dense, "%s.weight", h->lm_dense);
    /* a bare model may bear the name of what it was trained from */
    if (dense[0] && !hg_plain_has(r, "", dense)) head = HG_REF_BARE;
    switch (head) {
    case HG_REF_MASKED: hg_plain_masked_lm(r, x, h); break;
    case HG_REF_SEQUENCE:
        y = hg_plain_first(r, x, h->hidden);
        y = hg_plain_project(r, y, r->in->batch, h->hidden, h->hidden, true, "", h->seq_dense);
        hg_plain_activate(r, y, r->in->batch * h->hidden, h->seq_act);
        hg_plain_classify(r, y, false, false, h->hidden, true,
                          strcmp(h->seq_dense, "classifier.dense") == 0 ? "classifier.out_proj"
                                                                        : "classifier");
        break;
    case HG_REF_TOKEN: hg_plain_classify(r, x, true, false, h->hidden, true, "classifier"); break;
    case HG_REF_QUESTION: hg_plain_classify(r, x, true, true, h->hidden, true, "qa_outputs"); break;
    default: bare(r, x, h); break;
    }
}

/* The encoder's states as the caller gives them; *keys is how many of each sequence, also of an encoder still to run. */
const double *hg_plain_states(hg_plain_state *r, size_t hidden, size_t *keys)
{
    const hg_ref_input *in = r->in;
    *keys = in->states ? in->states_length : in->source_length;
    if (!in->states) {
        if (!in->source || !in->source_length) {
            hg_plain_fail(r, HANGAR_E_USAGE, "the reference needs source ids or encoder states");
        }
        return NULL;
    }
    if (in->states_width != hidden) {
        hg_plain_fail(r, HANGAR_E_USAGE, "the reference needs encoder states of width %zu", hidden);
    }
    size_t count = in->batch * in->states_length * in->states_width;
    double *x = hg_plain_array_new(r, 1, count);
    for (size_t i = 0; hg_plain_go(r) && i < count; i++) x[i] = (double)in->states[i];
    return x;
}
