/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of the process and of pulls and conversions, as they are given out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "manager/metrics.h"

#define LABELS(...) ((const char *const[]){__VA_ARGS__})

static char *written(void)
{
    hg_buf out;
    hg_buf_init(&out, HG_SERIES_OUTPUT);
    assert_int_equal(hg_metrics_write(&out, NULL), HANGAR_OK);
    return hg_buf_take(&out);
}

/* The value in the line that begins with `name`. */
static double value_of(const char *text, const char *name)
{
    char start[200];
    snprintf(start, sizeof start, "\n%s ", name);
    const char *at = strstr(text, start);
    if (!at) fail_msg("no line %s in\n%s", name, text);
    return strtod(at + strlen(start), NULL);
}

static void test_process(void **state)
{
    (void)state;
    HG_AUTO(hg_auto_free) char *text = written();
    double started = value_of(text, "hangar_start_time_seconds");
    double now = (double)hg_wall();
    assert_true(started > now - 3600 && started <= now + 2);
    assert_true(value_of(text, "hangar_process_resident_bytes") > 100000);
    double open = value_of(text, "hangar_process_open_descriptors");
    assert_true(open >= 3 && open < 1000);
    assert_true(value_of(text, "hangar_metrics_series_limit") == HG_SERIES_EACH);
    assert_non_null(strstr(text, "\n# TYPE hangar_process_cpu_seconds_total counter\n"));
}

static void test_pull(void **state)
{
    (void)state;
    hg_metric_pull(
        "a/b", HANGAR_OK,
        "{\"repo\":\"a/b\",\"files\":[{\"state\":\"fetched\"},{\"state\":\"have\"},{\"state\":\"have\"}],"
        "\"bytes_total\":300,\"bytes_fetched\":100,\"seconds\":2}");
    hg_metric_pull("a/b", HANGAR_E_NETWORK, NULL);
    hg_metric_pull("a/b", HANGAR_OK, "not json");
    assert_true(hg_metric_get(HG_M_MODEL_BYTES, LABELS("a/b")) == 300);
    assert_true(hg_metric_get(HG_M_DOWNLOAD_BYTES, LABELS("a/b")) == 100);
    assert_true(hg_metric_get(HG_M_DOWNLOAD_RATE, LABELS("a/b")) == 50);
    assert_true(hg_metric_get(HG_M_CACHE_HITS, LABELS("store")) == 2);
    assert_true(hg_metric_get(HG_M_CACHE_MISSES, LABELS("store")) == 1);
    assert_true(hg_metric_get(HG_M_DOWNLOADS, LABELS("OK")) == 2);
    assert_true(hg_metric_get(HG_M_DOWNLOADS, LABELS("NETWORK")) == 1);
}

static void test_conversion(void **state)
{
    (void)state;
    hg_metric_conversion("a/b", "int8", HANGAR_OK, 3, 4096);
    hg_metric_conversion("a/b", "int8", HANGAR_E_NO_SPACE, 1, 9);
    assert_true(hg_metric_get(HG_M_CONVERSION_PEAK, LABELS("a/b")) == 4096);
    assert_true(hg_metric_get(HG_M_CONVERSION_SECONDS, LABELS("int8")) == 1);
    assert_true(hg_metric_get(HG_M_CONVERSIONS, LABELS("NO_SPACE")) == 1);
    HG_AUTO(hg_auto_free) char *text = written();
    assert_true(value_of(text, "hangar_conversion_seconds_bucket{form=\"int8\",le=\"5\"}") == 1);
    assert_true(value_of(text, "hangar_conversion_seconds_bucket{form=\"int8\",le=\"2.5\"}") == 0);
    hg_metric_drop(HG_M_CONVERSION_PEAK, LABELS(NULL));
    assert_true(hg_metric_get(HG_M_CONVERSION_PEAK, LABELS("a/b")) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_pull),
        cmocka_unit_test(test_conversion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
