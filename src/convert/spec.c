/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be built, as JSON for the child that builds it. */
#include "convert/convert.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Building reads the configuration and the weights, nothing else. */
static bool is_source(const char *path)
{
    hg_str p = hg_str_of(path);
    return hg_str_ends(p, HG_STR(".safetensors")) || hg_str_eq(p, HG_STR("config.json")) ||
           hg_str_ends(p, HG_STR(".safetensors.index.json"));
}

/* Writes a spec. All names of files go along, since messages tell what else a repository holds. */
void hg_convert_spec_write(const hg_convert_spec *spec, hg_jw *w)
{
    const hg_snapshot *snap = spec->snap;
    hg_jw_text(w, "form", spec->form->name);
    hg_jw_bool(w, "portable", spec->style == HG_STYLE_PORTABLE);
    hg_jw_text(w, "level", hg_level_name(spec->level));
    hg_jw_i64(w, "opset", spec->opset);
    hg_jw_u64(w, "layers", spec->layers);
    hg_jw_bool(w, "for_others", spec->for_others);
    hg_jw_text(w, "repo", snap->ref.repo);
    hg_jw_text(w, "file", snap->ref.file);
    hg_jw_text(w, "commit", snap->commit);
    hg_jw_text(w, "snapshot", snap->dir);
    hg_jw_arr(w, "paths");
    for (size_t i = 0; i < snap->count; i++) hg_jw_text(w, NULL, snap->files[i].path);
    hg_jw_end(w);
}

static bool take_text(const hg_jval *v, const char *key, char *out, size_t size)
{
    const char *text = hg_json_text(hg_json_get(v, key));
    if (!text || strlen(text) >= size) return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static hangar_code read_paths(const hg_jval *paths, hg_snapshot *snap, hangar_err *err)
{
    snap->files = hg_calloc(hg_json_len(paths), sizeof *snap->files);
    if (!snap->files) return hg_fail_memory(err);
    for (hg_json_iter it = hg_json_iter_of(paths); hg_json_next(&it);) {
        const char *path = hg_json_text(it.val);
        hangar_code code = hg_path_check(hg_str_of(path ? path : ""), err);
        if (code != HANGAR_OK) return code;
        snap->files[snap->count].path = hg_strdup(path);
        if (!snap->files[snap->count++].path) return hg_fail_memory(err);
    }
    return HANGAR_OK;
}

/* Reads a spec. */
hangar_code hg_convert_spec_read(const hg_jval *v, hg_convert_spec *out, hg_snapshot **out_snap,
                                 hangar_err *err)
{
    hg_snapshot *snap = hg_calloc(1, sizeof *snap);
    if (!snap) return hg_fail_memory(err);
    const char *dir = hg_json_text_or(hg_json_get(v, "snapshot"), "");
    hangar_code code = HANGAR_OK;
    *out = (hg_convert_spec){.snap = snap,
                             .form = hg_form_get(hg_json_text(hg_json_get(v, "form"))),
                             .style = hg_json_bool_or(hg_json_get(v, "portable"), false) ? HG_STYLE_PORTABLE
                                                                                         : HG_STYLE_FUSED,
                             .opset = (int)hg_json_i64_or(hg_json_get(v, "opset"), 0),
                             .layers = (uint32_t)hg_json_i64_or(hg_json_get(v, "layers"), 0),
                             .for_others = hg_json_bool_or(hg_json_get(v, "for_others"), false)};
    bool ok = hg_level_get(hg_json_text(hg_json_get(v, "level")), &out->level) && out->form &&
              dir[0] == '/' && take_text(v, "repo", snap->ref.repo, sizeof snap->ref.repo) &&
              take_text(v, "file", snap->ref.file, sizeof snap->ref.file) &&
              take_text(v, "commit", snap->commit, sizeof snap->commit);
    if (!ok) code = hg_fail(err, HANGAR_E_INVALID, "a conversion is not described in full");
    snap->dir = hg_strdup(dir);
    if (code == HANGAR_OK && !snap->dir) code = hg_fail_memory(err);
    if (code == HANGAR_OK) code = read_paths(hg_json_get(v, "paths"), snap, err);
    if (code != HANGAR_OK) hg_snapshot_free(snap);
    else *out_snap = snap;
    return code;
}

/* Frees a list of paths. */
void hg_convert_sources_free(char **paths)
{
    for (char **p = paths; p && *p; p++) free(*p);
    free((void *)paths);
}

/* What building reads. */
hangar_code hg_convert_sources(const hg_snapshot *snap, char ***out_paths, hangar_err *err)
{
    size_t count = 0;
    char **paths = (char **)hg_calloc(snap->count + 1, sizeof *paths);
    if (!paths) return hg_fail_memory(err);
    for (size_t i = 0; i < snap->count; i++) {
        if (!is_source(snap->files[i].path)) continue;
        HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(snap, snap->files[i].path);
        paths[count] = path ? realpath(path, NULL) : NULL;
        if (paths[count]) {
            count++;
            continue;
        }
        int why = errno;
        hg_convert_sources_free(paths);
        return path ? hg_fail_errno(err, why, "%s", snap->files[i].path) : hg_fail_memory(err);
    }
    *out_paths = paths;
    return HANGAR_OK;
}
