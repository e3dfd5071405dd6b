/* SPDX-License-Identifier: Apache-2.0 */
/* The programs of the configuration: each member is checked, each mistake named with its line. */
#include "base/fsx.h"
#include "base/mem.h"
#include "base/table.h"
#include "manager/programs.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

extern char **environ;

/* One that is being read. */
typedef struct reading {
    hangar *h;
    const hg_jval *doc;
    size_t index;
    hangar_err *err;
} reading;

static hangar_code wrong(const reading *r, const char *key, const char *fmt, ...) HG_PRINTF(3, 4);
static hangar_code wrong(const reading *r, const char *key, const char *fmt, ...)
{
    char what[256], at[24], name[80];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    snprintf(at, sizeof at, "%zu", r->index);
    hg_escape(hg_str_of(hg_json_text_or(hg_json_get(r->doc, "name"), at)), name, sizeof name);
    return hg_fail(r->err, HANGAR_E_INVALID, "%s: line %lu: programs.%s%s%s: %s", r->h->settings->file,
                   hg_settings_line(r->h->settings, "programs", at, key, NULL), name, key ? "." : "",
                   key ? key : "", what);
}

static void free_texts(char **texts)
{
    for (size_t i = 0; texts && texts[i]; i++) free(texts[i]);
    free(texts);
}

void hg_program_deinit(hg_program *p)
{
    free(p->name);
    free(p->path);
    free(p->cwd);
    free_texts(p->argv);
    free_texts(p->env);
    free_texts(p->models);
    free((void *)p->entries);
    free(p->after);
    hg_buf_deinit(&p->line);
}

/* A list of texts, or one; *out is NULL-terminated. */
static hangar_code read_texts(const reading *r, const char *key, char ***out)
{
    const hg_jval *v = hg_json_get(r->doc, key);
    const char *one = hg_json_text(v);
    size_t len = one ? 1 : hg_json_len(v), n = 0;
    if (!one && !hg_json_is_array(v) && !hg_json_is_null(v))
        return wrong(r, key, "a list of texts is wanted here");
    if (len > HG_PROGRAM_ARGS_MAX) return wrong(r, key, "more than %d texts", HG_PROGRAM_ARGS_MAX);
    char **texts = hg_calloc(len + 1, sizeof *texts);
    if (!texts) return hg_fail_memory(r->err);
    hangar_code code = HANGAR_OK;
    if (one && !(texts[n++] = hg_strdup(one))) code = hg_fail_memory(r->err);
    for (hg_json_iter it = hg_json_iter_of(v); !one && code == HANGAR_OK && hg_json_next(&it);) {
        const char *text = hg_json_text(it.val);
        if (!text) code = wrong(r, key, "a list of texts is wanted here");
        else if (!(texts[n++] = hg_strdup(text))) code = hg_fail_memory(r->err);
    }
    if (code == HANGAR_OK) *out = texts;
    else free_texts(texts);
    return code;
}

hangar_code hg_program_find(const char *name, const char *cwd, char **out, hangar_err *err)
{
    char *found = NULL;
    if (strchr(name, '/')) {
        found = *name != '/' && cwd ? hg_path_join(cwd, name) : hg_strdup(name);
        if (!found) return hg_fail_memory(err);
        if (access(found, X_OK) == 0) {
            *out = found;
            return HANGAR_OK;
        }
        free(found);
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s is no program that can be started", name);
    }
    const char *path = getenv("PATH");
    hg_str rest = hg_str_of(path ? path : "/usr/local/bin:/usr/bin:/bin"), dir;
    for (bool more = true; more;) {
        more = hg_str_cut(&rest, ':', &dir);
        if (dir.len == 0) continue;
        if (!(found = hg_format("%.*s/%s", HG_STR_ARG(dir), name))) return hg_fail_memory(err);
        if (hg_is_file(found) && access(found, X_OK) == 0) {
            *out = found;
            return HANGAR_OK;
        }
        free(found);
    }
    return hg_fail(err, HANGAR_E_NOT_FOUND, "there is no program %s in PATH", name);
}

char **hg_program_env(const char *const *more, size_t count)
{
    size_t have = 0, n = 0;
    while (environ && environ[have]) have++;
    char **env = hg_calloc(have + count + 1, sizeof *env);
    for (size_t i = 0; env && i < have + count; i++) {
        bool again = false;
        for (size_t k = 0; i < have && k < count && !again; k++) {
            size_t len = strlen(more[2 * k]);
            again = strncmp(environ[i], more[2 * k], len) == 0 && environ[i][len] == '=';
        }
        if (again) continue;
        env[n] = i < have ? hg_strdup(environ[i])
                          : hg_format("%s=%s", more[2 * (i - have)], more[2 * (i - have) + 1]);
        if (env[n++]) continue;
        free_texts(env);
        return NULL;
    }
    return env;
}

static hangar_code read_env(const reading *r, hg_program *p)
{
    const hg_jval *v = hg_json_get(r->doc, "env");
    hangar_code code = HANGAR_OK;
    size_t count = 0, len = hg_json_len(v);
    if (!hg_json_is_null(v) && !hg_json_is_object(v)) return wrong(r, "env", "a map of texts is wanted here");
    HG_AUTO(hg_auto_free) char **names = hg_calloc(2 * len, sizeof *names);
    if (!names) return hg_fail_memory(r->err);
    for (hg_json_iter it = hg_json_iter_of(v); code == HANGAR_OK && hg_json_next(&it);) {
        const char *value = hg_json_is_null(it.val) ? "" : hg_json_text(it.val);
        if (!value || memchr(it.key.ptr, '=', it.key.len)) {
            code = wrong(r, "env", "a map of texts is wanted here");
            break;
        }
        names[2 * count] = hg_strndup(it.key.ptr, it.key.len);
        names[2 * count + 1] = hg_strdup(value);
        count++;
        if (!names[2 * count - 2] || !names[2 * count - 1]) code = hg_fail_memory(r->err);
    }
    if (code == HANGAR_OK && !(p->env = hg_program_env((const char *const *)names, count)))
        code = hg_fail_memory(r->err);
    for (size_t i = 0; i < 2 * count; i++) free(names[i]);
    return code;
}

static hangar_code read_cwd(const reading *r, hg_program *p)
{
    const hg_jval *v = hg_json_get(r->doc, "cwd");
    const char *text = hg_json_text(v);
    if (hg_json_is_null(v)) return HANGAR_OK;
    if (!text || !*text) return wrong(r, "cwd", "a folder is wanted here");
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(r->h->settings->file);
    p->cwd = *text == '/' ? hg_strdup(text) : dir ? hg_path_join(dir, text) : NULL;
    return p->cwd ? HANGAR_OK : hg_fail_memory(r->err);
}

static hangar_code read_restart(const reading *r, hg_program *p)
{
    static const char *const words[] = {"never", "on-failure", "always"};
    const hg_jval *v = hg_json_get(r->doc, "restart");
    p->restart = HG_RESTART_ON_FAILURE;
    if (hg_json_is_null(v)) return HANGAR_OK;
    for (size_t i = 0; i < HG_LEN(words); i++) {
        if (!hg_streq(hg_json_text(v), words[i])) continue;
        p->restart = (hg_restart)i;
        return HANGAR_OK;
    }
    return wrong(r, "restart", "one of never, on-failure, always is wanted here");
}

/* The programs that must run before: those it names; the one above it when it names none. Only earlier ones, so that there is no circle. */
static hangar_code read_after(const reading *r, const hg_program *all, hg_program *p)
{
    char **names = NULL;
    bool given = hg_json_is_array(hg_json_get(r->doc, "after"));
    hangar_code code = read_texts(r, "after", &names);
    size_t len = 0;
    while (code == HANGAR_OK && names[len]) len++;
    if (code == HANGAR_OK && !(p->after = hg_calloc(len + 1, sizeof *p->after)))
        code = hg_fail_memory(r->err);
    for (size_t i = 0; code == HANGAR_OK && i < len; i++) {
        size_t at = 0;
        while (at < r->index && !hg_streq(all[at].name, names[i])) at++;
        if (at == r->index) code = wrong(r, "after", "there is no program '%s' above this one", names[i]);
        else p->after[p->after_count++] = at;
    }
    if (code == HANGAR_OK && !given && len == 0 && r->index > 0) p->after[p->after_count++] = r->index - 1;
    free_texts(names);
    return code;
}

static hangar_code read_models(const reading *r, hg_catalog *c, hg_program *p)
{
    hangar_code code = read_texts(r, "models", &p->models);
    size_t len = 0;
    while (code == HANGAR_OK && p->models[len]) len++;
    if (code == HANGAR_OK && !(p->entries = hg_calloc(len + 1, sizeof *p->entries)))
        code = hg_fail_memory(r->err);
    for (size_t i = 0; code == HANGAR_OK && i < len; i++) {
        hangar_err why = {0};
        if (hg_catalog_want(c, p->models[i], &p->entries[i], &why) != HANGAR_OK)
            code = wrong(r, "models", "%s", why.msg);
        else if (!hg_entry_has_key(p->entries[i]))
            code = wrong(r, "models", "%s is a cloud model, and its key is not set: export %s=...",
                         p->models[i], p->entries[i]->key_env);
    }
    return code;
}

/* A member that is none of ours. */
static hangar_code check_keys(const reading *r)
{
    static const char *const keys[] = {"name", "command", "models", "after", "env", "cwd", "restart", NULL};
    for (hg_json_iter it = hg_json_iter_of(r->doc); hg_json_next(&it);) {
        char key[130];
        bool known = false;
        snprintf(key, sizeof key, "%.*s", HG_STR_ARG(it.key));
        for (size_t i = 0; keys[i] && !known; i++) known = hg_streq(keys[i], key);
        if (known) continue;
        const char *near = hg_nearest(key, keys);
        return wrong(r, key, "unknown key%s%s%s", near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "");
    }
    return HANGAR_OK;
}

static hangar_code read_name(const reading *r, const hg_program *all, hg_program *p)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    const char *name = hg_json_text(hg_json_get(r->doc, "name"));
    if (!name || !*name || strlen(name) > 64 || strspn(name, plain) != strlen(name))
        return wrong(r, "name", "a name of 1 to 64 letters, digits, '_', '.' and '-' is wanted");
    for (size_t i = 0; i < r->index; i++)
        if (hg_streq(all[i].name, name)) return wrong(r, "name", "is there twice");
    if (hg_streq(name, "hangar")) return wrong(r, "name", "is the daemon's own");
    p->name = hg_strdup(name);
    return p->name ? HANGAR_OK : hg_fail_memory(r->err);
}

hangar_code hg_programs_read(hangar *h, hg_catalog *c, hg_program *out, size_t *count, hangar_err *err)
{
    const hg_jval *list = hg_json_root(h->settings->programs);
    hangar_code code = HANGAR_OK;
    *count = 0;
    if (hg_json_len(list) == 0)
        return hg_fail(err, HANGAR_E_NOT_FOUND, "there are no programs in the configuration (%s)",
                       h->settings->file[0] ? h->settings->file : "there is none");
    if (hg_json_len(list) > HG_PROGRAMS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "%s: more than %d programs", h->settings->file, HG_PROGRAMS_MAX);
    for (hg_json_iter it = hg_json_iter_of(list); code == HANGAR_OK && hg_json_next(&it);) {
        hg_program *p = &out[(*count)++];
        const reading r = {h, it.val, it.index, err};
        *p = (hg_program){.pidfd = -1};
        hg_buf_init(&p->line, 64 * HG_KIB);
        if (!hg_json_is_object(it.val)) return wrong(&r, NULL, "a map is wanted here");
        code = check_keys(&r);
        if (code == HANGAR_OK) code = read_name(&r, out, p);
        if (code == HANGAR_OK) code = read_texts(&r, "command", &p->argv);
        if (code == HANGAR_OK && (!p->argv[0] || !p->argv[0][0]))
            code = wrong(&r, "command", "a program is wanted here");
        if (code == HANGAR_OK) code = read_cwd(&r, p);
        if (code == HANGAR_OK) code = read_env(&r, p);
        if (code == HANGAR_OK) code = read_restart(&r, p);
        if (code == HANGAR_OK) code = read_after(&r, out, p);
        if (code == HANGAR_OK) code = read_models(&r, c, p);
        if (code == HANGAR_OK)
            code = hg_wrap(err, hg_program_find(p->argv[0], p->cwd, &p->path, err), "%s", p->name);
    }
    return code;
}
