/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Features against the values that the reference implementation gives for the shipped clips, and what the
 * formula promises.
 */
#include "format/mel.h"

#include "clip.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define FRAMES 3000

static void near_to(double got, double want, double limit, const char *what, size_t at)
{
    if (!(fabs(got - want) <= limit)) fail_msg("%s[%zu]: %.6f, wanted %.6f", what, at, got, want);
}

/* Compares a row of the reference with features (bin, frame) = start + step * i. */
static void check_row(const hg_jval *mel, const char *key, const float *out, size_t start, size_t step)
{
    const hg_jval *row = hg_json_get(mel, key);
    assert_true(hg_json_len(row) > 0);
    for (hg_json_iter it = hg_json_iter_of(row); hg_json_next(&it);) {
        double want = 0;
        assert_true(hg_json_f64(it.val, &want));
        near_to(out[start + step * it.index], want, 1e-3, key, it.index);
    }
}

static void reference_clips(void **state)
{
    (void)state;
    hg_json *doc = hg_test_json("hangar-labs/whisper-digits/reference.json");
    const hg_jval *clips = hg_json_get(hg_json_root(doc), "clips");
    assert_int_equal(hg_json_len(clips), 3);
    hg_mel *m = NULL;
    assert_int_equal(hg_mel_new(80, &m, NULL), HANGAR_OK);
    float *out = calloc(80 * FRAMES, sizeof *out);
    for (hg_json_iter it = hg_json_iter_of(clips); hg_json_next(&it);) {
        size_t count = 0;
        float *samples = hg_test_clip(hg_json_text(hg_json_get(it.val, "file")), &count);
        assert_int_equal(count, hg_json_i64_or(hg_json_get(it.val, "samples"), 0));
        hg_mel_window(m, samples, count, FRAMES, out);
        const hg_jval *mel = hg_json_get(it.val, "mel");
        check_row(mel, "bin0_frames_0_8", out, 0, 1);
        check_row(mel, "bin20_frames_60_72", out, 20 * FRAMES + 60, 1);
        check_row(mel, "bin79_frames_100_108", out, 79 * FRAMES + 100, 1);
        check_row(mel, "last_frame_bins_0_4", out, FRAMES - 1, FRAMES);
        double sum = 0, low = 10, high = -10;
        for (size_t i = 0; i < 80 * FRAMES; i++) {
            sum += out[i];
            low = fmin(low, out[i]);
            high = fmax(high, out[i]);
        }
        near_to(sum / (80 * FRAMES), hg_json_f64_or(hg_json_get(mel, "mean"), 9), 1e-4, "mean", 0);
        near_to(low, hg_json_f64_or(hg_json_get(mel, "min"), 9), 1e-3, "min", 0);
        near_to(high, hg_json_f64_or(hg_json_get(mel, "max"), 9), 1e-3, "max", 0);
        free(samples);
    }
    free(out);
    hg_mel_free(m);
    hg_json_free(doc);
}

/* A tone lands in the triangle that holds its frequency, in every frame, whatever the number of bins. */
static void a_tone(void **state)
{
    (void)state;
    static float samples[16000], out[128 * 100];
    for (int i = 0; i < 16000; i++) samples[i] = (float)(0.5 * sin(2 * 3.14159265358979 * 440 * i / 16000));
    const int bins[] = {80, 128}, want[] = {11, 18}; /* 440 Hz is mel 6.6 of 45.245; 81 or 129 steps */
    for (int k = 0; k < 2; k++) {
        hg_mel *m = NULL;
        assert_int_equal(hg_mel_new(bins[k], &m, NULL), HANGAR_OK);
        hg_mel_window(m, samples, 16000, 100, out);
        for (int frame = 2; frame < 98; frame++) {
            int best = 0;
            for (int b = 1; b < bins[k]; b++)
                if (out[b * 100 + frame] > out[best * 100 + frame]) best = b;
            assert_int_equal(best, want[k]);
        }
        hg_mel_free(m);
    }
}

/*
 * The formula written down once more, as slowly as it stands in the header: every value of a window that is
 * full of sound to both its ends.
 */
static void against_the_plain_formula(void **state)
{
    (void)state;
    enum { N = 12, BINS = 24, LENGTH = N * HG_MEL_HOP };
    static float samples[LENGTH], out[BINS * N];
    static double power[N][HG_MEL_FFT / 2 + 1], want[BINS][N];
    unsigned seed = 7;
    for (int i = 0; i < LENGTH; i++)
        samples[i] = (float)((int)((seed = seed * 1103515245u + 12345u) >> 16 & 0x7fff) - 16384) / 20000.0f;
    const double tau = 6.283185307179586;
    for (int t = 0; t < N; t++)
        for (int f = 0; f <= HG_MEL_FFT / 2; f++) {
            double re = 0, im = 0;
            for (int i = 0; i < HG_MEL_FFT; i++) {
                int at = t * HG_MEL_HOP + i - HG_MEL_FFT / 2;
                at = at < 0 ? -at : at >= LENGTH ? 2 * LENGTH - 2 - at : at;
                double x = samples[at] * (0.5 - 0.5 * cos(tau * i / HG_MEL_FFT));
                re += x * cos(tau * f * i / HG_MEL_FFT);
                im -= x * sin(tau * f * i / HG_MEL_FFT);
            }
            power[t][f] = re * re + im * im;
        }
    double edges[BINS + 2], top = -99, top_mel = 15 + log(8.0) / (log(6.4) / 27);
    for (int b = 0; b < BINS + 2; b++) {
        double mel = top_mel * b / (BINS + 1);
        edges[b] = mel < 15 ? mel * 200 / 3 : 1000 * pow(6.4, (mel - 15) / 27);
    }
    for (int b = 0; b < BINS; b++)
        for (int t = 0; t < N; t++) {
            double sum = 0;
            for (int f = 0; f <= HG_MEL_FFT / 2; f++) {
                double hz = 40.0 * f, up = (hz - edges[b]) / (edges[b + 1] - edges[b]),
                       down = (edges[b + 2] - hz) / (edges[b + 2] - edges[b + 1]);
                sum += fmax(0, fmin(up, down)) * 2 / (edges[b + 2] - edges[b]) * power[t][f];
            }
            want[b][t] = log10(fmax(sum, 1e-10));
            top = fmax(top, want[b][t]);
        }
    hg_mel *m = NULL;
    assert_int_equal(hg_mel_new(BINS, &m, NULL), HANGAR_OK);
    hg_mel_window(m, samples, LENGTH, N, out);
    for (int b = 0; b < BINS; b++)
        for (int t = 0; t < N; t++)
            near_to(out[b * N + t], (fmax(want[b][t], top - 8) + 4) / 4, 1e-5, "formula",
                    (size_t)(b * N + t));
    hg_mel_free(m);
}

static void silence_and_nonsense(void **state)
{
    (void)state;
    float samples[400] = {NAN, INFINITY, -INFINITY}, out[80 * 10];
    hg_mel *m = NULL;
    assert_int_equal(hg_mel_new(80, &m, NULL), HANGAR_OK);
    hg_mel_window(m, NULL, 0, 10, out);
    for (size_t i = 0; i < HG_LEN(out); i++) near_to(out[i], -1.5, 1e-6, "silence", i);
    hg_mel_window(m, samples, 400, 10, out);
    for (size_t i = 0; i < HG_LEN(out); i++) near_to(out[i], -1.5, 1e-6, "not finite", i);
    hg_mel_free(m);
    hangar_err err = {0};
    assert_int_equal(hg_mel_new(0, &m, &err), HANGAR_E_UNSUPPORTED);
    assert_int_equal(hg_mel_new(257, &m, &err), HANGAR_E_UNSUPPORTED);
    hg_mel_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reference_clips),
                                       cmocka_unit_test(against_the_plain_formula), cmocka_unit_test(a_tone),
                                       cmocka_unit_test(silence_and_nonsense)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
