/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/metrics.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "hangar/hangar.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROC_MAX 4096 /* bytes of a file of /proc that is read here */

/* A local call ends within a millisecond, a model of many gigabytes loads for minutes. */
static const double seconds_edges[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                       0.25,   0.5,     1,      2.5,   5,      10,    30,   60,    180,  600};
static const double rate_edges[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000};

#define KIND_COUNTER HG_METRIC_COUNTER, NULL, 0
#define KIND_GAUGE   HG_METRIC_GAUGE, NULL, 0
#define KIND_SECONDS HG_METRIC_HISTOGRAM, seconds_edges, HG_LEN(seconds_edges)
#define KIND_RATE    HG_METRIC_HISTOGRAM, rate_edges, HG_LEN(rate_edges)
const hg_metric hg_metrics[HG_M_COUNT] = {
#define HG_METRIC(id, kind, name, labels, help) {name, labels, help, KIND_##kind},
#include "manager/metrics.def"
#undef HG_METRIC
};

void hg_metric_add(hg_metric_id id, const char *const *labels, double by)
{
    hg_series_add(&hg_metrics[id], labels, by);
}

void hg_metric_set(hg_metric_id id, const char *const *labels, double value)
{
    hg_series_set(&hg_metrics[id], labels, value);
}

double hg_metric_get(hg_metric_id id, const char *const *labels)
{
    return hg_series_get(&hg_metrics[id], labels);
}

void hg_metric_drop(hg_metric_id id, const char *const *labels)
{
    hg_series_drop(&hg_metrics[id], labels);
}

void hg_metric_pull(const char *ref, hangar_code code, const char *json)
{
    hg_metric_add(HG_M_DOWNLOADS, (const char *const[]){hangar_code_name(code)}, 1);
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    if (!json || hg_json_parse(hg_str_of(json), NULL, &doc, NULL) != HANGAR_OK) return;
    const hg_jval *root = hg_json_root(doc);
    const char *const model[] = {hg_json_text_or(hg_json_get(root, "repo"), ref)};
    double bytes = hg_json_f64_or(hg_json_get(root, "bytes_fetched"), 0);
    double seconds = hg_json_f64_or(hg_json_get(root, "seconds"), 0);
    hg_metric_set(HG_M_MODEL_BYTES, model, hg_json_f64_or(hg_json_get(root, "bytes_total"), 0));
    hg_metric_add(HG_M_DOWNLOAD_BYTES, model, bytes);
    hg_metric_add(HG_M_DOWNLOAD_SECONDS, model, seconds);
    if (bytes > 0 && seconds > 0) hg_metric_set(HG_M_DOWNLOAD_RATE, model, bytes / seconds);
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(root, "files")); hg_json_next(&it);) {
        bool have = hg_streq(hg_json_text(hg_json_get(it.val, "state")), "have");
        hg_metric_add(have ? HG_M_CACHE_HITS : HG_M_CACHE_MISSES, (const char *const[]){"store"}, 1);
    }
}

void hg_metric_conversion(const char *ref, const char *form, hangar_code code, double seconds,
                          uint64_t peak_bytes)
{
    hg_metric_add(HG_M_CONVERSIONS, (const char *const[]){hangar_code_name(code)}, 1);
    if (code != HANGAR_OK) return;
    hg_metric_add(HG_M_CONVERSION_SECONDS, (const char *const[]){form}, seconds);
    hg_metric_set(HG_M_CONVERSION_PEAK, (const char *const[]){ref}, (double)peak_bytes);
}

/* ---- the process ---- */

/* Open descriptors: newer kernels tell their number as the folder's size, in others they are counted. */
static double open_descriptors(void)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) return (double)st.st_size;
    DIR *dir = opendir("/proc/self/fd");
    double n = -3; /* "." and ".." and the folder itself */
    for (; dir && readdir(dir); n++) continue;
    if (dir) closedir(dir);
    return n > 0 ? n : 0;
}

/* When the process began, in unix time: /proc has it in ticks since the machine's start. */
static double start_time(void)
{
    struct timespec since_start;
    hg_buf text;
    unsigned long long ticks = 0;
    hg_buf_init(&text, PROC_MAX);
    if (hg_read_file("/proc/self/stat", &text, NULL) != HANGAR_OK) {
        hg_buf_deinit(&text);
        return 0;
    }
    const char *p = strrchr(hg_buf_text(&text), ')'); /* behind the name, which may hold anything */
    for (int field = 2; p && field < 22; field++) p = strchr(p + 1, ' ');
    bool found = p && sscanf(p, "%llu", &ticks) == 1;
    hg_buf_deinit(&text);
    if (!found || clock_gettime(CLOCK_BOOTTIME, &since_start) != 0) return 0;
    return (double)hg_wall() - (double)since_start.tv_sec + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double resident_bytes(void)
{
    hg_buf text;
    unsigned long long size = 0, resident = 0;
    hg_buf_init(&text, PROC_MAX);
    if (hg_read_file("/proc/self/statm", &text, NULL) != HANGAR_OK) {
        hg_buf_deinit(&text);
        return 0;
    }
    if (sscanf(hg_buf_text(&text), "%llu %llu", &size, &resident) != 2) resident = 0;
    hg_buf_deinit(&text);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void note_process(void)
{
    struct rusage use;
    hg_series_figures figures;
    hg_metric_set(HG_M_BUILD, (const char *const[]){HANGAR_VERSION}, 1);
    hg_metric_set(HG_M_STARTED, NULL, start_time());
    if (getrusage(RUSAGE_SELF, &use) == 0)
        hg_metric_set(HG_M_CPU, NULL, seconds_of(use.ru_utime) + seconds_of(use.ru_stime));
    hg_metric_set(HG_M_RESIDENT, NULL, resident_bytes());
    hg_metric_set(HG_M_DESCRIPTORS, NULL, open_descriptors());
    hg_metric_set(HG_M_SERIES_LIMIT, NULL, HG_SERIES_EACH);
    hg_series_state(&figures);
    hg_metric_set(HG_M_SERIES, NULL, (double)figures.series);
    hg_metric_set(HG_M_SERIES_LEFT_OUT, NULL, (double)figures.left_out);
}

hangar_code hg_metrics_write(hg_buf *out, hangar_err *err)
{
    note_process();
    hg_series_write(hg_metrics, HG_M_COUNT, out);
    return hg_buf_check(out, err);
}
