/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transcription by models with an answer per frame: an id that stays the same over several frames is one letter, the blank parts two equal
 * ones (Graves et al. 2006), and each word is a segment, with the times of its first and last frame. Special tokens are passed over as
 * though they had not been there.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "engine/onnx_ops.h"
#include "format/mel.h"
#include "manager/load_ctc.h"
#include "manager/transcript.h"

/* What has come so far. */
typedef struct script {
    const hg_ctc *model;
    hg_transcript done;
    int64_t last; /* the id of the frame before */
    /* the word that is being written */
    size_t word, word_tokens; /* where it begins in the text and the tokens */
    uint64_t from, to;        /* frames */
} script;

static double seconds(const script *s, uint64_t frame)
{
    return (double)frame * (double)s->model->ratio / HG_MEL_RATE;
}

/* The letters since the last end of a word are one segment. */
static void end_word(script *s)
{
    if (s->done.text.state == HANGAR_OK && s->done.text.len > s->word) {
        hg_str text = {s->done.text.data + s->word, s->done.text.len - s->word};
        hg_jw_obj(s->done.segments, NULL);
        hg_jw_f64(s->done.segments, "start", seconds(s, s->from));
        hg_jw_f64(s->done.segments, "end", seconds(s, s->to));
        hg_jw_str(s->done.segments, "text", text);
        hg_jw_arr(s->done.segments, "tokens");
        for (size_t i = s->word_tokens; i < s->done.token_count; i++)
            hg_jw_i64(s->done.segments, NULL, s->done.tokens[i]);
        hg_jw_end(s->done.segments);
        hg_jw_end(s->done.segments);
        hg_job_text(s->done.job, text);
    }
}

/* One frame. */
static hangar_code add_frame(script *s, int64_t id, uint64_t frame, hangar_err *err)
{
    const hg_ctc *m = s->model;
    bool known = id >= 0 && (size_t)id < m->count && m->letters[id];
    if (id != m->blank && (!known || m->special[id])) return HANGAR_OK;
    bool again = id == s->last, letter = id != m->blank && id != m->delimiter;
    s->last = id;
    if (again && letter) s->to = frame + 1;
    if (again || id == m->blank) return HANGAR_OK;
    if (!letter) {
        end_word(s);
        hangar_code code = hg_transcript_token(&s->done, id, err);
        if (code != HANGAR_OK) return code;
        hg_buf_putc(&s->done.text, ' ');
        if (s->done.text.len > 1) hg_job_text(s->done.job, HG_STR(" "));
        s->word = s->done.text.len;
        s->word_tokens = s->done.token_count;
        return HANGAR_OK;
    }
    if (s->done.text.len == s->word) s->from = frame;
    s->to = frame + 1;
    hangar_code code = hg_transcript_token(&s->done, id, err);
    if (code != HANGAR_OK) return code;
    hg_buf_str(&s->done.text, hg_str_of(m->letters[id]));
    return HANGAR_OK;
}

static hangar_code on_piece(void *ctx, const hg_frame *piece, hangar_err *err)
{
    script *s = ctx;
    const hg_jval *doc = hg_json_root(piece->doc);
    uint64_t from = 0;
    if (!hg_json_u64(hg_json_get(doc, "from"), &from) || from > INT64_MAX)
        return hg_fail(err, HANGAR_E_ENGINE, "the runner sent frames without a place");
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(doc, "ids")); code == HANGAR_OK && hg_json_next(&it);)
        code = add_frame(s, hg_json_i64_or(it.val, -1), from + it.index, err);
    return code == HANGAR_OK ? hg_buf_check(&s->done.text, err) : code;
}

/* ---- call and document ---- */

static hangar_code check_options(const hangar_transcribe_options *o, hangar_err *err)
{
    if (o->language)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "the model knows one language, none can be chosen (\"%s\")",
                       o->language);
    if (o->task && !hg_streq(o->task, "transcribe"))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "the model only transcribes; there is no task \"%s\"",
                       o->task);
    if (o->beams > 1)
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "a model of this kind takes the likeliest letter of each "
                       "frame; there are no beams");
    return HANGAR_OK;
}

static hangar_code call_frame(const hg_ctc *c, char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "op", "ctc");
    hg_jw_u64(w, "window", c->window);
    hg_jw_u64(w, "stride", c->edge);
    hg_jw_u64(w, "ratio", c->ratio);
    hg_jw_u64(w, "least", c->least);
    hg_jw_bool(w, "normalize", c->normalize);
    return hg_jw_finish(w, false, out, err);
}

hangar_code hg_transcribe_ctc(hangar_model *m, const char *file, int fd,
                              const hangar_transcribe_options *options, hangar_job *job, char **out_json,
                              hangar_err *err)
{
    double from = hg_now();
    HG_AUTO(hg_auto_free) char *call = NULL;
    script s = {.model = m->data, .last = -1};
    hg_frame done = {0};
    hangar_code code = hg_transcript_init(&s.done, job, err);
    if (code == HANGAR_OK) code = check_options(options, err);
    if (code == HANGAR_OK) code = call_frame(m->data, &call, err);
    if (code == HANGAR_OK) {
        const hg_parcel parcel = {.json = hg_str_of(call), .fd = fd};
        code = hg_wrap(err, hg_runner_call_parcel(m->runner, &parcel, on_piece, &s, job, &done, err), "%s",
                       file);
    }
    if (code == HANGAR_OK) {
        end_word(&s);
        double duration = hg_json_f64_or(hg_json_get(hg_json_root(done.doc), "duration"), 0);
        if (out_json)
            code = hg_transcript_write(&s.done, m, file, NULL, duration, hg_now() - from, out_json, err);
    }
    hg_frame_deinit(&done);
    hg_transcript_deinit(&s.done);
    return code;
}
