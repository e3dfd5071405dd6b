/* SPDX-License-Identifier: Apache-2.0 */
/* The samples of a sound, window after window, and hangar's side of a call that listens to them. */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TICK_EVERY 0.5   /* seconds */
#define SLICE      65536 /* samples that are decoded between two looks at hangar */

hangar_code hg_stream_open(hg_stream *s, hg_onnx *o, int fd, size_t window, hangar_err *err)
{
    *s = (hg_stream){.o = o, .room = window + 1};
    if (fd <= 0) return hg_fail(err, HANGAR_E_INVALID, "the call came without a file");
    s->samples = hg_calloc(s->room, sizeof *s->samples);
    if (!s->samples) return hg_fail_memory(err);
    hangar_code code = hg_audio_open(fd, &s->audio, err);
    if (code != HANGAR_OK) return code;
    s->total = hg_audio_duration(s->audio);
    if (s->total > HG_ONNX_AUDIO_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "the sound is longer than %d hours", HG_ONNX_AUDIO_MAX / 3600);
    return HANGAR_OK;
}

void hg_stream_close(hg_stream *s)
{
    hg_audio_close(s->audio);
    free(s->samples);
}

static hangar_code tell_tick(hg_stream *s)
{
    double now = hg_now();
    if (now - s->last_tick < TICK_EVERY) return HANGAR_OK;
    s->last_tick = now;
    double done = (double)s->offset / HG_MEL_RATE, have = (double)(s->offset + s->filled) / HG_MEL_RATE;
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_u64(w, "done", (uint64_t)(done * 1000));
    hg_jw_u64(w, "total", (uint64_t)(fmax(s->total, have) * 1000));
    return hg_wire_send_doc(s->o->fd, HG_WIRE_TICK, w, NULL, 0, NULL);
}

hangar_code hg_stream_between(void *ctx, hangar_err *err)
{
    hg_stream *s = ctx;
    if (tell_tick(s) != HANGAR_OK) return hg_fail(err, HANGAR_E_ENGINE, "hangar is gone");
    if (!hg_wire_pending(s->o->fd)) return HANGAR_OK;
    hg_frame frame;
    hangar_code code = hg_wire_recv(s->o->fd, 5, &frame, err);
    if (code != HANGAR_OK) return code;
    bool cancel = frame.type == HG_WIRE_CANCEL;
    hg_frame_deinit(&frame);
    return cancel ? hg_fail(err, HANGAR_E_CANCELLED, "cancelled")
                  : hg_fail(err, HANGAR_E_INVALID, "a frame in the midst of a call");
}

hangar_code hg_stream_fill(hg_stream *s, hangar_err *err)
{
    while (!s->ended && s->filled < s->room) {
        size_t want = s->room - s->filled < SLICE ? s->room - s->filled : SLICE, got = 0;
        hangar_code code = hg_audio_read(s->audio, s->samples + s->filled, want, &got, err);
        if (code == HANGAR_OK) code = hg_stream_between(s, err);
        if (code != HANGAR_OK) return code;
        s->filled += got;
        s->ended = got < want;
    }
    return HANGAR_OK;
}

void hg_stream_drop(hg_stream *s, size_t count)
{
    s->offset += count;
    s->filled -= count;
    memmove(s->samples, s->samples + count, s->filled * sizeof *s->samples);
}
