/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hangar-runner-convert: builds the graphs of one model for hangar. Started by hangar with a socket as descriptor 3 (engine/wire.h); ends when
 * the socket closes, and with its parent. Configurations and weight files are read here, by a process that can open them, write into one
 * stage, and do nothing else (base/sandbox.h); its memory is limited (engine/convert_ops.h).
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sandbox.h"
#include "convert/convert.h"
#include "engine/convert_ops.h"
#include "engine/wire.h"
#include "hangar/hangar.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SOCKET_FD 3

typedef struct builder {
    int fd;
    hangar_job *job;
    char *stage; /* NULL until LOAD */
    int sandbox;
} builder;

/* Progress as TICKs; a CANCEL that has come is passed on. */
static void on_event(void *ctx, const hangar_event *event)
{
    builder *b = ctx;
    if (event->kind == HANGAR_EVENT_TOTAL) {
        hg_jw *w = hg_jw_new();
        hg_jw_obj(w, NULL);
        hg_jw_u64(w, "done", event->done);
        hg_jw_u64(w, "total", event->total);
        hg_jw_end(w);
        (void)!hg_wire_send_doc(b->fd, HG_WIRE_TICK, w, NULL, 0, NULL);
    }
    if (hg_wire_pending(b->fd)) hangar_job_cancel(b->job); /* a CANCEL, or nobody is there any more */
}

/* Sanitizers take terabytes of addresses for themselves. */
static bool limit_memory(void)
{
#ifdef HG_SANITIZED
    return true;
#else
    const struct rlimit data = {HG_CONVERT_MEMORY_MAX, HG_CONVERT_MEMORY_MAX};
    return setrlimit(RLIMIT_DATA, &data) == 0;
#endif
}

/* Puts the cage on. */
static hangar_code enter(builder *b, const hg_jval *load, hangar_err *err)
{
    const hg_jval *read = hg_json_get(load, "read");
    const char *stage = hg_json_text(hg_json_get(load, "stage"));
    const char *writable[] = {stage, NULL};
    HG_AUTO(hg_auto_free) const char **paths = (const char **)hg_calloc(hg_json_len(read) + 1, sizeof *paths);
    size_t count = 0;
    if (!paths) return hg_fail_memory(err);
    if (!stage || stage[0] != '/') return hg_fail(err, HANGAR_E_INVALID, "no stage is named");
    for (hg_json_iter it = hg_json_iter_of(read); hg_json_next(&it);)
        if (hg_json_text(it.val)) paths[count++] = hg_json_text(it.val);
    if (!limit_memory()) return hg_fail(err, HANGAR_E_INTERNAL, "no limit of memory can be set");
    b->stage = hg_strdup(stage);
    if (!b->stage) return hg_fail_memory(err);
    return hg_sandbox_enter(&(hg_sandbox){.read_only = paths, .writable = writable}, &b->sandbox, err);
}

/* LOAD: the cage. */
static hangar_code on_load(builder *b, const hg_frame *frame)
{
    hangar_err err = {0};
    hangar_code code = b->stage ? hg_fail(&err, HANGAR_E_USAGE, "a stage is open already")
                                : enter(b, hg_json_root(frame->doc), &err);
    if (code != HANGAR_OK) return hg_wire_send_fail(b->fd, &err, NULL);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_i64(w, "sandbox", b->sandbox);
    hg_jw_end(w);
    return hg_wire_send_doc(b->fd, HG_WIRE_READY, w, NULL, 0, NULL);
}

static hg_jw *done_frame(const char *manifest, double seconds)
{
    struct rusage use;
    hg_json *doc = NULL;
    if (hg_json_parse(hg_str_of(manifest), &(hg_json_limits){.bytes = HG_WIRE_JSON_MAX}, &doc, NULL) !=
        HANGAR_OK)
        return NULL;
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_val(w, "manifest", hg_json_root(doc));
    hg_jw_f64(w, "seconds", seconds);
    hg_jw_u64(w, "peak_bytes", getrusage(RUSAGE_SELF, &use) == 0 ? (uint64_t)use.ru_maxrss * 1024 : 0);
    hg_jw_end(w);
    hg_json_free(doc);
    return w;
}

static hangar_code build(builder *b, const hg_jval *call, char **manifest, hangar_err *err)
{
    hg_convert_spec spec;
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    if (!b->stage) return hg_fail(err, HANGAR_E_USAGE, "no stage is open");
    hangar_code code = hg_convert_spec_read(call, &spec, &snap, err);
    return code == HANGAR_OK ? hg_convert_build(&spec, b->stage, b->job, manifest, err) : code;
}

/* CALL: builds. */
static hangar_code on_call(builder *b, const hg_frame *frame)
{
    hangar_err err = {0};
    double start = hg_now();
    HG_AUTO(hg_auto_free) char *manifest = NULL;
    hangar_code code = build(b, hg_json_root(frame->doc), &manifest, &err);
    if (code != HANGAR_OK) return hg_wire_send_fail(b->fd, &err, NULL);
    return hg_wire_send_doc(b->fd, HG_WIRE_DONE, done_frame(manifest, hg_now() - start), NULL, 0, NULL);
}

/* Frame after frame until the socket closes. */
static void serve(builder *b)
{
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK) {
        hg_frame frame;
        if (hg_wire_recv(b->fd, -1, &frame, NULL) != HANGAR_OK) return;
        if (frame.type == HG_WIRE_LOAD) code = on_load(b, &frame);
        else if (frame.type == HG_WIRE_CALL) code = on_call(b, &frame);
        else if (frame.type != HG_WIRE_CANCEL) code = HANGAR_E_INVALID;
        hg_frame_deinit(&frame);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("hangar-runner-convert %s\n", HANGAR_VERSION);
        return 0;
    }
    if (argc != 1) {
        fputs("hangar-runner-convert is started by hangar; it takes only --version\n", stderr);
        return 2;
    }
    hg_proc_die_with_parent();
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
    builder b = {.fd = SOCKET_FD};
    b.job = hangar_job_new(on_event, &b);
    hg_jw *hello = hg_jw_new();
    hg_jw_obj(hello, NULL);
    hg_jw_text(hello, "engine", "convert");
    hg_jw_text(hello, "version", HANGAR_VERSION);
    hg_jw_i64(hello, "protocol", HG_WIRE_PROTOCOL);
    hg_jw_end(hello);
    if (b.job && hg_wire_send_doc(b.fd, HG_WIRE_HELLO, hello, NULL, 0, NULL) == HANGAR_OK) serve(&b);
    fflush(NULL);
    _exit(0);
}
