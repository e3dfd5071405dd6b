/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a reference.json. Declared in onnx_check.h. */
#include "base/mem.h"
#include "manager/onnx_check.h"

#include <math.h>

#define NEST_MAX 8

/* Walks nested lists in order, without recursion; false when it is not lists of numbers, or nested too deep. */
static bool flatten(const hg_jval *data, double *out, size_t count)
{
    hg_json_iter stack[NEST_MAX];
    size_t depth = 0, n = 0;
    if (!hg_json_is_array(data)) return false;
    stack[depth++] = hg_json_iter_of(data);
    while (depth > 0) {
        if (!hg_json_next(&stack[depth - 1])) {
            depth--;
            continue;
        }
        const hg_jval *v = stack[depth - 1].val;
        if (hg_json_is_array(v)) {
            if (depth == NEST_MAX) return false;
            stack[depth++] = hg_json_iter_of(v);
        } else if (n == count || !hg_json_f64(v, &out[n++])) {
            return false;
        }
    }
    return n == count;
}

static bool numbers(const hg_jval *tensor, double **out, size_t *count)
{
    const hg_jval *shape = hg_json_get(tensor, "shape");
    uint64_t n = 1;
    *out = NULL;
    if (!hg_json_is_array(shape)) return false;
    for (hg_json_iter it = hg_json_iter_of(shape); hg_json_next(&it);) {
        uint64_t dim;
        if (!hg_json_u64(it.val, &dim) || !hg_mul(n, dim, &n)) return false;
    }
    if (n > SIZE_MAX / sizeof **out / 2) return false;
    *out = hg_calloc((size_t)n, sizeof **out);
    *count = (size_t)n;
    if (*out && flatten(hg_json_get(tensor, "data"), *out, *count)) return true;
    free(*out);
    *out = NULL;
    return false;
}

/* As floats. */
bool hg_report_floats(const hg_jval *tensor, float **out, size_t *count)
{
    HG_AUTO(hg_auto_free) double *wide = NULL;
    *out = NULL;
    if (!numbers(tensor, &wide, count)) return false;
    *out = hg_calloc(*count, sizeof **out);
    for (size_t i = 0; *out && i < *count; i++) (*out)[i] = (float)wide[i];
    return *out != NULL;
}

/* As whole numbers. */
bool hg_report_ints(const hg_jval *tensor, int64_t **out, size_t *count)
{
    HG_AUTO(hg_auto_free) double *wide = NULL;
    *out = NULL;
    if (!numbers(tensor, &wide, count)) return false;
    for (size_t i = 0; i < *count; i++) {
        if (!(fabs(wide[i]) < 9e15)) return false;
    }
    *out = hg_calloc(*count, sizeof **out);
    for (size_t i = 0; *out && i < *count; i++) (*out)[i] = (int64_t)wide[i];
    return *out != NULL;
}

/* The larger of two differences. */
double hg_report_worse(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
}

/* The largest difference over the scale. */
double hg_report_scaled(const float *a, const float *b, size_t n)
{
    double worst = 0, scale = 1;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!isfinite(d)) return NAN;
        if (d > worst) worst = d;
        if (fabs((double)b[i]) > scale) scale = fabs((double)b[i]);
    }
    return worst / scale;
}
