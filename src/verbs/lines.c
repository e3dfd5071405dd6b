/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/lines.h"

#include "base/job.h"
#include "base/mem.h"
#include "verbs/words.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE_MAX_BYTES HG_MIB
#define LINES_MAX      1000000

/* The lines of the standard input, without the empty ones. */
static hangar_code read_lines(hg_call *call, hg_lines *list, hangar_err *err)
{
    hg_buf line;
    hg_buf_init(&line, LINE_MAX_BYTES);
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK && call->ask(call->face, "", &line)) {
        hg_str s = hg_buf_view(&line);
        code = hg_buf_check(&line, err);
        if (code == HANGAR_OK && (memchr(s.ptr, '\0', s.len) || !hg_utf8_valid(s)))
            code = hg_fail(err, HANGAR_E_INVALID, "not UTF-8 text");
        if (code == HANGAR_OK && list->count == LINES_MAX)
            code = hg_fail(err, HANGAR_E_LIMIT, "more than %d lines", LINES_MAX);
        if (code == HANGAR_OK && hg_str_trim(s).len) {
            char *copy = hg_strndup(s.ptr, s.len);
            if (copy && hg_grow((void **)&list->own, &list->cap, list->count + 1, sizeof *list->own)) {
                list->own[list->count++] = copy;
            } else {
                free(copy);
                code = hg_fail_memory(err);
            }
        }
        code = hg_wrap(err, code, "the standard input, text %zu", list->count + 1);
        hg_buf_reset(&line);
    }
    hg_buf_deinit(&line);
    if (code == HANGAR_OK) code = hg_job_check(call->job, err);
    if (code == HANGAR_OK && list->count == 0)
        code = hg_fail(err, HANGAR_E_USAGE, "the standard input has no text");
    return code;
}

hangar_code hg_lines_read(hg_call *call, const char *const *texts, hg_lines *out, hangar_err *err)
{
    *out = (hg_lines){.texts = texts};
    if (texts && !(hg_streq(texts[0], "-") && !texts[1])) {
        while (texts[out->count]) out->count++;
        return HANGAR_OK;
    }
    hangar_code code = read_lines(call, out, err);
    out->texts = (const char *const *)out->own;
    return code;
}

void hg_lines_deinit(hg_lines *lines)
{
    for (size_t i = 0; lines->own && i < lines->count; i++) free(lines->own[i]);
    free((void *)lines->own);
    *lines = (hg_lines){0};
}

void hg_lines_tell_cut(hg_call *call, const char *document)
{
    hg_json *doc = NULL;
    hg_json_limits limits = {.bytes = 4 * HG_GIB};
    if (call->json || !document || hg_json_parse(hg_str_of(document), &limits, &doc, NULL) != HANGAR_OK)
        return;
    size_t cut = hg_json_len(hg_json_get(hg_json_root(doc), "truncated"));
    if (cut) {
        hg_words w;
        char line[128];
        snprintf(line, sizeof line, "%s cut: longer than the model can read; --json tells which",
                 hg_plural_words(&w, cut, "text was", "texts were"));
        call->say(call->face, line);
    }
    hg_json_free(doc);
}
