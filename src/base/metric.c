/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Series hang in a table of lists by a hash of metric and labels, and in a list of their metric. Labels are kept as one text, the values
 * behind each other with their NULs, so that comparing and sorting is memcmp. The mutex guards all of it.
 */
#include "base/metric.h"

#include "base/mem.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define HEADS     1024 /* a power of two */
#define KEY_MAX   (HG_SERIES_LABELS * (HG_SERIES_VALUE + 1))
#define EXACT_MAX 9007199254740992.0 /* 2^53: whole numbers below it are written without an exponent */

typedef struct series {
    struct series *same_head, *same_metric;
    struct family *family;
    uint64_t hash;
    double value;     /* of a histogram: the sum */
    uint64_t *counts; /* of a histogram: per edge, then those above the last */
    size_t key_len;
    char key[];
} series;

typedef struct family {
    const hg_metric *metric;
    series *first;
    size_t count;
} family;

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static series *heads[HEADS];
static family **families;
static size_t family_count, family_cap;
static hg_series_figures figures;

/* How many labels a metric has. */
static size_t label_count(const hg_metric *m)
{
    if (!*m->labels) return 0;
    size_t n = 1;
    for (const char *p = m->labels; *p; p++) n += *p == ',';
    return n < HG_SERIES_LABELS ? n : HG_SERIES_LABELS;
}

/* What is kept of a label's value. */
static hg_str cut(const char *value)
{
    hg_str v = {value, strnlen(value, HG_SERIES_VALUE)};
    if (v.len == HG_SERIES_VALUE) v.len = hg_utf8_whole(v);
    return v;
}

/* The labels as one text. `fixed`, when it is not NULL, stands for every value. */
static size_t write_key(const hg_metric *m, const char *const *labels, const char *fixed, char out[KEY_MAX])
{
    size_t len = 0;
    for (size_t i = 0, n = label_count(m); i < n; i++) {
        hg_str v = cut(fixed ? fixed : labels && labels[i] ? labels[i] : "");
        memcpy(out + len, v.ptr, v.len);
        len += v.len;
        out[len++] = '\0';
    }
    return len;
}

static uint64_t hash_of(const hg_metric *m, const char *key, size_t len)
{
    uint64_t h = 1469598103934665603u ^ (uint64_t)(uintptr_t)m;
    for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)key[i]) * 1099511628211u;
    return h ^ h >> 29;
}

static series *find(const hg_metric *m, const char *key, size_t len, uint64_t hash)
{
    for (series *s = heads[hash & (HEADS - 1)]; s; s = s->same_head)
        if (s->hash == hash && s->family->metric == m && s->key_len == len && memcmp(s->key, key, len) == 0)
            return s;
    return NULL;
}

static family *find_family(const hg_metric *m, bool make)
{
    for (size_t i = 0; i < family_count; i++)
        if (families[i]->metric == m) return families[i];
    if (!make || !hg_grow((void **)&families, &family_cap, family_count + 1, sizeof(family *))) return NULL;
    family *f = hg_calloc(1, sizeof *f);
    if (!f) return NULL;
    f->metric = m;
    families[family_count++] = f;
    return f;
}

static series *make(family *f, const char *key, size_t len, uint64_t hash)
{
    const hg_metric *m = f->metric;
    series *s = hg_calloc(1, sizeof *s + len);
    if (s && m->kind == HG_METRIC_HISTOGRAM) {
        s->counts = hg_calloc(m->edge_count + 1, sizeof *s->counts);
        if (!s->counts) {
            free(s);
            s = NULL;
        }
    }
    if (!s) return NULL;
    s->family = f;
    s->hash = hash;
    s->key_len = len;
    if (len) memcpy(s->key, key, len);
    s->same_head = heads[hash & (HEADS - 1)];
    heads[hash & (HEADS - 1)] = s;
    s->same_metric = f->first;
    f->first = s;
    f->count++;
    figures.series++;
    return s;
}

/* The series of these labels, made when it is not there; NULL when there is no room or memory for it. */
static series *need(const hg_metric *m, const char *const *labels)
{
    char key[KEY_MAX];
    size_t len = write_key(m, labels, NULL, key);
    uint64_t hash = hash_of(m, key, len);
    series *s = find(m, key, len, hash);
    if (s) return s;
    family *f = find_family(m, true);
    if (f && f->count < HG_SERIES_EACH - 1) s = make(f, key, len, hash);
    if (s) return s;
    figures.left_out++;
    if (!f || m->kind == HG_METRIC_GAUGE) return NULL;
    len = write_key(m, NULL, HG_SERIES_OTHER, key);
    hash = hash_of(m, key, len);
    s = find(m, key, len, hash);
    return s ? s : make(f, key, len, hash); /* the last place is kept for it */
}

void hg_series_add(const hg_metric *m, const char *const *labels, double by)
{
    if (!isfinite(by) || (m->kind == HG_METRIC_COUNTER && by < 0)) return;
    pthread_mutex_lock(&guard);
    series *s = need(m, labels);
    if (s) s->value += by;
    if (s && s->counts) {
        size_t i = 0;
        while (i < m->edge_count && by > m->edges[i]) i++;
        s->counts[i]++;
    }
    pthread_mutex_unlock(&guard);
}

void hg_series_set(const hg_metric *m, const char *const *labels, double value)
{
    if (!isfinite(value) || m->kind == HG_METRIC_HISTOGRAM) return;
    pthread_mutex_lock(&guard);
    series *s = need(m, labels);
    if (s) s->value = value;
    pthread_mutex_unlock(&guard);
}

static uint64_t observations(const series *s)
{
    uint64_t n = 0;
    for (size_t i = 0; i <= s->family->metric->edge_count; i++) n += s->counts[i];
    return n;
}

double hg_series_get(const hg_metric *m, const char *const *labels)
{
    char key[KEY_MAX];
    size_t len = write_key(m, labels, NULL, key);
    pthread_mutex_lock(&guard);
    const series *s = find(m, key, len, hash_of(m, key, len));
    double value = !s ? 0 : s->counts ? (double)observations(s) : s->value;
    pthread_mutex_unlock(&guard);
    return value;
}

/* ---- taking away ---- */

/* Whether the labels of a series are these; NULL in it = any. */
static bool is_like(const series *s, const char *const *labels)
{
    const char *at = s->key;
    for (size_t i = 0, n = label_count(s->family->metric); i < n; i++) {
        if (labels && labels[i] && !hg_str_eq(cut(labels[i]), hg_str_of(at))) return false;
        at += strlen(at) + 1;
    }
    return true;
}

static void unmake(series *s)
{
    series **at = &heads[s->hash & (HEADS - 1)];
    while (*at != s) at = &(*at)->same_head;
    *at = s->same_head;
    s->family->count--;
    figures.series--;
    free(s->counts);
    free(s);
}

void hg_series_drop(const hg_metric *m, const char *const *labels)
{
    pthread_mutex_lock(&guard);
    family *f = find_family(m, false);
    for (series **at = f ? &f->first : NULL; at && *at;) {
        series *s = *at;
        if (is_like(s, labels)) {
            *at = s->same_metric;
            unmake(s);
        } else {
            at = &s->same_metric;
        }
    }
    pthread_mutex_unlock(&guard);
}

void hg_series_state(hg_series_figures *out)
{
    pthread_mutex_lock(&guard);
    *out = figures;
    pthread_mutex_unlock(&guard);
}

/* ---- the text ---- */

/* With a point whatever the locale says. */
static void put_number(hg_buf *out, double n)
{
    char text[40];
    if (n == floor(n) && fabs(n) < EXACT_MAX) {
        snprintf(text, sizeof text, "%.0f", n);
    } else {
        snprintf(text, sizeof text, "%.15g", n);
        for (char *p = text; *p; p++)
            if (*p == ',') *p = '.';
    }
    hg_buf_puts(out, text);
}

/* Backslash, quote (not in help) and line feed escaped; bytes that are not UTF-8 replaced. */
static void put_escaped(hg_buf *out, const char *text, bool quote)
{
    const char *from = text;
    for (;; text++) {
        bool special = *text == '\\' || *text == '\n' || (quote && *text == '"');
        if (*text && !special) continue;
        hg_buf_utf8(out, (hg_str){from, (size_t)(text - from)});
        if (!*text) return;
        hg_buf_putc(out, '\\');
        hg_buf_putc(out, *text == '\n' ? 'n' : *text);
        from = text + 1;
    }
}

/* NAME SUFFIX {labels,le}; le NULL = none. */
static void put_name(hg_buf *out, const series *s, const char *suffix, const double *le)
{
    const hg_metric *m = s->family->metric;
    hg_str names = hg_str_of(m->labels), name;
    const char *value = s->key;
    size_t n = label_count(m);
    hg_buf_puts(out, m->name);
    hg_buf_puts(out, suffix);
    if (n == 0 && !le) return;
    for (size_t i = 0; i < n; i++) {
        hg_str_cut(&names, ',', &name);
        hg_buf_putc(out, i ? ',' : '{');
        hg_buf_str(out, name);
        hg_buf_puts(out, "=\"");
        put_escaped(out, value, true);
        hg_buf_putc(out, '"');
        value += strlen(value) + 1;
    }
    if (le) {
        hg_buf_puts(out, n ? ",le=\"" : "{le=\"");
        if (isinf(*le)) hg_buf_puts(out, "+Inf");
        else put_number(out, *le);
        hg_buf_putc(out, '"');
    }
    hg_buf_putc(out, '}');
}

static void put_value(hg_buf *out, double n)
{
    hg_buf_putc(out, ' ');
    put_number(out, n);
    hg_buf_putc(out, '\n');
}

static void put_series(hg_buf *out, const series *s)
{
    const hg_metric *m = s->family->metric;
    if (m->kind != HG_METRIC_HISTOGRAM) {
        put_name(out, s, "", NULL);
        put_value(out, s->value);
        return;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i <= m->edge_count; i++) {
        const double le = i < m->edge_count ? m->edges[i] : INFINITY;
        sum += s->counts[i];
        put_name(out, s, "_bucket", &le);
        put_value(out, (double)sum);
    }
    put_name(out, s, "_sum", NULL);
    put_value(out, s->value);
    put_name(out, s, "_count", NULL);
    put_value(out, (double)sum);
}

static int by_key(const void *a, const void *b)
{
    const series *x = *(series *const *)a, *y = *(series *const *)b;
    size_t least = x->key_len < y->key_len ? x->key_len : y->key_len;
    int order = memcmp(x->key, y->key, least);
    return order ? order : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

static void put_family(hg_buf *out, const family *f, series *sorted[HG_SERIES_EACH])
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    size_t n = 0;
    for (series *s = f->first; s && n < HG_SERIES_EACH; s = s->same_metric) sorted[n++] = s;
    qsort(sorted, n, sizeof(series *), by_key);
    hg_buf_printf(out, "# HELP %s ", f->metric->name);
    put_escaped(out, f->metric->help, false);
    hg_buf_printf(out, "\n# TYPE %s %s\n", f->metric->name, types[f->metric->kind]);
    for (size_t i = 0; i < n; i++) put_series(out, sorted[i]);
}

void hg_series_write(const hg_metric *metrics, size_t count, hg_buf *out)
{
    series *sorted[HG_SERIES_EACH];
    pthread_mutex_lock(&guard);
    for (size_t i = 0; i < count; i++) {
        const family *f = find_family(&metrics[i], false);
        if (f && f->first) put_family(out, f, sorted);
    }
    pthread_mutex_unlock(&guard);
}
