/* SPDX-License-Identifier: Apache-2.0 */
/* Sound of several formats as 16 kHz mono, and files that are none. */
#include "runner.h"

#include "clip.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

/* All samples of a file, read in pieces of `piece`; the caller's. */
static hangar_code decode(int fd, size_t piece, float **out, size_t *count, hangar_err *err)
{
    hg_audio *a = NULL;
    size_t cap = 0, got = 0;
    *out = NULL;
    *count = 0;
    hangar_code code = hg_audio_open(fd, &a, err);
    do {
        if (code != HANGAR_OK) break;
        assert_true(hg_grow((void **)out, &cap, *count + piece, sizeof **out));
        code = hg_audio_read(a, *out + *count, piece, &got, err);
        *count += got;
    } while (code == HANGAR_OK && got == piece);
    hg_audio_close(a);
    return code;
}

static int open_clip(const char *name)
{
    char *path = hg_format("%s/models/clips/%s", getenv("HANGAR_TOP"), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    assert_true(fd > 2);
    return fd;
}

/* The shipped clip as it is, whatever the size of the pieces and wherever the descriptor stands. */
static void wav_is_exact(void **state)
{
    (void)state;
    size_t want_count = 0, count = 0;
    float *want = hg_test_clip("digits-01.wav", &want_count), *got = NULL;
    const size_t pieces[] = {1000000, 4096, 777};
    int fd = open_clip("digits-01.wav");
    for (size_t k = 0; k < HG_LEN(pieces); k++) {
        hangar_err err = {0};
        assert_true(lseek(fd, 1234, SEEK_SET) == 1234);
        assert_int_equal(decode(fd, pieces[k], &got, &count, &err), HANGAR_OK);
        assert_int_equal(count, want_count);
        assert_memory_equal(got, want, count * sizeof *got);
        free(got);
    }
    close(fd);
    free(want);
}

/* How alike two signals are: 1 = the same but for loudness. */
static double likeness(const float *a, const float *b, size_t count)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < count; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb + 1e-30);
}

/* 44.1 kHz stereo comes out as the 16 kHz mono of the same clip: same length, same shape. */
static void other_rates_and_channels(void **state)
{
    (void)state;
    size_t want_count = 0, count = 0;
    float *want = hg_test_clip("digits-02.wav", &want_count), *got = NULL;
    hangar_err err = {0};
    int fd = open_clip("digits-02-44100-stereo.wav");
    assert_int_equal(decode(fd, 4096, &got, &count, &err), HANGAR_OK);
    assert_true(llabs((long long)count - (long long)want_count) < 64);
    size_t common = count < want_count ? count : want_count;
    double best = 0;
    for (size_t shift = 0; shift < 16; shift++) best = fmax(best, likeness(got + shift, want, common - 16));
    if (best < 0.98) fail_msg("likeness %.4f", best);
    free(got);
    close(fd);
    free(want);
}

static void mp3(void **state)
{
    (void)state;
    size_t want_count = 0, count = 0;
    float *want = hg_test_clip("digits-01.wav", &want_count), *got = NULL;
    hangar_err err = {0};
    int fd = open_clip("digits-01.mp3");
    assert_int_equal(decode(fd, 50000, &got, &count, &err), HANGAR_OK);
    assert_true(count > want_count - 2000 && count < want_count + 4000);
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += fabs((double)got[i]);
    assert_true(sum / (double)count > 0.001);
    free(got);
    close(fd);
    free(want);
}

/* A file with these bytes; its descriptor. */
static int file_of(const void *bytes, size_t len)
{
    assert_int_equal(hg_write_file("sound", bytes, len, 0600, NULL), HANGAR_OK);
    return open("sound", O_RDONLY | O_CLOEXEC);
}

static void truncated_and_garbage(void **state)
{
    (void)state;
    hg_buf clip;
    hg_test_read("clips/digits-01.wav", &clip);
    float *got = NULL;
    size_t count = 0;
    hangar_err err = {0};
    const char *data = memmem(clip.data, clip.len, "data", 4);
    assert_non_null(data);
    int fd = file_of(clip.data, (size_t)(data - clip.data) + 8 + 20000);
    assert_int_equal(decode(fd, 4096, &got, &count, &err), HANGAR_OK);
    assert_int_equal(count, 10000);
    free(got);
    close(fd);
    char noise[5000];
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)(i * 7919 >> 3);
    const struct {
        const void *bytes;
        size_t len;
    } bad[] = {{noise, sizeof noise},
               {"", 0},
               {clip.data, 20},
               {"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n", 32},
               {"ffconcat version 1.0\nfile clip.wav\n", 35}};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        fd = file_of(bad[i].bytes, bad[i].len);
        err = (hangar_err){0};
        hangar_code code = decode(fd, 4096, &got, &count, &err);
        if (code != HANGAR_E_INVALID) fail_msg("%zu: %d %s", i, (int)code, err.msg);
        assert_true(err.msg[0] && !strchr(err.msg, '\n'));
        free(got);
        close(fd);
    }
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(decode(ends[0], 4096, &got, &count, &err), HANGAR_E_INVALID);
    close(ends[0]);
    close(ends[1]);
    hg_buf_deinit(&clip);
}

/* A frame of sound at one sample per second would be hours at 16 kHz: it is refused before memory is asked for. */
static void a_rate_near_nothing(void **state)
{
    (void)state;
    const uint8_t rates[] = {1, 99, 100};
    for (size_t i = 0; i < HG_LEN(rates); i++) {
        uint8_t wav[44 + 400] =
            "RIFF\xb4\x01\0\0WAVEfmt \x10\0\0\0\1\0\1\0r\0\0\0R\0\0\0\2\0\x10\0data\x90\1\0";
        wav[24] = rates[i];
        wav[28] = (uint8_t)(2 * rates[i]);
        float *got = NULL;
        size_t count = 0;
        hangar_err err = {0};
        int fd = file_of(wav, sizeof wav);
        assert_int_equal(decode(fd, 4096, &got, &count, &err), rates[i] < 100 ? HANGAR_E_INVALID : HANGAR_OK);
        if (rates[i] == 100) assert_int_equal(count, 200 * 160);
        else assert_non_null(strstr(err.msg, "samples per second"));
        free(got);
        close(fd);
    }
}

/* A damaged byte here and there costs a moment of sound, not the file. */
static void damaged_mp3(void **state)
{
    (void)state;
    hg_buf clip;
    hg_test_read("clips/digits-01.mp3", &clip);
    for (size_t at = 3000; at < clip.len; at += 997) clip.data[at] ^= 0x55;
    float *got = NULL;
    size_t count = 0;
    hangar_err err = {0};
    int fd = file_of(clip.data, clip.len);
    assert_int_equal(decode(fd, 4096, &got, &count, &err), HANGAR_OK);
    assert_true(count > 20000);
    free(got);
    close(fd);
    hg_buf_deinit(&clip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wav_is_exact),
                                       cmocka_unit_test(other_rates_and_channels),
                                       cmocka_unit_test(mp3),
                                       cmocka_unit_test(truncated_and_garbage),
                                       cmocka_unit_test(a_rate_near_nothing),
                                       cmocka_unit_test(damaged_mp3)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
