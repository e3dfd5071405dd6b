/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. main.c finds the verb and runs it, help.c writes the pages, answer.c prints what came out, face.c is what a
 * running verb may ask of a person (questions, waiting, signals), render.c shows its events, term.c knows the terminal.
 *
 * The standard output carries results, the standard error progress and messages. When the reader of the standard output is gone
 * (EPIPE) the work is cancelled and the command ends quietly.
 */
#ifndef HG_CLI_CLI_H
#define HG_CLI_CLI_H

#include "cli/render.h"
#include "verbs/verb.h"

/* ---- the terminal ---- */

typedef struct hg_term {
    bool in, out, err; /* which of the three are terminals */
    bool colour_out, colour_err;
    bool utf8; /* the locale's characters */
} hg_term;

void hg_term_init(hg_term *t);
/* The width for a page on that descriptor: of the terminal, else $COLUMNS, else 0 (do not cut). */
size_t hg_term_columns(int fd, bool terminal);
size_t hg_term_rows(int fd);

/* ---- the standard output ---- */

typedef struct hg_cli {
    hg_term term;
    bool json;
    int out_errno;     /* the first failure to write the standard output; EPIPE is quiet */
    bool out_midline;  /* the last byte written was not a newline */
    hangar_job *job;   /* the running call, NULL before and after */
    hg_render *render; /* its events */
} hg_cli;

/* Writes to the standard output; after a failure nothing more is written and the job is cancelled. */
void hg_cli_out(hg_cli *cli, const char *bytes, size_t len);
/* A line on the standard error, as it is. */
void hg_cli_err(hg_cli *cli, const char *line);

/* ---- help ---- */

/* `hangar` alone. */
void hg_help_overview(hg_cli *cli);
/* `hangar help VERB`. params: the verb's own and the common ones. */
void hg_help_verb(hg_cli *cli, const hg_verb *verb, const hg_param *params);

/* ---- what came out ---- */

/* One call and its end, to be printed. */
typedef struct hg_answer {
    const hg_verb *verb; /* NULL: none was found */
    const char *ref;     /* the model it was about, or NULL */
    bool missing;        /* that model is not in the store */
    bool silent;         /* the exit code says it all: no error in words */
    bool kept;           /* something came before the end and is kept */
    hangar_code code;
    const hangar_err *err;
    const char *json; /* the document, or NULL */
} hg_answer;

/* Prints document and error, in words or as JSON; returns the exit code. */
int hg_answer_print(hg_cli *cli, const hg_answer *answer);

/* ---- the face of a running call ---- */

/* Sets the call's functions and takes over SIGINT, SIGTERM and SIGHUP: the first cancels, the second ends at once. */
hangar_code hg_face_open(hg_cli *cli, hg_call *call, hangar_err *err);
void hg_face_close(hg_call *call);

#endif
