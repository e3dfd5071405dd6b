/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a model by name: among those that are declared, those that hangar ships, those of the store. */
#include "base/fsx.h"
#include "base/mem.h"
#include "base/table.h"
#include "manager/catalog_inner.h"

#include <math.h>
#include <stdio.h>

/* ---- entries ---- */

hg_declared *hg_declared_new(const char *name)
{
    hg_declared *d = hg_calloc(1, sizeof *d);
    if (!d) return NULL;
    hg_entry *e = &d->e;
    e->keep_alive = NAN;
    char **const texts[] = {&e->ref, &e->path, &e->provider, &e->url, &e->model, &e->key_env};
    bool whole = (e->name = hg_strdup(name)) != NULL;
    for (size_t i = 0; i < HG_LEN(texts); i++) whole = (*texts[i] = hg_strdup("")) && whole;
    if (whole) return d;
    hg_declared_free(d);
    return NULL;
}

void hg_declared_free(hg_declared *d)
{
    if (!d) return;
    hg_entry *e = &d->e;
    for (size_t i = 0; e->fallback && e->fallback[i]; i++) free(e->fallback[i]);
    free(e->fallback);
    free(e->name);
    free(e->ref);
    free(e->path);
    free(e->provider);
    free(e->url);
    free(e->model);
    free(e->key_env);
    hg_json_free(e->extra);
    hg_stamp_deinit(&d->stamp);
    free(d);
}

bool hg_declared_add(hg_declared_list *list, hg_declared *d)
{
    if (!hg_grow((void **)&list->items, &list->cap, list->len + 1, sizeof(hg_declared *))) return false;
    list->items[list->len++] = d;
    return true;
}

static void free_list(hg_declared_list *list)
{
    for (size_t i = 0; i < list->len; i++) hg_declared_free(list->items[i]);
    free(list->items);
}

hangar_code hg_put_text(char **to, const char *text, hangar_err *err)
{
    char *copy = hg_strdup(text);
    if (!copy) return hg_fail_memory(err);
    free(*to);
    *to = copy;
    return HANGAR_OK;
}

/* ---- opening ---- */

static hangar_code open_catalog(const hg_settings *s, hg_store *store, hg_catalog **out, unsigned long *line,
                                hangar_err *err)
{
    hg_catalog *c = hg_calloc(1, sizeof *c);
    if (!c) return hg_fail_memory(err);
    c->s = s;
    c->store = store;
    hangar_code code = hg_catalog_read(c, err);
    if (line) *line = c->line;
    if (code == HANGAR_OK) *out = c;
    else hg_catalog_free(c);
    return code;
}

hangar_code hg_catalog_open(hangar *h, hg_catalog **out, hangar_err *err)
{
    return open_catalog(h->settings, h->store, out, NULL, err);
}

hangar_code hg_catalog_check(const hg_settings *s, unsigned long *line, hangar_err *err)
{
    hg_catalog *c = NULL;
    hangar_code code = open_catalog(s, NULL, &c, line, err);
    hg_catalog_free(c);
    return code;
}

void hg_catalog_free(hg_catalog *c)
{
    if (!c) return;
    free_list(&c->named);
    free_list(&c->found);
    free(c->files[0]);
    free(c->files[1]);
    free(c);
}

size_t hg_catalog_count(const hg_catalog *c)
{
    return c->named.len;
}

const hg_entry *hg_catalog_at(const hg_catalog *c, size_t index)
{
    return index < c->named.len ? &c->named.items[index]->e : NULL;
}

bool hg_entry_has_key(const hg_entry *e)
{
    const char *key = e->key_env[0] ? getenv(e->key_env) : "-";
    return key && *key;
}

/* ---- by name ---- */

/* The name without ":latest", in buf. */
static const char *plain_name(const char *name, char buf[2 * HG_NAME_MAX])
{
    hg_str s = hg_str_of(name);
    if (!hg_str_ends(s, HG_STR(":latest")) || s.len >= (size_t)2 * HG_NAME_MAX) return name;
    snprintf(buf, (size_t)2 * HG_NAME_MAX, "%.*s", (int)(s.len - 7), s.ptr);
    return buf;
}

hg_declared *hg_catalog_named(const hg_catalog *c, const char *name)
{
    char buf[2 * HG_NAME_MAX];
    const char *plain = plain_name(name, buf);
    for (size_t i = 0; i < c->named.len; i++)
        if (hg_streq(c->named.items[i]->e.name, name)) return c->named.items[i];
    for (size_t i = 0; plain != name && i < c->named.len; i++)
        if (hg_streq(c->named.items[i]->e.name, plain)) return c->named.items[i];
    /* What the provider calls a shipped one. */
    for (size_t i = 0; i < c->named.len; i++)
        if (!c->named.items[i]->file && hg_streq(c->named.items[i]->e.model, plain)) return c->named.items[i];
    return NULL;
}

/* The name that was probably meant, or NULL. Borrowed. */
static const char *near_name(const hg_catalog *c, const char *name)
{
    const char **names = hg_calloc(c->named.len + 1, sizeof *names);
    for (size_t i = 0; names && i < c->named.len; i++) names[i] = c->named.items[i]->e.name;
    const char *near = names ? hg_nearest(name, names) : NULL;
    free(names);
    return near;
}

static hangar_code no_model(const hg_catalog *c, const char *name, hangar_err *err)
{
    char shown[120];
    const char *near = near_name(c, name);
    hg_escape(hg_str_of(name), shown, sizeof shown);
    if (near)
        return hg_fail(err, HANGAR_E_NOT_FOUND, "there is no model '%s'; did you mean '%s'?", shown, near);
    return hg_fail(err, HANGAR_E_NOT_FOUND, "there is no model '%s' in the catalogue or the store", shown);
}

/* ---- in the store ---- */

/* Whether a file is the GGUF file that a tag such as "Q4_K_M" stands for: its name ends so, in any case. */
static bool tag_fits(const char *path, const char *tag)
{
    hg_str base = hg_str_of(hg_path_base(path));
    size_t len = strlen(tag);
    if (!hg_str_ends(base, HG_STR(".gguf"))) return false;
    base.len -= 5;
    if (base.len <= len || !strchr("-.", base.ptr[base.len - len - 1])) return false;
    return strncasecmp(base.ptr + base.len - len, tag, len) == 0;
}

/* A file of the snapshot by its path, or by a tag of Ollama's; NULL. */
static const char *file_of(const hg_snapshot *snap, const char *file)
{
    const char *found = NULL;
    if (hg_snapshot_file_get(snap, file)) return file;
    for (size_t i = 0; i < snap->count; i++) {
        if (!tag_fits(snap->files[i].path, file)) continue;
        if (found) return NULL;
        found = snap->files[i].path;
    }
    return found;
}

/* One that was found before by this very name, and was not touched since: what every question to a model asks for, at the price of two looks. */
static hg_declared *still_there(const hg_catalog *c, const char *name)
{
    for (size_t i = 0; i < c->found.len; i++)
        if (hg_streq(c->found.items[i]->e.ref, name))
            return hg_stamp_holds(&c->found.items[i]->stamp) ? c->found.items[i] : NULL;
    return NULL;
}

/* The entry of a REF, one for each REF. */
static hangar_code entry_of(hg_catalog *c, const hg_ref *ref, hg_declared **out, hangar_err *err)
{
    char text[sizeof ref->repo + sizeof ref->revision + sizeof ref->file + 4];
    snprintf(text, sizeof text, "%s%s%s%s%s", ref->repo, hg_streq(ref->revision, "main") ? "" : "@",
             hg_streq(ref->revision, "main") ? "" : ref->revision, ref->file[0] ? ":" : "", ref->file);
    for (size_t i = 0; i < c->found.len; i++) {
        if (!hg_streq(c->found.items[i]->e.ref, text)) continue;
        *out = c->found.items[i];
        return HANGAR_OK;
    }
    if (c->found.len == HG_FOUND_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "more than %d models of the store were asked for", HG_FOUND_MAX);
    hg_declared *d = hg_declared_new(text);
    hangar_code code = d ? hg_put_text(&d->e.ref, text, err) : hg_fail_memory(err);
    if (code == HANGAR_OK && !hg_declared_add(&c->found, d)) code = hg_fail_memory(err);
    if (code == HANGAR_OK) *out = d;
    else hg_declared_free(d);
    return code;
}

/* Looks a REF up; a file that is named by its tag gets its path. */
static hangar_code look_up(hg_catalog *c, hg_ref *ref, hg_declared **out, hangar_err *err)
{
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    hangar_code code = hg_snapshot_open(c->store, ref, &snap, err);
    if (code != HANGAR_OK) return code;
    const char *file = ref->file[0] ? file_of(snap, ref->file) : "";
    if (!file)
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s@%s has no file %s in the store", ref->repo, ref->revision,
                       ref->file);
    if (file[0] && file != ref->file) snprintf(ref->file, sizeof ref->file, "%s", file);
    code = entry_of(c, ref, out, err);
    /* Without a stamp it is looked up anew the next time. */
    if (code == HANGAR_OK) (void)!hg_stamp_take(c->store, snap, &(*out)->stamp, NULL);
    return code;
}

static hangar_code find(hg_catalog *c, const char *name, bool missing, const hg_entry **out, hangar_err *err)
{
    char buf[2 * HG_NAME_MAX];
    hangar_err why = {0};
    hg_ref ref;
    *out = NULL;
    hg_declared *d = hg_catalog_named(c, name);
    if (!d) d = still_there(c, name);
    if (d) {
        *out = &d->e;
        return HANGAR_OK;
    }
    const char *plain = plain_name(name, buf);
    static const char *const hubs[] = {"hf.co/", "huggingface.co/"};
    for (size_t i = 0; i < HG_LEN(hubs); i++)
        if (strncasecmp(plain, hubs[i], strlen(hubs[i])) == 0) plain += strlen(hubs[i]);
    if (hg_ref_parse(plain, &ref, NULL) != HANGAR_OK) return no_model(c, name, err);
    hangar_code code = look_up(c, &ref, &d, &why);
    if (code == HANGAR_E_NOT_FOUND && missing && strchr(ref.repo, '/')) code = entry_of(c, &ref, &d, &why);
    if (code == HANGAR_OK) {
        *out = &d->e;
        return code;
    }
    if (code == HANGAR_E_NOT_FOUND && !strchr(ref.repo, '/')) return no_model(c, name, err);
    if (err) *err = why;
    return code;
}

hangar_code hg_catalog_find(hg_catalog *c, const char *name, const hg_entry **out, hangar_err *err)
{
    return find(c, name, false, out, err);
}

hangar_code hg_catalog_want(hg_catalog *c, const char *name, const hg_entry **out, hangar_err *err)
{
    return find(c, name, true, out, err);
}

/* ---- files ---- */

hangar_code hg_entry_ensure(hangar *h, const hg_entry *e, hangar_job *job, hangar_err *err)
{
    hangar_err why = {0};
    if (e->kind == HG_ENTRY_CLOUD) return HANGAR_OK;
    hangar_code code = hangar_model_exists(h, e->ref, &why);
    if (code == HANGAR_OK) return HANGAR_OK;
    if (code != HANGAR_E_NOT_FOUND) {
        if (err) *err = why;
        return code;
    }
    char *json = NULL;
    if (e->path[0]) code = hangar_model_add(h, e->path, e->ref, job, &json, err);
    else code = hangar_model_download(h, e->ref, NULL, job, &json, err);
    hangar_free(json);
    return hg_wrap(err, code, "%s", e->name);
}

/* What it takes to use a cloud model. */
static hangar_code no_weights(const hg_entry *e, hangar_err *err)
{
    if (e->url[0])
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "%s has no files here, another server answers for it: hangar run %s", e->name,
                       e->name);
    if (hg_entry_has_key(e))
        return hg_fail(
            err, HANGAR_E_UNSUPPORTED,
            "the weights of %s are not published anywhere, it answers over the network: hangar run %s",
            e->name, e->name);
    return hg_fail(
        err, HANGAR_E_UNSUPPORTED,
        "the weights of %s are not published anywhere, it answers over the network: export %s=...; hangar "
        "run %s",
        e->name, e->key_env, e->name);
}

hangar_code hg_catalog_has_weights(hangar *h, const char *name, hangar_err *err)
{
    hg_catalog *c = NULL;
    hg_declared *shipped = NULL;
    hangar_code code = HANGAR_OK;
    if (!name) return HANGAR_OK;
    /* With a catalogue that cannot be read the shipped ones are still known; whoever needs the catalogue tells what is wrong. */
    if (hg_catalog_open(h, &c, NULL) == HANGAR_OK) {
        const hg_declared *d = hg_catalog_named(c, name);
        if (d && d->e.kind == HG_ENTRY_CLOUD) code = no_weights(&d->e, err);
        hg_catalog_free(c);
    } else if (hg_shipped_entry(name, &shipped)) {
        code = shipped ? no_weights(&shipped->e, err) : hg_fail_memory(err);
        hg_declared_free(shipped);
    }
    return code;
}

/* A REF alone. */
static hangar_code open_ref(hangar *h, const char *text, hg_snapshot **out, hangar_err *err)
{
    hg_ref ref;
    hangar_code code = hg_ref_parse(text, &ref, err);
    if (code == HANGAR_OK) code = hg_snapshot_open(h->store, &ref, out, err);
    if (code == HANGAR_OK && ref.file[0] && !hg_snapshot_file_get(*out, ref.file)) {
        hg_snapshot_free(*out);
        *out = NULL;
        code = hg_fail(err, HANGAR_E_NOT_FOUND, "%s@%s has no file %s in the store", ref.repo, ref.revision,
                       ref.file);
    }
    return code;
}

hangar_code hg_catalog_snapshot(hangar *h, const char *name, hg_snapshot **out, hangar_err *err)
{
    hg_catalog *c = NULL;
    *out = NULL;
    hangar_code code = open_ref(h, name, out, err);
    if ((code == HANGAR_E_NOT_FOUND || code == HANGAR_E_USAGE) && name) {
        hangar_err why = {0};
        hangar_code cloud = hg_catalog_has_weights(h, name, &why);
        if (cloud == HANGAR_OK && hg_catalog_open(h, &c, NULL) == HANGAR_OK) {
            const hg_declared *d = hg_catalog_named(c, name);
            if (d && !hg_streq(d->e.ref, name)) code = open_ref(h, d->e.ref, out, err);
            else if (!d && !strchr(name, '/') && near_name(c, name)) code = no_model(c, name, err);
        } else if (cloud != HANGAR_OK) {
            if (err) *err = why;
            code = cloud;
        }
        hg_catalog_free(c);
    }
    return code;
}
