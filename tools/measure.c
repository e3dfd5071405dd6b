/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure REPORT PROGRAM [ARGUMENT]...: runs a program and appends "SECONDS PEAK-BYTES" to the file REPORT. The peak is the largest resident
 * memory of the program or of any child that it waited for. Ends as the program ended. Compiled by the scripts that need it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec from, to;
    struct rusage used;
    int status;
    if (argc < 3) return 2;
    clock_gettime(CLOCK_MONOTONIC, &from);
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &used) < 0) {
        perror("measure");
        return 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    FILE *report = fopen(argv[1], "a");
    if (report) {
        double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        fprintf(report, "%.2f %lld\n", seconds, (long long)used.ru_maxrss * 1024);
        fclose(report);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
