/* SPDX-License-Identifier: Apache-2.0 */
/* Putting the settings together: defaults, then the file, then the environment, then the caller's options. */
#include "settings/inner.h"

#include "base/buf.h"
#include "base/fsx.h"

#include <stdarg.h>
#include <stdio.h>

#define TOKEN_MAX ((size_t)64 << 10)

/* ---- the struct ---- */

hangar_code hg_loaded_new(hg_loaded **out, hangar_err *err)
{
    hg_loaded *l = hg_calloc(1, sizeof *l);
    if (!l) return hg_fail_memory(err);
    l->s.file = hg_strdup("");
    l->s.token_problem = hg_strdup("");
    hangar_code code = l->s.file && l->s.token_problem ? HANGAR_OK : hg_fail_memory(err);
    for (size_t i = 0; code == HANGAR_OK && i < HG_SETTING_COUNT; i++) {
        const hg_setting *row = &hg_setting_rows[i];
        HG_AUTO(hg_auto_free) char *path = NULL;
        if (row->type == HG_SETTING_PATH && row->def[0])
            code = hg_place_default(row->def, l->s.home, &path, err);
        if (code == HANGAR_OK) code = hg_setting_set(&l->s, row, hg_str_of(path ? path : row->def), err);
    }
    if (code == HANGAR_OK) *out = l;
    else hg_settings_free(&l->s);
    return code;
}

void hg_settings_free(hg_settings *s)
{
    if (!s) return;
    hg_loaded *l = (hg_loaded *)s;
    for (size_t i = 0; i < HG_SETTING_COUNT; i++) {
        char **text = (char **)((char *)s + hg_setting_rows[i].at);
        switch (hg_setting_rows[i].type) {
        case HG_SETTING_SECRET:
            if (*text) explicit_bzero(*text, strlen(*text));
            free(*text);
            break;
        case HG_SETTING_PATH:
        case HG_SETTING_URL:
        case HG_SETTING_TEXT:
        case HG_SETTING_CHOICE: free(*text); break;
        case HG_SETTING_TEXTS: hg_setting_free_texts(*(char ***)text); break;
        case HG_SETTING_MAP:
        case HG_SETTING_LIST: hg_json_free(*(hg_json **)text); break;
        default: break;
        }
    }
    free(s->file);
    free(s->token_problem);
    for (size_t i = 0; i < l->lines_len; i++) free(l->lines[i].path);
    free(l->lines);
    free(l);
}

/* ---- the environment ---- */

/* What the Hub's clients take for true. */
static bool env_true(const char *value)
{
    static const char *const words[] = {"1", "on", "yes", "true"};
    for (size_t i = 0; i < HG_LEN(words); i++)
        if (strcasecmp(value, words[i]) == 0) return true;
    return false;
}

/* The first of the row's variables that is set and not empty; NULL when none is. name[64] gets its name. */
static const char *env_value(const hg_setting *row, char name[64])
{
    hg_str rest = hg_str_of(row->env), word;
    bool more = rest.len != 0;
    while (more) {
        more = hg_str_cut(&rest, ' ', &word);
        memcpy(name, word.ptr, word.len);
        name[word.len] = '\0';
        const char *value = getenv(name);
        if (value && *value) return value;
    }
    return NULL;
}

/* A path from outside the file: relative ones start at the working folder. */
static hangar_code set_path(hg_settings *s, const hg_setting *row, const char *text, bool expand,
                            hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *plain = NULL;
    HG_AUTO(hg_auto_free) char *absolute = NULL;
    hangar_code code = expand ? hg_place_expand(hg_str_of(text), &plain, err) : HANGAR_OK;
    if (code == HANGAR_OK) code = hg_place_absolute(plain ? plain : text, NULL, &absolute, err);
    return code == HANGAR_OK ? hg_setting_set(s, row, hg_str_of(absolute), err) : code;
}

static hangar_code read_environment(hg_loaded *l, hangar_err *err)
{
    for (size_t i = 0; i < HG_SETTING_COUNT; i++) {
        const hg_setting *row = &hg_setting_rows[i];
        char name[64];
        const char *value = row->type == HG_SETTING_SECRET ? NULL : env_value(row, name);
        if (!value) continue;
        hangar_code code;
        if (row->type == HG_SETTING_BOOL) value = env_true(value) ? "true" : "false";
        if (row->type == HG_SETTING_PATH) code = set_path(&l->s, row, value, true, err);
        else code = hg_setting_set(&l->s, row, hg_str_trim(hg_str_of(value)), err);
        if (code != HANGAR_OK) return hg_wrap(err, code, "the variable %s", name);
        l->source[i] = HG_SOURCE_ENVIRONMENT;
    }
    return HANGAR_OK;
}

/* ---- the token ---- */

/* Takes a token over: line ends and outer spaces go; what no header can carry is refused. *set = there was one. */
static hangar_code take_token(hg_loaded *l, hg_str text, const char *where, bool *set, hangar_err *err)
{
    hg_buf b;
    hg_buf_init(&b, TOKEN_MAX);
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != '\r' && text.ptr[i] != '\n') hg_buf_putc(&b, text.ptr[i]);
    hg_str clean = hg_str_trim(hg_buf_view(&b));
    hangar_code code = hg_buf_check(&b, err);
    for (size_t i = 0; code == HANGAR_OK && i < clean.len; i++)
        if (clean.ptr[i] <= ' ' || clean.ptr[i] >= 0x7f)
            code = hg_fail(err, HANGAR_E_INVALID, "the token has a character that cannot be sent");
    *set = clean.len != 0;
    if (code == HANGAR_OK && *set)
        code = hg_setting_set(&l->s, &hg_setting_rows[HG_SETTING_IS_token], clean, err);
    if (b.data) explicit_bzero(b.data, b.len);
    hg_buf_deinit(&b);
    return hg_wrap(err, code, "%s", where);
}

/* The token file. One that is missing is fine; one that cannot be read is remembered, and there is no token then. */
static hangar_code read_token_file(hg_loaded *l, bool *set, hangar_err *err)
{
    hangar_err why = {0};
    hg_buf text;
    hg_buf_init(&text, TOKEN_MAX);
    hangar_code code = hg_read_file(l->s.token_file, &text, &why);
    if (code == HANGAR_OK) code = take_token(l, hg_buf_view(&text), l->s.token_file, set, &why);
    if (text.data) explicit_bzero(text.data, text.len);
    hg_buf_deinit(&text);
    if (code == HANGAR_OK || code == HANGAR_E_NOT_FOUND) return HANGAR_OK;
    if (code == HANGAR_E_NO_MEMORY) return hg_fail_memory(err);
    char *words = hg_strdup(why.msg);
    if (!words) return hg_fail_memory(err);
    free(l->s.token_problem);
    l->s.token_problem = words;
    return HANGAR_OK;
}

/*
 * As the Hub's Python client does it: the caller's own token; else, unless HF_HUB_DISABLE_IMPLICIT_TOKEN is true, the
 * variables, else the file.
 */
static hangar_code find_token(hg_loaded *l, const char *given, hangar_err *err)
{
    hg_source *source = &l->source[HG_SETTING_IS_token];
    bool set = false;
    char name[64];
    if (given && *given) {
        hangar_code code = take_token(l, hg_str_of(given), "the given token", &set, err);
        if (set) *source = HG_SOURCE_OPTION;
        return code;
    }
    const char *implicit = getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN");
    if (implicit && env_true(implicit)) return HANGAR_OK;
    const char *value = env_value(&hg_setting_rows[HG_SETTING_IS_token], name);
    if (value) {
        hangar_code code = take_token(l, hg_str_of(value), name, &set, err);
        if (set) *source = HG_SOURCE_ENVIRONMENT;
        if (set || code != HANGAR_OK) return code;
    }
    hangar_code code = read_token_file(l, &set, err);
    if (set) *source = HG_SOURCE_FILE;
    return code;
}

/* ---- everything ---- */

static hangar_code read_file(hg_loaded *l, const char *asked, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *file = NULL;
    bool named, found;
    hg_problems problems = {0};
    hangar_code code = hg_place_config(asked, &file, &named, err);
    if (code == HANGAR_OK) code = hg_config_read_file(file, named, l, &found, &problems, err);
    if (code == HANGAR_OK && problems.len) {
        const hg_problem *p = &problems.items[0];
        code = hg_fail(err, HANGAR_E_INVALID, "%s: line %lu, column %lu: %s%s%s", file, p->line, p->column,
                       p->key, p->key[0] ? ": " : "", p->message);
    }
    if (code == HANGAR_OK && found) {
        free(l->s.file);
        l->s.file = file;
        file = NULL;
    }
    free(problems.items);
    return code;
}

/* The options as a whole struct, whatever the size of the one the caller was built with. */
static hangar_code whole_options(const hangar_options *given, hangar_options *out, hangar_err *err)
{
    *out = (hangar_options)HANGAR_OPTIONS_INIT;
    return hg_options_read(given, sizeof given->size, "hangar_options", out, sizeof *out, err);
}

static hangar_code read_options(hg_loaded *l, const hangar_options *o, hangar_err *err)
{
    const struct {
        size_t index;
        const char *value, *what;
    } given[] = {{HG_SETTING_IS_home, o->home, "the given home folder"},
                 {HG_SETTING_IS_cache, o->cache, "the given cache folder"},
                 {HG_SETTING_IS_endpoint, o->endpoint, "the given endpoint"}};
    for (size_t i = 0; i < HG_LEN(given); i++) {
        const hg_setting *row = &hg_setting_rows[given[i].index];
        hangar_code code;
        if (!given[i].value || !*given[i].value) continue;
        if (row->type == HG_SETTING_PATH) code = set_path(&l->s, row, given[i].value, false, err);
        else code = hg_setting_set(&l->s, row, hg_str_of(given[i].value), err);
        if (code != HANGAR_OK) return hg_wrap(err, code, "%s", given[i].what);
        l->source[given[i].index] = HG_SOURCE_OPTION;
    }
    return HANGAR_OK;
}

/* The paths that lie below hangar's own folder by default, now that it is known where that is. */
static hangar_code place_below_home(hg_loaded *l, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < HG_SETTING_COUNT; i++) {
        const hg_setting *row = &hg_setting_rows[i];
        if (row->type != HG_SETTING_PATH || l->source[i] != HG_SOURCE_DEFAULT || !row->def[0]) continue;
        HG_AUTO(hg_auto_free) char *path = NULL;
        if (hg_str_starts(hg_str_of(row->def), HG_STR("$HANGAR_HOME/")))
            code = hg_place_default(row->def, l->s.home, &path, err);
        if (path) code = hg_setting_set(&l->s, row, hg_str_of(path), err);
    }
    return code;
}

unsigned long hg_settings_line(const hg_settings *s, const char *key, ...)
{
    const hg_loaded *l = (const hg_loaded *)s;
    char path[HG_CONFIG_DEPTH * (HG_CONFIG_KEY + 24)];
    size_t len = 0;
    unsigned long line = 0;
    va_list more;
    va_start(more, key);
    for (const char *part = key; part; part = va_arg(more, const char *)) {
        int n = snprintf(path + len, sizeof path - len, "%s%s", len ? "\n" : "", part);
        if (n < 0 || (size_t)n >= sizeof path - len) break;
        len += (size_t)n;
        size_t low = 0, high = l->lines_len;
        while (low < high) {
            size_t mid = low + (high - low) / 2;
            if (strcmp(l->lines[mid].path, path) < 0) low = mid + 1;
            else high = mid;
        }
        if (low < l->lines_len && hg_streq(l->lines[low].path, path)) line = l->lines[low].line;
    }
    va_end(more);
    return line;
}

hangar_code hg_settings_load(const hangar_options *options, hg_settings **out, hangar_err *err)
{
    hangar_options whole;
    hg_loaded *l;
    hangar_code code = whole_options(options, &whole, err);
    if (code == HANGAR_OK) code = hg_loaded_new(&l, err);
    if (code != HANGAR_OK) return code;
    code = read_file(l, whole.config, err);
    if (code == HANGAR_OK) code = read_environment(l, err);
    if (code == HANGAR_OK) code = read_options(l, &whole, err);
    if (code == HANGAR_OK) code = place_below_home(l, err);
    if (code == HANGAR_OK) code = find_token(l, whole.token, err);
    if (code == HANGAR_OK) *out = &l->s;
    else hg_settings_free(&l->s);
    return code;
}
