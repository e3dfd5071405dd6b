/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders on a real disk: reading, durable writing, placing, listing, removing. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>
#include <utime.h>

#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"

static void put(const char *path, const char *text)
{
    hangar_err err = {0};
    if (hg_write_file(path, text, strlen(text), 0644, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

static void expect(const char *path, const char *want)
{
    hg_buf b;
    hangar_err err = {0};
    hg_buf_init(&b, HG_MIB);
    if (hg_read_file(path, &b, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    assert_string_equal(hg_buf_text(&b), want);
    hg_buf_deinit(&b);
}

static hangar_code count_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    (void)dir, (void)name, (void)err;
    ++*(size_t *)ctx;
    return HANGAR_OK;
}

static size_t entries(const char *dir)
{
    size_t n = 0;
    assert_int_equal(hg_list_dir(dir, count_entry, &n, NULL), HANGAR_OK);
    return n;
}

static void test_write_and_read(void **state)
{
    (void)state;
    hangar_err err = {0};
    put("w/a/b/file", "one");
    expect("w/a/b/file", "one");
    put("w/a/b/file", "two");
    expect("w/a/b/file", "two");
    assert_int_equal(entries("w/a/b"), 1);
    put("w/empty", "");
    expect("w/empty", "");
    assert_int_equal(hg_write_file("w/secret", "x", 1, 0600, NULL), HANGAR_OK);
    struct stat st;
    stat("w/secret", &st);
    assert_int_equal(st.st_mode & 0777, 0600);
    mode_t old = umask(027);
    put("w/masked", "x");
    umask(old);
    stat("w/masked", &st);
    assert_int_equal(st.st_mode & 0777, 0640);
    /* Names that cannot be files. */
    assert_int_equal(hg_write_file("w/", "x", 1, 0644, NULL), HANGAR_E_INVALID);
    assert_int_equal(hg_write_file("w/..", "x", 1, 0644, NULL), HANGAR_E_INVALID);
    assert_int_equal(hg_write_file("", "x", 1, 0644, NULL), HANGAR_E_INVALID);
    /* A folder, or a file, in the way. */
    assert_true(hg_write_file("w/a", "x", 1, 0644, &err) != HANGAR_OK);
    assert_true(hg_write_file("w/empty/x", "x", 1, 0644, &err) != HANGAR_OK);
    assert_non_null(strstr(err.msg, "w/empty"));
    assert_int_equal(entries("w"), 4);
    /* A link is replaced, not followed. */
    assert_int_equal(symlink("secret", "w/link"), 0);
    put("w/link", "new");
    expect("w/secret", "x");
    expect("w/link", "new");
    assert_int_equal(lstat("w/link", &st), 0);
    assert_true(S_ISREG(st.st_mode));
}

static void test_out(void **state)
{
    (void)state;
    hg_out *out;
    assert_int_equal(hg_out_open("o/file", 0644, &out, NULL), HANGAR_OK);
    assert_int_equal(hg_out_size(out), 0);
    hg_out_write(out, "12345", 5);
    assert_int_equal(hg_pwrite_all(hg_out_fd(out), "x", 1, 1, NULL), HANGAR_OK);
    assert_int_equal(hg_out_size(out), 5);
    /* Nothing can be seen before the commit but the temporary name. */
    assert_false(hg_is_file("o/file"));
    assert_int_equal(entries("o"), 1);
    assert_int_equal(hg_out_commit(out, false, NULL), HANGAR_OK);
    expect("o/file", "1x345");

    assert_int_equal(hg_out_open("o/file", 0644, &out, NULL), HANGAR_OK);
    hg_out_write(out, "dropped", 7);
    hg_out_abort(out);
    hg_out_abort(NULL);
    expect("o/file", "1x345");
    assert_int_equal(entries("o"), 1);

    /* Who comes second does not replace; it is fine all the same. */
    assert_int_equal(hg_out_open("o/file", 0644, &out, NULL), HANGAR_OK);
    hg_out_write(out, "second", 6);
    assert_int_equal(hg_out_commit(out, true, NULL), HANGAR_OK);
    expect("o/file", "1x345");
    assert_int_equal(hg_out_open("o/other", 0644, &out, NULL), HANGAR_OK);
    hg_out_write(out, "first", 5);
    assert_int_equal(hg_out_commit(out, true, NULL), HANGAR_OK);
    expect("o/other", "first");
    assert_int_equal(entries("o"), 2);

    /* The folder may be renamed meanwhile. */
    assert_int_equal(hg_out_open("o/moved", 0644, &out, NULL), HANGAR_OK);
    assert_int_equal(rename("o", "p"), 0);
    hg_out_write(out, "m", 1);
    assert_int_equal(hg_out_commit(out, false, NULL), HANGAR_OK);
    expect("p/moved", "m");
}

/* A disk that is full, played by a limit on the size of files. */
static void test_write_error_sticks(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, small = {.rlim_cur = 1000};
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    put("full/file", "old");
    hg_out *out;
    hangar_err err = {0};
    assert_int_equal(hg_out_open("full/file", 0644, &out, NULL), HANGAR_OK);
    setrlimit(RLIMIT_FSIZE, &small);
    char block[600];
    memset(block, 'b', sizeof block);
    for (int i = 0; i < 4; i++) hg_out_write(out, block, sizeof block);
    hangar_code code = hg_out_commit(out, false, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(code, HANGAR_E_NO_SPACE);
    assert_non_null(strstr(err.msg, "full/file"));
    expect("full/file", "old");
    assert_int_equal(entries("full"), 1);
}

static void test_read_errors(void **state)
{
    (void)state;
    hg_buf b;
    int fd;
    hangar_err err = {0};
    hg_buf_init(&b, 4);
    put("r/five", "12345");
    put("r/four", "1234");
    assert_int_equal(hg_read_file("r/none", &b, &err), HANGAR_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "r/none"));
    assert_int_equal(hg_read_file("r/five", &b, &err), HANGAR_E_LIMIT);
    hg_buf_reset(&b);
    assert_int_equal(hg_read_file("r/four", &b, &err), HANGAR_OK);
    assert_string_equal(hg_buf_text(&b), "1234");
    hg_buf_reset(&b);
    assert_int_equal(hg_read_file("r", &b, &err), HANGAR_E_INVALID);
    assert_int_equal(hg_read_file("/dev/zero", &b, &err), HANGAR_E_INVALID);
    hg_buf_deinit(&b);
    /* A FIFO that nobody writes to is no reason to wait. */
    assert_int_equal(mkfifo("r/fifo", 0600), 0);
    double begun = hg_now();
    assert_int_equal(hg_open_regular("r/fifo", &fd, NULL, &err), HANGAR_E_INVALID);
    assert_true(hg_now() - begun < 1);
    assert_int_equal(symlink("four", "r/link"), 0);
    uint64_t size;
    assert_int_equal(hg_open_regular("r/link", &fd, &size, NULL), HANGAR_OK);
    assert_int_equal(size, 4);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    char bytes[8];
    assert_int_equal(hg_pread_all(fd, bytes, 3, 1, NULL), HANGAR_OK);
    assert_memory_equal(bytes, "234", 3);
    assert_int_equal(hg_pread_all(fd, bytes, 4, 1, &err), HANGAR_E_INVALID);
    assert_int_equal(hg_pread_all(fd, bytes, 1, UINT64_MAX, NULL), HANGAR_E_INVALID);
    assert_int_equal(hg_pwrite_all(fd, bytes, 1, UINT64_MAX, NULL), HANGAR_E_INVALID);
    assert_int_equal(hg_pwrite_all(fd, bytes, 1, 0, NULL), HANGAR_E_IO);
    close(fd);
    /* Files of /proc say that they are empty and are not. */
    hg_buf_init(&b, HG_MIB);
    assert_int_equal(hg_read_file("/proc/self/status", &b, NULL), HANGAR_OK);
    assert_true(b.len > 100);
    hg_buf_deinit(&b);
}

static void test_map(void **state)
{
    (void)state;
    hg_map map;
    put("m/file", "mapped");
    put("m/empty", "");
    assert_int_equal(hg_map_open("m/file", &map, NULL), HANGAR_OK);
    assert_int_equal(map.len, 6);
    assert_memory_equal(map.data, "mapped", 6);
    hg_map_close(&map);
    assert_null(map.data);
    assert_int_equal(hg_map_open("m/empty", &map, NULL), HANGAR_OK);
    assert_null(map.data);
    hg_map_close(&map);
    assert_int_equal(hg_map_open("m/none", &map, NULL), HANGAR_E_NOT_FOUND);
    assert_true(hg_is_file("m/file") && !hg_is_file("m") && !hg_is_file("m/none"));
    assert_true(hg_is_dir("m") && !hg_is_dir("m/file"));
}

static void test_mkdirs(void **state)
{
    (void)state;
    hangar_err err = {0};
    assert_int_equal(hg_mkdirs("d/e//f/", 0755, &err), HANGAR_OK);
    assert_true(hg_is_dir("d/e/f"));
    assert_int_equal(hg_mkdirs("d/e/f", 0755, &err), HANGAR_OK);
    put("d/file", "x");
    assert_true(hg_mkdirs("d/file", 0755, &err) != HANGAR_OK);
    assert_true(hg_mkdirs("d/file/x", 0755, &err) != HANGAR_OK);
    assert_int_equal(hg_mkdirs("", 0755, &err), HANGAR_E_INVALID);
    assert_int_equal(hg_mkdirs("/", 0755, &err), HANGAR_OK);
    assert_int_equal(symlink("e", "d/link"), 0);
    assert_int_equal(hg_mkdirs("d/link/g", 0755, &err), HANGAR_OK);
    assert_true(hg_is_dir("d/e/g"));
    assert_int_equal(hg_fsync_dir("d", NULL), HANGAR_OK);
    assert_int_equal(hg_fsync_dir("d/none", NULL), HANGAR_E_NOT_FOUND);
    uint64_t there, below;
    assert_int_equal(hg_disk_free(".", &there, NULL), HANGAR_OK);
    assert_int_equal(hg_disk_free("not/made/yet", &below, NULL), HANGAR_OK);
    assert_true(there > 0 && below > 0);
}

static void test_place(void **state)
{
    (void)state;
    hangar_err err = {0};
    char *big = malloc(3 * HG_MIB + 1);
    memset(big, 'x', 3 * HG_MIB);
    big[3 * HG_MIB] = '\0';
    assert_int_equal(hg_write_file("pl/big", big, 3 * HG_MIB, 0640, NULL), HANGAR_OK);
    assert_int_equal(symlink("big", "pl/link"), 0);
    assert_int_equal(hg_place_file("pl/link", "pl/out/copy", HG_PLACE_COPY, &err), HANGAR_OK);
    hg_map map;
    assert_int_equal(hg_map_open("pl/out/copy", &map, NULL), HANGAR_OK);
    assert_int_equal(map.len, 3 * HG_MIB);
    assert_memory_equal(map.data, big, 3 * HG_MIB);
    hg_map_close(&map);
    struct stat a, b;
    stat("pl/big", &a);
    stat("pl/out/copy", &b);
    assert_true(a.st_ino != b.st_ino && (b.st_mode & 0777) == 0640);
    assert_int_equal(hg_place_file("pl/link", "pl/out/hard", HG_PLACE_LINK, &err), HANGAR_OK);
    lstat("pl/out/hard", &b);
    assert_true(a.st_ino == b.st_ino);
    hangar_code code = hg_place_file("pl/big", "pl/out/clone", HG_PLACE_REFLINK, &err);
    if (code != HANGAR_OK) assert_int_equal(code, HANGAR_E_UNSUPPORTED);
    assert_int_equal(hg_is_file("pl/out/clone"), code == HANGAR_OK);
    /* What is there stays. */
    put("pl/there", "kept");
    assert_int_equal(hg_place_file("pl/big", "pl/there", HG_PLACE_COPY, &err), HANGAR_E_FAILED);
    assert_int_equal(err.sys, EEXIST);
    assert_int_equal(hg_place_file("pl/big", "pl/there", HG_PLACE_LINK, &err), HANGAR_E_FAILED);
    expect("pl/there", "kept");
    assert_int_equal(hg_place_file("pl/none", "pl/x", HG_PLACE_COPY, &err), HANGAR_E_NOT_FOUND);
    assert_int_equal(hg_place_file("pl", "pl/x", HG_PLACE_LINK, &err), HANGAR_E_INVALID);
    put("pl/empty", "");
    assert_int_equal(hg_place_file("pl/empty", "pl/empty2", HG_PLACE_COPY, &err), HANGAR_OK);
    expect("pl/empty2", "");
    /* Files of /proc can only be read the slow way. */
    assert_int_equal(hg_place_file("/proc/self/status", "pl/status", HG_PLACE_COPY, &err), HANGAR_OK);
    stat("pl/status", &b);
    assert_true(b.st_size > 100);
    free(big);
}

static void test_rm_tree(void **state)
{
    (void)state;
    hangar_err err = {0};
    put("rm/tree/a/b/c", "x");
    put("rm/tree/a/d", "x");
    put("rm/kept/file", "x");
    assert_int_equal(symlink("../../kept", "rm/tree/a/link"), 0);
    assert_int_equal(symlink("nowhere", "rm/tree/broken"), 0);
    assert_int_equal(hg_rm_tree("rm/tree/", &err), HANGAR_OK);
    assert_int_equal(access("rm/tree", F_OK), -1);
    expect("rm/kept/file", "x");
    assert_int_equal(hg_rm_tree("rm/tree", &err), HANGAR_OK);
    assert_int_equal(hg_rm_tree("rm/no/such/dir", &err), HANGAR_OK);
    assert_int_equal(symlink("kept", "rm/link"), 0);
    assert_int_equal(hg_rm_tree("rm/link", &err), HANGAR_OK);
    expect("rm/kept/file", "x");
    assert_int_equal(hg_rm_tree("rm/kept/file", &err), HANGAR_OK);
    static const char *const never[] = {"", "/", "//", ".", "..", "rm/..", "rm/."};
    for (size_t i = 0; i < HG_LEN(never); i++) assert_int_equal(hg_rm_tree(never[i], &err), HANGAR_E_INVALID);
    /* Deeper than is allowed: an answer, no crash. */
    char path[2000] = "rm/deep";
    for (int i = 0; i < 200; i++) strcat(path, "/d");
    assert_int_equal(hg_mkdirs(path, 0755, NULL), HANGAR_OK);
    assert_int_equal(hg_rm_tree("rm/deep", &err), HANGAR_E_LIMIT);
}

static void age_file(const char *path, time_t seconds)
{
    struct utimbuf times = {hg_wall() - seconds, hg_wall() - seconds};
    assert_int_equal(utime(path, &times), 0);
}

static void test_sweep(void **state)
{
    (void)state;
    put("s/" HG_TMP_PREFIX "old", "x");
    put("s/" HG_TMP_PREFIX "young", "x");
    put("s/normal", "x");
    put("s/" HG_TMP_PREFIX "dir/file", "x");
    age_file("s/" HG_TMP_PREFIX "old", 1000);
    age_file("s/normal", 1000);
    age_file("s/" HG_TMP_PREFIX "dir", 1000);
    hg_sweep("s", 500);
    assert_false(hg_is_file("s/" HG_TMP_PREFIX "old"));
    assert_int_equal(entries("s"), 3);
    hg_sweep("s/none", 0);
    /* What a killed writer leaves is found. */
    pid_t child = fork();
    if (child == 0) {
        hg_out *out;
        if (hg_out_open("s/killed", 0644, &out, NULL) != HANGAR_OK) _exit(1);
        hg_out_write(out, "half", 4);
        raise(SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(entries("s"), 4);
    assert_false(hg_is_file("s/killed"));
    hg_sweep("s", 0);
    assert_int_equal(entries("s"), 2);
}

typedef struct seen {
    char text[1000];
    int stop_at;
} seen;

static hangar_code see_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    seen *s = ctx;
    assert_string_equal(dir, "t");
    strcat(strcat(s->text, name), " ");
    return --s->stop_at == 0 ? hg_fail(err, HANGAR_E_BUSY, "enough") : HANGAR_OK;
}

static hangar_code see_file(void *ctx, const char *relative, uint64_t size, hangar_err *err)
{
    seen *s = ctx;
    sprintf(s->text + strlen(s->text), "%s=%d ", relative, (int)size);
    return --s->stop_at == 0 ? hg_fail(err, HANGAR_E_BUSY, "enough") : HANGAR_OK;
}

static void test_list_and_walk(void **state)
{
    (void)state;
    hangar_err err = {0};
    seen s = {0};
    put("t/b/x", "1");
    put("t/b/a", "22");
    put("t/b.txt", "333");
    put("t/a", "4444");
    put("t/" HG_TMP_PREFIX "zz", "never");
    put("elsewhere/x", "5");
    assert_int_equal(symlink("b.txt", "t/c"), 0);
    assert_int_equal(symlink("../elsewhere", "t/d"), 0);
    assert_int_equal(symlink("nowhere", "t/e"), 0);
    assert_int_equal(symlink(".", "t/f"), 0);
    assert_int_equal(mkfifo("t/g", 0600), 0);
    assert_int_equal(hg_list_dir("t", see_entry, &s, &err), HANGAR_OK);
    assert_string_equal(s.text, HG_TMP_PREFIX "zz a b b.txt c d e f g ");
    s = (seen){.stop_at = 2};
    assert_int_equal(hg_list_dir("t", see_entry, &s, &err), HANGAR_E_BUSY);
    assert_string_equal(s.text, HG_TMP_PREFIX "zz a ");
    assert_int_equal(hg_list_dir("none", see_entry, &s, &err), HANGAR_E_NOT_FOUND);

    s = (seen){0};
    assert_int_equal(hg_walk("t", 5, see_file, &s, &err), HANGAR_OK);
    assert_string_equal(s.text, "a=4 b.txt=3 b/a=2 b/x=1 c=3 ");
    s = (seen){0};
    assert_int_equal(hg_walk("t", 4, see_file, &s, &err), HANGAR_E_LIMIT);
    assert_string_equal(s.text, "");
    s = (seen){.stop_at = 1};
    assert_int_equal(hg_walk("t", 100, see_file, &s, &err), HANGAR_E_BUSY);
    assert_string_equal(s.text, "a=4 ");
    assert_int_equal(hg_walk("none", 100, see_file, &s, &err), HANGAR_E_NOT_FOUND);

    char path[400] = "deep";
    for (int i = 0; i < 32; i++) strcat(path, "/d");
    strcat(path, "/file");
    put(path, "x");
    s = (seen){0};
    assert_int_equal(hg_walk("deep", 10, see_file, &s, &err), HANGAR_OK);
    assert_int_equal(hg_walk(".", 10000, see_file, &(seen){.stop_at = 1}, &err), HANGAR_E_LIMIT);
}

static void on_alarm(int number)
{
    (void)number;
}

/* Readers see the old text or the new one, whole, while writers replace it. */
static void test_never_half(void **state)
{
    (void)state;
    enum { SIZE = 20000 };
    static char a[SIZE + 1], b[SIZE + 1];
    memset(a, 'a', SIZE);
    memset(b, 'b', SIZE);
    put("half/file", a);
    signal(SIGALRM, on_alarm);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 100; i++)
            if (hg_write_file("half/file", i % 2 ? a : b, SIZE, 0644, NULL) != HANGAR_OK) _exit(1);
        _exit(0);
    }
    int status = -1;
    while (waitpid(child, &status, WNOHANG) == 0) {
        hg_buf text;
        hg_buf_init(&text, HG_MIB);
        assert_int_equal(hg_read_file("half/file", &text, NULL), HANGAR_OK);
        assert_int_equal(text.len, SIZE);
        assert_true(memcmp(text.data, a, SIZE) == 0 || memcmp(text.data, b, SIZE) == 0);
        hg_buf_deinit(&text);
    }
    assert_int_equal(status, 0);
    assert_int_equal(entries("half"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_out),
        cmocka_unit_test(test_write_error_sticks),
        cmocka_unit_test(test_read_errors),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_mkdirs),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_list_and_walk),
        cmocka_unit_test(test_never_half),
        cmocka_unit_test(test_rm_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
