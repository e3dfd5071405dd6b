/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a call ends on the two outputs.
 *
 * In words: the verb's page on the standard output, then on the standard error one line, "hangar: what is wrong; what to do".
 * As JSON: always exactly one document at the end of the standard output. A failure is its member "error"
 * ({"code","message","advice"}), beside the report if there is one; verbs with events put "event":"result" first.
 */
#include "cli/cli.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define DOCUMENT_MAX (4 * HG_GIB)

/* ---- what to do next ---- */

typedef struct advice {
    hangar_code code;
    const char *verb; /* NULL: any */
    bool kept;        /* only when something had come */
    const char *text; /* %s is the verb's name */
} advice;

#define GO_ON "what came is kept, the same command goes on"
#define CHECK "check the network and HF_ENDPOINT"
#define FREE  "hangar ls shows what takes space, hangar rm frees it"

static const advice advices[] = {
    {HANGAR_E_USAGE, NULL, false, "hangar help %s explains it"},
    {HANGAR_E_CANCELLED, "pull", false, GO_ON},
    {HANGAR_E_NETWORK, "pull", true, GO_ON},
    {HANGAR_E_TIMEOUT, "pull", true, GO_ON},
    {HANGAR_E_RATE_LIMITED, "pull", true, GO_ON},
    {HANGAR_E_NO_SPACE, "pull", false, FREE},
    {HANGAR_E_NO_SPACE, "add", false, FREE},
    {HANGAR_E_NO_SPACE, "convert", false, FREE},
    {HANGAR_E_NETWORK, "pull", false, CHECK},
    {HANGAR_E_TIMEOUT, "pull", false, CHECK},
    {HANGAR_E_OFFLINE, "pull", false, "unset it to fetch"},
    {HANGAR_E_BUSY, "mirror", false, "--listen 127.0.0.1:0 takes any free port"},
    {HANGAR_E_INTEGRITY, "verify", false, "hangar pull fetches what is damaged again"},
};

/* The words of the error; those of its code when it has none. */
static const char *message(const hg_answer *a)
{
    return a->err && a->err->msg[0] ? a->err->msg : hangar_code_text(a->code);
}

/* What to do, or false when it is not known, or when the message says it. */
static bool find_advice(const hg_answer *a, char *out, size_t len)
{
    const char *verb = a->verb ? a->verb->name : "";
    if (strstr(message(a), "did you mean ") || strstr(message(a), "hangar pull")) return false;
    if (a->missing && a->ref) {
        bool hub = strchr(a->ref, '/') && strncmp(a->ref, "local/", 6) != 0;
        if (hub) snprintf(out, len, "hangar pull %s fetches it", a->ref);
        else snprintf(out, len, "hangar ls tells what is here");
        return true;
    }
    for (size_t i = 0; i < HG_LEN(advices); i++) {
        const advice *it = &advices[i];
        if (it->code != a->code || (it->verb && !hg_streq(it->verb, verb)) || (it->kept && !a->kept))
            continue;
        if (a->code == HANGAR_E_USAGE && !a->verb) snprintf(out, len, "hangar help lists the verbs");
        else snprintf(out, len, it->text, verb);
        return true;
    }
    return false;
}

static void print_error(hg_cli *cli, const hg_answer *a)
{
    char hint[512], raw[HANGAR_ERR_MAX + 600], line[sizeof raw * 2];
    bool has = find_advice(a, hint, sizeof hint);
    bool red = cli->term.colour_err;
    snprintf(raw, sizeof raw, "%s%s%s", message(a), has ? "; " : "", has ? hint : "");
    size_t at =
        (size_t)snprintf(line, sizeof line, "%shangar:%s ", red ? "\033[31m" : "", red ? "\033[0m" : "");
    hg_escape(hg_str_of(raw), line + at, sizeof line - at);
    hg_cli_err(cli, line);
}

/* ---- JSON ---- */

static void add_members(hg_jw *w, const hg_jval *doc)
{
    if (hg_json_is_object(doc)) hg_jw_members(w, doc, NULL);
    else if (doc) hg_jw_val(w, "result", doc);
}

static hangar_code compose(const hg_answer *a, const hg_jval *doc, bool event, bool pretty, char **out,
                           hangar_err *err)
{
    char hint[512];
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    if (event) hg_jw_text(w, "event", "result");
    add_members(w, doc);
    if (a->code != HANGAR_OK) {
        hg_jw_obj(w, "error");
        hg_jw_text(w, "code", hangar_code_name(a->code));
        hg_jw_text(w, "message", message(a));
        if (find_advice(a, hint, sizeof hint)) hg_jw_text(w, "advice", hint);
        hg_jw_end(w);
    }
    return hg_jw_finish(w, pretty, out, err);
}

static void print_json(hg_cli *cli, hg_answer *a, hangar_err *err)
{
    bool event = a->verb && a->verb->flags & HG_VERB_EVENTS;
    bool pretty = cli->term.out && !event;
    hg_json_limits limits = {.bytes = DOCUMENT_MAX};
    hg_json *doc = NULL;
    char *text = NULL;
    if (a->code == HANGAR_OK && a->json && !event && !pretty) { /* as it is */
        hg_cli_out(cli, a->json, strlen(a->json));
        hg_cli_out(cli, "\n", 1);
        return;
    }
    hangar_code code = a->json ? hg_json_parse(hg_str_of(a->json), &limits, &doc, err) : HANGAR_OK;
    if (code == HANGAR_OK) code = compose(a, hg_json_root(doc), event, pretty, &text, err);
    if (code == HANGAR_OK) {
        hg_cli_out(cli, text, strlen(text));
        hg_cli_out(cli, "\n", 1);
    } else {
        a->code = code;
        a->err = err;
        print_error(cli, a);
    }
    free(text);
    hg_json_free(doc);
}

/* ---- words ---- */

static hangar_code print_page(hg_cli *cli, const hg_answer *a, hangar_err *err)
{
    hg_json_limits limits = {.bytes = DOCUMENT_MAX};
    hg_json *doc = NULL;
    hangar_code code = hg_json_parse(hg_str_of(a->json), &limits, &doc, err);
    if (code != HANGAR_OK) return code;
    hg_view *view = hg_view_new(hg_term_columns(STDOUT_FILENO, cli->term.out), cli->term.colour_out);
    if (!view) {
        hg_json_free(doc);
        return hg_fail_memory(err);
    }
    hg_view_set_ascii(view, !cli->term.utf8);
    a->verb->show(hg_json_root(doc), view);
    const char *page = hg_view_text(view);
    hg_cli_out(cli, page, strlen(page));
    code = hg_view_check(view, err);
    hg_view_free(view);
    hg_json_free(doc);
    return code;
}

int hg_answer_print(hg_cli *cli, const hg_answer *answer)
{
    hg_answer a = *answer;
    hangar_err err = {0};
    bool streams = a.verb && a.verb->flags & HG_VERB_STREAMS && !cli->json;
    if (cli->json) {
        print_json(cli, &a, &err);
    } else {
        if (streams && cli->out_midline) hg_cli_out(cli, "\n", 1);
        if (!streams && a.json && a.verb->show) {
            hangar_code code = print_page(cli, &a, &err);
            if (a.code == HANGAR_OK && code != HANGAR_OK) {
                a.code = code;
                a.err = &err;
            }
        }
    }
    if (cli->out_errno == EPIPE) return a.code == HANGAR_E_CANCELLED ? 0 : hangar_code_exit(a.code);
    if (cli->out_errno && (a.code == HANGAR_OK || a.code == HANGAR_E_CANCELLED)) {
        a.code = hg_fail_errno(&err, cli->out_errno, "writing the output");
        a.err = &err;
        a.missing = false;
        a.verb = NULL;
        print_error(cli, &a);
    } else if (a.code != HANGAR_OK && !a.silent && (!cli->json || cli->out_errno)) {
        print_error(cli, &a);
    }
    return hangar_code_exit(a.code);
}
