/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/load_onnx.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "convert/artifact.h"
#include "hangar/onnx.h"
#include "manager/convert.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define TEXT_MAX  (64 * HG_MIB)  /* bytes of a configuration or tokenizer file */
#define TEXTS_MAX (128 * HG_MIB) /* of all that go to the runner */

hangar_code hg_load_json(const hg_snapshot *snap, const char *path, hg_json **out, hangar_err *err)
{
    *out = NULL;
    if (!hg_snapshot_file_get(snap, path)) return HANGAR_OK;
    HG_AUTO(hg_auto_free) char *full = hg_snapshot_file_path(snap, path);
    if (!full) return hg_fail_memory(err);
    hg_buf text;
    hg_buf_init(&text, TEXT_MAX);
    hangar_code code = hg_read_file(full, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_buf_view(&text), NULL, out, err);
    hg_buf_deinit(&text);
    return hg_wrap(err, code, "%s", path);
}

/* vocab.txt and tokenizer_config.json. */
static hangar_code tokenizer_from_lines(const hg_snapshot *snap, hg_tokenizer **out, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *config = NULL;
    HG_AUTO(hg_auto_free) char *full = hg_snapshot_file_path(snap, "vocab.txt");
    if (!full) return hg_fail_memory(err);
    hg_buf text;
    hg_buf_init(&text, TEXT_MAX);
    hangar_code code = hg_load_json(snap, "tokenizer_config.json", &config, err);
    if (code == HANGAR_OK) code = hg_read_file(full, &text, err);
    if (code == HANGAR_OK) code = hg_tokenizer_from_lines(hg_buf_view(&text), hg_json_root(config), out, err);
    hg_buf_deinit(&text);
    return code;
}

/* vocab.json, added_tokens.json, tokenizer_config.json and merges.txt; without merges it only decodes. */
static hangar_code tokenizer_from_merges(const hg_snapshot *snap, const hg_json *vocab, hg_tokenizer **out,
                                         hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *added = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *config = NULL;
    HG_AUTO(hg_auto_free) char *full = hg_snapshot_file_path(snap, "merges.txt");
    if (!full) return hg_fail_memory(err);
    hangar_code code = hg_load_json(snap, "added_tokens.json", &added, err);
    if (code == HANGAR_OK) code = hg_load_json(snap, "tokenizer_config.json", &config, err);
    if (code != HANGAR_OK) return code;
    const hg_jval *more = added ? hg_json_root(added) : NULL;
    if (!hg_snapshot_file_get(snap, "merges.txt"))
        return hg_tokenizer_from_vocab(hg_json_root(vocab), more, out, err);
    hg_buf text;
    hg_buf_init(&text, TEXT_MAX);
    code = hg_read_file(full, &text, err);
    if (code == HANGAR_OK)
        code = hg_tokenizer_from_merges(hg_json_root(vocab), hg_buf_view(&text), more,
                                        config ? hg_json_root(config) : NULL, out, err);
    hg_buf_deinit(&text);
    return code;
}

hangar_code hg_load_tokenizer(const hg_snapshot *snap, hg_tokenizer **out, hangar_err *err)
{
    static const char *const pieces[] = {"tokenizer.model", "sentencepiece.bpe.model", "spiece.model",
                                         "source.spm"};
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_load_json(snap, "tokenizer.json", &doc, err);
    if (code != HANGAR_OK) return code;
    if (doc) return hg_tokenizer_parse(hg_json_root(doc), out, err);
    for (size_t i = 0; i < HG_LEN(pieces); i++)
        if (hg_snapshot_file_get(snap, pieces[i]))
            return hg_fail(err, HANGAR_E_UNSUPPORTED,
                           "%s has SentencePiece's %s, which is not read: it needs a tokenizer.json",
                           snap->ref.repo, pieces[i]);
    if (hg_snapshot_file_get(snap, "vocab.txt")) return tokenizer_from_lines(snap, out, err);
    code = hg_load_json(snap, "vocab.json", &doc, err);
    if (code != HANGAR_OK) return code;
    if (doc) return tokenizer_from_merges(snap, doc, out, err);
    return hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no tokenizer.json, vocab.txt or vocab.json",
                   snap->ref.repo);
}

/* The converted form, made when it is missing and made anew when it is damaged. */
static hangar_code need_artifact(hangar_model *m, hangar_job *job, hg_artifact **out, hangar_err *err)
{
    hg_artifact_choice choice;
    hg_artifact_chosen(m->h->store, m->snap, &choice);
    if (choice.damaged)
        hg_job_note(job,
                    "%s cannot be read, so the 32-bit form is used; hangar optimize %s chooses a form anew",
                    HG_ARTIFACT_CHOICE, m->name);
    hangar_code code = hg_artifact_open(m->h->store, m->snap, NULL, out, err);
    if (code != HANGAR_E_NOT_FOUND && code != HANGAR_E_INVALID) return code;
    hg_job_phase(job, "converting");
    hangar_convert_options again = HANGAR_CONVERT_OPTIONS_INIT;
    again.form = hg_artifact_kind_form(choice.kind)->name;
    code = choice.found ? hg_onnx_convert(m->h, m->snap, m->name, &again, job, NULL, err)
                        : hangar_onnx_convert(m->h, m->name, NULL, job, NULL, err);
    if (code == HANGAR_OK) code = hg_artifact_open(m->h->store, m->snap, NULL, out, err);
    return code;
}

/* The files of a list that the snapshot has, one behind the other in `bin`, told of in w. */
static hangar_code add_texts(const hg_snapshot *snap, const char *const *names, hg_jw *w, hg_buf *bin,
                             hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    hg_jw_arr(w, "texts");
    for (; *names && code == HANGAR_OK; names++) {
        size_t from = bin->len;
        if (!hg_snapshot_file_get(snap, *names)) continue;
        HG_AUTO(hg_auto_free) char *full = hg_snapshot_file_path(snap, *names);
        code = full ? hg_wrap(err, hg_read_file(full, bin, err), "%s", *names) : hg_fail_memory(err);
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", *names);
        hg_jw_u64(w, "offset", from);
        hg_jw_u64(w, "bytes", bin->len - from);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    return code;
}

/* Of a model what its loader asks for. */
typedef struct wanted {
    const char *const *texts, *const *graphs; /* NULL = none, all */
    bool media;                               /* it will be given sound or pictures */
} wanted;

static hangar_code load_frame(const hangar_model *m, const hg_artifact *a, const wanted *what, hg_buf *bin,
                              char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_i64(w, "threads", m->h->settings->threads);
    hg_jw_bool(w, "media", what->media);
    hg_artifact_load_members(a, w);
    hangar_code code = what->texts ? add_texts(m->snap, what->texts, w, bin, err) : HANGAR_OK;
    return code == HANGAR_OK ? hg_jw_finish(w, false, out, err) : code;
}

/* Moves the named graphs to the front; how many there are of them. */
static size_t front_graphs(hg_artifact *a, const char *const *names)
{
    size_t found = 0;
    for (; *names; names++)
        for (size_t i = found; i < a->graph_count; i++) {
            if (!hg_streq(a->graphs[i].name, *names)) continue;
            hg_artifact_graph swap = a->graphs[found];
            a->graphs[found++] = a->graphs[i];
            a->graphs[i] = swap;
            break;
        }
    return found;
}

/* Converts when needed and starts the runner. */
static hangar_code load_some(hangar_model *m, const wanted *what, hangar_job *job, hangar_err *err)
{
    HG_AUTO(hg_artifact_auto_free) hg_artifact *artifact = NULL;
    HG_AUTO(hg_auto_free) char *frame = NULL;
    hg_buf bin;
    hg_buf_init(&bin, TEXTS_MAX);
    hangar_code code = need_artifact(m, job, &artifact, err);
    if (code == HANGAR_OK) {
        size_t all = artifact->graph_count, found = all;
        if (what->graphs) artifact->graph_count = found = front_graphs(artifact, what->graphs);
        code = load_frame(m, artifact, what, &bin, &frame, err);
        artifact->graph_count = all;
        if (code == HANGAR_OK && what->graphs && (found == 0 || what->graphs[found]))
            code = hg_fail(err, HANGAR_E_INVALID,
                           "the converted model lacks one of its graphs; convert it again");
    }
    if (code == HANGAR_OK) {
        hg_job_phase(job, "loading");
        hg_runner_options options = {m->h->settings->load_timeout, m->h->settings->step_timeout};
        hg_parcel load = {.json = hg_str_of(frame), .bin = bin.data, .bin_len = bin.len};
        code =
            hg_runner_start_parcel(hg_engine_get("onnx"), &options, &load, job, &m->runner, &m->ready, err);
    }
    hg_buf_deinit(&bin);
    return code;
}

hangar_code hg_load_onnx(hangar_model *m, hangar_job *job, hangar_err *err)
{
    return load_some(m, &(wanted){0}, job, err);
}

hangar_code hg_load_onnx_media(hangar_model *m, const char *const *graphs, hangar_job *job, hangar_err *err)
{
    return load_some(m, &(wanted){.graphs = graphs, .media = true}, job, err);
}

hangar_code hg_load_onnx_texts(hangar_model *m, const char *const *texts, hangar_job *job, hangar_err *err)
{
    return load_some(m, &(wanted){.texts = texts}, job, err);
}

hangar_code hg_open_regular_high(const char *file, int *out_fd, hangar_err *err)
{
    hangar_code code = hg_open_regular(file, out_fd, NULL, err);
    if (code != HANGAR_OK || *out_fd > 2) return code;
    int moved = fcntl(*out_fd, F_DUPFD_CLOEXEC, 3);
    if (moved < 0) code = hg_fail_errno(err, errno, "opening %s", file);
    close(*out_fd);
    *out_fd = moved;
    return code;
}
