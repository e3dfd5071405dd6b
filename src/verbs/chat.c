/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/chat.h"

#include "base/job.h"
#include "base/mem.h"
#include "verbs/words.h"

#include <stdio.h>

#define LINE_MAX_BYTES HG_MIB

typedef struct chat {
    hg_call *call;
    hangar_message *turns; /* the contents are ours */
    size_t count, cap;
    size_t kept; /* how many /clear leaves: the system's message */
} chat;

hangar_code hg_asked_answer(const hg_asked *asked, const hangar_message *turns, size_t count,
                            const hangar_generate_options *options, hangar_job *job, char **out_json,
                            hangar_err *err)
{
    if (asked->model) return hangar_generate(asked->model, turns, count, options, job, out_json, err);
    if (asked->daemon)
        return hangar_daemon_generate(asked->h, asked->name, turns, count, options, job, out_json, err);
    return hangar_ask(asked->h, asked->name, turns, count, options, job, out_json, err);
}

static hangar_code add(chat *c, const char *role, const char *content, hangar_err *err)
{
    char *copy = hg_strdup(content);
    if (!copy || !hg_grow((void **)&c->turns, &c->cap, c->count + 1, sizeof *c->turns)) {
        free(copy);
        return hg_fail_memory(err);
    }
    c->turns[c->count++] = (hangar_message){role, copy};
    return HANGAR_OK;
}

static void cut_back(chat *c, size_t count)
{
    while (c->count > count) free((char *)c->turns[--c->count].content);
}

void hg_chat_tell_cut(hg_call *call, hangar_job *job, const hg_jval *answer, int64_t max_tokens, bool newline)
{
    if (!hg_streq(hg_json_text(hg_json_get(answer, "finish")), "length")) return;
    int64_t made = hg_json_i64_or(hg_json_get(answer, "generated_tokens"), 0),
            read = hg_json_i64_or(hg_json_get(answer, "prompt_tokens"), 0);
    hg_words w;
    char line[192];
    const char *count = hg_plural_words(&w, (uint64_t)made, "token", "tokens");
    if (made >= max_tokens) snprintf(line, sizeof line, "the answer was cut after %s (--max-tokens)", count);
    else
        snprintf(
            line, sizeof line,
            "the answer was cut after %s: with the %lld of the prompt the context is full (--context-length)",
            count, (long long)read);
    if (newline) hg_job_text(job, HG_STR("\n"));
    call->say(call->face, line);
}

/* Ends the answer's line and keeps what was said, also of an answer that was stopped. */
static hangar_code keep_answer(chat *c, hangar_job *job, const char *text, int64_t max_tokens,
                               hangar_err *err)
{
    hg_json *doc = NULL;
    hangar_code code = text ? hg_json_parse(hg_str_of(text), NULL, &doc, err) : HANGAR_OK;
    const char *answer = hg_json_text_or(hg_json_get(hg_json_root(doc), "text"), "");
    size_t len = strlen(answer);
    if (len == 0 || answer[len - 1] != '\n') hg_job_text(job, HG_STR("\n"));
    hg_chat_tell_cut(c->call, job, hg_json_root(doc), max_tokens, false);
    if (code == HANGAR_OK) code = add(c, "assistant", answer, err);
    hg_json_free(doc);
    return code;
}

static bool ends_session(hangar_code code)
{
    return code == HANGAR_E_ENGINE || code == HANGAR_E_NO_MEMORY || code == HANGAR_E_INTERNAL;
}

/* One question and its answer. */
static hangar_code answer(chat *c, const hg_asked *asked, const hangar_generate_options *options,
                          const char *question, hangar_err *err)
{
    size_t before = c->count;
    hangar_job *job = c->call->turn ? c->call->turn(c->call->face) : c->call->job;
    if (!job) return hg_fail_memory(err);
    hangar_code code = add(c, "user", question, err);
    if (code != HANGAR_OK) return code;
    char *text = NULL;
    code = hg_asked_answer(asked, c->turns, c->count, options, job, &text, err);
    bool stopped = code == HANGAR_E_CANCELLED && !hangar_job_is_cancelled(c->call->job);
    if (code == HANGAR_OK || stopped) {
        code = keep_answer(c, job, text, options->max_tokens, err);
    } else if (code != HANGAR_E_CANCELLED && !ends_session(code)) {
        cut_back(c, before);
        c->call->say(c->call->face, err ? err->msg : hangar_code_text(code));
        /* Too long, or more than one text for a model without a template: what was said before is in the way. */
        if (before > c->kept && code != HANGAR_E_USAGE)
            c->call->say(c->call->face, "/clear forgets what was said before");
        code = HANGAR_OK;
    }
    hangar_free(text);
    return code;
}

/* Does what a line that begins with / says; false: it is the end. */
static bool command(chat *c, const char *line)
{
    if (hg_streq(line, "/bye") || hg_streq(line, "/exit") || hg_streq(line, "/quit")) return false;
    if (hg_streq(line, "/clear")) {
        cut_back(c, c->kept);
        c->call->say(c->call->face, "the conversation begins anew");
    } else if (hg_streq(line, "/help") || hg_streq(line, "/?")) {
        c->call->say(c->call->face, "/clear  forget the conversation");
        c->call->say(c->call->face, "/bye    end the session (so does Ctrl-D)");
        c->call->say(c->call->face, "Ctrl-C  stop an answer");
    } else {
        c->call->say(c->call->face, "there is no such command; /help lists them");
    }
    return true;
}

hangar_code hg_chat(hg_call *call, const hg_asked *asked, const hangar_generate_options *options,
                    const char *system, hangar_err *err)
{
    chat c = {.call = call};
    hg_buf line;
    hg_buf_init(&line, LINE_MAX_BYTES);
    hangar_code code = system ? add(&c, "system", system, err) : HANGAR_OK;
    c.kept = c.count;
    if (code == HANGAR_OK) call->say(call->face, "/help lists the commands, /bye ends");
    while (code == HANGAR_OK && call->ask(call->face, ">>> ", &line)) {
        hg_str text = hg_str_trim(hg_buf_view(&line));
        if (hg_buf_check(&line, err) != HANGAR_OK) {
            call->say(call->face, err->msg);
        } else if (memchr(text.ptr, '\0', text.len) || !hg_utf8_valid(text)) {
            call->say(call->face, "this line is not UTF-8 text");
        } else if (text.len) {
            line.data[(size_t)(text.ptr - line.data) + text.len] = '\0';
            if (text.ptr[0] != '/') code = answer(&c, asked, options, text.ptr, err);
            else if (!command(&c, text.ptr)) break;
        }
        hg_buf_reset(&line);
    }
    if (code == HANGAR_OK) code = hg_job_check(call->job, err);
    cut_back(&c, 0);
    free(c.turns);
    hg_buf_deinit(&line);
    return code;
}
