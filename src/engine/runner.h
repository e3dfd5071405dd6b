/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A runner seen from hangar: one child process that holds one model. States: STARTING -> LOADING -> READY <->
 * BUSY -> ENDED; each move goes through one function that logs it. A runner that crashes, hangs (no frame
 * within its deadline) or speaks nonsense is killed with its group; the error says so in one line with the
 * last words it printed. TICKs with a total become TOTAL events of the job.
 */
#ifndef HG_ENGINE_RUNNER_H
#define HG_ENGINE_RUNNER_H

#include "base/job.h"
#include "engine/wire.h"

#include <sys/types.h>

/* An engine: one line in engines.def and one file that describes it. */
typedef struct hg_engine {
    const char *name;    /* "onnx", "llama" */
    const char *program; /* file name of the runner: "hangar-runner-onnx" */
    const char *about;   /* one line for people */
    const char *env;     /* one variable of its own for the runner, "NAME=value"; NULL = none */
} hg_engine;
const hg_engine *hg_engine_get(const char *name); /* NULL when unknown */
const hg_engine *const *hg_engine_all(void);      /* NULL-terminated */
/* Runs no models but makes them: a program of its own for the same reason, and not in the table. */
extern const hg_engine hg_engine_convert;
/*
 * Where the runner programs are: $HANGAR_RUNNERS, else beside the program or library, else ../lib/hangar from
 * there. The caller's path of the program; NOT_FOUND with what to do.
 */
hangar_code hg_engine_program(const hg_engine *engine, char **out_path, hangar_err *err);

typedef struct hg_runner hg_runner;

typedef struct hg_runner_options {
    double load_timeout; /* seconds without READY or TICK */
    double step_timeout; /* seconds without any frame during a call */
} hg_runner_options;

/*
 * Starts the engine's program and has it load: `load` is the LOAD frame's JSON. *out_ready may be NULL; else
 * it gets the READY frame (deinit it).
 */
hangar_code hg_runner_start(const hg_engine *engine, const hg_runner_options *options, hg_str load,
                            hangar_job *job, hg_runner **out, hg_frame *out_ready, hangar_err *err);
/* The same with a LOAD frame that has a binary part, too (its type is filled in here). */
hangar_code hg_runner_start_parcel(const hg_engine *engine, const hg_runner_options *options,
                                   const hg_parcel *load, hangar_job *job, hg_runner **out,
                                   hg_frame *out_ready, hangar_err *err);
/* A PIECE of a running call; borrowed until it returns. A code other than OK cancels the call. */
typedef hangar_code hg_piece_fn(void *ctx, const hg_frame *piece, hangar_err *err);
/* One call; blocks until DONE or FAIL. A cancel of the job is passed on. out gets the DONE frame (deinit it). */
hangar_code hg_runner_call(hg_runner *r, hg_str call, const void *bin, size_t bin_len, hg_piece_fn *on_piece,
                           void *ctx, hangar_job *job, hg_frame *out, hangar_err *err);
/* The same for a CALL that brings a descriptor along (its type is filled in here). */
hangar_code hg_runner_call_parcel(hg_runner *r, const hg_parcel *call, hg_piece_fn *on_piece, void *ctx,
                                  hangar_job *job, hg_frame *out, hangar_err *err);
/* Closes, waits a moment, kills, reaps. NULL is fine. */
void hg_runner_end(hg_runner *r);
/* The child's process id, for messages and tests. */
pid_t hg_runner_pid(const hg_runner *r);
/* For figures: resident memory now, in bytes (0 = not known). */
uint64_t hg_runner_memory(hg_runner *r);

#endif
