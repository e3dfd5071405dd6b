/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cage for a runner, put on by the runner itself after its libraries are loaded: Landlock (files) and
 * seccomp (system calls). What the kernel cannot do is left out and told by the level, never an error. The
 * files are locked for the calling thread and those it makes later: enter before the engine starts threads,
 * best before it reads the model.
 */
#ifndef HG_BASE_SANDBOX_H
#define HG_BASE_SANDBOX_H

#include "base/err.h"

typedef struct hg_sandbox {
    const char *const
        *read_only;              /* files and folders that may be read; NULL-terminated; NULL = none        */
    const char *const *writable; /* folders that may be written; the same                                   */
} hg_sandbox;

/* 0 = no cage at all, 1 = seccomp only, 2 = both. Denied afterwards: sockets, exec, fork, signals to others, ptrace,
 * mounts, keys, bpf, io_uring. Descriptors that are open stay usable. */
hangar_code hg_sandbox_enter(const hg_sandbox *box, int *out_level, hangar_err *err);

#endif
