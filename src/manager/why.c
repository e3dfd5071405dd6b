/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of the last decisions. A note that finds no memory is left out: nothing hangs on it. */
#include "manager/why.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 1024 /* bytes of a line, longer ones are cut */

typedef struct note {
    int64_t time; /* unix seconds */
    char kind[16];
    char *model, *text;
} note;

struct hg_why {
    note notes[HG_WHY_KEEP];
    size_t next, count; /* where the next one goes; how many there are */
};

hg_why *hg_why_new(void)
{
    return hg_calloc(1, sizeof(hg_why));
}

static void note_deinit(note *n)
{
    free(n->model);
    free(n->text);
    *n = (note){0};
}

void hg_why_free(hg_why *w)
{
    if (!w) return;
    for (size_t i = 0; i < HG_WHY_KEEP; i++) note_deinit(&w->notes[i]);
    free(w);
}

void hg_why_note(hg_why *w, const char *kind, const char *model, const char *fmt, ...)
{
    char raw[TEXT_MAX], text[TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(raw, sizeof raw, fmt, args);
    va_end(args);
    hg_escape(hg_str_of(raw), text, sizeof text); /* what a model or a server said is on one line, too */
    hg_log(HG_LOG_INFO, "why", "%s: %s: %s", kind, model, text);
    if (!w) return;
    note n = {.time = hg_wall(), .model = hg_strdup(model), .text = hg_strdup(text)};
    snprintf(n.kind, sizeof n.kind, "%s", kind);
    if (!n.model || !n.text) {
        note_deinit(&n);
        return;
    }
    note_deinit(&w->notes[w->next]);
    w->notes[w->next] = n;
    w->next = (w->next + 1) % HG_WHY_KEEP;
    if (w->count < HG_WHY_KEEP) w->count++;
}

void hg_why_write(const hg_why *w, const char *kind, const char *model, size_t most, hg_jw *out)
{
    char when[24];
    size_t told = 0;
    for (size_t i = 1; w && i <= w->count && told < most; i++) {
        const note *n = &w->notes[(w->next + HG_WHY_KEEP - i) % HG_WHY_KEEP];
        if (kind && !hg_streq(kind, n->kind)) continue;
        if (model && !hg_streq(model, n->model)) continue;
        hg_jw_obj(out, NULL);
        hg_jw_text(out, "time", hg_time_format(n->time, when));
        hg_jw_text(out, "kind", n->kind);
        hg_jw_text(out, "model", n->model);
        hg_jw_text(out, "text", n->text);
        hg_jw_end(out);
        told++;
    }
}
