/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chat templates for tests in other languages. A line in: {"template", "context", "now"} or {"config", "file", "input",
 * "now"} (of hg_chat_open and hg_chat_render). A line out: {"text"} or {"code", "error"}.
 */
#include "base/mem.h"
#include "format/chat.h"
#include "format/jinja.h"

#include <stdio.h>

static hangar_code render(const hg_jval *in, hg_buf *out, hangar_err *err)
{
    hg_str source, file = {0};
    int64_t now = hg_json_i64_or(hg_json_get(in, "now"), 0);
    if (hg_json_str(hg_json_get(in, "template"), &source)) {
        HG_AUTO(hg_jinja_auto_free) hg_jinja *t = NULL;
        hangar_code code = hg_jinja_parse(source, &t, err);
        return code != HANGAR_OK ? code : hg_jinja_render(t, hg_json_get(in, "context"), NULL, now, out, err);
    }
    const hg_jval *input = hg_json_get(in, "input");
    HG_AUTO(hg_chat_auto_free) hg_chat *chat = NULL;
    hg_json_str(hg_json_get(in, "file"), &file);
    hangar_code code = hg_chat_open(hg_json_get(in, "config"), file,
                                    hg_json_len(hg_json_get(input, "tools")) > 0, &chat, err);
    return code != HANGAR_OK ? code : hg_chat_render(chat, input, NULL, now, out, err);
}

/* The answer to one line; NULL when out of memory. */
static char *answer(hg_str line)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hangar_err err = {0};
    hg_buf text;
    char *out = NULL;
    hg_buf_init(&text, 64 * HG_MIB);
    hangar_code code = hg_json_parse(line, NULL, &doc, &err);
    if (code == HANGAR_OK) code = render(hg_json_root(doc), &text, &err);
    hg_jw_obj(w, NULL);
    if (code == HANGAR_OK) hg_jw_str(w, "text", hg_buf_view(&text));
    else {
        hg_jw_text(w, "code", hangar_code_name(code));
        hg_jw_text(w, "error", err.msg);
    }
    hg_buf_deinit(&text);
    return hg_jw_finish(w, false, &out, &err) == HANGAR_OK ? out : NULL;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        char *text = answer((hg_str){line, (size_t)n});
        if (!text) return 1;
        puts(text);
        free(text);
    }
    free(line);
    return ferror(stdin) ? 1 : 0;
}
