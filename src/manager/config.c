/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "manager/catalog.h"

#include <stdio.h>

hangar_code hangar_config_show(hangar *h, char **out_json, hangar_err *err)
{
    return hg_settings_show(h->settings, out_json, err);
}

/* The report of a file that is in order but for a model of its models.list, or a models.json beside it. */
static hangar_code bad_catalog(const hg_settings *s, const hangar_err *why, unsigned long line, char **json,
                               hangar_err *err)
{
    char key[HANGAR_ERR_MAX] = "", place[HANGAR_ERR_MAX];
    const char *message = why->msg;
    int len = snprintf(place, sizeof place, "%s: line %lu: ", s->file, line);
    if (line && strncmp(message, place, (size_t)len) == 0) {
        hg_str rest = hg_str_of(message + len);
        const char *end = strstr(rest.ptr, ": ");
        if (end) snprintf(key, sizeof key, "%.*s", (int)(end - rest.ptr), rest.ptr);
        message = end ? end + 2 : rest.ptr;
    }
    static const char *const ours[] = {"ok", "problems", NULL};
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hangar_code code = hg_json_parse(hg_str_of(*json), NULL, &doc, err);
    free(*json);
    *json = NULL;
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    hg_jw_members(w, hg_json_root(doc), ours);
    hg_jw_bool(w, "ok", false);
    hg_jw_arr(w, "problems");
    hg_jw_obj(w, NULL);
    hg_jw_u64(w, "line", line);
    hg_jw_u64(w, "column", line ? 1 : 0);
    hg_jw_text(w, "key", key);
    hg_jw_text(w, "message", message);
    code = hg_jw_finish(w, false, json, err);
    return code == HANGAR_OK ? hg_fail(err, HANGAR_E_INVALID, "%s", why->msg) : code;
}

hangar_code hangar_config_check(const char *file, char **out_json, hangar_err *err)
{
    hangar_options options = HANGAR_OPTIONS_INIT;
    hangar_err why = {0};
    hg_settings *s = NULL;
    unsigned long line = 0;
    hangar_code code = hg_settings_check(file, out_json, err);
    options.config = file;
    /* What else may be wrong with the settings (a variable, say) is not this file's. */
    if (code != HANGAR_OK || hg_settings_load(&options, &s, NULL) != HANGAR_OK) return code;
    if (hg_catalog_check(s, &line, &why) == HANGAR_E_INVALID)
        code = bad_catalog(s, &why, line, out_json, err);
    hg_settings_free(s);
    return code;
}
