/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure RUNS COMMAND...: runs a command that many times, its output thrown away, and prints one line for each run:
 * wall milliseconds, processor milliseconds, peak resident KiB, exit status. Compiled by the scripts beside it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double ms(struct timeval t)
{
    return (double)t.tv_sec * 1e3 + (double)t.tv_usec / 1e3;
}

int main(int argc, char **argv)
{
    int runs = argc > 2 ? atoi(argv[1]) : 0;
    if (runs < 1) return fprintf(stderr, "usage: measure RUNS COMMAND...\n"), 2;
    for (int i = 0; i < runs; i++) {
        double start = now_ms();
        pid_t child = vfork(); /* fork would charge this program's own memory to the child */
        if (child < 0) return perror("fork"), 1;
        if (child == 0) {
            int null = open("/dev/null", O_WRONLY);
            if (null >= 0) dup2(null, STDOUT_FILENO);
            execvp(argv[2], argv + 2);
            _exit(127);
        }
        int status;
        struct rusage use;
        if (wait4(child, &status, 0, &use) < 0) return perror("wait"), 1;
        double wall = now_ms() - start;
        printf("%.3f %.3f %ld %d\n", wall, ms(use.ru_utime) + ms(use.ru_stime), use.ru_maxrss,
               WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    return 0;
}
