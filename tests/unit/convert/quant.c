/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of quantization against plain definitions of the same, and the data file that it is written to. */
#include "at.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "convert/make.h"
#include "convert/quant/codes.h"

#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- plain definitions ---- */

static float of_half(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return (float)(h >> 15 ? -size : size);
}

/* The half that is nearest to x, ties to the even one, by looking at both neighbours. */
static uint16_t to_half(float x)
{
    double size = fabs((double)x);
    uint16_t low = 0, high = 0x7bff;
    if (size >= 65504) return (uint16_t)(0x7bff | (signbit(x) ? 0x8000 : 0));
    while (high - low > 1) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        if ((double)of_half(middle) <= size) low = middle;
        else high = middle;
    }
    double below = size - (double)of_half(low), above = (double)of_half(high) - size;
    uint16_t h = below < above || (below == above && low % 2 == 0) ? low : high;
    return (uint16_t)(h | (signbit(x) ? 0x8000 : 0));
}

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Numbers between -1 and 1. */
static void fill(float *w, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) w[i] = (float)next(&seed) / 8388608.0f - 1;
}

/* ---- types ---- */

static void sixteen_bits(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t h = (uint16_t)i;
        float f = 0, b = 0, wide = 0;
        const uint32_t bits = i << 16;
        uint16_t back = 0;
        bool finite = (h & 0x7c00) != 0x7c00;
        assert_int_equal(hg_codes_read(HG_DTYPE_F16, &h, 1, &f), finite);
        memcpy(&wide, &bits, sizeof wide);
        assert_int_equal(hg_codes_read(HG_DTYPE_BF16, &h, 1, &b), isfinite(wide));
        if (isfinite(wide)) assert_memory_equal(&b, &wide, sizeof b);
        if (!finite) continue;
        float want = of_half(h);
        assert_memory_equal(&f, &want, sizeof f);
        hg_codes_half(&f, 1, &back);
        assert_int_equal(back, h);
    }
}

/* Between all neighbours: their middle, and what lies just beside it. */
static void to_halves(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x7bff; i++) {
        float middle = (of_half((uint16_t)i) + of_half((uint16_t)(i + 1))) / 2;
        const float tries[] = {middle, nextafterf(middle, 0), nextafterf(middle, INFINITY), -middle};
        uint16_t got[4];
        hg_codes_half(tries, 4, got);
        for (int k = 0; k < 4; k++) assert_int_equal(got[k], to_half(tries[k]));
    }
    const float ends[] = {65504, 65519.9f, 65520, 1e30f, -1e38f, 1e-30f, -1e-45f, 0x1p-25f};
    uint16_t got[8];
    hg_codes_half(ends, 8, got);
    for (int k = 0; k < 8; k++) assert_int_equal(got[k], to_half(ends[k]));
}

static void doubles(void **state)
{
    (void)state;
    const double good[] = {0.1, -3.5e38 / 2, 1e-50}, bad[][1] = {{1e39}, {(double)NAN}, {-(double)INFINITY}};
    float out[3];
    assert_true(hg_codes_read(HG_DTYPE_F64, good, 3, out));
    for (int i = 0; i < 3; i++) assert_true(out[i] == (float)good[i]);
    for (int i = 0; i < 3; i++) assert_false(hg_codes_read(HG_DTYPE_F64, bad[i], 1, out));
    assert_false(hg_codes_read(HG_DTYPE_I8, good, 1, out));
    for (size_t at = 0; at < 40; at++) { /* one that is no number, anywhere among others, at any alignment */
        uint8_t raw[41 * 4 + 1] = {0};
        float nan = NAN, many[40];
        assert_true(hg_codes_read(HG_DTYPE_F32, raw + 1, 40, many));
        memcpy(raw + 1 + 4 * at, &nan, 4);
        assert_false(hg_codes_read(HG_DTYPE_F32, raw + 1, 40, many));
    }
}

/* ---- codes ---- */

static void one_row_int8(const float *w, size_t n)
{
    HG_AUTO(hg_auto_free) int8_t *codes = hg_calloc(n + 1, 1);
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(w[i]));
    float scale = hg_codes_int8(w, n, codes);
    if (most < 1e-35f) return; /* too small to matter: see small_and_large */
    assert_true(scale == most / 127);
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)codes[i] * (double)scale - (double)w[i]);
        assert_true(error <= (double)scale * 0.50001);
        assert_true(codes[i] >= -127);
        if (fabsf(w[i]) == most) assert_int_equal(codes[i], w[i] < 0 ? -127 : 127);
    }
}

static void one_row_blocks(const float *w, size_t n, unsigned bits, unsigned block)
{
    size_t count = (n + block - 1) / block, bytes = count * block * bits / 8;
    HG_AUTO(hg_auto_free) uint8_t *codes = hg_calloc(bytes + 1, 1);
    HG_AUTO(hg_auto_free) float *scales = hg_calloc(count, sizeof *scales);
    const int middle = 1 << (bits - 1), top = 2 * middle - 1;
    codes[bytes] = 0xa5;
    hg_codes_blocks(w, n, bits, block, codes, scales);
    assert_int_equal(codes[bytes], 0xa5);
    for (size_t i = 0; i < count * block; i++) {
        double want = i < n ? (double)w[i] : 0, scale = (double)scales[i / block], most = 0;
        int code = bits == 8 ? codes[i] : codes[i / 2] >> (i % 2 ? 4 : 0) & 15;
        double have = (code - middle) * scale, error = fabs(have - want);
        assert_true(error <= fabs(scale) * (code == top ? 1.00001 : 0.50001) + 1e-37);
        for (size_t k = i / block * block; k < n && k < (i / block + 1) * block; k++)
            most = fmax(most, fabs((double)w[k]));
        bool same_side = fabs(want) == most && (want < 0) == (scale > 0);
        if (same_side && most > 1e-35)
            assert_true(error <= most * 1e-6); /* met, to the rounding of the scale */
        if (same_side && most > 1e-35) assert_int_equal(code, 0);
    }
}

static void codes_of_all_lengths(void **state)
{
    (void)state;
    float w[700];
    for (size_t n = 1; n < 700; n = n < 140 ? n + 1 : n + 37) {
        fill(w, n, (uint32_t)n);
        one_row_int8(w, n);
        for (unsigned block = 16; block <= 256; block *= 2) {
            one_row_blocks(w, n, 4, block);
            one_row_blocks(w, n, 8, block);
        }
    }
}

static void low_half_first(void **state)
{
    (void)state;
    float w[16] = {-8, -7, 0, 1, 7, 6};
    uint8_t codes[8];
    float scale = 0;
    hg_codes_blocks(w, 16, 4, 16, codes, &scale);
    const uint8_t want[] = {0x10, 0x98, 0xef, 0x88, 0x88, 0x88, 0x88, 0x88};
    assert_true(scale == 1);
    assert_memory_equal(codes, want, 8);
}

/* Nothing, very little, very much: codes and scales stay finite and small things small. */
static void small_and_large(void **state)
{
    (void)state;
    const float sizes[] = {0, 1e-45f, 1e-40f, 1e-38f, 1e-36f, 1e-30f, 1, 1e30f, 3.4e38f};
    for (size_t s = 0; s < HG_LEN(sizes); s++) {
        float w[64], scales[4];
        uint8_t codes[64];
        fill(w, 64, 7);
        for (int i = 0; i < 64; i++) w[i] *= sizes[s];
        float scale = hg_codes_int8(w, 64, (int8_t *)codes);
        assert_true(isfinite(scale) && scale > 0);
        for (int i = 0; i < 64; i++) {
            double error = fabs((double)(int8_t)codes[i] * (double)scale - (double)w[i]);
            assert_true(error <= fmax((double)sizes[s] / 127 * 0.50001, 2e-35));
        }
        for (unsigned bits = 4; bits <= 8; bits += 4) {
            hg_codes_blocks(w, 64, bits, 16, codes, scales);
            for (int i = 0; i < 4; i++) assert_true(isfinite(scales[i]));
            one_row_blocks(w, 64, bits, 16);
        }
        one_row_int8(w, 64);
    }
}

/* ---- the data file ---- */

#define OUT 70
#define IN  150

static uint64_t shape_straight[] = {OUT, IN}, shape_turned[] = {IN, OUT}, shape_double[] = {2 * OUT, IN};

/* source.bin: the matrix, the matrix turned, and the matrix twice, one below the other. */
static hg_tensor straight = {"straight", shape_straight, OUT *IN, 0, OUT *IN * 4, HG_DTYPE_F32, 2};
static hg_tensor turned = {"turned", shape_turned, OUT *IN, OUT *IN * 4, OUT *IN * 4, HG_DTYPE_F32, 2};
static hg_tensor twice = {"twice", shape_double, 2 * OUT *IN, 2 * OUT *IN * 4, 2 * OUT *IN * 4, HG_DTYPE_F32,
                          2};
static float numbers[4 * OUT * IN];
static hg_checkpoint_file file;
static const hg_checkpoint ck = {&file, 1};

static void write_source(void)
{
    hangar_err err = {0};
    if (hg_write_file(at("source.bin"), numbers, sizeof numbers, 0644, &err) != HANGAR_OK)
        fail_msg("%s", err.msg);
}

static int make_source(void **state)
{
    (void)state;
    static char path[4096];
    snprintf(path, sizeof path, "%s", at("source.bin"));
    file = (hg_checkpoint_file){.path = path, .real = path, .bytes = sizeof numbers};
    fill(numbers, OUT * IN, 3);
    for (size_t o = 0; o < OUT; o++)
        for (size_t i = 0; i < IN; i++) numbers[OUT * IN + i * OUT + o] = numbers[o * IN + i];
    memcpy(numbers + 2 * OUT * IN, numbers, 4UL * OUT * IN);
    memcpy(numbers + 3 * OUT * IN, numbers, 4UL * OUT * IN);
    write_source();
    return 0;
}

static const hg_make wants[] = {
    {.kind = HG_MAKE_F32},
    {.kind = HG_MAKE_F16},
    {.kind = HG_MAKE_INT8},
    {.kind = HG_MAKE_BLOCKS, .bits = 4, .block = 32},
    {.kind = HG_MAKE_BLOCKS, .bits = 8, .block = 128},
    {.kind = HG_MAKE_BLOCKS, .bits = 4, .block = 16, .half = true},
};

static hg_make want_of(size_t kind, int source)
{
    hg_make m = wants[kind];
    m.source = (hg_make_source){&straight, 0, OUT, IN, 0, false};
    if (source == 1) m.source = (hg_make_source){&turned, 0, OUT, IN, 0, true};
    if (source == 2) m.source = (hg_make_source){&twice, 0, OUT, IN, OUT, false};
    return m;
}

/* All kinds from all three sources; what is read back is the caller's. */
static void plan_all(hg_make_plan *plan)
{
    for (size_t kind = 0; kind < HG_LEN(wants); kind++) {
        for (int source = 0; source < 3; source++) {
            const hg_make *m;
            hg_make want = want_of(kind, source);
            assert_int_equal(hg_make_add(plan, &want, &m, NULL), HANGAR_OK);
            assert_int_equal(m->offset[0] % HG_MAKE_ALIGN + m->offset[1] % HG_MAKE_ALIGN, 0);
        }
    }
}

static void read_made(const char *name, hg_buf *out)
{
    hangar_err err = {0};
    hg_buf_init(out, 64 * HG_MIB);
    if (hg_read_file(at(name), out, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

static void same_from_all_sources(void **state)
{
    (void)state;
    hg_make_plan plan = {0};
    hg_buf made, alone;
    hangar_err err = {0};
    cpu_set_t all, one;
    plan_all(&plan);
    if (hg_make_run(&plan, &ck, at("many"), NULL, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    read_made("many", &made);
    assert_int_equal(made.len, plan.bytes);
    const uint8_t *bytes = (const uint8_t *)made.data;
    for (size_t i = 0; i < plan.count; i += 3) {
        for (size_t k = 1; k < 3; k++) {
            const hg_make *a = &plan.items[i], *b = &plan.items[i + k];
            assert_int_equal(a->bytes[0], b->bytes[0]);
            assert_memory_equal(bytes + a->offset[0], bytes + b->offset[0], a->bytes[0]);
            if (a->bytes[1]) assert_memory_equal(bytes + a->offset[1], bytes + b->offset[1], a->bytes[1]);
        }
    }
    assert_memory_equal(bytes + plan.items[0].offset[0], numbers, plan.items[0].bytes[0]);
    const int8_t *codes = (const int8_t *)bytes + plan.items[6].offset[0]; /* int8 lies [inputs, outputs] */
    for (size_t o = 0; o < OUT; o++) {
        int8_t row[IN];
        float scale = hg_codes_int8(numbers + o * IN, IN, row);
        assert_memory_equal(bytes + plan.items[6].offset[1] + 4 * o, &scale, 4);
        for (size_t i = 0; i < IN; i++) assert_int_equal(codes[i * OUT + o], row[i]);
    }
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(hg_make_run(&plan, &ck, at("alone"), NULL, NULL), HANGAR_OK);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    read_made("alone", &alone);
    assert_int_equal(alone.len, made.len);
    assert_memory_equal(alone.data, made.data, made.len);
    hg_buf_deinit(&made);
    hg_buf_deinit(&alone);
    hg_make_plan_deinit(&plan);
}

static void plans(void **state)
{
    (void)state;
    hg_make_plan plan = {0};
    hangar_err err = {0};
    const hg_make *m;
    plan_all(&plan);
    size_t count = plan.count;
    uint64_t bytes = plan.bytes;
    plan_all(&plan); /* the same things are the same bytes */
    assert_int_equal(plan.count, count);
    assert_int_equal(plan.bytes, bytes);
    hg_make want = want_of(3, 0);
    const unsigned bad[][2] = {{3, 32}, {16, 32}, {4, 8}, {4, 8192}, {8, 48}, {0, 32}};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        want.bits = bad[i][0];
        want.block = bad[i][1];
        assert_int_equal(hg_make_add(&plan, &want, &m, &err), HANGAR_E_INTERNAL);
    }
    const uint64_t sizes[][2] = {
        {UINT64_MAX, 2}, {UINT64_MAX / 4, 4}, {1ULL << 62, 2}, {1, 1ULL << 25}, {1ULL << 60, 16}};
    for (size_t kind = 0; kind < HG_LEN(wants); kind++) {
        for (size_t i = 0; i < HG_LEN(sizes); i++) {
            want = want_of(kind, 0);
            want.source.outputs = sizes[i][0];
            want.source.inputs = sizes[i][1];
            assert_int_equal(hg_make_add(&plan, &want, &m, &err), HANGAR_E_LIMIT);
            assert_non_null(strstr(err.msg, "straight"));
        }
    }
    assert_int_equal(plan.count, count);
    hg_make_plan_deinit(&plan);
}

static void not_finite(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t kind = 0; kind < HG_LEN(wants); kind++) {
        hg_make_plan plan = {0};
        const hg_make *m;
        hangar_err err = {0};
        hg_make want = want_of(kind, kind % 2 ? 0 : 1);
        size_t place = (kind % 2 ? 0 : OUT * IN) + 37 * kind + 5;
        float was = numbers[place];
        numbers[place] = bad[kind % 3];
        write_source();
        assert_int_equal(hg_make_add(&plan, &want, &m, NULL), HANGAR_OK);
        (void)unlink(at("bad"));
        assert_int_equal(hg_make_run(&plan, &ck, at("bad"), NULL, &err), HANGAR_E_INVALID);
        assert_non_null(strstr(err.msg, kind % 2 ? "straight" : "turned"));
        numbers[place] = was;
        write_source();
        hg_make_plan_deinit(&plan);
    }
}

static void cancelled_or_full(void **state)
{
    (void)state;
    hg_make_plan plan = {0};
    hangar_err err = {0};
    struct rlimit was, small;
    plan_all(&plan);
    hangar_job *job = hangar_job_new(NULL, NULL);
    hangar_job_cancel(job);
    assert_int_equal(hg_make_run(&plan, &ck, at("cancelled"), job, &err), HANGAR_E_CANCELLED);
    hangar_job_free(job);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = (struct rlimit){4096, was.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    hangar_code code = hg_make_run(&plan, &ck, at("full"), NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(code, HANGAR_E_NO_SPACE);
    hg_tensor cut = straight;
    cut.offset = sizeof numbers - 100;
    plan.items[0].source.tensor = &cut;
    assert_int_equal(hg_make_run(&plan, &ck, at("cut"), NULL, &err), HANGAR_E_INVALID);
    hg_make_plan_deinit(&plan);
}

/* 64 M numbers, of which the file has none: the memory of one's own stays below 64 MiB. */
static void bounded(void **state)
{
    (void)state;
#if !defined(HG_SANITIZED)
    uint64_t shape[] = {8192, 8192};
    hg_tensor large = {"large", shape, 8192 * 8192, 0, 4ULL * 8192 * 8192, HG_DTYPE_F32, 2};
    char *path = hg_strdup(at("large.bin"));
    hg_checkpoint_file sparse = {.path = path, .real = path, .bytes = large.bytes};
    const hg_checkpoint one = {&sparse, 1};
    hangar_err err = {0};
    struct rlimit was, small;
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)large.bytes) == 0);
    close(fd);
    assert_int_equal(getrlimit(RLIMIT_DATA, &was), 0);
    small = (struct rlimit){64 << 20, was.rlim_max};
    for (size_t kind = 2; kind < 4; kind++) {
        for (int way = 0; way < 2; way++) {
            hg_make_plan plan = {0};
            const hg_make *m;
            hg_make want = wants[kind];
            want.source = (hg_make_source){&large, 0, 8192, 8192, 0, way};
            assert_int_equal(hg_make_add(&plan, &want, &m, NULL), HANGAR_OK);
            (void)unlink(at("made.bin"));
            assert_int_equal(setrlimit(RLIMIT_DATA, &small), 0);
            hangar_code code = hg_make_run(&plan, &one, at("made.bin"), NULL, &err);
            assert_int_equal(setrlimit(RLIMIT_DATA, &was), 0);
            if (code != HANGAR_OK) fail_msg("%s", err.msg);
            hg_make_plan_deinit(&plan);
        }
    }
    (void)unlink(path);
    (void)unlink(at("made.bin"));
    free(path);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixteen_bits),   cmocka_unit_test(to_halves),
        cmocka_unit_test(doubles),        cmocka_unit_test(codes_of_all_lengths),
        cmocka_unit_test(low_half_first), cmocka_unit_test(small_and_large),
        cmocka_unit_test(plans),          cmocka_unit_test(same_from_all_sources),
        cmocka_unit_test(not_finite),     cmocka_unit_test(cancelled_or_full),
        cmocka_unit_test(bounded),
    };
    return cmocka_run_group_tests(tests, make_source, NULL);
}
