/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hangar's figures, by their ids in metrics.def:
 *
 *   hg_metric_add(HG_M_RUNNER_RESTARTS, (const char *const[]){model}, 1);
 *
 * A label `result` is the name of a code (hangar_code_name). Any thread. How they are kept and bounded: base/metric.h.
 */
#ifndef HG_MANAGER_METRICS_H
#define HG_MANAGER_METRICS_H

#include "base/json.h"
#include "base/metric.h"
#include "hangar/error.h"

typedef enum hg_metric_id {
#define HG_METRIC(id, kind, name, labels, help) HG_M_##id,
#include "manager/metrics.def"
#undef HG_METRIC
    HG_M_COUNT
} hg_metric_id;

extern const hg_metric hg_metrics[HG_M_COUNT];

/* Labels in the order of metrics.def; NULL when there are none. A histogram takes one observation, a counter what it grows by. */
void hg_metric_add(hg_metric_id id, const char *const *labels, double by);
void hg_metric_set(hg_metric_id id, const char *const *labels, double value);
double hg_metric_get(hg_metric_id id, const char *const *labels);
/* NULL among the labels = any value. */
void hg_metric_drop(hg_metric_id id, const char *const *labels);

/* A pull ended; json is the document of hangar_model_download, NULL when there is none. */
void hg_metric_pull(const char *ref, hangar_code code, const char *json);
/* A conversion ended. */
void hg_metric_conversion(const char *ref, const char *form, hangar_code code, double seconds,
                          uint64_t peak_bytes);

/* All of it for GET /metrics, HG_METRICS_TYPE; the process's own figures are read now. */
#define HG_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
hangar_code hg_metrics_write(hg_buf *out, hangar_err *err);

#endif
