/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes: started with a fixed argv and a fixed environment, in a process group of their own, ended
 * with their parent, limited, and reaped. Never a shell.
 *
 * A child gets: fd 3 = its end of a socketpair (SOCK_STREAM) to the parent, /dev/null as stdin, stdout and stderr
 * into a pipe of which the last HG_PROC_TAIL bytes are kept for the error message. PR_SET_PDEATHSIG(SIGKILL) is set;
 * the child checks that its parent still lives. It dies with the process, not with the thread that started it.
 */
#ifndef HG_BASE_PROC_H
#define HG_BASE_PROC_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HG_PROC_TAIL 4096

typedef struct hg_proc_spec {
    const char *const
        *argv; /* argv[0] is the program's path; NULL-terminated                                     */
    const char *const
        *env; /* NULL = a fixed small set taken over from the parent (PATH, HOME, LANG, TMPDIR, OMP_*) */
    const char *more; /* one variable beside that set, "NAME=value"; NULL = none */
    uint64_t
        memory_limit; /* bytes of address space; 0 = none                                                   */
    uint64_t
        cpu_seconds; /* 0 = none                                                                           */
    int nice;        /* added niceness; 0 = as the parent                                                  */
    /* For programs that are not hangar's: */
    bool plain; /* no socket on fd 3; its core files and its share when memory is short stay as they are  */
    const char *cwd; /* its working folder; NULL = ours */
    void (*on_output)(void *ctx, const char *bytes,
                      size_t len); /* what it prints, as it comes, on a thread of its own; NULL = none */
    void *ctx;
} hg_proc_spec;

typedef struct hg_proc hg_proc;

hangar_code hg_proc_start(const hg_proc_spec *spec, hg_proc **out, hangar_err *err);
pid_t hg_proc_pid(const hg_proc *p);
/* The parent's end of the socketpair; closed by hg_proc_end. */
int hg_proc_fd(const hg_proc *p);
/* What it printed last, NUL-terminated, borrowed; safe while it runs. */
const char *hg_proc_tail(hg_proc *p);
/* Non-blocking look: true once it has ended (then reaped). */
bool hg_proc_ended(hg_proc *p);
/*
 * How it ended, in words of one line ("exit code 3", "killed by SIGSEGV"), into buf. Peak memory in bytes and
 * CPU seconds may be asked for (NULL = not wanted). Only after it has ended.
 */
void hg_proc_how(const hg_proc *p, char *buf, size_t len, uint64_t *out_peak, double *out_cpu);
/* Sends a signal to its whole group, unless it has ended. */
void hg_proc_signal(hg_proc *p, int number);
/*
 * Closes the socket, waits `grace` seconds for it to go, then kills its whole group; reaps and frees. NULL is
 * fine.
 */
void hg_proc_end(hg_proc *p, double grace);

/* For the child's main(): ends it with its parent. Call first. */
void hg_proc_die_with_parent(void);

#endif
