/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's routes about models: which there are, one of them, which are in memory; fetch one, remove one. */
#include "api/dialect.h"
#include "base/clock.h"
#include "base/job.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>

static void refuse(hg_req *r, hangar_code code, hangar_err *err)
{
    if (err->code == HANGAR_OK) err->code = code;
    hg_reply_error(r, err, -1);
}

/* The catalogue's entry for the model that the body names. */
static hangar_code find(hg_req *r, const char **out_name, const hg_entry **out, hangar_err *err)
{
    *out_name = hg_ollama_model(hg_req_json(r), err);
    if (!*out_name) return HANGAR_E_USAGE;
    return hg_catalog_find(hg_req_host(r)->catalog, *out_name, out, err);
}

/* ---- details ---- */

/* "738K", "7.2B" */
static const char *count_words(uint64_t n, char buf[16])
{
    static const struct {
        double unit;
        char letter;
    } units[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    buf[0] = '\0';
    for (size_t i = 0; i < HG_LEN(units); i++) {
        double x = (double)n / units[i].unit;
        if (x < 1) continue;
        snprintf(buf, 16, x < 100 ? "%.1f%c" : "%.0f%c", x, units[i].letter);
        break;
    }
    return buf;
}

static void put_details(const hg_jval *m, hg_jw *w)
{
    char size[16];
    uint64_t parameters = 0;
    const char *family = hg_json_text_or(hg_json_get(m, "architecture"), "");
    (void)hg_json_u64(hg_json_get(m, "parameters"), &parameters);
    hg_jw_obj(w, "details");
    hg_jw_text(w, "parent_model", "");
    hg_jw_text(w, "format", hg_json_text_or(hg_json_get(m, "format"), ""));
    hg_jw_text(w, "family", family);
    hg_jw_arr(w, "families");
    if (family[0]) hg_jw_text(w, NULL, family);
    hg_jw_end(w);
    hg_jw_text(w, "parameter_size", count_words(parameters, size));
    hg_jw_text(w, "quantization_level", hg_json_text_or(hg_json_get(m, "dtype"), ""));
    hg_jw_end(w);
}

static void put_cloud(const hg_entry *e, hg_jw *w)
{
    if (!e || e->kind != HG_ENTRY_CLOUD) return;
    hg_jw_text(w, "remote_model", e->model);
    hg_jw_text(w, "remote_host", e->url && e->url[0] ? e->url : e->provider);
}

/* ---- tags ---- */

typedef struct listing {
    hg_jw *w;
    int64_t started;
} listing;

static void put_tag(void *ctx, const hg_told_model *m)
{
    const listing *l = ctx;
    uint64_t size = 0;
    char started[24];
    (void)hg_json_u64(hg_json_get(m->stored, "size"), &size);
    hg_jw_obj(l->w, NULL);
    hg_jw_text(l->w, "name", m->name);
    hg_jw_text(l->w, "model", m->name);
    hg_jw_text(l->w, "modified_at",
               hg_json_text_or(hg_json_get(m->stored, "modified"), hg_time_format(l->started, started)));
    hg_jw_u64(l->w, "size", size);
    hg_jw_text(l->w, "digest", hg_json_text_or(hg_json_get(m->stored, "commit"), ""));
    put_details(m->stored, l->w);
    put_cloud(m->entry, l->w);
    hg_jw_end(l->w);
}

static void tags_done(hg_aside *a)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (a->code == HANGAR_OK) a->code = hg_json_parse(hg_str_of(a->json), NULL, &doc, &a->err);
    if (a->code == HANGAR_OK && !w) a->code = hg_fail_memory(&a->err);
    if (hg_aside_over(a)) return;
    listing l = {.w = w, .started = a->host->started};
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "models");
    hg_models_each(a->host, hg_json_root(doc), put_tag, &l);
    hg_answer_written(a->r, w);
}

static void tags(hg_req *r)
{
    hg_aside *a = hg_aside_new(r, NULL, NULL, NULL);
    if (!a) return;
    a->work = hg_models_list;
    a->done = tags_done;
    hg_aside_start(a);
}

/* ---- show ---- */

static void put_info(const hg_jval *m, hg_jw *w)
{
    const char *architecture = hg_json_text_or(hg_json_get(m, "architecture"), "");
    const hg_jval *parameters = hg_json_get(m, "parameters"), *context = hg_json_get(m, "context_length");
    char key[96];
    hg_jw_obj(w, "model_info");
    hg_jw_text(w, "general.architecture", architecture);
    if (hg_json_is_number(parameters)) hg_jw_val(w, "general.parameter_count", parameters);
    snprintf(key, sizeof key, "%.64s.context_length", architecture);
    if (hg_json_is_number(context)) hg_jw_val(w, key, context);
    hg_jw_end(w);
}

/* chat: the model's template; NULL = none. */
static void put_capabilities(const char *task, const char *chat, hg_jw *w)
{
    hg_jw_arr(w, "capabilities");
    if (hg_streq(task, "text-generation")) {
        hg_jw_text(w, NULL, "completion");
        if (chat && strstr(chat, "tools")) hg_jw_text(w, NULL, "tools");
    } else if (hg_streq(task, "feature-extraction") || hg_streq(task, "sentence-similarity")) {
        hg_jw_text(w, NULL, "embedding");
    } else if (hg_streq(task, "automatic-speech-recognition")) {
        hg_jw_text(w, NULL, "transcription");
    }
    hg_jw_end(w);
}

/* m: the model's document, or NULL for one in the cloud; chat: its template. */
static void reply_show(hg_req *r, const char *name, const hg_entry *e, const hg_jval *m, const char *chat)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free)
    char *file = hg_format("FROM %s\n", m ? hg_json_text_or(hg_json_get(m, "ref"), name) : name);
    char started[24];
    if (!w || !file) {
        hangar_err err = {0};
        refuse(r, hg_fail_memory(&err), &err);
        return;
    }
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "modelfile", file);
    hg_jw_text(w, "parameters", "");
    hg_jw_text(w, "template", m && chat ? chat : "");
    if (m) hg_jw_text(w, "license", hg_json_text_or(hg_json_get(m, "license"), ""));
    put_details(m, w);
    put_info(m, w);
    put_capabilities(m ? hg_json_text_or(hg_json_get(m, "task"), "") : "text-generation", chat, w);
    hg_jw_text(w, "modified_at", hg_time_format(hg_req_host(r)->started, started));
    put_cloud(e, w);
    hg_answer_written(r, w);
}

static void show_work(hg_aside *a)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    a->code = hangar_model_get(a->host->h, a->ref, &a->json, &a->err);
    if (a->code == HANGAR_OK) a->code = hg_json_parse(hg_str_of(a->json), NULL, &doc, &a->err);
    if (a->code == HANGAR_OK) a->more = hg_ollama_template(hg_json_root(doc));
}

static void show_done(hg_aside *a)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    if (a->code == HANGAR_OK) a->code = hg_json_parse(hg_str_of(a->json), NULL, &doc, &a->err);
    if (hg_aside_over(a)) return;
    reply_show(a->r, a->name, NULL, hg_json_root(doc), a->more);
}

static void show(hg_req *r)
{
    hangar_err err = {0};
    const hg_entry *entry = NULL;
    const char *name = NULL;
    hangar_code code = find(r, &name, &entry, &err);
    if (code != HANGAR_OK) {
        refuse(r, code, &err);
        return;
    }
    if (entry->kind == HG_ENTRY_CLOUD) {
        reply_show(r, name, entry, NULL, "tools"); /* providers take tools */
        return;
    }
    hg_aside *a = hg_aside_new(r, name, entry->ref, NULL);
    if (!a) return;
    a->work = show_work;
    a->done = show_done;
    hg_aside_start(a);
}

/* ---- ps ---- */

static void put_slot(const hg_slot_info *s, hg_jw *w)
{
    char when[24];
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", s->entry->name);
    hg_jw_text(w, "model", s->entry->name);
    hg_jw_u64(w, "size", s->memory);
    hg_jw_text(w, "digest", "");
    put_details(NULL, w);
    hg_jw_text(w, "expires_at",
               s->expires_in >= 0 && s->expires_in < 1e9
                   ? hg_time_format(hg_wall() + (int64_t)s->expires_in, when)
                   : "9999-12-31T23:59:59Z");
    hg_jw_u64(w, "size_vram", 0);
    hg_jw_end(w);
}

static void ps(hg_req *r)
{
    const hg_pool *pool = hg_req_host(r)->pool;
    hangar_err err = {0};
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) {
        refuse(r, hg_fail_memory(&err), &err);
        return;
    }
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "models");
    for (size_t i = 0; i < hg_pool_count(pool); i++) {
        hg_slot_info info = {0};
        if (!hg_pool_info(pool, i, &info)) continue;
        if (info.state == HG_SLOT_READY || info.state == HG_SLOT_BUSY) put_slot(&info, w);
    }
    hg_answer_written(r, w);
}

/* ---- delete ---- */

static void delete_work(hg_aside *a)
{
    a->code = hangar_model_remove(a->host->h, a->ref, &a->json, &a->err);
}

static void delete_done(hg_aside *a)
{
    if (!hg_aside_over(a)) hg_reply_bytes(a->r, 200, "application/json", HG_STR(""));
}

/* Out of memory, so off the disk. */
static void unloaded(void *ctx, hg_slot *slot, hangar_code code, const hangar_err *err)
{
    hg_aside *a = ctx;
    (void)slot;
    if (code == HANGAR_OK || code == HANGAR_E_NOT_FOUND) {
        hg_aside_start(a);
        return;
    }
    a->code = code;
    if (err) a->err = *err;
    (void)hg_aside_over(a);
    hg_aside_free(a);
}

static void delete_model(hg_req *r)
{
    hangar_err err = {0};
    const hg_entry *entry = NULL;
    const char *name = NULL;
    const hg_host *host = hg_req_host(r);
    hangar_code code = find(r, &name, &entry, &err);
    if (code == HANGAR_OK && entry->kind == HG_ENTRY_CLOUD)
        code = hg_fail(&err, HANGAR_E_USAGE, "%s is in the cloud; there is nothing of it to remove", name);
    if (code != HANGAR_OK) {
        refuse(r, code, &err);
        return;
    }
    hg_aside *a = hg_aside_new(r, name, entry->ref, NULL);
    if (!a) return;
    a->work = delete_work;
    a->done = delete_done;
    code = hg_pool_unload(host->pool, entry, false, unloaded, a, &err);
    if (code != HANGAR_OK) unloaded(a, NULL, code, &err);
}

/* ---- pull ---- */

#define PULL_FILES_MAX 4096
#define PULL_EVERY     0.1 /* seconds between two reports */

typedef struct pull_file {
    char *path;
    uint64_t total, done;
    bool changed;
} pull_file;

/* Progress on its way from the threads of a pull to the loop: what has changed since the last report. */
typedef struct pull {
    pthread_mutex_t lock;
    pull_file *files;
    size_t count, cap;
    char phase[64];
    bool phase_changed;
    bool said; /* that it has begun */
    double reported;
    bool posted; /* a report is on its way to the loop */
    bool over;   /* done has been: the report frees the aside */
    bool streams, begun;
} pull;

static void pull_leave(hg_aside *a)
{
    pull *p = a->more;
    for (size_t i = 0; i < p->count; i++) free(p->files[i].path);
    free(p->files);
    pthread_mutex_destroy(&p->lock);
}

static void put_line(hg_buf *out, const char *status, const pull_file *f)
{
    hg_buf_puts(out, "{\"status\":");
    hg_put_json(out, hg_str_of(status));
    if (f) {
        hg_buf_puts(out, ",\"digest\":");
        hg_put_json(out, hg_str_of(f->path));
        hg_buf_printf(out, ",\"total\":%llu,\"completed\":%llu", (unsigned long long)f->total,
                      (unsigned long long)f->done);
    }
    hg_buf_puts(out, "}\n");
}

/* Writes what has changed. With the lock. The first line is Ollama's, whatever came before anybody could be told. */
static void put_changes(pull *p, hg_buf *out)
{
    bool news = p->phase_changed;
    for (size_t i = 0; i < p->count && !news; i++) news = p->files[i].changed;
    if (news && !p->said) put_line(out, "pulling manifest", NULL);
    p->said = p->said || news;
    if (p->phase_changed && p->phase[0]) put_line(out, p->phase, NULL);
    p->phase_changed = false;
    for (size_t i = 0; i < p->count; i++) {
        pull_file *f = &p->files[i];
        if (!f->changed) continue;
        f->changed = false;
        HG_AUTO(hg_auto_free) char *status = hg_format("pulling %s", f->path);
        put_line(out, status ? status : "pulling", f);
    }
}

/* Sends what has changed to a client that is there and wants to know. */
static void send_changes(hg_aside *a)
{
    pull *p = a->more;
    hg_buf out;
    hg_buf_init(&out, HG_ANSWER_BYTES);
    pthread_mutex_lock(&p->lock);
    p->reported = hg_now();
    put_changes(p, &out);
    pthread_mutex_unlock(&p->lock);
    if (a->r && p->streams && out.len && out.state == HANGAR_OK) {
        if (!p->begun) hg_stream_begin(a->r, 200, "application/x-ndjson");
        p->begun = true;
        hg_stream_write(a->r, hg_buf_view(&out));
    }
    hg_buf_deinit(&out);
}

static void report(void *ctx)
{
    hg_aside *a = ctx;
    pull *p = a->more;
    pthread_mutex_lock(&p->lock);
    p->posted = false;
    bool over = p->over;
    pthread_mutex_unlock(&p->lock);
    if (over) hg_aside_free(a);
    else send_changes(a);
}

/* The file's row; NULL when there are too many to be told of one by one. With the lock. */
static pull_file *file_of(pull *p, const char *path)
{
    for (size_t i = p->count; i-- > 0;)
        if (strcmp(p->files[i].path, path) == 0) return &p->files[i];
    if (p->count >= PULL_FILES_MAX || !hg_grow((void **)&p->files, &p->cap, p->count + 1, sizeof *p->files))
        return NULL;
    p->files[p->count] = (pull_file){.path = hg_strdup(path)};
    return p->files[p->count].path ? &p->files[p->count++] : NULL;
}

/* On a thread of the pull. */
static void on_event(void *ctx, const hangar_event *e)
{
    hg_aside *a = ctx;
    pull *p = a->more;
    pthread_mutex_lock(&p->lock);
    if (e->kind == HANGAR_EVENT_PHASE) {
        bool manifest = strcmp(e->text, "resolving") == 0 || strcmp(e->text, "listing") == 0;
        snprintf(p->phase, sizeof p->phase, "%s", manifest ? "" : e->text);
        p->phase_changed = true;
    } else if (e->kind == HANGAR_EVENT_PLAN || e->kind == HANGAR_EVENT_ITEM) {
        pull_file *f = file_of(p, e->item);
        if (f) {
            if (e->total) f->total = e->total;
            f->done = e->kind == HANGAR_EVENT_ITEM ? e->done : strcmp(e->text, "have") == 0 ? e->total : 0;
            f->changed = true;
        }
    }
    if (p->streams && !p->posted && hg_now() - p->reported >= PULL_EVERY)
        p->posted = hg_loop_post(a->host->loop, report, a, NULL) == HANGAR_OK;
    pthread_mutex_unlock(&p->lock);
}

static void pull_work(void *ctx)
{
    hg_aside *a = ctx;
    a->code = hangar_model_download(a->host->h, a->ref, NULL, a->job, &a->json, &a->err);
}

static void pull_done(void *ctx)
{
    hg_aside *a = ctx;
    pull *p = a->more;
    send_changes(a);
    hg_buf out;
    hg_buf_init(&out, HG_MIB);
    if (a->code == HANGAR_OK) put_line(&out, "success", NULL);
    else hg_put_error(&out, HG_DIALECT_OLLAMA, &a->err);
    if (a->r && p->begun) {
        if (a->code != HANGAR_OK) hg_buf_putc(&out, '\n');
        hg_stream_write(a->r, hg_buf_view(&out));
        hg_stream_end(a->r);
    } else if (a->r && a->code != HANGAR_OK) {
        hg_reply_error(a->r, &a->err, -1);
    } else if (a->r) {
        hg_reply_bytes(a->r, 200, p->streams ? "application/x-ndjson" : "application/json",
                       hg_buf_view(&out));
    }
    hg_buf_deinit(&out);
    a->r = NULL;
    pthread_mutex_lock(&p->lock);
    p->over = true;
    bool last = !p->posted;
    pthread_mutex_unlock(&p->lock);
    if (last) hg_aside_free(a);
}

/* What is to be fetched under that name: a declared model's REF, else the name itself without Ollama's ":latest". */
static hangar_code pull_ref(const hg_host *host, const char *name, char **out, hangar_err *err)
{
    static const char latest[] = ":latest";
    const hg_entry *entry = NULL;
    size_t len = strlen(name), tail = sizeof latest - 1;
    hangar_code code = hg_catalog_find(host->catalog, name, &entry, NULL);
    if (code == HANGAR_OK && entry->kind == HG_ENTRY_CLOUD)
        return hg_fail(err, HANGAR_E_USAGE,
                       "%s is a model of %s: its weights are not published; set %s to ask it", entry->name,
                       entry->provider, entry->key_env && entry->key_env[0] ? entry->key_env : "its url");
    if (len > tail && strcmp(name + len - tail, latest) == 0) len -= tail;
    *out = code == HANGAR_OK ? hg_strdup(entry->ref) : hg_strndup(name, len);
    return *out ? HANGAR_OK : hg_fail_memory(err);
}

static void pull_model(hg_req *r)
{
    hangar_err err = {0};
    HG_AUTO(hg_auto_free) char *ref = NULL;
    const hg_jval *body = hg_req_json(r);
    const char *name = hg_ollama_model(body, &err);
    hangar_code code = name ? HANGAR_OK : HANGAR_E_USAGE;
    if (code == HANGAR_OK)
        code = hg_read_nothing(body, "insecure", "the Hub's address is configured, not asked for", &err);
    if (code == HANGAR_OK) code = pull_ref(hg_req_host(r), name, &ref, &err);
    pull *p = code == HANGAR_OK ? hg_calloc(1, sizeof *p) : NULL;
    if (code == HANGAR_OK && !p) code = hg_fail_memory(&err);
    if (code != HANGAR_OK) {
        refuse(r, code, &err);
        return;
    }
    hg_aside *a = hg_aside_new(r, name, ref, on_event);
    if (!a) {
        free(p);
        return;
    }
    pthread_mutex_init(&p->lock, NULL);
    p->streams = hg_json_bool_or(hg_json_get(body, "stream"), true);
    a->more = p;
    a->leave = pull_leave;
    a->cancels = true;
    hg_aside_run(a, pull_work, pull_done);
}

/* ---- the tables ---- */

static const hg_field model_fields[] = {HG_FIELD_MODEL, {0}};
static const hg_field pull_fields[] = {HG_FIELD_MODEL,
                                       HG_FIELD("stream", 'b', "true when left out: a line of JSON per step"),
                                       {0}};

#define ROUTE(how, at, who, of, table, what, call)                                                          \
    {                                                                                                       \
        .method = how, .path = at, .dialect = HG_DIALECT_OLLAMA, .scope = who, .body = of, .fields = table, \
        .summary = what, .fn = call                                                                         \
    }

const hg_endpoint hg_endpoints_ollama_models[] = {
    ROUTE("GET", "/api/tags", HG_SCOPE_INFER, HG_BODY_NONE, NULL, "all models that can be asked", tags),
    ROUTE("POST", "/api/show", HG_SCOPE_INFER, HG_BODY_JSON, model_fields, "one model", show),
    ROUTE("GET", "/api/ps", HG_SCOPE_INFER, HG_BODY_NONE, NULL, "models in memory", ps),
    {.method = "POST",
     .path = "/api/pull",
     .dialect = HG_DIALECT_OLLAMA,
     .scope = HG_SCOPE_MANAGE,
     .body = HG_BODY_JSON,
     .fields = pull_fields,
     .streams = "application/x-ndjson",
     .summary = "fetch a model",
     .fn = pull_model},
    ROUTE("DELETE", "/api/delete", HG_SCOPE_MANAGE, HG_BODY_JSON, model_fields, "remove a model",
          delete_model),
    {0}};
