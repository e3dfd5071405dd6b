/* SPDX-License-Identifier: Apache-2.0 */
/* hangar_transcribe: an open file and a set of token ids to the ONNX runner, its windows of tokens to text. Models of letters: transcribe_ctc.c. */
#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "engine/onnx_ops.h"
#include "manager/load_ctc.h"
#include "manager/load_onnx.h"
#include "manager/load_whisper.h"
#include "manager/transcribe.h"
#include "manager/transcript.h"

#include <stdlib.h>

#define TEXT_MAX (64 * HG_MIB) /* of one segment */

/* The caller's options over the defaults. */
static hangar_code options_read(const hangar_transcribe_options *given, hangar_transcribe_options *out,
                                hangar_err *err)
{
    *out = (hangar_transcribe_options)HANGAR_TRANSCRIBE_OPTIONS_INIT;
    hangar_code code = hg_options_read(given, offsetof(hangar_transcribe_options, task),
                                       "hangar_transcribe_options", out, sizeof *out, err);
    if (code != HANGAR_OK) return code;
    if (out->beams < 1 || out->beams > HG_ONNX_BEAMS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "beams must be from 1 to %d", HG_ONNX_BEAMS_MAX);
    return HANGAR_OK;
}

/* Language and task of the call as ids; -1 = none, or to be found out. */
static hangar_code choose(const hg_whisper *w, const hangar_transcribe_options *o, int64_t *language,
                          int64_t *task, hangar_err *err)
{
    bool translate = hg_streq(o->task, "translate");
    if (o->task && !translate && !hg_streq(o->task, "transcribe"))
        return hg_fail(err, HANGAR_E_USAGE, "no task \"%s\": transcribe or translate", o->task);
    *language = o->language ? hg_whisper_language_id(w, o->language) : -1;
    *task = translate ? w->translate : w->transcribe;
    bool english_only = w->language_count == 0;
    if (o->language && *language < 0 && !(english_only && strcmp(o->language, "en") == 0))
        return hg_fail(err, HANGAR_E_USAGE, "the model knows no language \"%s\"%s", o->language,
                       english_only ? ", only en" : "; languages are named as in en, pt, zh");
    if (translate && *task < 0) return hg_fail(err, HANGAR_E_UNSUPPORTED, "the model cannot translate");
    return HANGAR_OK;
}

/* A list of ids of generation_config.json, else of config.json. */
static void write_ids(hg_jw *w, const hg_whisper *m, const char *key)
{
    const hg_jval *v = hg_json_get(hg_json_root(m->generation), key);
    if (!hg_json_is_array(v)) v = hg_json_get(hg_json_root(m->config), key);
    hg_jw_arr(w, key[0] == 'b' ? "begin_suppress" : "suppress");
    for (hg_json_iter it = hg_json_iter_of(v); hg_json_is_array(v) && hg_json_next(&it);)
        hg_jw_i64(w, NULL, hg_json_i64_or(it.val, -1));
    hg_jw_end(w);
}

static hangar_code call_frame(const hg_whisper *m, const hangar_transcribe_options *o, int64_t language,
                              int64_t task, char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "op", "transcribe");
    hg_jw_i64(w, "mels", m->mels);
    hg_jw_i64(w, "frames", m->frames);
    hg_jw_i64(w, "start", m->start);
    hg_jw_i64(w, "eos", m->eos);
    hg_jw_i64(w, "no_timestamps", m->no_timestamps);
    hg_jw_i64(w, "no_speech", m->no_speech);
    hg_jw_i64(w, "max_tokens", m->max_tokens);
    hg_jw_i64(w, "max_initial_timestamp", m->max_initial);
    write_ids(w, m, "suppress_tokens");
    write_ids(w, m, "begin_suppress_tokens");
    hg_jw_arr(w, "languages");
    for (size_t i = 0; i < m->language_count; i++) hg_jw_i64(w, NULL, m->languages[i].id);
    hg_jw_end(w);
    hg_jw_i64(w, "language", language);
    hg_jw_i64(w, "task", task);
    hg_jw_i64(w, "beams", o->beams);
    hg_jw_bool(w, "timestamps", o->timestamps);
    return hg_jw_finish(w, false, out, err);
}

/* ---- windows to text ---- */

/* What has come so far. */
typedef struct script {
    const hg_whisper *model;
    hg_transcript done;
    int64_t language;
} script;

static bool is_word(char c)
{
    return (unsigned char)c > ' ' && (unsigned char)c < 0x7f;
}

/* Appends a segment's text, with a space where two words of a spaced script would touch; tells the job. */
static void add_text(script *s, hg_str piece)
{
    if (s->done.text.len == 0) {
        while (piece.len > 0 && piece.ptr[0] == ' ') {
            piece.ptr++;
            piece.len--;
        }
    }
    if (piece.len == 0) return;
    size_t from = s->done.text.len;
    if (from > 0 && is_word(s->done.text.data[from - 1]) && is_word(piece.ptr[0]))
        hg_buf_putc(&s->done.text, ' ');
    hg_buf_str(&s->done.text, piece);
    if (s->done.text.state == HANGAR_OK)
        hg_job_text(s->done.job, (hg_str){s->done.text.data + from, s->done.text.len - from});
}

/* The ids of a segment, appended to all; the words among them as text. */
static hangar_code read_ids(script *s, const hg_jval *list, hg_buf *text, hangar_err *err)
{
    size_t from = s->done.token_count;
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);) {
        int64_t id = -1;
        if (!hg_json_i64(it.val, &id))
            return hg_fail(err, HANGAR_E_ENGINE, "the runner sent a token that is no number");
        hangar_code code = hg_transcript_token(&s->done, id, err);
        if (code != HANGAR_OK) return code;
    }
    /* Times and other marks lie behind the end token in every vocabulary of this kind. */
    HG_AUTO(hg_auto_free) int64_t *words = hg_calloc(s->done.token_count - from, sizeof *words);
    if (!words) return hg_fail_memory(err);
    size_t count = 0;
    for (size_t i = from; i < s->done.token_count; i++)
        if (s->done.tokens[i] < s->model->eos) words[count++] = s->done.tokens[i];
    return hg_tokenizer_decode(s->model->tokenizer, words, count, text, err);
}

static hangar_code add_segment(script *s, const hg_jval *segment, hangar_err *err)
{
    hg_buf text;
    hg_buf_init(&text, TEXT_MAX);
    const hg_jval *ids = hg_json_get(segment, "tokens");
    hangar_code code = read_ids(s, ids, &text, err);
    if (code == HANGAR_OK) {
        add_text(s, hg_buf_view(&text));
        hg_jw_obj(s->done.segments, NULL);
        hg_jw_f64(s->done.segments, "start", hg_json_f64_or(hg_json_get(segment, "start"), 0));
        hg_jw_f64(s->done.segments, "end", hg_json_f64_or(hg_json_get(segment, "end"), 0));
        hg_jw_str(s->done.segments, "text", hg_str_trim(hg_buf_view(&text)));
        hg_jw_val(s->done.segments, "tokens", ids);
        hg_jw_end(s->done.segments);
    }
    hg_buf_deinit(&text);
    return code;
}

static hangar_code on_piece(void *ctx, const hg_frame *piece, hangar_err *err)
{
    script *s = ctx;
    hangar_code code = HANGAR_OK;
    const hg_jval *doc = hg_json_root(piece->doc);
    s->language = hg_json_i64_or(hg_json_get(doc, "language"), -1);
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(doc, "segments"));
         code == HANGAR_OK && hg_json_next(&it);)
        code = add_segment(s, it.val, err);
    return code == HANGAR_OK ? hg_buf_check(&s->done.text, err) : code;
}

/* The language's code; NULL when it is not known. */
static const char *language_of(const script *s)
{
    const char *language = hg_whisper_language_code(s->model, s->language);
    return language ? language : s->model->language_count == 0 ? "en" : NULL;
}

/* One file that is open. */
static hangar_code transcribe_windows(hangar_model *m, const char *file, int fd, hg_str call, hangar_job *job,
                                      char **out_json, hangar_err *err)
{
    double from = hg_now();
    script s = {.model = m->data, .language = -1};
    hg_frame done = {0};
    hg_parcel parcel = {.json = call, .fd = fd};
    hangar_code code = hg_transcript_init(&s.done, job, err);
    if (code == HANGAR_OK) code = hg_runner_call_parcel(m->runner, &parcel, on_piece, &s, job, &done, err);
    if (code == HANGAR_OK && out_json) {
        double duration = hg_json_f64_or(hg_json_get(hg_json_root(done.doc), "duration"), 0);
        code =
            hg_transcript_write(&s.done, m, file, language_of(&s), duration, hg_now() - from, out_json, err);
    }
    hg_frame_deinit(&done);
    hg_transcript_deinit(&s.done);
    return code;
}

/* A file that is open, by Whisper. */
static hangar_code transcribe_whisper(hangar_model *m, const char *file, int fd,
                                      const hangar_transcribe_options *o, hangar_job *job, char **out_json,
                                      hangar_err *err)
{
    int64_t language = -1, task = -1;
    HG_AUTO(hg_auto_free) char *call = NULL;
    hangar_code code = choose(m->data, o, &language, &task, err);
    if (code == HANGAR_OK) code = call_frame(m->data, o, language, task, &call, err);
    if (code != HANGAR_OK) return code;
    return hg_wrap(err, transcribe_windows(m, file, fd, hg_str_of(call), job, out_json, err), "%s", file);
}

hangar_code hg_transcribe_fd(hangar_model *model, const char *name, int fd,
                             const hangar_transcribe_options *options, hangar_job *job, char **out_json,
                             hangar_err *err)
{
    if (out_json) *out_json = NULL;
    hangar_transcribe_options o;
    hangar_code code = hg_model_need(model, &hg_loader_whisper, err);
    if (code == HANGAR_OK) code = options_read(options, &o, err);
    if (code != HANGAR_OK) return code;
    hg_job_phase(job, "transcribing");
    if (model->loader == &hg_loader_ctc) return hg_transcribe_ctc(model, name, fd, &o, job, out_json, err);
    return transcribe_whisper(model, name, fd, &o, job, out_json, err);
}

hangar_code hangar_transcribe(hangar_model *model, const char *file, const hangar_transcribe_options *options,
                              hangar_job *job, char **out_json, hangar_err *err)
{
    if (out_json) *out_json = NULL;
    HG_AUTO(hg_auto_close) int fd = -1;
    hangar_code code = hg_model_need(model, &hg_loader_whisper, err);
    if (code == HANGAR_OK && !file) code = hg_fail(err, HANGAR_E_USAGE, "no file was named");
    if (code == HANGAR_OK) code = hg_open_regular_high(file, &fd, err);
    return code == HANGAR_OK ? hg_transcribe_fd(model, file, fd, options, job, out_json, err) : code;
}
