/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hangar-runner-onnx: holds the ONNX graphs of one model for hangar. Started by hangar with a socket as
 * descriptor 3 (engine/wire.h); ends when the socket closes, and with its parent. From the LOAD on it can read
 * the model's files and nothing else (base/sandbox.h).
 */
#include "runner.h"

#include "base/proc.h"
#include "engine/wire.h"
#include "hangar/hangar.h"

#include <libavcodec/avcodec.h>
#include <libavutil/avutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOCKET_FD 3

/* LOAD: cage, model, answer. */
static hangar_code on_load(hg_onnx *o, const hg_frame *frame)
{
    hangar_err err = {0};
    if (o->loaded) hg_fail(&err, HANGAR_E_USAGE, "a model is loaded already");
    else if ((o->graph_count > 0 || o->maps || o->text))
        hg_fail(&err, HANGAR_E_USAGE, "a runner takes one LOAD");
    else if (hg_onnx_load(o, hg_json_root(frame->doc), frame->bin, frame->bin_len, &err) == HANGAR_OK)
        return hg_wire_send_doc(o->fd, HG_WIRE_READY, hg_onnx_ready(o), NULL, 0, NULL);
    return hg_wire_send_fail(o->fd, &err, NULL);
}

/* CALL: one of the operations. */
static hangar_code on_call(hg_onnx *o, const hg_frame *frame)
{
    hangar_err err = {0};
    const hg_jval *doc = hg_json_root(frame->doc);
    const char *op = hg_json_text_or(hg_json_get(doc, "op"), "");
    hg_jw *done = NULL;
    void *bin = NULL;
    size_t bin_len = 0;
    hangar_code code;
    if (!o->loaded) code = hg_fail(&err, HANGAR_E_USAGE, "no model is loaded");
    else if (strcmp(op, "run") == 0)
        code = hg_onnx_run(o, doc, frame->bin, frame->bin_len, &done, &bin, &bin_len, &err);
    else if (strcmp(op, "time") == 0) code = hg_onnx_time(o, doc, &done, &err);
    else if (strcmp(op, "encode") == 0)
        code = hg_onnx_encode(o, doc, frame->bin, frame->bin_len, &done, &bin, &bin_len, &err);
    else if (strcmp(op, "generate") == 0) code = hg_onnx_generate(o, doc, &done, &err);
    else if (!o->media &&
             (strcmp(op, "transcribe") == 0 || strcmp(op, "ctc") == 0 || strcmp(op, "picture") == 0))
        code = hg_fail(&err, HANGAR_E_USAGE, "\"%s\" needs a LOAD with \"media\"", op);
    else if (strcmp(op, "transcribe") == 0) code = hg_onnx_transcribe(o, doc, frame->fd, &done, &err);
    else if (strcmp(op, "ctc") == 0) code = hg_onnx_ctc(o, doc, frame->fd, &done, &err);
    else if (strcmp(op, "picture") == 0)
        code = hg_onnx_picture(o, doc, frame->fd, &done, &bin, &bin_len, &err);
    else code = hg_fail(&err, HANGAR_E_UNSUPPORTED, "this runner has no operation \"%s\"", op);
    if (code == HANGAR_OK) code = hg_wire_send_doc(o->fd, HG_WIRE_DONE, done, bin, bin_len, NULL);
    else code = hg_wire_send_fail(o->fd, &err, NULL);
    free(bin);
    return code;
}

/* Frame after frame until the socket closes. */
static void serve(hg_onnx *o)
{
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK) {
        hg_frame frame;
        if (hg_wire_recv(o->fd, -1, &frame, NULL) != HANGAR_OK) return;
        if (frame.type == HG_WIRE_LOAD) code = on_load(o, &frame);
        else if (frame.type == HG_WIRE_CALL) code = on_call(o, &frame);
        else if (frame.type != HG_WIRE_CANCEL) /* one that comes after its call has ended is nothing */
            code = HANGAR_E_INVALID;
        hg_frame_deinit(&frame);
    }
}

int main(int argc, char **argv)
{
    const char *version = OrtGetApiBase()->GetVersionString();
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("hangar-runner-onnx %s, ONNX Runtime %s, FFmpeg %s\n", HANGAR_VERSION, version,
               av_version_info());
        return 0;
    }
    if (argc != 1) {
        fputs("hangar-runner-onnx is started by hangar; it takes only --version\n", stderr);
        return 2;
    }
    hg_proc_die_with_parent();
    hg_onnx o = {.fd = SOCKET_FD};
    hangar_err err = {0};
    if (hg_onnx_init(&o, &err) != HANGAR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    hg_jw *hello = hg_jw_new();
    hg_jw_obj(hello, NULL);
    hg_jw_text(hello, "engine", "onnx");
    hg_jw_text(hello, "version", version);
    hg_jw_i64(hello, "protocol", HG_WIRE_PROTOCOL);
    hg_jw_end(hello);
    if (hg_wire_send_doc(o.fd, HG_WIRE_HELLO, hello, NULL, 0, NULL) == HANGAR_OK) serve(&o);
    /* Nothing is left to save: the kernel takes the memory back faster than we could. */
    fflush(NULL);
    _exit(0);
}
