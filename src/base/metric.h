/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures of a running process for those who watch it: counters, gauges and histograms with labels, given out in the text format of
 * Prometheus (0.0.4). There is one registry in a process; a series is made when it is first used. What figures there are is a table of the
 * room that has them (manager/metrics.def); here is only how they are kept.
 *
 * Bounded: at most HG_SERIES_EACH series of one metric. A counter or histogram that would go over it goes to the series whose labels are all
 * HG_SERIES_OTHER, so that sums stay right; a gauge is left out. Both are counted (hg_series_state). Threads: any; one mutex, held for
 * short. A series that finds no memory is left out and counted.
 */
#ifndef HG_BASE_METRIC_H
#define HG_BASE_METRIC_H

#include "base/buf.h"

#define HG_SERIES_EACH   1024
#define HG_SERIES_LABELS 6
#define HG_SERIES_VALUE  200 /* bytes of a label's value; longer ones are cut */
#define HG_SERIES_OTHER  "(other)"
#define HG_SERIES_OUTPUT (32 * HG_MIB) /* bytes that hg_series_write gives out at most */

typedef enum hg_metric_kind { HG_METRIC_COUNTER, HG_METRIC_GAUGE, HG_METRIC_HISTOGRAM } hg_metric_kind;

/* One metric; must live as long as the process. */
typedef struct hg_metric {
    const char *name;   /* "hangar_http_requests_total" */
    const char *labels; /* "route,status"; "" = none */
    const char *help;
    hg_metric_kind kind;
    const double *edges; /* of a histogram: upper edges, ascending; +Inf is added */
    size_t edge_count;
} hg_metric;

/* labels: as many values as the metric has labels, in its order (NULL in it = ""); NULL when it has none. */
/* Counter: by > 0. Gauge: by anything. Histogram: one observation of the value `by`. What is not finite is left out. */
void hg_series_add(const hg_metric *m, const char *const *labels, double by);
/* Gauge; of a counter when its total is counted elsewhere. */
void hg_series_set(const hg_metric *m, const char *const *labels, double value);
/* The value of a counter or gauge, the number of observations of a histogram; 0 when there is none such. For tests and pages. */
double hg_series_get(const hg_metric *m, const char *const *labels);
/* Takes away the series whose labels are these; NULL in it = any. */
void hg_series_drop(const hg_metric *m, const char *const *labels);

typedef struct hg_series_figures {
    size_t series;
    uint64_t left_out; /* values that went to HG_SERIES_OTHER or nowhere */
} hg_series_figures;
void hg_series_state(hg_series_figures *out);

/* The text: of each metric that has a series # HELP, # TYPE, then its series sorted by their labels. Appends to out. */
void hg_series_write(const hg_metric *metrics, size_t count, hg_buf *out);

#endif
