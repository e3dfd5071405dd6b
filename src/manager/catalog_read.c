/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what is configured: each member of an entry has a row below that says where it may stand and what it must be. Then the shipped ones
 * are added, and the chains are followed: each name must lead somewhere, none back to where it came from, and none from a local_only model into the
 * cloud. The first mistake ends the reading. A key itself is never told in a message: it may have been written where its variable belongs.
 */
#include "base/fsx.h"
#include "base/mem.h"
#include "base/table.h"
#include "manager/catalog_inner.h"
#include "provider/web.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define MODELS_JSON_BYTES ((size_t)1 << 20)
#define MODELS_JSON_DEPTH 16
#define CONTEXT_MAX       ((int64_t)1 << 31)

/* ---- where ---- */

hangar_code hg_catalog_wrong(hg_catalog *c, const hg_declared *d, const char *key, hangar_err *err,
                             const char *fmt, ...)
{
    char what[HANGAR_ERR_MAX], name[HG_NAME_MAX + 8];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    hg_escape(hg_str_of(d->e.name), name, sizeof name);
    const char *dot = key ? "." : "";
    if (!d->yaml)
        return hg_fail(err, HANGAR_E_INVALID, "%s: %s%s%s: %s", d->file, name, dot, key ? key : "", what);
    c->line = hg_settings_line(c->s, "models.list", d->e.name, key, NULL);
    return hg_fail(err, HANGAR_E_INVALID, "%s: line %lu: models.list.%s%s%s: %s", d->file, c->line, name, dot,
                   key ? key : "", what);
}

/* ---- values ---- */

/* One entry on its way. */
typedef struct reading {
    hg_catalog *c;
    hg_declared *d;
    const hg_jval *doc; /* the whole entry */
    const char *key;    /* of the member that is being read */
    hangar_err *err;
} reading;

#define WRONG(r, ...) hg_catalog_wrong((r)->c, (r)->d, (r)->key, (r)->err, __VA_ARGS__)

static hangar_code read_text(reading *r, const hg_jval *v, char **to)
{
    const char *text = hg_json_text(v);
    if (!text) return WRONG(r, "a text is wanted here%s", hg_json_is_number(v) ? ", in quotes" : "");
    if (!*text || strlen(text) > HG_NAME_MAX * 4)
        return WRONG(r, "a text of 1 to %d bytes is wanted", HG_NAME_MAX * 4);
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f) return WRONG(r, "the text has a control character");
    return hg_put_text(to, text, r->err);
}

static hangar_code read_bool(reading *r, const hg_jval *v, bool *to)
{
    const char *text = hg_json_text_or(v, "");
    if (hg_json_bool(v, to)) return HANGAR_OK;
    if (hg_streq(text, "yes") || hg_streq(text, "on")) *to = true;
    else if (hg_streq(text, "no") || hg_streq(text, "off")) *to = false;
    else return WRONG(r, "true or false is wanted here");
    return HANGAR_OK;
}

static hangar_code read_tokens(reading *r, const hg_jval *v, int64_t *to)
{
    int64_t n;
    if (!hg_json_i64(v, &n) || n < 1 || n > CONTEXT_MAX)
        return WRONG(r, "a number of tokens is wanted here, 1 to %lld", (long long)CONTEXT_MAX);
    *to = n;
    return HANGAR_OK;
}

static hangar_code read_size(reading *r, const hg_jval *v, uint64_t *to)
{
    const char *text = hg_json_text(v);
    if (text ? hg_size_parse(hg_str_of(text), to) : hg_json_u64(v, to)) return HANGAR_OK;
    return WRONG(r, "a size such as 4GiB is wanted here");
}

/* Seconds; with `never`, that word and negative numbers are -1. */
static hangar_code read_seconds(reading *r, const hg_jval *v, bool never, double *to)
{
    const char *text = hg_json_text(v);
    double n = 0;
    bool good = true;
    if (never && text && hg_streq(text, "never")) n = -1;
    else good = text ? hg_duration_parse(hg_str_of(text), &n) : hg_json_f64(v, &n);
    if (good && never && n < 0) n = -1;
    if (!good || (n < 0 && !never) || n > 1e9)
        return WRONG(r, "a duration such as 30s or 5m is wanted here%s", never ? ", or never" : "");
    *to = n;
    return HANGAR_OK;
}

/* A list of texts, or one. ":FILE" is written out when the chain is checked. */
static hangar_code read_names(reading *r, const hg_jval *v, char ***to)
{
    size_t len = hg_json_is_array(v) ? hg_json_len(v) : 1, n = 0;
    hangar_code code = HANGAR_OK;
    if (len > HG_FALLBACK_MAX) return WRONG(r, "a chain has at most %d names", HG_FALLBACK_MAX);
    char **names = hg_calloc(len + 1, sizeof *names);
    if (!names) return hg_fail_memory(r->err);
    if (!hg_json_is_array(v)) code = read_text(r, v, &names[n++]);
    for (hg_json_iter it = hg_json_iter_of(v); code == HANGAR_OK && hg_json_is_array(v) && hg_json_next(&it);)
        code = read_text(r, it.val, &names[n++]);
    for (size_t i = 0; code != HANGAR_OK && i < n; i++) free(names[i]);
    if (code != HANGAR_OK) free(names);
    else *to = names;
    return code;
}

static bool is_variable(const char *text)
{
    size_t len = strlen(text);
    static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    return len > 0 && len <= 64 && strspn(text, chars) == len && !(*text >= '0' && *text <= '9');
}

static hangar_code read_variable(reading *r, const hg_jval *v)
{
    const char *text = hg_json_text(v);
    if (!text || !is_variable(text))
        return WRONG(
            r,
            "the name of an environment variable is wanted here (such as MY_API_KEY), never the key itself");
    return hg_put_text(&r->d->e.key_env, text, r->err);
}

static hangar_code read_url(reading *r, const hg_jval *v)
{
    hangar_err why = {0};
    bool local;
    char *url = NULL;
    hangar_code code = read_text(r, v, &url);
    if (code == HANGAR_OK && hg_web_check(url, false, &local, &why) != HANGAR_OK)
        code = WRONG(r, "%s", why.msg);
    for (size_t len = code == HANGAR_OK ? strlen(url) : 0; len && url[len - 1] == '/'; len--)
        url[len - 1] = '\0';
    if (code == HANGAR_OK) code = hg_put_text(&r->d->e.url, url, r->err);
    free(url);
    return code;
}

/* A path of the file system, seen from the folder of the file that it is written in. */
static hangar_code read_path(reading *r, const hg_jval *v)
{
    char *text = NULL;
    hangar_code code = read_text(r, v, &text);
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(r->d->file);
    HG_AUTO(hg_auto_free) char *path = NULL;
    if (code == HANGAR_OK && !dir) code = hg_fail_memory(r->err);
    if (code == HANGAR_OK) {
        const char *home = strncmp(text, "~/", 2) == 0 ? getenv("HOME") : NULL;
        path = home ? hg_path_join(home, text + 2) : *text == '/' ? hg_strdup(text) : hg_path_join(dir, text);
        code = path ? hg_put_text(&r->d->e.path, path, r->err) : hg_fail_memory(r->err);
    }
    free(text);
    return code;
}

static hangar_code read_ref(reading *r, const hg_jval *v)
{
    hangar_err why = {0};
    hg_ref ref;
    hangar_code code = read_text(r, v, &r->d->e.ref);
    if (code != HANGAR_OK) return code;
    return hg_ref_parse(r->d->e.ref, &ref, &why) == HANGAR_OK ? HANGAR_OK : WRONG(r, "%s", why.msg);
}

/* What hangar's providers are called, and what people call them. */
static const char *const provider_words[][2] = {{"openai", "openai"},       {"gpt", "openai"},
                                                {"gemini", "gemini"},       {"google", "gemini"},
                                                {"anthropic", "anthropic"}, {"claude", "anthropic"}};

static const char *provider_of(const char *word)
{
    for (size_t i = 0; word && i < HG_LEN(provider_words); i++)
        if (strcasecmp(provider_words[i][0], word) == 0) return provider_words[i][1];
    return NULL;
}

static hangar_code read_provider(reading *r, const hg_jval *v)
{
    const char *name = provider_of(hg_json_text(v));
    if (!name)
        return WRONG(
            r, "a provider is wanted here: openai (also for servers that speak like it), gemini, anthropic");
    return hg_put_text(&r->d->e.provider, name, r->err);
}

static hangar_code read_object(reading *r, const hg_jval *v)
{
    return hg_json_is_object(v) ? HANGAR_OK : WRONG(r, "a map is wanted here");
}

/* ---- members ---- */

enum { LOCAL = 1, CLOUD = 2, JSON = 4 /* only in models.json, whatever the entry is */ };

typedef enum member_id {
    M_NAME,
    M_TYPE,
    M_LOCAL,
    M_REF,
    M_PATH,
    M_CONTEXT,
    M_MEMORY,
    M_KEEP,
    M_PINNED,
    M_LOCAL_ONLY,
    M_FALLBACK,
    M_DEADLINE,
    M_PROVIDER,
    M_MODEL,
    M_URL,
    M_KEY,
    M_EXTRA,
    M_SAFETY,
} member_id;

static const struct member {
    const char *key;
    member_id id;
    unsigned where;
} members[] = {
    {"name", M_NAME, JSON},
    {"model_type", M_TYPE, JSON},
    {"local", M_LOCAL, JSON},
    {"model_path", M_PATH, JSON | LOCAL},
    {"ref", M_REF, LOCAL},
    {"path", M_PATH, LOCAL},
    {"context_length", M_CONTEXT, LOCAL | CLOUD},
    {"memory_limit", M_MEMORY, LOCAL},
    {"keep_alive", M_KEEP, LOCAL},
    {"pinned", M_PINNED, LOCAL},
    {"local_only", M_LOCAL_ONLY, LOCAL},
    {"fallback", M_FALLBACK, LOCAL | CLOUD},
    {"deadline", M_DEADLINE, LOCAL | CLOUD},
    {"provider", M_PROVIDER, CLOUD},
    {"model", M_MODEL, CLOUD},
    {"url", M_URL, CLOUD},
    {"api_key_env", M_KEY, CLOUD},
    {"extra", M_EXTRA, CLOUD},
    {"safety_settings", M_SAFETY, CLOUD},
};

static hangar_code read_value(reading *r, member_id id, const hg_jval *v)
{
    hg_entry *e = &r->d->e;
    switch (id) {
    case M_NAME:
    case M_TYPE:
    case M_LOCAL: return HANGAR_OK; /* seen before */
    case M_REF: return read_ref(r, v);
    case M_PATH: return read_path(r, v);
    case M_CONTEXT: return read_tokens(r, v, e->kind == HG_ENTRY_CLOUD ? &e->cloud_context : &e->context);
    case M_MEMORY: return read_size(r, v, &e->memory_limit);
    case M_KEEP: return read_seconds(r, v, true, &e->keep_alive);
    case M_PINNED: return read_bool(r, v, &e->pinned);
    case M_LOCAL_ONLY: return read_bool(r, v, &e->local_only);
    case M_FALLBACK: return read_names(r, v, &e->fallback);
    case M_DEADLINE: return read_seconds(r, v, false, &e->deadline);
    case M_PROVIDER: return read_provider(r, v);
    case M_MODEL: return read_text(r, v, &e->model);
    case M_URL: return read_url(r, v);
    case M_KEY: return read_variable(r, v);
    case M_EXTRA: return read_object(r, v);
    case M_SAFETY: return HANGAR_OK; /* join_extra */
    }
    return HANGAR_OK;
}

/* A key that no row has. */
static hangar_code unknown(reading *r)
{
    const char *names[HG_LEN(members) + 1];
    size_t n = 0;
    for (size_t i = 0; i < HG_LEN(members); i++)
        if (!r->d->yaml || !(members[i].where & JSON)) names[n++] = members[i].key;
    names[n] = NULL;
    const char *near = hg_nearest(r->key, names);
    if (hg_streq(r->key, "api_key") || hg_streq(r->key, "key")) near = "api_key_env";
    if (near) return WRONG(r, "unknown key; did you mean '%s'?", near);
    return WRONG(r, "unknown key");
}

static hangar_code read_member(reading *r, hg_str key, const hg_jval *v)
{
    char name[64];
    hg_escape(key, name, sizeof name);
    r->key = name;
    const struct member *m = NULL;
    for (size_t i = 0; i < HG_LEN(members) && !m; i++)
        if (hg_streq(members[i].key, name) && !(r->d->yaml && members[i].where & JSON)) m = &members[i];
    if (!m) return unknown(r);
    bool cloud = r->d->e.kind == HG_ENTRY_CLOUD;
    if (!(m->where & (cloud ? CLOUD : LOCAL)) && m->where & (LOCAL | CLOUD))
        return WRONG(r, "is for models %s; this one is %s", cloud ? "on this machine" : "in the cloud",
                     cloud ? "in the cloud" : "on this machine");
    return hg_json_is_null(v) ? HANGAR_OK : read_value(r, m->id, v);
}

/* ---- one entry ---- */

static bool has(const hg_jval *doc, const char *key)
{
    return !hg_json_is_null(hg_json_get(doc, key));
}

/* Local or cloud: what its members say; else what a shipped model of that name is. */
static hangar_code find_kind(reading *r, const hg_declared *shipped)
{
    bool local = has(r->doc, "ref") || has(r->doc, "path") || has(r->doc, "model_path"), said,
         is_local = false;
    bool cloud =
        has(r->doc, "provider") || has(r->doc, "url") || has(r->doc, "model") || has(r->doc, "api_key_env");
    const char *type = r->d->yaml ? NULL : hg_json_text(hg_json_get(r->doc, "model_type"));
    said = !r->d->yaml && has(r->doc, "local");
    r->key = "local";
    if (said && !hg_json_bool(hg_json_get(r->doc, "local"), &is_local))
        return WRONG(r, "true or false is wanted here");
    r->key = NULL;
    if (local && cloud)
        return WRONG(
            r, "is either on this machine (ref, path) or in the cloud (provider, url, model, api_key_env)");
    if (said && (is_local ? cloud : local))
        return WRONG(r, "says \"local\": %s, but has keys of models %s", is_local ? "true" : "false",
                     is_local ? "in the cloud" : "on this machine");
    if (!said && !local && !cloud) cloud = shipped || provider_of(type);
    r->d->e.kind = (said ? is_local : !cloud) ? HG_ENTRY_LOCAL : HG_ENTRY_CLOUD;
    return HANGAR_OK;
}

/* "extra", with "safety_settings" in it. */
static hangar_code join_extra(reading *r)
{
    static const char *const safety[] = {"safety_settings", NULL};
    const hg_jval *extra = hg_json_get(r->doc, "extra"), *settings = hg_json_get(r->doc, "safety_settings");
    HG_AUTO(hg_auto_free) char *text = NULL;
    if (hg_json_is_null(extra) && hg_json_is_null(settings)) return HANGAR_OK;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_members(w, extra, hg_json_is_null(settings) ? NULL : safety);
    if (!hg_json_is_null(settings)) hg_jw_val(w, safety[0], settings);
    hangar_code code = hg_jw_finish(w, false, &text, r->err);
    return code == HANGAR_OK ? hg_json_parse(hg_str_of(text), NULL, &r->d->e.extra, r->err) : code;
}

/* The provider of an entry that names none: of the shipped one, by its model_type, or whoever speaks like OpenAI's at its url. */
static hangar_code fill_provider(reading *r, const hg_declared *shipped)
{
    hg_entry *e = &r->d->e;
    const char *type = r->d->yaml ? NULL : hg_json_text(hg_json_get(r->doc, "model_type"));
    if (e->provider[0]) return HANGAR_OK;
    if (shipped) return hg_put_text(&e->provider, shipped->e.provider, r->err);
    if (provider_of(type)) return hg_put_text(&e->provider, provider_of(type), r->err);
    if (e->url[0]) return hg_put_text(&e->provider, "openai", r->err);
    if (!type) return WRONG(r, "needs a provider, or a url");
    r->key = "model_type";
    return WRONG(r,
                 "'%s' is no provider (openai, gemini, anthropic); with a url a server that speaks like "
                 "OpenAI's is asked",
                 type);
}

/* What a cloud entry did not say: from the shipped one, or as its provider has it. */
static hangar_code fill_cloud(reading *r, const hg_declared *shipped)
{
    static const char *const keys[][2] = {{"openai", "OPENAI_API_KEY"},
                                          {"gemini", "GEMINI_API_KEY"},
                                          {"anthropic", "ANTHROPIC_API_KEY"}};
    hg_entry *e = &r->d->e;
    hangar_code code = fill_provider(r, shipped);
    bool ours = code == HANGAR_OK && shipped && hg_streq(e->provider, shipped->e.provider);
    if (code == HANGAR_OK && !e->model[0])
        code = hg_put_text(&e->model, ours ? shipped->e.model : e->name, r->err);
    if (ours && !e->cloud_context) e->cloud_context = shipped->e.cloud_context;
    /* A provider's own key goes to the provider alone, never to an address that somebody wrote. */
    for (size_t i = 0; code == HANGAR_OK && i < HG_LEN(keys) && !e->key_env[0] && !e->url[0]; i++)
        if (hg_streq(keys[i][0], e->provider)) code = hg_put_text(&e->key_env, keys[i][1], r->err);
    return code == HANGAR_OK ? join_extra(r) : code;
}

/* The characters of a name that a repository's name may have, for a model that is taken in from a path. */
static void repo_name(const char *name, char out[HG_REPO_MAX])
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    size_t n = (size_t)snprintf(out, HG_REPO_MAX, "local/");
    size_t begin = n;
    for (const char *p = name; *p && n < begin + 90; p++) {
        bool mark = (*p == '.' || *p == '-') && n > begin && out[n - 1] != '.' && out[n - 1] != '-' && p[1];
        out[n++] = strchr(plain, *p) || mark ? *p : '_';
    }
    if (out[n - 1] == '-' || out[n - 1] == '.') out[n - 1] = '_';
    out[n] = '\0';
}

static hangar_code fill_local(reading *r)
{
    hg_entry *e = &r->d->e;
    hg_ref ref;
    char repo[HG_REPO_MAX];
    if (e->ref[0]) {
        if (e->path[0] &&
            (hg_ref_parse(e->ref, &ref, NULL) != HANGAR_OK || ref.file[0] || ref.explicit_revision))
            return WRONG(r, "beside a path, ref is a plain ORG/NAME: what it is called in the store");
        return HANGAR_OK;
    }
    if (e->path[0]) {
        repo_name(e->name, repo);
        return hg_put_text(&e->ref, repo, r->err);
    }
    if (strchr(e->name, '/') && hg_ref_parse(e->name, &ref, NULL) == HANGAR_OK)
        return hg_put_text(&e->ref, e->name, r->err);
    return WRONG(r, "needs a ref or path (on this machine), or a provider or url (in the cloud)");
}

static hangar_code read_entry(hg_catalog *c, hg_declared *d, const hg_jval *doc, hangar_err *err)
{
    reading r = {.c = c, .d = d, .doc = doc, .err = err};
    hg_declared *shipped = NULL;
    if (!hg_json_is_object(doc)) return WRONG(&r, "a map is wanted here");
    if (hg_shipped_entry(d->e.name, &shipped) && !shipped) return hg_fail_memory(err);
    d->e.declared = true;
    hangar_code code = find_kind(&r, shipped);
    for (hg_json_iter it = hg_json_iter_of(doc); code == HANGAR_OK && hg_json_next(&it);)
        code = read_member(&r, it.key, it.val);
    r.key = NULL;
    if (code == HANGAR_OK) code = d->e.kind == HG_ENTRY_CLOUD ? fill_cloud(&r, shipped) : fill_local(&r);
    hg_declared_free(shipped);
    return code;
}

/* The rule that a model's name breaks, or NULL. */
static const char *name_fault(const char *name)
{
    if (!*name || strlen(name) > HG_NAME_MAX) return "a model's name has 1 to 200 bytes";
    if (!hg_utf8_valid(hg_str_of(name))) return "a model's name is UTF-8";
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f) return "a model's name has no blanks";
    return NULL;
}

/* Adds an entry; one whose name is there already from elsewhere is passed over. */
static hangar_code add_entry(hg_catalog *c, const char *name, const char *file, bool yaml, const hg_jval *doc,
                             hangar_err *err)
{
    hg_declared *d = hg_declared_new(name);
    if (!d) return hg_fail_memory(err);
    d->file = file;
    d->yaml = yaml;
    const char *fault = name_fault(name);
    bool there = false;
    hangar_code code = fault ? hg_catalog_wrong(c, d, NULL, err, "%s", fault) : HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < c->named.len; i++) {
        if (!hg_streq(c->named.items[i]->e.name, name)) continue;
        there = true;
        if (c->named.items[i]->file == file) code = hg_catalog_wrong(c, d, NULL, err, "is there twice");
    }
    if (code == HANGAR_OK && c->named.len == HG_CATALOG_MAX)
        code = hg_fail(err, HANGAR_E_LIMIT, "%s: more than %d models", file, HG_CATALOG_MAX);
    if (code == HANGAR_OK) code = read_entry(c, d, doc, err);
    if (code == HANGAR_OK && !there && hg_declared_add(&c->named, d)) return HANGAR_OK;
    if (code == HANGAR_OK && !there) code = hg_fail_memory(err);
    hg_declared_free(d);
    return code;
}

/* ---- where they are written ---- */

static hangar_code read_yaml(hg_catalog *c, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(hg_json_root(c->s->models_list));
         code == HANGAR_OK && hg_json_next(&it);) {
        HG_AUTO(hg_auto_free) char *name = hg_strndup(it.key.ptr, it.key.len);
        code = name ? add_entry(c, name, c->s->file, true, it.val, err) : hg_fail_memory(err);
    }
    return code;
}

/* One models.json: {"models":[...]}. A missing one is fine. *file is taken when there is one. */
static hangar_code read_json(hg_catalog *c, char **file, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_buf text;
    hg_buf_init(&text, MODELS_JSON_BYTES);
    hangar_code code = hg_read_file(*file, &text, err);
    if (code == HANGAR_OK) {
        const hg_json_limits limits = {.depth = MODELS_JSON_DEPTH, .unique_keys = true};
        code = hg_wrap(err, hg_json_parse(hg_buf_view(&text), &limits, &doc, err), "%s", *file);
    } else if (code == HANGAR_E_NOT_FOUND) {
        free(*file);
        *file = NULL;
        code = HANGAR_OK;
    }
    hg_buf_deinit(&text);
    if (code != HANGAR_OK || !*file) return code;
    const hg_jval *models = hg_json_get(hg_json_root(doc), "models");
    if (!hg_json_is_array(models))
        return hg_fail(err, HANGAR_E_INVALID, "%s: {\"models\":[...]} is wanted here", *file);
    for (hg_json_iter it = hg_json_iter_of(models); code == HANGAR_OK && hg_json_next(&it);) {
        const char *name = hg_json_text(hg_json_get(it.val, "name"));
        if (name) code = add_entry(c, name, *file, false, it.val, err);
        else code = hg_fail(err, HANGAR_E_INVALID, "%s: model %zu has no name", *file, it.index + 1);
    }
    return code;
}

static hangar_code read_files(hg_catalog *c, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(c->s->file);
    if (!dir) return hg_fail_memory(err);
    if (c->s->file[0] && !(c->files[0] = hg_path_join(dir, "models.json"))) return hg_fail_memory(err);
    if (!(c->files[1] = hg_path_join(c->s->home, "models.json"))) return hg_fail_memory(err);
    if (hg_streq(c->files[0], c->files[1])) {
        free(c->files[0]);
        c->files[0] = NULL;
    }
    hangar_code code = c->files[0] ? read_json(c, &c->files[0], err) : HANGAR_OK;
    return code == HANGAR_OK ? read_json(c, &c->files[1], err) : code;
}

/* ---- shipped ---- */

static const struct shipped {
    const char *name, *provider, *model, *key_env;
    int64_t context;
} shipped_rows[] = {
#define HG_SHIPPED(name, provider, model, key_env, context) {name, provider, model, key_env, context},
#include "manager/catalogue.def"
#undef HG_SHIPPED
};

bool hg_shipped_entry(const char *name, hg_declared **out)
{
    const struct shipped *row = NULL;
    *out = NULL;
    for (size_t i = 0; i < HG_LEN(shipped_rows) && !row; i++)
        if (hg_streq(shipped_rows[i].name, name)) row = &shipped_rows[i];
    if (!row) return false;
    hg_declared *d = hg_declared_new(name);
    if (!d) return true;
    d->e.kind = HG_ENTRY_CLOUD;
    d->e.cloud_context = row->context;
    if (hg_put_text(&d->e.provider, row->provider, NULL) == HANGAR_OK &&
        hg_put_text(&d->e.model, row->model, NULL) == HANGAR_OK &&
        hg_put_text(&d->e.key_env, row->key_env, NULL) == HANGAR_OK)
        *out = d;
    else hg_declared_free(d);
    return true;
}

static hangar_code add_shipped(hg_catalog *c, hangar_err *err)
{
    for (size_t i = 0; i < HG_LEN(shipped_rows); i++) {
        hg_declared *d;
        bool there = false;
        for (size_t k = 0; k < c->named.len && !there; k++)
            there = hg_streq(c->named.items[k]->e.name, shipped_rows[i].name);
        if (there) continue;
        hg_shipped_entry(shipped_rows[i].name, &d);
        if (!d || !hg_declared_add(&c->named, d)) {
            hg_declared_free(d);
            return hg_fail_memory(err);
        }
    }
    return HANGAR_OK;
}

/* ---- chains ---- */

/* ":FILE" in a chain is another file of the same repository, a lighter variant: it is written out. */
static hangar_code expand_variant(hg_catalog *c, hg_declared *d, char **name, hangar_err *err)
{
    hg_ref ref;
    if ((*name)[0] != ':') return HANGAR_OK;
    if (d->e.kind == HG_ENTRY_CLOUD || hg_ref_parse(d->e.ref, &ref, NULL) != HANGAR_OK)
        return hg_catalog_wrong(c, d, "fallback", err,
                                "'%s' is a file of a model's repository; this one has none", *name);
    char *whole = hg_format("%s%s%s%s", ref.repo, ref.explicit_revision ? "@" : "",
                            ref.explicit_revision ? ref.revision : "", *name);
    if (!whole) return hg_fail_memory(err);
    free(*name);
    *name = whole;
    return HANGAR_OK;
}

/* A name of a chain must lead to another model: one with a name, or a REF. */
static hangar_code check_name(hg_catalog *c, hg_declared *d, const char *name, hangar_err *err)
{
    hg_ref ref;
    char shown[120];
    const char *names[HG_CATALOG_MAX + HG_LEN(shipped_rows) + 1];
    size_t n = 0;
    hg_escape(hg_str_of(name), shown, sizeof shown);
    const hg_declared *next = hg_catalog_named(c, name);
    if (next == d || (!next && d->e.kind == HG_ENTRY_LOCAL && hg_streq(name, d->e.ref)))
        return hg_catalog_wrong(c, d, "fallback", err, "'%s' is this model itself", shown);
    if (next) return HANGAR_OK;
    if (hg_ref_parse(name, &ref, NULL) == HANGAR_OK) {
        if (strchr(ref.repo, '/')) return HANGAR_OK;
        HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
        if (c->store && hg_snapshot_open(c->store, &ref, &snap, NULL) == HANGAR_OK) return HANGAR_OK;
    }
    for (size_t i = 0; i < c->named.len && n + 1 < HG_LEN(names); i++)
        if (c->named.items[i] != d) names[n++] = c->named.items[i]->e.name;
    names[n] = NULL;
    const char *near = hg_nearest(name, names);
    if (near)
        return hg_catalog_wrong(c, d, "fallback", err, "there is no model '%s'; did you mean '%s'?", shown,
                                near);
    return hg_catalog_wrong(c, d, "fallback", err, "there is no model '%s'", shown);
}

/* All chains as positions in the list: HG_FALLBACK_MAX for each model, UINT16_MAX where a name is a REF or there is none. */
static uint16_t *chain_table(const hg_catalog *c)
{
    uint16_t *table = hg_calloc(c->named.len * HG_FALLBACK_MAX, sizeof *table);
    for (size_t i = 0; table && i < c->named.len; i++) {
        uint16_t *row = table + i * HG_FALLBACK_MAX;
        char **name = c->named.items[i]->e.fallback;
        for (size_t k = 0; k < HG_FALLBACK_MAX; k++) {
            const hg_declared *next = name && *name ? hg_catalog_named(c, *name++) : NULL;
            uint16_t at = 0;
            while (next && c->named.items[at] != next) at++;
            row[k] = next ? at : UINT16_MAX;
        }
    }
    return table;
}

/* Follows all that may answer for `from`, `at` next: none may lead back to it, nor into the cloud when it is local_only. */
static hangar_code follow(hg_catalog *c, const uint16_t *table, size_t from, size_t at, bool seen[],
                          hangar_err *err)
{
    const hg_declared *d = c->named.items[from];
    hangar_code code = HANGAR_OK;
    for (size_t k = 0; code == HANGAR_OK && k < HG_FALLBACK_MAX; k++) {
        size_t i = table[at * HG_FALLBACK_MAX + k];
        if (i == UINT16_MAX) continue;
        const hg_entry *next = &c->named.items[i]->e;
        if (i == from)
            return hg_catalog_wrong(c, d, "fallback", err,
                                    "the chain leads back to this model, by way of '%s'",
                                    c->named.items[at]->e.name);
        if (d->e.local_only && next->kind == HG_ENTRY_CLOUD)
            return hg_catalog_wrong(
                c, d, "fallback", err,
                "'%s' is in the cloud, and what this model is asked never leaves the machine (local_only)",
                next->name);
        if (seen[i]) continue;
        seen[i] = true;
        code = follow(c, table, from, i, seen, err);
    }
    return code;
}

static hangar_code check_chains(hg_catalog *c, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < c->named.len; i++) {
        hg_declared *d = c->named.items[i];
        for (char **name = d->e.fallback; code == HANGAR_OK && name && *name; name++) {
            code = expand_variant(c, d, name, err);
            if (code == HANGAR_OK) code = check_name(c, d, *name, err);
        }
    }
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_auto_free) bool *seen = hg_calloc(c->named.len, sizeof *seen);
    HG_AUTO(hg_auto_free) uint16_t *table = chain_table(c);
    if (!seen || !table) return hg_fail_memory(err);
    for (size_t i = 0; code == HANGAR_OK && i < c->named.len; i++) {
        memset(seen, 0, c->named.len * sizeof *seen);
        if (c->named.items[i]->e.fallback) code = follow(c, table, i, i, seen, err);
    }
    return code;
}

hangar_code hg_catalog_read(hg_catalog *c, hangar_err *err)
{
    hangar_code code = read_yaml(c, err);
    if (code == HANGAR_OK) code = read_files(c, err);
    if (code == HANGAR_OK) code = add_shipped(c, err);
    return code == HANGAR_OK ? check_chains(c, err) : code;
}
