/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure RUNS REPORT COMMAND...: runs a command that many times and writes one line for each run: wall milliseconds,
 * processor milliseconds, peak resident KiB (of the program or of any child that it waited for), exit status. REPORT is a file to
 * append to, and the command's output is left alone; or "-" for stdout, and the command's output is thrown away. Ends with the status
 * of the last run when REPORT is a file. Compiled by the scripts that need it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* Runs it once and writes its line; the status it ended with, or -1. */
static int run_once(char **command, FILE *report, int silent)
{
    int status;
    struct rusage use;
    double start = now_ms();
    pid_t child = vfork(); /* fork would charge this program's own memory to the child */
    if (child == 0) {
        int null = silent ? open("/dev/null", O_WRONLY) : -1;
        if (null >= 0) dup2(null, STDOUT_FILENO);
        execvp(command[0], command);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &use) < 0) {
        perror(command[0]);
        return -1;
    }
    double wall = now_ms() - start;
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    fprintf(report, "%.3f %.3f %ld %d\n", wall, ms(use.ru_utime) + ms(use.ru_stime), use.ru_maxrss, status);
    return fflush(report) == 0 ? status : -1;
}

int main(int argc, char **argv)
{
    int runs = argc > 3 ? atoi(argv[1]) : 0, status = 0;
    if (runs < 1) return fprintf(stderr, "usage: measure RUNS REPORT COMMAND...\n"), 2;
    int silent = strcmp(argv[2], "-") == 0;
    FILE *report = silent ? stdout : fopen(argv[2], "ae");
    if (!report) return perror(argv[2]), 1;
    for (int i = 0; i < runs && status >= 0; i++) status = run_once(argv + 3, report, silent);
    if (status < 0) return 1;
    return silent ? 0 : status;
}
