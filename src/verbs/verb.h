/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A verb: one thing a person can ask of hangar. One file and one line in verbs.def each.
 *
 * run() makes one call downward (a public hangar_* function) and yields a JSON document: exactly what --json prints and what the daemon's
 * route will answer. show() lays that same document out for people; it sees nothing but the document, so a face that got it from
 * somewhere else (HTTP) shows it the same way. The struct yields the command, its --help, its route in the daemon (verbs.def says which have one), and
 * later its man page and form.
 */
#ifndef HG_VERBS_VERB_H
#define HG_VERBS_VERB_H

#include "base/json.h"
#include "base/table.h"
#include "base/view.h"
#include "hangar/hangar.h"

typedef struct hg_verb hg_verb;

/* One running call, given by the face (the command line, the daemon). */
typedef struct hg_call {
    hangar *h;        /* NULL for verbs with HG_VERB_NO_HANDLE */
    hangar_job *job;  /* never NULL */
    const void *args; /* the verb's own struct */
    bool json;        /* the answer is for a program: no streaming to people */
    bool interactive; /* a person sits at a terminal: questions may be asked */
    bool silent;      /* set by run(): the exit code is the answer, no error is told to people */
    void *face;
    /* Reads one line from the person (prompt shown when it is a terminal); false at the end of input. For sessions. */
    bool (*ask)(void *face, const char *prompt, hg_buf *line);
    /* A job for the next turn of a session, which the person may end without ending the session. It lives until the next
     * call of this; NULL when out of memory. */
    hangar_job *(*turn)(void *face);
    /* Blocks until the person ends it (Ctrl-C). For servers. */
    void (*wait)(void *face);
    /* A line for people now, not part of the document (stderr). */
    void (*say)(void *face, const char *line);
    /* The process becomes another program; returns only when that cannot be. NULL where there is no process of the caller's own. */
    hangar_code (*become)(void *face, const char *const *argv, hangar_err *err);
    /* Lays a document out on the terminal in place of the page before, then waits so long; false when the person ends it. NULL without a terminal. */
    bool (*page)(void *face, void (*show)(const hg_jval *result, hg_view *view), const hg_jval *doc,
                 double seconds);
} hg_call;

typedef struct hg_example {
    const char *command;
    const char *what;
} hg_example;

enum {
    HG_VERB_NO_HANDLE = 1, /* needs no opened hangar                                    */
    HG_VERB_STREAMS = 2,   /* its TEXT events are the answer: shown as they come        */
    HG_VERB_PROGRESS = 4,  /* long work: bars on a terminal, lines else                 */
    HG_VERB_NO_JSON = 8,   /* has no document                                           */
    HG_VERB_BYTES = 16,    /* its progress counts bytes; else steps                     */
    HG_VERB_EVENTS = 32,   /* with --json one event per line, the result as the last    */
};

struct hg_verb {
    const char *name;
    const char *group;          /* heading in `hangar help`: "Models", "Convert", "Use", "Machine" */
    const char *summary;        /* one line */
    const char *about;          /* the help page's text, paragraphs separated by an empty line */
    const hg_example *examples; /* ends with {0}; at least one */
    const hg_param *params;     /* ends with {0} */
    size_t args_size;
    unsigned flags;
    /* *out_json is the caller's; it may be set on failure too (a report of what is wrong) and is then shown as well. */
    hangar_code (*run)(hg_call *call, char **out_json, hangar_err *err);
    void (*show)(const hg_jval *result, hg_view *view); /* NULL with HG_VERB_NO_JSON */
};

#define HG_VERB(name) extern const hg_verb hg_verb_##name;
#include "verbs/verbs.def"
#undef HG_VERB

/* All verbs in the order of verbs.def; NULL-terminated. */
const hg_verb *const *hg_verb_all(void);
const hg_verb *hg_verb_get(const char *name); /* NULL when unknown */

#endif
