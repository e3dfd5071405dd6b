/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hangar and a runner say to each other: frames over a socketpair. Neither side trusts the other.
 *
 * A frame is a header of 16 bytes (little-endian: u32 magic "HGW1", u16 type, u16 flags, u32 length of the
 * JSON part, u32 length of the binary part), then the JSON, then the binary part (raw tensors). No pointers,
 * no paths but those of LOAD. The only flag is HG_WIRE_HAS_FD on a CALL: a descriptor, open for reading,
 * travels with the header (SCM_RIGHTS), so that a caged runner can read one file.
 *
 * Course: the runner sends HELLO {"engine","version","protocol":1}. hangar sends LOAD {...}; the runner
 * answers READY {...} or FAIL. Then any number of calls, one at a time: hangar sends CALL {"op":...}; the
 * runner sends PIECE* and then DONE or FAIL {"code","message"}. During a call hangar may send CANCEL: the call
 * ends soon with FAIL CANCELLED (or DONE). TICK may come at any time from the runner while it works (load
 * progress, heart-beat): {"done","total"}. Closing the socket ends the runner.
 */
#ifndef HG_ENGINE_WIRE_H
#define HG_ENGINE_WIRE_H

#include "base/buf.h"
#include "base/json.h"

#define HG_WIRE_MAGIC    0x31574748u
#define HG_WIRE_PROTOCOL 1
#define HG_WIRE_HAS_FD   1u
#define HG_WIRE_JSON_MAX ((size_t)16 << 20)
#define HG_WIRE_BIN_MAX  ((size_t)1 << 30)
#define HG_WIRE_DEPTH    96 /* of the JSON: what a client sent is inside something of ours */

typedef enum hg_wire_type {
    HG_WIRE_HELLO = 1,
    HG_WIRE_LOAD,
    HG_WIRE_READY,
    HG_WIRE_CALL,
    HG_WIRE_PIECE,
    HG_WIRE_DONE,
    HG_WIRE_FAIL,
    HG_WIRE_CANCEL,
    HG_WIRE_TICK,
} hg_wire_type;

typedef struct hg_frame {
    hg_wire_type type;
    hg_json *doc; /* parsed JSON part, NULL when it is empty */
    char *bin;    /* binary part, 16-byte aligned; NULL when empty */
    size_t bin_len;
    int fd; /* the descriptor that came along, the frame's own; 0 = none (a received one is never 0) */
} hg_frame;

/* What is sent in one frame; any part may be empty. */
typedef struct hg_parcel {
    hg_wire_type type;
    hg_str json;
    const void *bin;
    size_t bin_len;
    int fd; /* borrowed; 0 or less = none */
} hg_parcel;
/*
 * Sends one frame. TIMEOUT when the other side takes nothing for `seconds` (negative = no limit); ENGINE when
 * it is gone.
 */
hangar_code hg_wire_send_parcel(int fd, const hg_parcel *parcel, double seconds, hangar_err *err);
/* The same without a time limit and without a descriptor. */
hangar_code hg_wire_send(int fd, hg_wire_type type, hg_str json, const void *bin, size_t bin_len,
                         hangar_err *err);
/* Two-step sending for one writer: json writer in, freed in any case. */
hangar_code hg_wire_send_doc(int fd, hg_wire_type type, hg_jw *doc, const void *bin, size_t bin_len,
                             hangar_err *err);
/*
 * Waits up to `seconds` (negative = for ever) for the first byte of a frame, then as long for the rest.
 * TIMEOUT; ENGINE when the other side is gone; INVALID for anything that is not a frame.
 */
hangar_code hg_wire_recv(int fd, double seconds, hg_frame *out, hangar_err *err);
/* True when something (data or hang-up) can be read now: how a runner sees CANCEL in the midst of a call. */
bool hg_wire_pending(int fd);
void hg_frame_deinit(hg_frame *frame);
/* FAIL as an error here, its code and message taken over (unknown codes are ENGINE); and the other way round. */
hangar_code hg_wire_failed(const hg_frame *frame, hangar_err *err);
hangar_code hg_wire_send_fail(int fd, const hangar_err *why, hangar_err *err);

#endif
