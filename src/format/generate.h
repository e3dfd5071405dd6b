/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the runners that write text have in common: the parameters of a "generate" call, checked on their side of the wire, and text on
 * its way out. The words of the call are those of engine/llama_ops.h, whichever engine answers.
 */
#ifndef HG_FORMAT_GENERATE_H
#define HG_FORMAT_GENERATE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

#define HG_GENERATE_CONTEXT        8192 /* context length when none is asked for, tokens */
#define HG_GENERATE_CONTEXT_MAX    1048576
#define HG_GENERATE_MESSAGES_MAX   4096
#define HG_GENERATE_STOPS_MAX      16
#define HG_GENERATE_STOP_BYTES     256 /* length of one stop string */
#define HG_GENERATE_PENALTY_WINDOW 64  /* tokens of the answer that the three penalties look back on */
#define HG_GENERATE_BEGUN_BYTES    ((size_t)4 << 20)
#define HG_GENERATE_LOGPROBS_MAX   20 /* tokens that are told for each place of an answer */
#define HG_GENERATE_GRAMMAR_BYTES  ((size_t)256 << 10)
#define HG_GENERATE_SCHEMA_BYTES   ((size_t)1 << 20)
#define HG_GENERATE_TOOLS_MAX      128
#define HG_GENERATE_TOOL_NAME      128 /* bytes: letters, digits and _ - . : */

/* What the numbers of a call may be; hangar and the runners both hold to it. */
#define HG_GENERATE_TEMPERATURE_MAX 5.0
#define HG_GENERATE_TOP_P_MIN       1e-6
#define HG_GENERATE_TOP_K_MAX       (1 << 20)
#define HG_GENERATE_PENALTY_MIN     1e-3
#define HG_GENERATE_PENALTY_MAX     10.0
#define HG_GENERATE_PRESENCE_MAX    2.0 /* of presence_penalty and frequency_penalty, either way */

typedef enum hg_tool_choice {
    HG_TOOLS_NONE,   /* there are none, or they must not be used: the model is not told of any */
    HG_TOOLS_AUTO,   /* the model decides */
    HG_TOOLS_FORCED, /* the answer is a call: of tool_name, or of any */
} hg_tool_choice;

/* How one call samples and ends; strings and values borrowed from the CALL's document. */
typedef struct hg_generate_call {
    double temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    int64_t top_k, seed, context;
    int64_t max_tokens; /* new ones: what begun_tokens takes of it is off, so it may be 0 */
    const char *grammar;
    const char *json_schema;
    bool json; /* the answer is any JSON object */
    bool want_logprobs;
    unsigned logprobs;       /* how many others are told at each place */
    hg_str begun;            /* what of the answer is out already; len 0 = nothing */
    const char *prompt;      /* raw text, or NULL */
    const hg_jval *messages; /* array, or NULL    */
    const hg_jval *stop;     /* array, or NULL    */
    const hg_jval
        *tools; /* array, or NULL: each {"type":"function","function":{"name","description","parameters"}} */
    hg_tool_choice tool_choice;
    const char *tool_name; /* NULL = any */
} hg_generate_call;
/*
 * USAGE names the member that is out of its range, LIMIT what is too long. What is missing gets the default of
 * hangar_generate_options; a null is as good as missing.
 */
hangar_code hg_generate_call_read(const hg_jval *doc, hg_generate_call *out, hangar_err *err);

/* Text on its way out; holds back what may become a stop string or is half a character. */
typedef struct hg_tail {
    hg_buf text;  /* what was begun, and all that was generated and is not behind a stop string */
    size_t begun; /* bytes of it that an earlier call sent */
    size_t sent;  /* bytes of it that are out, those included */
    const hg_jval *stops;
    bool stopped;
} hg_tail;
/* stops: an array of strings, borrowed, or NULL. */
void hg_tail_init(hg_tail *t, const hg_jval *stops);
/* The text goes on from this. A stop string that begins in it and ends behind it is met, and nothing of its rest goes out. */
void hg_tail_begin(hg_tail *t, hg_str begun);
void hg_tail_deinit(hg_tail *t);
/* Adds a piece. Afterwards hg_tail_ready says what may be sent now, and t->stopped whether a stop string was met. */
hangar_code hg_tail_add(hg_tail *t, hg_str piece, hangar_err *err);
/* All of the answer but what was begun. */
hg_str hg_tail_new(const hg_tail *t);
/* What may be sent; with `all` everything that is left. The caller has sent it when it adds its length to t->sent. */
hg_str hg_tail_ready(const hg_tail *t, bool all);

#endif
