/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hangar-runner-llama: holds one GGUF model for hangar. Started by hangar with a socket as descriptor 3
 * (engine/wire.h); ends when the socket closes, and with its parent. Before it reads the model it gives up
 * the network, other programs, and all files but the model's (base/sandbox.h).
 */
#include "runner.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sandbox.h"
#include "engine/wire.h"
#include "hangar/hangar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOCKET_FD 3

/* llama.cpp's words: errors go to stderr, where hangar keeps the last of them; the rest is dropped. */
static void on_log(enum ggml_log_level level, const char *text, void *ctx)
{
    (void)ctx;
    static enum ggml_log_level last;
    if (level != GGML_LOG_LEVEL_CONT) last = level;
    if (last == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

/* Tells hangar what failed. */
static hangar_code answer_fail(int fd, const hangar_err *why)
{
    return hg_wire_send_fail(fd, why, NULL);
}

/* The cage: from here on only the folders of this model's files can be read (its name, and what its name leads to). */
static hangar_code enter_cage(const char *model, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *real = model ? realpath(model, NULL) : NULL;
    if (!real) return hg_fail(err, HANGAR_E_NOT_FOUND, "there is no file %s", model ? model : "to load");
    HG_AUTO(hg_auto_free) char *named = hg_path_dir(model);
    HG_AUTO(hg_auto_free) char *lies = hg_path_dir(real);
    if (!named || !lies) return hg_fail_memory(err);
    const char *const readable[] = {named, lies, NULL};
    int level = 0;
    return hg_sandbox_enter(&(hg_sandbox){.read_only = readable}, &level, err);
}

/* LOAD: backends, cage, model, answer. The file's own bytes are first looked at inside the cage. */
static hangar_code on_load(hg_llama *l, const hg_frame *frame)
{
    hangar_err err = {0};
    const hg_jval *load = hg_json_root(frame->doc);
    if (l->model) {
        hg_fail(&err, HANGAR_E_USAGE, "a model is loaded already");
        return answer_fail(l->fd, &err);
    }
    hg_llama_backends();
    hangar_code code = enter_cage(hg_json_text(hg_json_get(load, "model")), &err);
    if (code == HANGAR_OK) code = hg_llama_load(l, load, &err);
    if (code != HANGAR_OK) return answer_fail(l->fd, &err);
    return hg_wire_send_doc(l->fd, HG_WIRE_READY, hg_llama_ready(l), NULL, 0, NULL);
}

/* CALL: generate, or probe. */
static hangar_code on_call(hg_llama *l, const hg_frame *frame)
{
    hangar_err err = {0};
    const hg_jval *doc = hg_json_root(frame->doc);
    const char *op = hg_json_text_or(hg_json_get(doc, "op"), "");
    hg_jw *answer = NULL;
    hangar_code code;
    if (!l->model) code = hg_fail(&err, HANGAR_E_USAGE, "no model is loaded");
    else if (strcmp(op, "generate") == 0) code = hg_llama_generate(l, doc, &answer, &err);
    else if (strcmp(op, "probe") == 0) code = hg_llama_probe(l, &answer, &err);
    else code = hg_fail(&err, HANGAR_E_UNSUPPORTED, "this runner has no operation \"%s\"", op);
    if (code == HANGAR_OK) return hg_wire_send_doc(l->fd, HG_WIRE_DONE, answer, NULL, 0, NULL);
    return answer_fail(l->fd, &err);
}

/* Frame after frame until the socket closes. */
static void serve(hg_llama *l)
{
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK) {
        hg_frame frame = {0};
        if (hg_wire_recv(l->fd, -1, &frame, NULL) != HANGAR_OK) return;
        if (frame.type == HG_WIRE_LOAD) code = on_load(l, &frame);
        else if (frame.type == HG_WIRE_CALL) code = on_call(l, &frame);
        /* A CANCEL that comes after its call has ended is nothing. */
        else if (frame.type != HG_WIRE_CANCEL) code = HANGAR_E_INVALID;
        hg_frame_deinit(&frame);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("hangar-runner-llama %s, ggml %s\n", HANGAR_VERSION, ggml_version());
        return 0;
    }
    if (argc != 1) {
        fputs("hangar-runner-llama is started by hangar; it takes only --version\n", stderr);
        return 2;
    }
    hg_proc_die_with_parent();
    llama_log_set(on_log, NULL);
    hg_llama l = {.fd = SOCKET_FD};
    hg_jw *hello = hg_jw_new();
    hg_jw_obj(hello, NULL);
    hg_jw_text(hello, "engine", "llama");
    hg_jw_text(hello, "version", ggml_version());
    hg_jw_i64(hello, "protocol", HG_WIRE_PROTOCOL);
    hg_jw_end(hello);
    if (hg_wire_send_doc(l.fd, HG_WIRE_HELLO, hello, NULL, 0, NULL) == HANGAR_OK) serve(&l);
    hg_llama_unload(&l);
    return 0;
}
