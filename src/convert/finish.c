/* SPDX-License-Identifier: Apache-2.0 */
/* What comes beside the graphs: placed weights; in a folder for other tools configuration and tokenizer, too. */
#include "base/fsx.h"
#include "base/mem.h"
#include "convert/artifact.h"
#include "convert/convert.h"
#include "convert/place.h"
#include "format/hfconfig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct finish {
    const hg_convert_spec *spec;
    const char *stage;
    hangar_job *job;
    hg_convert_finished *out;
} finish;

/* One weight file, when the manifest wants it placed. */
static hangar_code place_one(finish *f, const hg_jval *weight, hangar_place how, hangar_err *err)
{
    const char *path = hg_json_text_or(hg_json_get(weight, "path"), "");
    const char *placed = hg_json_text(hg_json_get(weight, "placed"));
    struct stat st;
    if (!placed) return HANGAR_OK;
    hangar_code code = hg_path_check(hg_str_of(placed), err);
    if (code != HANGAR_OK) return code;
    if (!hg_snapshot_file_get(f->spec->snap, path) || strchr(placed, '/'))
        return hg_fail(err, HANGAR_E_INVALID, "%.128s is to be placed as %.128s", path, placed);
    HG_AUTO(hg_auto_free) char *link = hg_snapshot_file_path(f->spec->snap, path);
    HG_AUTO(hg_auto_free) char *real = link ? realpath(link, NULL) : NULL;
    HG_AUTO(hg_auto_free)
    char *to = hg_format("%s%s/%s", f->stage, f->spec->for_others ? "/onnx" : "", placed);
    if (!link || !to) return hg_fail_memory(err);
    if (!real || stat(real, &st) != 0) return hg_fail_errno(err, errno, "%s", path);
    code = hg_place_weights(real, to, how, path, f->job, &f->out->way, err);
    if (code != HANGAR_OK) return code;
    f->out->weight_bytes += (uint64_t)st.st_size;
    if (strcmp(f->out->way, "copy") == 0) f->out->written += (uint64_t)st.st_size;
    return HANGAR_OK;
}

static hangar_code place_all(finish *f, const hg_jval *weights, hangar_place place, hangar_err *err)
{
    hangar_place how = f->spec->for_others ? place : HANGAR_PLACE_AUTO;
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(weights); code == HANGAR_OK && hg_json_next(&it);)
        code = place_one(f, it.val, how, err);
    if (code == HANGAR_OK && f->spec->for_others && f->out->way && strcmp(f->out->way, "link") == 0) {
        hg_job_note(
            f->job,
            "the weights are hard links into the cache: the Python package onnx (1.21 and later) refuses "
            "such files; --copy makes files of their own");
    }
    return code;
}

/* What goes on top of such a folder when the repository has it. Names come from here alone, never from a file. */
static const char *const companions[] = {"generation_config.json",
                                         "preprocessor_config.json",
                                         "processor_config.json",
                                         "feature_extractor.json",
                                         "tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "vocab.json",
                                         "vocab.txt",
                                         "merges.txt",
                                         "normalizer.json",
                                         "spiece.model",
                                         "source.spm",
                                         "target.spm",
                                         "sentencepiece.bpe.model",
                                         "tokenizer.model",
                                         "chat_template.jinja",
                                         "modules.json",
                                         "sentence_bert_config.json",
                                         "config_sentence_transformers.json",
                                         "1_Pooling/config.json"};

static hangar_code copy_companions(finish *f, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < HG_LEN(companions); i++) {
        const hg_snapshot_file *file = hg_snapshot_file_get(f->spec->snap, companions[i]);
        if (!file) continue;
        HG_AUTO(hg_auto_free) char *from = hg_snapshot_file_path(f->spec->snap, companions[i]);
        HG_AUTO(hg_auto_free) char *to = hg_path_join(f->stage, companions[i]);
        if (!from || !to) return hg_fail_memory(err);
        code = hg_stage_copy(from, to, companions[i], f->job, err);
        f->out->written += file->size;
        if (code == HANGAR_OK) code = hg_job_check(f->job, err);
    }
    return code;
}

/* config.json with all its keys, and "transformers.js_config" telling the graphs' type (elsewhere the default is 8 bits). */
static hangar_code write_config(finish *f, hangar_err *err)
{
    static const char extra[] = "transformers.js_config";
    hg_hfconfig config = {0};
    HG_AUTO(hg_auto_free) char *from = hg_snapshot_file_path(f->spec->snap, "config.json");
    HG_AUTO(hg_auto_free) char *path = hg_path_join(f->stage, "config.json");
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!path || !w || !from) return hg_fail_memory(err);
    hangar_code code = hg_hfconfig_open(from, &config, err);
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    hg_jw_members(w, config.root, (const char *const[]){extra, NULL});
    hg_jw_obj(w, extra);
    hg_jw_members(w, hg_json_get(config.root, extra),
                  (const char *const[]){"dtype", "use_external_data_format", "kv_cache_dtype", NULL});
    hg_jw_text(w, "dtype", f->spec->form->dtype);
    if (f->spec->form->real == HG_ONNX_FLOAT16) { /* else it takes caches for 32 bits */
        hg_jw_obj(w, "kv_cache_dtype");
        hg_jw_text(w, f->spec->form->dtype, "float16");
        hg_jw_end(w);
    }
    code = hg_jw_finish(w, true, &text, err);
    hg_hfconfig_deinit(&config);
    if (code != HANGAR_OK) return code;
    f->out->written += strlen(text);
    return hg_stage_write(path, text, strlen(text), err);
}

/* ---- the target ---- */

/* For hg_list_dir: a folder that holds anything is refused. */
static hangar_code refuse_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    (void)ctx;
    return hg_fail(err, HANGAR_E_USAGE, "%s is there and not empty (%s)", dir, name);
}

/* Where the result belongs. */
hangar_code hg_convert_target(const hg_store *store, const hg_convert_spec *spec, const char *out,
                              char **target, hangar_err *err)
{
    char kind[HG_ARTIFACT_KIND_MAX];
    if (!out) {
        hg_artifact_kind(spec->form->name, kind);
        *target = hg_artifact_dir(store, spec->snap->ref.repo, spec->snap->commit, kind);
        return *target ? HANGAR_OK : hg_fail_memory(err);
    }
    size_t len = strlen(out);
    while (len > 1 && out[len - 1] == '/') len--;
    if (len == 0) return hg_fail(err, HANGAR_E_USAGE, "the output folder has no name");
    *target = hg_strndup(out, len);
    if (!*target) return hg_fail_memory(err);
    if (hg_is_dir(*target)) return hg_list_dir(*target, refuse_entry, NULL, err);
    if (access(*target, F_OK) == 0) return hg_fail(err, HANGAR_E_USAGE, "%s is no folder", *target);
    return HANGAR_OK;
}

/* Finishes a stage. */
hangar_code hg_convert_finish(const hg_convert_spec *spec, const char *stage, const hg_jval *manifest,
                              hangar_place place, hangar_job *job, hg_convert_finished *out, hangar_err *err)
{
    *out = (hg_convert_finished){0};
    finish f = {.spec = spec, .stage = stage, .job = job, .out = out};
    hangar_code code = place_all(&f, hg_json_get(manifest, "weights"), place, err);
    if (code != HANGAR_OK || !spec->for_others) return code;
    code = copy_companions(&f, err);
    return code == HANGAR_OK ? write_config(&f, err) : code;
}
