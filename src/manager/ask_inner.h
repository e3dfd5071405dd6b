/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an ask is made: a chain of targets (the model that was named, then its fallbacks), and at any time at most one try at one of
 * them. ask.c decides (which target, when, what a failure means), ask_local.c and ask_cloud.c try, ask_words.c reads what a runner says. For these
 * files only.
 *
 * A try that is given up while its runner or worker still does something lives on without its ask until that has ended, because the
 * slot must not go to the next in line before: `ask` is NULL then.
 */
#ifndef HG_MANAGER_ASK_INNER_H
#define HG_MANAGER_ASK_INNER_H

#include "base/buf.h"
#include "manager/ask.h"
#include "manager/breaker.h"

#define HG_ASK_TEXT_MAX    (64 * HG_MIB) /* of one answer, as a JSON literal */
#define HG_ASK_TARGETS_MAX 17            /* the model itself and 16 of its chain */

/* What a failure of one target means for the whole. */
typedef enum hg_fault {
    HG_FAULT_CLIENT,  /* the question itself is wrong: told as it is, nobody else is asked      */
    HG_FAULT_PASSING, /* crash, time limit, 429, 5xx, no connection: may go well another time   */
    HG_FAULT_LASTING, /* no key, cannot be loaded, full: another time is not now                */
} hg_fault;

typedef struct hg_ask_try hg_ask_try;

typedef enum hg_ask_state {
    HG_ASK_NEW,     /* begins in the loop's next turn */
    HG_ASK_TRYING,  /* a try runs, nothing has come yet */
    HG_ASK_TALKING, /* it has begun to answer */
    HG_ASK_PAUSED,  /* before another round over the chain */
    HG_ASK_OVER,    /* end or fail was told, or the client left */
} hg_ask_state;

struct hg_ask {
    hg_host *host;
    hg_ask_kind kind;
    hg_json *doc;
    int file;
    double keep_alive;
    bool spliceable, streams;
    hg_ask_fns fns;
    void *ctx;
    hg_ask_state state;

    const hg_entry *targets[HG_ASK_TARGETS_MAX];
    bool out[HG_ASK_TARGETS_MAX]; /* not to be asked again for this question */
    size_t count, at;             /* at: the one that is tried, or was last */
    int64_t round;
    hg_ask_try *now;

    hg_timer *timer;
    double began, tried_at, deadline, first_by, go_at; /* moments; 0 = none */
    bool head_told, told;                              /* told: text or a tool call is out at the client */

    hg_buf text;      /* what came of the answer: the inside of a JSON literal */
    hg_jw *logprobs;  /* of an answer that does not stream: an open array; NULL = none came */
    hg_jw *tools;     /* the same */
    int64_t pieces;   /* of the answer so far */
    int64_t begun_at; /* pieces that came from targets before the present one */
    double load_seconds;
    hangar_err first; /* how the first target failed */
    double retry_after;
};

struct hg_ask_try {
    hg_ask *ask; /* NULL = given up */
    hg_host *host;
    const hg_entry *entry;
    void (*give_up)(hg_ask_try *t); /* ends it as soon as it can be; t is gone or on its own afterwards */
    hg_turn *turn;
    hg_slot *slot;
    double asked_at;       /* when it stood in line for the slot */
    bool taking;           /* inside hg_pool_take */
    hangar_code line_code; /* how hg_pool_take ended at once, with its words */
    hangar_err line_err;
    struct hg_ask_work *work;
    hg_cloud_call *cloud;
    hg_cloud_target target;
};

/* ask_local.c, ask_cloud.c: begins at t->entry. What goes wrong at once comes back as a code with its fault; all else by hg_ask_failed. */
hangar_code hg_ask_local(hg_ask_try *t, hg_fault *out_fault, hangar_err *err);
hangar_code hg_ask_cloud(hg_ask_try *t, hg_fault *out_fault, hangar_err *err);

/* Called by the tries; t->ask is not NULL. The try is over when end or failed is told and must be freed by the caller beforehand. */
void hg_ask_working(hg_ask *a, double load_seconds); /* the target is at it now */
/* A piece of text as a JSON literal with its quotes; false: the ask is over. */
bool hg_ask_piece(hg_ask *a, hg_str literal, const hg_jval *logprobs);
void hg_ask_tool(hg_ask *a, const char *id, const char *name, hg_str arguments);
void hg_ask_ended(hg_ask *a, const hg_ask_end *end);
void hg_ask_failed(hg_ask *a, hg_fault fault, double retry_after, const hangar_err *err);

/* ask_words.c */
/* The inside of the text in a PIECE {"text":"…"} when it is exactly that and a valid literal: the way of every token. */
bool hg_words_plain(hg_str json, hg_str *out_inside);
/* The CALL of a question: its members, op, and what has begun. */
hangar_code hg_words_call(const hg_ask *a, const hg_entry *entry, char **out, hangar_err *err);
/* The literal that has this inside; inits out, whose state says whether it fits. */
void hg_words_literal(hg_str inside, hg_buf *out);
/* What a literal's inside says, as text of the caller's. */
hangar_code hg_words_text(hg_str inside, hg_buf *out, hangar_err *err);

/* ask_figures.c */
void hg_ask_count_first(const hg_ask *a);
void hg_ask_count_try(const hg_ask *a, hangar_code code);
void hg_ask_count_over(const hg_ask *a, hangar_code code);
void hg_ask_count_words(const hg_ask *a, const hg_ask_end *end);
void hg_ask_count_fallback(const hg_ask *a, const char *to, hangar_code why);
void hg_ask_count_retry(const hg_ask *a);

#endif
