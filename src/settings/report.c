/* SPDX-License-Identifier: Apache-2.0 */
/* The settings as a document, and the check of a file. */
#include "settings/inner.h"

#include "base/json.h"

static const char *const source_names[] = {"default", "file", "environment", "option"};

/* The value as a program wants it: sizes in bytes, durations in seconds. */
static void write_raw(hg_jw *w, const char *name, const hg_settings *s, const hg_setting *row)
{
    const void *field = (const char *)s + row->at;
    switch (row->type) {
    case HG_SETTING_SECRET: hg_jw_text(w, name, **(char *const *)field ? "(set)" : ""); break;
    case HG_SETTING_BOOL: hg_jw_bool(w, name, *(const bool *)field); break;
    case HG_SETTING_INT: hg_jw_i64(w, name, *(const int64_t *)field); break;
    case HG_SETTING_SIZE: hg_jw_u64(w, name, *(const uint64_t *)field); break;
    case HG_SETTING_DURATION: hg_jw_f64(w, name, *(const double *)field); break;
    case HG_SETTING_PATH:
    case HG_SETTING_URL:
    case HG_SETTING_TEXT:
    case HG_SETTING_CHOICE: hg_jw_text(w, name, *(char *const *)field); break;
    case HG_SETTING_TEXTS:
        hg_jw_arr(w, name);
        for (char **text = *(char **const *)field; *text; text++) hg_jw_text(w, NULL, *text);
        hg_jw_end(w);
        break;
    case HG_SETTING_MAP:
    case HG_SETTING_LIST: {
        const hg_json *doc = *(hg_json *const *)field;
        if (doc) hg_jw_val(w, name, hg_json_root(doc));
        else hg_jw_null(w, name);
        break;
    }
    }
}

hangar_code hg_settings_show(const hg_settings *s, char **out_json, hangar_err *err)
{
    const hg_loaded *l = (const hg_loaded *)s;
    hg_loaded *defaults = NULL;
    hangar_code code = hg_loaded_new(&defaults, err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "file", s->file);
    hg_jw_arr(w, "settings");
    for (size_t i = 0; i < HG_SETTING_COUNT; i++) {
        const hg_setting *row = &hg_setting_rows[i];
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "key", row->key);
        write_raw(w, "value", s, row);
        write_raw(w, "default", &defaults->s, row);
        hg_jw_text(w, "source", source_names[l->source[i]]);
        hg_jw_text(w, "help", row->help);
        hg_jw_text(w, "type", hg_setting_type_name(row->type));
        hg_jw_text(w, "allowed", row->allowed);
        hg_jw_text(w, "environment", row->env);
        hg_jw_end(w);
    }
    hg_settings_free(&defaults->s);
    return hg_jw_finish(w, false, out_json, err);
}

hangar_code hg_settings_check(const char *file, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *path = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_loaded *l = NULL;
    hg_problems problems = {0};
    bool named, found = false;
    hangar_code code = hg_place_config(file, &path, &named, err);
    if (code == HANGAR_OK) code = hg_loaded_new(&l, err);
    if (code == HANGAR_OK) code = hg_config_read_file(path, named, l, &found, &problems, err);
    hg_settings_free(l ? &l->s : NULL);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "file", path);
    hg_jw_bool(w, "found", found);
    hg_jw_bool(w, "ok", problems.len == 0);
    hg_jw_arr(w, "problems");
    for (size_t i = 0; i < problems.len; i++) {
        hg_jw_obj(w, NULL);
        hg_jw_u64(w, "line", problems.items[i].line);
        hg_jw_u64(w, "column", problems.items[i].column);
        hg_jw_text(w, "key", problems.items[i].key);
        hg_jw_text(w, "message", problems.items[i].message);
        hg_jw_end(w);
    }
    if (code == HANGAR_OK) code = hg_jw_finish(w, false, out_json, err);
    if (code == HANGAR_OK && problems.len)
        code =
            hg_fail(err, HANGAR_E_INVALID, "%s: %zu mistake%s, the first in line %lu: %s%s%s", path,
                    problems.len, problems.len == 1 ? "" : "s", problems.items[0].line, problems.items[0].key,
                    problems.items[0].key[0] ? ": " : "", problems.items[0].message);
    free(problems.items);
    return code;
}
