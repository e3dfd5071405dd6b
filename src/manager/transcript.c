/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/transcript.h"

#include "base/mem.h"

#include <stdlib.h>

#define TEXT_MAX (64 * HG_MIB)

/* An empty one. */
hangar_code hg_transcript_init(hg_transcript *t, hangar_job *job, hangar_err *err)
{
    *t = (hg_transcript){.job = job, .segments = hg_jw_new()};
    hg_buf_init(&t->text, TEXT_MAX);
    hg_jw_arr(t->segments, NULL);
    return t->segments ? HANGAR_OK : hg_fail_memory(err);
}

/* Frees it. */
void hg_transcript_deinit(hg_transcript *t)
{
    hg_buf_deinit(&t->text);
    hg_jw_free(t->segments);
    free(t->tokens);
}

/* One token more. */
hangar_code hg_transcript_token(hg_transcript *t, int64_t id, hangar_err *err)
{
    if (!hg_grow((void **)&t->tokens, &t->token_cap, t->token_count + 1, sizeof *t->tokens))
        return hg_fail_memory(err);
    t->tokens[t->token_count++] = id;
    return HANGAR_OK;
}

/* The document. */
hangar_code hg_transcript_write(hg_transcript *t, const hangar_model *m, const char *file,
                                const char *language, double duration, double seconds, char **out_json,
                                hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *segments = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *parsed = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hangar_code code = w ? hg_jw_finish(t->segments, false, &segments, err) : hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(segments), NULL, &parsed, err);
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "model", m->name);
    hg_jw_text(w, "file", file);
    hg_jw_str(w, "text", hg_str_trim(hg_buf_view(&t->text)));
    hg_jw_text(w, "language", language);
    hg_jw_f64(w, "duration", duration);
    hg_jw_val(w, "segments", hg_json_root(parsed));
    hg_jw_arr(w, "tokens");
    for (size_t i = 0; i < t->token_count; i++) hg_jw_i64(w, NULL, t->tokens[i]);
    hg_jw_end(w);
    hg_jw_f64(w, "seconds", seconds);
    return hg_jw_finish(w, false, out_json, err);
}
