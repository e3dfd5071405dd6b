/* SPDX-License-Identifier: Apache-2.0 */
/* What programs.c and programs_read.c share: the programs of the configuration, read and checked. */
#ifndef HG_MANAGER_PROGRAMS_H
#define HG_MANAGER_PROGRAMS_H

#include "base/buf.h"
#include "base/proc.h"
#include "manager/catalog.h"

#define HG_PROGRAMS_MAX     64
#define HG_PROGRAM_ARGS_MAX 1024

typedef enum hg_restart { HG_RESTART_NEVER, HG_RESTART_ON_FAILURE, HG_RESTART_ALWAYS } hg_restart;

typedef enum hg_program_state {
    HG_PROGRAM_WAITS,  /* for models or another program */
    HG_PROGRAM_RUNS,   /* */
    HG_PROGRAM_PAUSES, /* until it is started again */
    HG_PROGRAM_ENDED,  /* well, for good */
} hg_program_state;

struct hg_programs;

typedef struct hg_program {
    struct hg_programs *all;
    char *name;
    char *path;               /* of argv[0], found */
    char **argv;              /* NULL-terminated, owned */
    char **env;               /* the same; the whole environment */
    char *cwd;                /* NULL = ours */
    char **models;            /* names, NULL-terminated */
    const hg_entry **entries; /* of the models; NULL where the catalogue does not know one */
    size_t *after;
    size_t after_count;
    hg_restart restart;
    /* while it runs */
    hg_program_state state;
    hg_proc *proc;
    int pidfd;
    unsigned failures; /* in a row */
    double started, again_at, asked_at;
    size_t ready;   /* models that were seen ready, from the first on */
    hg_buf line;    /* what it printed of its last line; its drain's */
    char told[160]; /* what it was last said to wait for */
} hg_program;

/* INVALID names the line. *out has *count programs, also after an error; hg_program_deinit each. */
hangar_code hg_programs_read(hangar *h, hg_catalog *c, hg_program *out, size_t *count, hangar_err *err);
void hg_program_deinit(hg_program *p);
/* A program's file as execvp() would find it. The caller's; NOT_FOUND. */
hangar_code hg_program_find(const char *name, const char *cwd, char **out, hangar_err *err);
/* This process's environment with more[2 * i] = more[2 * i + 1] in it. The caller's, each and the array; NULL when out of memory. */
char **hg_program_env(const char *const *more, size_t count);

#endif
