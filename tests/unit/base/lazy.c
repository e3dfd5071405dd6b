/* SPDX-License-Identifier: Apache-2.0 */
/* A library that is loaded by the first call of its function, and what is said of one that is not there. */
#include "base/lazy.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static hg_lazy lib = {.file = "libcurl.so.4", .package = "libcurl4"};
static hg_lazy missing = {.file = "libhangar-not-there.so.7", .package = "hangar-not-there7"};

char *curl_version(void);
int not_there(int n);
HG_LAZY(lib, char *, curl_version, (void), ())
HG_LAZY(missing, int, not_there, (int n), (n))

static void a_call_loads_it(void **state)
{
    (void)state;
    assert_null(lib.handle);
    assert_memory_equal(curl_version(), "libcurl/", 8);
    assert_non_null(lib.handle);
    void *handle = lib.handle;
    assert_int_equal(hg_lazy_load(&lib, NULL), HANGAR_OK);
    assert_ptr_equal(lib.handle, handle);
}

static void one_that_is_not_there(void **state)
{
    (void)state;
    hangar_err err = {0};
    assert_int_equal(hg_lazy_load(&missing, &err), HANGAR_E_INTERNAL);
    assert_non_null(strstr(err.msg, "libhangar-not-there.so.7"));
    assert_non_null(strstr(err.msg, "install the package hangar-not-there7"));
    pid_t pid = fork();
    if (pid == 0) {
        close(2);
        signal(SIGABRT, SIG_DFL);
        _exit(not_there(1));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_loads_it),
        cmocka_unit_test(one_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
