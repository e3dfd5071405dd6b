/* SPDX-License-Identifier: Apache-2.0 */
/* Figures: what is kept, how it is written out, how many there may be, many threads at once. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/metric.h"

static const double edges[] = {0.5, 1, 10};
static const hg_metric table[] = {
    {"t_calls_total", "who,how", "Calls.\nBy \\ who", HG_METRIC_COUNTER, NULL, 0},
    {"t_level", "", "Level.", HG_METRIC_GAUGE, NULL, 0},
    {"t_seconds", "who", "Time.", HG_METRIC_HISTOGRAM, edges, HG_LEN(edges)},
    {"t_unused", "", "Never used.", HG_METRIC_GAUGE, NULL, 0},
};
#define LABELS(...) ((const char *const[]){__VA_ARGS__})

static char *written(const hg_metric *metrics, size_t count)
{
    hg_buf out;
    hg_buf_init(&out, HG_SERIES_OUTPUT);
    hg_series_write(metrics, count, &out);
    assert_int_equal(hg_buf_check(&out, NULL), HANGAR_OK);
    return hg_buf_take(&out);
}

static void test_text(void **state)
{
    (void)state;
    hg_series_add(&table[0], LABELS("b\"q\\z\nn", "x"), 2);
    hg_series_add(&table[0], LABELS("a", NULL), 1.5);
    hg_series_add(&table[0], LABELS("a", ""), 1);
    hg_series_add(&table[0], LABELS("a", ""), -5);  /* a counter does not fall */
    hg_series_add(&table[0], LABELS("a", ""), NAN); /* nor gets lost */
    hg_series_add(&table[0], LABELS("\xff", ""), 9007199254740993.0);
    hg_series_set(&table[1], NULL, -0.25);
    static const double times[] = {0.5, 0.6, 7, 10, 11};
    for (size_t i = 0; i < HG_LEN(times); i++) hg_series_add(&table[2], LABELS("w"), times[i]);
    hg_series_set(&table[2], LABELS("w"), 3); /* not of a histogram */
    HG_AUTO(hg_auto_free) char *text = written(table, HG_LEN(table));
    assert_string_equal(text, "# HELP t_calls_total Calls.\\nBy \\\\ who\n"
                              "# TYPE t_calls_total counter\n"
                              "t_calls_total{who=\"a\",how=\"\"} 2.5\n"
                              "t_calls_total{who=\"b\\\"q\\\\z\\nn\",how=\"x\"} 2\n"
                              "t_calls_total{who=\"\xef\xbf\xbd\",how=\"\"} 9.00719925474099e+15\n"
                              "# HELP t_level Level.\n"
                              "# TYPE t_level gauge\n"
                              "t_level -0.25\n"
                              "# HELP t_seconds Time.\n"
                              "# TYPE t_seconds histogram\n"
                              "t_seconds_bucket{who=\"w\",le=\"0.5\"} 1\n"
                              "t_seconds_bucket{who=\"w\",le=\"1\"} 2\n"
                              "t_seconds_bucket{who=\"w\",le=\"10\"} 4\n"
                              "t_seconds_bucket{who=\"w\",le=\"+Inf\"} 5\n"
                              "t_seconds_sum{who=\"w\"} 29.1\n"
                              "t_seconds_count{who=\"w\"} 5\n");
    assert_true(hg_series_get(&table[0], LABELS("a", "")) == 2.5);
    assert_true(hg_series_get(&table[2], LABELS("w")) == 5);
    assert_true(hg_series_get(&table[2], LABELS("nobody")) == 0);
}

static void test_dropping(void **state)
{
    (void)state;
    static const hg_metric m = {"t_drop", "model,state", "", HG_METRIC_GAUGE, NULL, 0};
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    hg_series_set(&m, LABELS("a", "1"), 1);
    hg_series_set(&m, LABELS("a", "2"), 1);
    hg_series_set(&m, LABELS("b", "1"), 1);
    hg_series_set(&m, LABELS(longer, "1"), 1);
    hg_series_drop(&m, LABELS("a", NULL));
    hg_series_drop(&m, LABELS(longer, NULL));
    HG_AUTO(hg_auto_free) char *text = written(&m, 1);
    assert_non_null(strstr(text, "\nt_drop{model=\"b\",state=\"1\"} 1\n"));
    assert_null(strstr(text, "model=\"a\""));
    assert_null(strstr(text, "xxx"));
    hg_series_drop(&m, NULL);
    HG_AUTO(hg_auto_free) char *rest = written(&m, 1);
    assert_string_equal(rest, "");
}

static void test_bound(void **state)
{
    (void)state;
    static const hg_metric counter = {"t_many_total", "model", "", HG_METRIC_COUNTER, NULL, 0};
    static const hg_metric gauge = {"t_many", "model", "", HG_METRIC_GAUGE, NULL, 0};
    hg_series_figures before, after;
    hg_series_state(&before);
    for (int i = 0; i < 3000; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        hg_series_add(&counter, LABELS(name), 1);
        hg_series_set(&gauge, LABELS(name), 1);
    }
    hg_series_state(&after);
    assert_int_equal(after.series - before.series, 2 * HG_SERIES_EACH - 1);
    assert_int_equal(after.left_out - before.left_out, 2 * (3000 - (HG_SERIES_EACH - 1)));
    assert_true(hg_series_get(&counter, LABELS(HG_SERIES_OTHER)) == 3000 - (HG_SERIES_EACH - 1));
    assert_true(hg_series_get(&counter, LABELS("m0")) == 1);
    hg_series_drop(&counter, NULL);
    hg_series_drop(&gauge, NULL);
    hg_series_state(&after);
    assert_int_equal(after.series, before.series);
}

static void *add_many(void *ctx)
{
    const hg_metric *m = ctx;
    for (int i = 0; i < 20000; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i % 7);
        hg_series_add(m, LABELS(name), 1);
        if (i % 5000 == 0) {
            char *text = written(m, 1);
            free(text);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static const hg_metric m = {"t_threads_total", "n", "", HG_METRIC_COUNTER, NULL, 0};
    pthread_t threads[4];
    double sum = 0;
    for (size_t i = 0; i < HG_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, (void *)(uintptr_t)&m), 0);
    for (size_t i = 0; i < HG_LEN(threads); i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 7; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        sum += hg_series_get(&m, LABELS(name));
    }
    assert_true(sum == 80000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_dropping),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
