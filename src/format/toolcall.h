/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of tools in the text of an answer, found while it is written.
 *
 * The forms, and who writes them:
 *   <tool_call>{"name":...,"arguments":{...}}</tool_call>        Hermes, Qwen; any number, text may stand around them
 *   [TOOL_CALLS][{"name":...,"arguments":{...}}, ...]            Mistral; text may stand before
 *   {"name":...,"parameters":{...}}                              Llama 3: when the whole answer is that object, and the tool is one of those given
 *   {"name":...,"arguments":{...}}                               what an answer is that was forced to be a call
 * "arguments" and "parameters" mean the same everywhere, and may be the text of the object. What begins like a call and is none goes out as
 * the text that it is: broken JSON, a call that never ends, one over HG_TOOLCALL_BYTES_MAX.
 *
 * Each byte is looked at once, and belongs to at most one text that is parsed: the time is linear in the answer. What may become a call is
 * held back, at most HG_TOOLCALL_BYTES_MAX bytes.
 */
#ifndef HG_FORMAT_TOOLCALL_H
#define HG_FORMAT_TOOLCALL_H

#include "base/buf.h"
#include "base/json.h"

#define HG_TOOLCALL_BYTES_MAX ((size_t)256 << 10) /* from the mark that a call begins with to its end */
#define HG_TOOLCALL_DEPTH_MAX 64                  /* of the JSON */
#define HG_TOOLCALL_NAME_MAX  128                 /* bytes */
#define HG_TOOLCALLS_MAX      128                 /* of one answer; what looks like more is text */

/* What is found, in order. upto: bytes of the answer that are settled then. Anything but OK ends the parsing. */
typedef struct hg_toolcall_sink {
    void *ctx;
    hangar_code (*text)(void *ctx, hg_str text, size_t upto, hangar_err *err);
    /* arguments: the text of a JSON object. */
    hangar_code (*call)(void *ctx, hg_str name, hg_str arguments, size_t upto, hangar_err *err);
} hg_toolcall_sink;

typedef struct hg_toolcalls {
    hg_toolcall_sink sink;
    const hg_jval *tools;
    hg_buf held; /* held[0, text) is text that goes out, the rest not settled; held[0, at) was looked at */
    size_t text, at;
    size_t gone;             /* bytes of the answer before `held` */
    size_t value, value_end; /* where the JSON begins and ends */
    int state, form;
    unsigned depth;
    bool quoted, escaped, keyed; /* in a string; behind a backslash; the first key was seen */
    size_t key;                  /* where that begins */
    size_t count;                /* of calls */
    hangar_err *err;
} hg_toolcalls;

/*
 * tools: the CALL's, borrowed. forced: the answer is a call. begun: bytes of text that are out already (then it cannot be a bare object).
 */
void hg_toolcalls_init(hg_toolcalls *p, const hg_jval *tools, bool forced, size_t begun,
                       const hg_toolcall_sink *sink);
void hg_toolcalls_deinit(hg_toolcalls *p);
/* More of the answer: whole UTF-8 characters. */
hangar_code hg_toolcalls_add(hg_toolcalls *p, hg_str piece, hangar_err *err);
/* The answer has ended: what is held back becomes a call or text. */
hangar_code hg_toolcalls_end(hg_toolcalls *p, hangar_err *err);
/* Whether a control token stands for a mark of a call, so that its text must be seen here though it is not shown. */
bool hg_toolcall_is_mark(hg_str text);

#endif
