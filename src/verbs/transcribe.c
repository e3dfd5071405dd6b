/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "verbs/verb.h"
#include "verbs/words.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

typedef struct transcribe_args {
    const char *ref;
    const char **files;
    const char *language, *task;
    int64_t beams;
    bool timestamps;
} transcribe_args;

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(transcribe_args, ref),
     .positional = true,
     .required = true,
     .help = "a model that understands speech"},
    {.name = "file",
     .type = HG_TEXTS,
     .at = offsetof(transcribe_args, files),
     .local = true,
     .positional = true,
     .required = true,
     .help = "audio or video of any format and length"},
    {.name = "language",
     .letter = 'l',
     .type = HG_TEXT,
     .at = offsetof(transcribe_args, language),
     .metavar = "L",
     .help = "the spoken language, such as en or pt; when left out the model finds out"},
    {.name = "task",
     .type = HG_CHOICE,
     .at = offsetof(transcribe_args, task),
     .def = "transcribe",
     .choices = "transcribe|translate",
     .help = "write what is said, or translate it to English"},
    {.name = "beams",
     .type = HG_INT,
     .at = offsetof(transcribe_args, beams),
     .def = "1",
     .min = 1,
     .max = 16,
     .help = "follow so many ways at the same time: better and slower"},
    {.name = "timestamps",
     .type = HG_FLAG,
     .at = offsetof(transcribe_args, timestamps),
     .help = "write when each part is said"},
    {0}};

static const hg_example examples[] = {
    {"hangar transcribe hangar-labs/whisper-digits clip.wav", "the text of a recording"},
    {"hangar transcribe org/whisper talk.mp3 --language pt --timestamps", "with the times of its parts"},
    {"hangar transcribe org/whisper *.flac --json", "many files; the model is loaded once"},
    {0}};

/* The document of one file as it goes out: `timestamps` tells the page that times are wanted. */
static void add_document(hg_jw *w, const hg_jval *doc, bool timestamps)
{
    hg_jw_obj(w, NULL);
    hg_jw_members(w, doc, NULL);
    if (timestamps) hg_jw_bool(w, "timestamps", true);
    hg_jw_end(w);
}

/* Adds what became of one file to the list: its document, or {"file","error"}. */
static void add_error(hg_jw *w, const char *file, const hangar_err *err)
{
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "file", file);
    hg_jw_obj(w, "error");
    hg_jw_text(w, "code", hangar_code_name(err->code));
    hg_jw_text(w, "message", err->msg);
    hg_jw_end(w);
    hg_jw_end(w);
}

/* Transcribes one file and writes what came out. */
static hangar_code one(hg_call *call, hangar_model *model, const char *file, hg_jw *w, hangar_err *err)
{
    const transcribe_args *a = call->args;
    hangar_transcribe_options options = HANGAR_TRANSCRIBE_OPTIONS_INIT;
    hg_json *doc = NULL;
    char *text = NULL;
    options.language = a->language;
    options.task = a->task;
    options.beams = (int)a->beams;
    options.timestamps = a->timestamps;
    hangar_code code = hangar_transcribe(model, file, &options, call->job, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(text), NULL, &doc, err);
    if (code == HANGAR_OK) add_document(w, hg_json_root(doc), a->timestamps);
    hg_json_free(doc);
    hangar_free(text);
    return code;
}

static bool ends_all(hangar_code code)
{
    return code == HANGAR_E_CANCELLED || code == HANGAR_E_ENGINE || code == HANGAR_E_NO_MEMORY;
}

/* {"results":[...]}: a file that cannot be read does not keep the others from it; the call ends with the first error. */
static hangar_code many(hg_call *call, hangar_model *model, hg_jw *w, hangar_err *err)
{
    const transcribe_args *a = call->args;
    hangar_code code = HANGAR_OK;
    size_t files = 0, failed = 0;
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "results");
    for (const char **file = a->files; *file && !ends_all(code); file++) {
        hangar_err why = {0};
        hangar_code this = one(call, model, *file, w, &why);
        files++;
        if (this == HANGAR_OK) continue;
        failed++;
        add_error(w, *file, &why);
        if (code != HANGAR_OK && !ends_all(this)) continue;
        code = this;
        if (err) *err = why;
    }
    hg_jw_end(w);
    return ends_all(code) ? code : hg_wrap(err, code, "%zu of %zu files failed", failed, files);
}

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const transcribe_args *a = call->args;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hangar_model *model = NULL;
    if (!w) return hg_fail_memory(err);
    /* Before a model is loaded for nothing. Of several files each is told of when its turn comes. */
    if (!a->files[1] && access(a->files[0], R_OK) != 0) return hg_fail_errno(err, errno, "%s", a->files[0]);
    hangar_code code = hangar_model_load(call->h, a->ref, call->job, &model, err);
    if (code != HANGAR_OK) return code;
    bool list = a->files[1] != NULL;
    code = list ? many(call, model, w, err) : one(call, model, a->files[0], w, err);
    hangar_model_unload(model);
    if (code != HANGAR_OK && !list) return code;
    hangar_code wrote = hg_jw_finish(w, false, out_json, code == HANGAR_OK ? err : NULL);
    return code != HANGAR_OK ? code : wrote;
}

/* "1:02.5" */
static const char *clock_words(hg_words *w, const hg_jval *seconds)
{
    double s = hg_json_f64_or(seconds, 0);
    if (!(s >= 0 && s < 1e9)) s = 0;
    unsigned long tenths = (unsigned long)(s * 10 + 0.5);
    snprintf(w->text, sizeof w->text, "%lu:%02lu.%lu", tenths / 600, tenths / 10 % 60, tenths % 10);
    return w->text;
}

/* The segments with their times where they were asked for, else the text alone. */
static void show_one(const hg_jval *r, hg_view *view)
{
    const hg_jval *segments = hg_json_get(r, "segments");
    bool timed = hg_json_bool_or(hg_json_get(r, "timestamps"), false);
    hg_words from, to;
    if (!timed) {
        hg_str text = hg_str_trim(hg_str_of(hg_json_text_or(hg_json_get(r, "text"), "")));
        hg_view_line(view, HG_PLAIN, "%.*s", HG_STR_ARG(text));
        return;
    }
    for (hg_json_iter it = hg_json_iter_of(segments); hg_json_next(&it);) {
        hg_str text = hg_str_trim(hg_str_of(hg_json_text_or(hg_json_get(it.val, "text"), "")));
        hg_view_line(view, HG_PLAIN, "[%s - %s] %.*s", clock_words(&from, hg_json_get(it.val, "start")),
                     clock_words(&to, hg_json_get(it.val, "end")), HG_STR_ARG(text));
    }
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *results = hg_json_get(r, "results");
    if (!results) {
        show_one(r, view);
        return;
    }
    for (hg_json_iter it = hg_json_iter_of(results); hg_json_next(&it);) {
        const char *file = hg_json_text_or(hg_json_get(it.val, "file"), "?");
        const char *why = hg_json_text(hg_json_path(it.val, "error", "message", NULL));
        if (!why) {
            hg_view_line(view, HG_BOLD, "%s", file);
            show_one(it.val, view);
        } else if (hg_str_starts(hg_str_of(why), hg_str_of(file))) {
            hg_view_line(view, HG_BAD, "✗ %s", why);
        } else {
            hg_view_line(view, HG_BAD, "✗ %s: %s", file, why);
        }
    }
}

const hg_verb hg_verb_transcribe = {
    .name = "transcribe",
    .group = "Use",
    .summary = "write down what is said in a recording",
    .about = "Reads any audio that libav reads, in windows of 30 seconds. A model that only has safetensors "
             "is converted first. "
             "Whisper writes segments, wav2vec 2.0 and HuBERT (CTC) words. "
             "With several files the model is loaded once, and a file that cannot be read does not stop the "
             "others.\n"
             "\n"
             "With --json one file gives one document (text, language, segments with times, token ids), "
             "several give "
             "{\"results\": [...]} in their order.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(transcribe_args),
    .flags = HG_VERB_PROGRESS,
    .run = run,
    .show = show,
};
