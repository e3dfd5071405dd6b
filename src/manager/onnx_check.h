/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report card of a converted model. A check compares a number with a limit; all of them are made, whatever fails, except those that need a
 * model that does not load. The limits:
 *
 *   structure     graph/check.h on the files as they lie                                 no limit: it holds or not
 *   load          ONNX Runtime makes sessions of all graphs, in a child                  no limit
 *   finite        numbers that are not finite, over all outputs for fixed inputs         0
 *   batch         a sequence alone = the same one in a batch                             the form's wobble x scale
 *   padding       a sequence = the same one with padding                                 the same
 *   cache         token by token with a cache = all at once                              the same
 *   independent   the source architecture, computed anew in double precision             2e-4 x scale
 *   drift         the form = the weights as they were: relative L2 of all outputs        the form's drift
 *   kl, top-1     of language models, the same comparison: told, no limit
 *   reference     reference.json of the repository                                       1e-3 (embeddings 1e-4); other forms: told, no limit
 *
 * where scale is the largest absolute value compared, at least 1. A model that does not fit into memory, and one that would take the
 * reference too long, is proved by its first layers: the same builder writes a graph of those over the same weights.
 */
#ifndef HG_MANAGER_ONNX_CHECK_H
#define HG_MANAGER_ONNX_CHECK_H

#include "convert/form.h"
#include "manager/proof.h"

#define HG_REPORT_SECONDS 5.0 /* that the independent reference may take */
/* Of a difference to the largest number of an output, which counts as FLOOR at least: 32-bit noise, which grows with the layers. Measured:
 * 1e-6 and less with 2 layers, so that another eps or another approximation of gelu shows. */
#define HG_REPORT_FLOOR               0.05
#define HG_REPORT_INDEPENDENT(layers) (1e-5 + 5e-6 * (double)((layers) ? (layers) : 32))
#define HG_REPORT_REFERENCE           1e-3
#define HG_REPORT_EMBEDDING           1e-4

/* What the checks work with. */
typedef struct hg_report {
    hangar *h;
    const hg_snapshot *snap;
    const hg_artifact *artifact;
    const hg_form *form;
    hangar_job *job;
    hg_jw *w; /* the open list of checks */
    hg_proof_facts facts;
    size_t made, failed;
    size_t numbers, not_finite; /* of the outputs seen so far */
    uint32_t layers;            /* everything is run on the first ones only; 0 = on all */
    bool by_layer;
    char first[160]; /* the first check that failed, in words */
} hg_report;

#define HG_REPORT_NONE (-1.0) /* no value, no limit */
/* One line of the report. */
void hg_report_add(hg_report *r, const char *name, bool ok, double value, double limit, const char *fmt, ...)
    HG_PRINTF(6, 7);
/* A line for a difference that must not be over the limit (NaN is). */
void hg_report_limit(hg_report *r, const char *name, double value, double limit, const char *fmt, ...)
    HG_PRINTF(5, 6);
/* A line for a check that could not be made: it neither passed nor failed ("skipped": true). */
void hg_report_skip(hg_report *r, const char *name, const char *fmt, ...) HG_PRINTF(3, 4);

/* ---- numbers (onnx_reference.c) ---- */

/* The largest difference between n numbers, over max(1, the largest of b); NaN when one is not finite. */
double hg_report_scaled(const float *a, const float *b, size_t n);
/* The larger of two differences; NaN is larger than anything. */
double hg_report_worse(double a, double b);
/* A tensor {"shape", "data"} of a reference, data nested or flat: numbers of the caller's, exactly as many as the shape says. false when it is
 * malformed. */
bool hg_report_floats(const hg_jval *tensor, float **out, size_t *count);
bool hg_report_ints(const hg_jval *tensor, int64_t **out, size_t *count);

/* ---- the checks; an error is one of the runner (or of memory), and ends the report ---- */

/* The model against itself: finite, batch, padding, cache (proof_self.c). */
hangar_code hg_report_self(hg_report *r, hg_or_session *s, hangar_err *err);
/* Weights that a form wrote anew, against those of the checkpoint (proof_codes.c). */
hangar_code hg_report_weights(hg_report *r, hangar_err *err);
/* reference.json (proof_json.c). */
hangar_code hg_report_json(hg_report *r, hg_or_session *s, const hg_jval *reference, hangar_err *err);
/* The independent reference, on `s`, which holds the weights as they were; base NULL = they do not fit into memory (proof_base.c). */
hangar_code hg_report_independent(hg_report *r, hg_or_session *s, hangar_err *err);
/* A form against the weights as they were; makes the independent check on those, too (proof_base.c). */
hangar_code hg_report_drift(hg_report *r, hg_or_session *s, hangar_err *err);
/* The model cut after 1, 2, ... layers: drift of a form, else the independent check (proof_base.c). */
hangar_code hg_report_by_layer(hg_report *r, hangar_err *err);

/* A model of the snapshot in `form`, built for the moment, and a runner that holds it. */
typedef struct hg_probe {
    char *stage;
    hg_artifact *artifact;
    hg_or_session session;
} hg_probe;
hangar_code hg_probe_open(hg_report *r, const hg_form *form, uint32_t layers, hg_probe *out, hangar_err *err);
void hg_probe_close(hg_probe *p);
/* Memory that running a model takes: its weights as 32 bits, or as they were made. */
uint64_t hg_report_memory(const hg_artifact *a);

/* Makes the report (by_layer: with a line for each number of first layers), keeps it as report.json beside the graphs. INTEGRITY when a check failed. */
hangar_code hg_onnx_report(hangar *h, const hg_snapshot *snap, const hg_artifact *artifact, const char *ref,
                           bool by_layer, hangar_job *job, char **out_json, hangar_err *err);

#endif
