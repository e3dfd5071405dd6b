/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/audio/transcriptions and /v1/audio/translations: an uploaded file to text, to subtitles, or to events while it is heard. */
#include "api/dialect.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

/* ---- reading ---- */

static hangar_code read_layout(const hg_audio_form *form, hg_shape *f, hangar_err *err)
{
    static const char *const layouts[] = {"json", "text", "srt", "vtt", "verbose_json"};
    const char *asked = form->response_format ? form->response_format : "json";
    for (size_t i = 0; i < HG_LEN(layouts); i++)
        if (hg_streq(asked, layouts[i])) f->layout = layouts[i];
    if (!f->layout)
        return hg_fail(err, HANGAR_E_USAGE,
                       "\"response_format\" must be json, text, srt, vtt or verbose_json");
    if (hg_streq(asked, "text") || hg_streq(asked, "srt")) f->type = "text/plain; charset=utf-8";
    if (hg_streq(asked, "vtt")) f->type = "text/vtt; charset=utf-8";
    return HANGAR_OK;
}

/* "true" and "false", as forms have them. */
static hangar_code read_stream(const hg_audio_form *form, const hg_shape *f, hg_ask_spec *spec,
                               hangar_err *err)
{
    spec->streams = hg_streq(form->stream, "true") || hg_streq(form->stream, "1");
    if (form->stream && !spec->streams && !hg_streq(form->stream, "false") && !hg_streq(form->stream, "0"))
        return hg_fail(err, HANGAR_E_USAGE, "\"stream\" must be true or false");
    if (spec->streams && form->translate)
        return hg_fail(err, HANGAR_E_USAGE, "\"stream\" is for transcriptions, not for translations");
    if (spec->streams && !hg_streq(f->layout, "json") && !hg_streq(f->layout, "text"))
        return hg_fail(err, HANGAR_E_USAGE, "with \"stream\", \"response_format\" must be json or text");
    return HANGAR_OK;
}

static hangar_code refuse(const hg_audio_form *form, hangar_err *err)
{
    char *end = NULL;
    const char *t = form->temperature;
    if (t && t[0] && (strtod(t, &end) != 0 || *end != '\0'))
        return hg_fail(err, HANGAR_E_USAGE, "\"temperature\" must be 0: the likeliest words are taken");
    hg_str list = hg_str_of(form->granularities), one;
    bool words = false;
    for (bool more = list.len > 0; more;) {
        more = hg_str_cut(&list, ',', &one);
        words = words || !hg_str_eq(one, HG_STR("segment"));
    }
    if (words)
        return hg_fail(err, HANGAR_E_USAGE,
                       "\"timestamp_granularities[]\" must be segment: the times of words "
                       "are not known");
    return HANGAR_OK;
}

hangar_code hg_openai_audio_read(const hg_audio_form *form, hg_ask_spec *spec, hg_shape *f, hangar_err *err)
{
    *spec = (hg_ask_spec){.kind = HG_ASK_TRANSCRIBE, .file = -1, .keep_alive = NAN};
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    spec->model = form->model;
    f->task = form->translate ? "translate" : "transcribe";
    if (!form->model || !form->model[0]) return hg_fail(err, HANGAR_E_USAGE, "\"model\" must name a model");
    hangar_code code = refuse(form, err);
    if (code == HANGAR_OK) code = read_layout(form, f, err);
    if (code == HANGAR_OK) code = read_stream(form, f, spec, err);
    if (code != HANGAR_OK) return code;
    bool times = !hg_streq(f->layout, "json") && !hg_streq(f->layout, "text");
    hg_jw_obj(w, NULL);
    if (form->language && form->language[0]) hg_jw_text(w, "language", form->language);
    hg_jw_text(w, "task", f->task);
    hg_jw_bool(w, "timestamps", times);
    hg_jw_i64(w, "beams", 1);
    return hg_read_doc(w, &spec->doc, err);
}

/* ---- writing ---- */

static hg_str text_of(const hg_jval *doc)
{
    hg_str s = {"", 0};
    (void)hg_json_str(hg_json_get(doc, "text"), &s);
    return s;
}

/* 01:02:03,456 */
static void put_time(double seconds, char point, hg_buf *out)
{
    if (!(seconds > 0)) seconds = 0;
    uint64_t ms = seconds < 1e9 ? (uint64_t)llround(seconds * 1000) : 0;
    hg_buf_printf(out, "%02u:%02u:%02u%c%03u", (unsigned)(ms / 3600000), (unsigned)(ms / 60000 % 60),
                  (unsigned)(ms / 1000 % 60), point, (unsigned)(ms % 1000));
}

static void put_cue(size_t number, double from, double to, hg_str words, char point, hg_buf *out)
{
    if (point == ',') hg_buf_printf(out, "%zu\n", number);
    put_time(from, point, out);
    hg_buf_puts(out, " --> ");
    put_time(to, point, out);
    hg_buf_putc(out, '\n');
    /* A line that is empty, or the arrow, would end the cue or begin another. */
    words = hg_str_trim(words);
    for (size_t i = 0; i < words.len; i++) {
        char c = words.ptr[i];
        if (c == '\n' || c == '\r') c = ' ';
        if (c == '>' && i >= 2 && words.ptr[i - 1] == '-' && words.ptr[i - 2] == '-') hg_buf_putc(out, ' ');
        hg_buf_putc(out, c);
    }
    hg_buf_puts(out, "\n\n");
}

static void put_subtitles(const hg_jval *doc, char point, hg_buf *out)
{
    const hg_jval *segments = hg_json_get(doc, "segments");
    size_t count = 0;
    if (point == '.') hg_buf_puts(out, "WEBVTT\n\n");
    for (hg_json_iter it = hg_json_iter_of(segments); hg_json_is_array(segments) && hg_json_next(&it);)
        put_cue(++count, hg_json_f64_or(hg_json_get(it.val, "start"), 0),
                hg_json_f64_or(hg_json_get(it.val, "end"), 0), text_of(it.val), point, out);
    if (count == 0 && text_of(doc).len > 0)
        put_cue(1, 0, hg_json_f64_or(hg_json_get(doc, "duration"), 0), text_of(doc), point, out);
}

static void put_usage(const hg_jval *doc, hg_buf *out)
{
    hg_buf_printf(out, ",\"usage\":{\"type\":\"duration\",\"seconds\":%.0f}",
                  ceil(hg_json_f64_or(hg_json_get(doc, "duration"), 0)));
}

/* What the engine does not know of a segment (its logarithms, the chance of silence) is left out, not made up. */
static hangar_code put_verbose(const hg_shape *f, const hg_jval *doc, hg_buf *out, hangar_err *err)
{
    const hg_jval *segments = hg_json_get(doc, "segments");
    HG_AUTO(hg_auto_free) char *body = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "task", f->task);
    hg_jw_val(w, "language", hg_json_get(doc, "language"));
    hg_jw_val(w, "duration", hg_json_get(doc, "duration"));
    hg_jw_str(w, "text", text_of(doc));
    hg_jw_arr(w, "segments");
    for (hg_json_iter it = hg_json_iter_of(segments); hg_json_is_array(segments) && hg_json_next(&it);) {
        hg_jw_obj(w, NULL);
        hg_jw_u64(w, "id", it.index);
        hg_jw_members(w, it.val, NULL);
        hg_jw_f64(w, "temperature", 0);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hangar_code code = hg_jw_finish(w, false, &body, err);
    if (code != HANGAR_OK) return code;
    hg_buf_add(out, body, strlen(body) - 1);
    put_usage(doc, out);
    hg_buf_putc(out, '}');
    return HANGAR_OK;
}

static hangar_code whole(hg_shape *f, const hg_ask_end *e, hg_buf *out, hangar_err *err)
{
    if (hg_streq(f->layout, "verbose_json")) return put_verbose(f, e->doc, out, err);
    if (hg_streq(f->layout, "srt")) {
        put_subtitles(e->doc, ',', out);
    } else if (hg_streq(f->layout, "vtt")) {
        put_subtitles(e->doc, '.', out);
    } else if (hg_streq(f->layout, "text")) {
        hg_buf_str(out, text_of(e->doc));
        hg_buf_putc(out, '\n');
    } else {
        hg_buf_puts(out, "{\"text\":");
        hg_put_json(out, text_of(e->doc));
        put_usage(e->doc, out);
        hg_buf_putc(out, '}');
    }
    return HANGAR_OK;
}

static void text(hg_shape *f, hg_str literal, const hg_jval *logprobs, hg_buf *out)
{
    (void)f, (void)logprobs;
    hg_buf_puts(out, "data: {\"type\":\"transcript.text.delta\",\"delta\":");
    hg_buf_str(out, literal);
    hg_buf_puts(out, "}\n\n");
}

static void end(hg_shape *f, const hg_ask_end *e, hg_buf *out)
{
    (void)f;
    hg_buf_puts(out, "data: {\"type\":\"transcript.text.done\",\"text\":");
    hg_put_json(out, text_of(e->doc));
    hg_buf_puts(out, "}\n\n");
}

const hg_shape_fns hg_shape_openai_transcript = {
    .stream_type = "text/event-stream", .text = text, .end = end, .fail = hg_openai_put_fail, .whole = whole};
