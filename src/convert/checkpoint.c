/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/checkpoint.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>

#define INDEX_FILE "model.safetensors.index.json"

static hangar_code add_file(hg_checkpoint *ck, const hg_snapshot *snap, const char *path, hangar_err *err)
{
    if (!hg_snapshot_file_get(snap, path)) {
        return hg_fail(err, HANGAR_E_INVALID, "%s is named by the index but is no file of this revision",
                       path);
    }
    HG_AUTO(hg_auto_free) char *linked = hg_snapshot_file_path(snap, path);
    if (!linked) return hg_fail_memory(err);
    hg_checkpoint_file *f = &ck->files[ck->count];
    f->real = realpath(linked, NULL);
    if (!f->real) return hg_fail_errno(err, errno, "%s", path);
    ck->count++;
    f->path = hg_strdup(path);
    if (!f->path) return hg_fail_memory(err);
    hangar_code code = hg_safetensors_open(linked, &f->st, err); /* errors bear the name people know */
    if (code != HANGAR_OK) return code;
    f->bytes = hg_safetensors_size(f->st);
    return HANGAR_OK;
}

/* Every entry of weight_map is in the file that it names, and no tensor is in two files. */
static hangar_code check_index(const hg_checkpoint *ck, const hg_shards *shards, hangar_err *err)
{
    const hg_jval *map = hg_json_get(hg_json_root(shards->doc), "weight_map");
    for (hg_json_iter it = hg_json_iter_of(map); hg_json_next(&it);) {
        HG_AUTO(hg_auto_free) char *name = hg_strndup(it.key.ptr, it.key.len);
        if (!name) return hg_fail_memory(err);
        uint32_t file = 0;
        const char *where = hg_json_text_or(it.val, "");
        if (!hg_checkpoint_get(ck, name, &file)) {
            return hg_fail(err, HANGAR_E_INVALID, INDEX_FILE ": %s is in none of the files", name);
        }
        if (strcmp(ck->files[file].path, where) != 0) {
            return hg_fail(err, HANGAR_E_INVALID, INDEX_FILE ": %s is in %s, not in %s", name,
                           ck->files[file].path, where);
        }
    }
    for (uint32_t i = 0; i < ck->count; i++) {
        for (size_t j = 0; j < hg_safetensors_count(ck->files[i].st); j++) {
            uint32_t first = 0;
            const char *name = hg_safetensors_at(ck->files[i].st, j)->name;
            if (hg_checkpoint_get(ck, name, &first) && first != i) {
                return hg_fail(err, HANGAR_E_INVALID, "%s is in two files", name);
            }
        }
    }
    return HANGAR_OK;
}

static hangar_code open_sharded(hg_checkpoint *ck, const hg_snapshot *snap, hangar_err *err)
{
    hg_shards shards = {0};
    hg_buf text;
    hg_buf_init(&text, (size_t)HG_SAFETENSORS_HEADER_MAX);
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(snap, INDEX_FILE);
    hangar_code code = path ? hg_read_file(path, &text, err) : hg_fail_memory(err);
    if (code == HANGAR_OK) {
        code = hg_shards_parse(hg_buf_view(&text), &shards, err);
        hg_wrap(err, code, INDEX_FILE);
    }
    hg_buf_deinit(&text);
    if (code != HANGAR_OK) return code;
    ck->files = hg_calloc(shards.count, sizeof *ck->files);
    if (!ck->files) code = hg_fail_memory(err);
    for (size_t i = 0; code == HANGAR_OK && i < shards.count; i++)
        code = add_file(ck, snap, shards.files[i], err);
    if (code == HANGAR_OK) code = check_index(ck, &shards, err);
    hg_shards_deinit(&shards);
    return code;
}

static hangar_code open_one(hg_checkpoint *ck, const hg_snapshot *snap, const char *path, hangar_err *err)
{
    ck->files = hg_calloc(1, sizeof *ck->files);
    return ck->files ? add_file(ck, snap, path, err) : hg_fail_memory(err);
}

/* Are there weights under the names that are looked for? */
bool hg_checkpoint_there(const hg_snapshot *snap)
{
    return hg_snapshot_file_get(snap, "model.safetensors") || hg_snapshot_file_get(snap, INDEX_FILE);
}

/* What there is instead of them, and what to do then. */
hangar_code hg_checkpoint_missing(const hg_snapshot *snap, hangar_err *err)
{
    static const char pickled[] = "which may run code when they are read: only safetensors are converted; "
                                  "another revision or copy of the model may have them",
                      alone[] = "and no safetensors, which alone are converted";
    static const struct {
        const char *end, *what, *words;
    } others[] = {{".gguf", "GGUF files", "which are not converted: hangar run takes them as they are"},
                  {"adapter_model.safetensors", "an adapter",
                   "which is no model: convert one that it was merged into"},
                  {".safetensors", "weights of another name", "which has to be named: REPO:FILE"},
                  {".bin", "Python's pickles", pickled},
                  {".pt", "Python's pickles", pickled},
                  {".pth", "Python's pickles", pickled},
                  {".ckpt", "Python's pickles", pickled},
                  {".onnx", "graphs made elsewhere", alone},
                  {".h5", "weights for TensorFlow", alone},
                  {".msgpack", "weights for Flax", alone}};
    for (size_t i = 0; i < HG_LEN(others); i++) {
        for (size_t j = 0; j < snap->count; j++) {
            const char *path = snap->files[j].path;
            if (hg_str_ends(hg_str_of(path), hg_str_of(others[i].end)))
                return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s has %s (%s), %s", snap->ref.repo,
                               others[i].what, path, others[i].words);
        }
    }
    return hg_fail(err, HANGAR_E_UNSUPPORTED,
                   "%s has no model.safetensors here; hangar pull %s fetches what is missing", snap->ref.repo,
                   snap->ref.repo);
}

/* Opens the headers of a snapshot's weight files. */
hangar_code hg_checkpoint_open(const hg_snapshot *snap, hg_checkpoint *out, hangar_err *err)
{
    *out = (hg_checkpoint){0};
    hangar_code code;
    if (snap->ref.file[0]) {
        if (!hg_str_ends(hg_str_of(snap->ref.file), HG_STR(".safetensors"))) {
            return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s: only safetensors are converted", snap->ref.file);
        }
        if (!hg_snapshot_file_get(snap, snap->ref.file)) {
            return hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no file %s", snap->ref.repo, snap->ref.file);
        }
        code = open_one(out, snap, snap->ref.file, err);
    } else if (hg_snapshot_file_get(snap, "model.safetensors")) {
        code = open_one(out, snap, "model.safetensors", err);
    } else if (hg_snapshot_file_get(snap, INDEX_FILE)) {
        code = open_sharded(out, snap, err);
    } else {
        return hg_checkpoint_missing(snap, err);
    }
    if (code != HANGAR_OK) hg_checkpoint_deinit(out);
    return code;
}

/* Frees the headers. */
void hg_checkpoint_deinit(hg_checkpoint *ck)
{
    for (size_t i = 0; i < ck->count; i++) {
        free(ck->files[i].path);
        free(ck->files[i].real);
        hg_safetensors_free(ck->files[i].st);
    }
    free(ck->files);
    *ck = (hg_checkpoint){0};
}

/* Finds a tensor in any of the files. */
const hg_tensor *hg_checkpoint_get(const hg_checkpoint *ck, const char *name, uint32_t *file)
{
    for (uint32_t i = 0; i < ck->count; i++) {
        const hg_tensor *t = hg_safetensors_get(ck->files[i].st, name);
        if (!t) continue;
        if (file) *file = i;
        return t;
    }
    return NULL;
}
