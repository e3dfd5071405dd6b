/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report card of a converted model. A check compares a number with a limit; all of them are made, whatever fails, except those that need a
 * model that does not load. The limits:
 *
 *   structure     graph/check.h on the files as they lie                                 no limit: it holds or not
 *   load          ONNX Runtime makes sessions of all graphs, in a child                  no limit
 *   finite        numbers that are not finite, over all outputs for fixed inputs         0
 *   batch         a sequence alone = the same one in a batch                             1e-4 x scale
 *   padding       a sequence = the same one with padding behind it                       1e-4 x scale
 *   cache         token by token with a cache = all at once                              1e-4 x scale
 *   reference     reference.json of the repository                                       1e-3 (embeddings 1e-4)
 *
 * where scale is the largest absolute value compared, at least 1.
 */
#ifndef HG_MANAGER_ONNX_CHECK_H
#define HG_MANAGER_ONNX_CHECK_H

#include "manager/onnx_run.h"

/* What the checks of an architecture work with. */
typedef struct hg_report {
    hangar *h;
    const hg_snapshot *snap;
    const hg_artifact *artifact;
    hg_or_session session;
    hg_jw *w;       /* the open list of checks */
    uint64_t vocab; /* of config.json */
    uint64_t start; /* decoder_start_token_id */
    size_t made, failed;
    size_t numbers, not_finite; /* of the outputs seen so far */
    double reference; /* the largest difference to reference.json so far; negative = nothing was compared */
    char first[160];  /* the first check that failed, in words */
} hg_report;

#define HG_REPORT_NONE (-1.0) /* no value, no limit */
/* One line of the report. */
void hg_report_add(hg_report *r, const char *name, bool ok, double value, double limit, const char *fmt, ...)
    HG_PRINTF(6, 7);
/* A line for a difference that must not be over the limit (NaN is). */
void hg_report_limit(hg_report *r, const char *name, double value, double limit, const char *detail);
/* Counts what is not finite in an output. */
void hg_report_numbers(hg_report *r, const hg_or_tensor *t);
/* The largest difference between n numbers, over max(1, the largest of b); NaN when one is not finite. */
double hg_report_scaled(const float *a, const float *b, size_t n);

/* The larger of two differences; NaN is larger than anything. */
double hg_report_worse(double a, double b);
/* A tensor {"shape", "data"} of a reference, data nested or flat: numbers of the caller's, exactly as many as the shape says. false when it is
 * malformed. */
bool hg_report_floats(const hg_jval *tensor, float **out, size_t *count);
bool hg_report_ints(const hg_jval *tensor, int64_t **out, size_t *count);
/* Compares n numbers with those of a reference: the largest difference goes into r->reference (NaN stays). */
void hg_report_compare(hg_report *r, const float *have, const float *want, size_t n);

/* The checks of one kind of model: they run graphs and add lines. An error is one of the runner (or of memory), and ends the report. */
hangar_code hg_report_encoder(hg_report *r, const hg_jval *reference, hangar_err *err);
hangar_code hg_report_whisper(hg_report *r, const hg_jval *reference, hangar_err *err);

/* Makes the report, keeps it as report.json beside the graphs. INTEGRITY when a check failed. */
hangar_code hg_onnx_report(hangar *h, const hg_snapshot *snap, const hg_artifact *artifact, const char *ref,
                           hangar_job *job, char **out_json, hangar_err *err);

#endif
