/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer on its way from tokens to frames, the same for all engines: stop strings and half characters held back, likelihoods beside
 * their text, a sign of life when nothing goes out for HG_OUTPUT_SILENCE.
 *
 * A PIECE of plain text is byte for byte {"text":"..."}, with no other member and no space: whoever passes it on may take the literal
 * out of it unparsed. A call of a tool (format/toolcall.h), when the model may make some, is a PIECE of its own:
 * {"tool_call":{"id","name","arguments": text of a JSON object}}. An id has nine letters and digits, as some templates want it.
 */
#ifndef HG_FORMAT_OUTPUT_H
#define HG_FORMAT_OUTPUT_H

#include "format/logprobs.h"
#include "format/toolcall.h"

#define HG_OUTPUT_SILENCE 1.0 /* seconds */

/* Where the frames go. */
typedef struct hg_output_out {
    void *ctx;
    hangar_code (*piece)(void *ctx, hg_jw *doc,
                         hangar_err *err); /* takes the document, which may be NULL: no memory */
    hangar_code (*alive)(void *ctx, hangar_err *err);
} hg_output_out;

typedef struct hg_output {
    hg_output_out out;
    hg_tail tail;
    hg_logprobs likely;
    bool want_logprobs;
    bool want_calls; /* text goes through `calls` */
    hg_toolcalls calls;
    hg_buf shown; /* with calls: the text without them */
    double spoke; /* when the last frame went out */
} hg_output;

/* call and reader must outlive it, and it must stay where it is. To be ended with hg_output_deinit in any case. */
hangar_code hg_output_init(hg_output *a, const hg_generate_call *call, const hg_reader *reader,
                           const hg_output_out *out, hangar_err *err);
void hg_output_deinit(hg_output *a);
/* A token is chosen by these raw scores. Does nothing when nobody wants likelihoods. */
hangar_code hg_output_chosen(hg_output *a, const float *scores, size_t vocab, int64_t id, hangar_err *err);
/* Its bytes, if the engine gives text at once; else the engine adds to `tail` itself and says so by hg_output_added. */
hangar_code hg_output_text(hg_output *a, hg_str piece, hangar_err *err);
/* The token chosen last has added to `tail` what it makes certain; `more` bytes it still holds back. */
void hg_output_added(hg_output *a, size_t more);
/* Whether the text of a control token is to be added although it is not shown: it is the mark of a call. */
bool hg_output_wants(const hg_output *o, hg_str control);
/* All text that went out. */
hg_str hg_output_all(const hg_output *o);
/* How the answer ended: "tool_calls" instead of "stop" when there were some. */
const char *hg_output_finish(const hg_output *o, const char *finish);
/* Sends what may go out; with `all` everything. A sign of life when there was none for long. */
hangar_code hg_output_send(hg_output *a, bool all, hangar_err *err);

#endif
