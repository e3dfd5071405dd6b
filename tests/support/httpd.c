/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's HTTP server with endpoints for tests (tests/node/http.test.mjs). tool-room: api
 *
 *   tool_httpd [listen ADDR] [socket PATH] [cors ORIGIN] [slow SECONDS] [max CONNECTIONS] [body BYTES] [upload BYTES] [home DIR [key NAME:SCOPE]...]
 *
 * Prints "key NAME KEY" for each key that it made, then "listens URL"; ends with its input. Without a home there are no keys.
 */
#include "api/http.h"
#include "base/mem.h"
#include "hangar/keys.h"
#include "manager/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

static hg_host host;
static hg_server *server;
static unsigned gone_count, called_count;

/* ---- endpoints ---- */

typedef struct state {
    struct state *next, **link; /* all that live */
    hg_req *r;
    hg_timer *timer;
    unsigned left;
    size_t size;
    bool stream;
} state;

static state *live;

static void leave(void *ctx)
{
    state *s = ctx;
    hg_timer_free(s->timer);
    *s->link = s->next;
    if (s->next) s->next->link = s->link;
}

static void on_gone(void *ctx)
{
    state *s = ctx;
    hg_timer_stop(s->timer);
    gone_count++;
}

static unsigned number(const hg_req *r, const char *name, unsigned def)
{
    const char *text = hg_req_query(r, name);
    return text ? (unsigned)strtoul(text, NULL, 10) : def;
}

static void reply(hg_req *r, unsigned status, hg_jw *w)
{
    char *text = NULL;
    if (hg_jw_finish(w, false, &text, NULL) != HANGAR_OK) text = NULL;
    hg_jw_free(w);
    hg_reply_json(r, status, text);
}

static void echo(hg_req *r)
{
    called_count++;
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "endpoint", hg_req_endpoint(r)->path);
    hg_jw_text(w, "part", hg_req_part(r, 0));
    hg_jw_text(w, "q", hg_req_query(r, "q"));
    hg_jw_text(w, "agent", hg_req_header(r, "User-Agent"));
    hg_jw_text(w, "secret", hg_req_header(r, "Authorization"));
    hg_jw_val(w, "body", hg_req_json(r));
    hg_jw_end(w);
    hg_reply_header(r, "X-Echo", hg_req_query(r, "h"));
    reply(r, 200, w);
}

static void on_step(void *ctx)
{
    state *s = ctx;
    hg_req *r = s->r;
    if (!s->stream) {
        hg_reply_bytes(r, 200, "text/plain", HG_STR("later\n"));
        return;
    }
    char *piece = malloc(s->size + 1);
    if (!piece) abort();
    memset(piece, 'x', s->size);
    piece[s->size] = '\n';
    hg_stream_write(r, (hg_str){piece, s->size / 2});
    hg_stream_write(r, (hg_str){piece + s->size / 2, s->size + 1 - s->size / 2});
    free(piece);
    if (s->left == 0 || --s->left > 0) return;
    hg_timer_stop(s->timer);
    hg_stream_end(r);
}

static state *begin(hg_req *r)
{
    called_count++;
    state *s = hg_req_state(r, sizeof *s, leave);
    if (!s || hg_timer_new(host.loop, on_step, s, &s->timer, NULL) != HANGAR_OK) abort();
    s->r = r;
    s->next = live;
    s->link = &live;
    if (live) live->link = &s->next;
    live = s;
    hg_req_on_gone(r, on_gone, s);
    return s;
}

static void later(hg_req *r)
{
    hg_timer_set(begin(r)->timer, number(r, "ms", 10) / 1e3, 0);
}

/* count=0: for ever; ms=0: never a piece but the first. */
static void stream(hg_req *r)
{
    state *s = begin(r);
    double every = number(r, "ms", 10) / 1e3;
    s->stream = true;
    s->left = number(r, "count", 3);
    s->size = number(r, "size", 10);
    hg_stream_begin(r, 200, "text/event-stream");
    hg_stream_write(r, HG_STR("begin\n"));
    if (every > 0) hg_timer_set(s->timer, every, every);
    else if (number(r, "end", 0)) hg_stream_end(r);
}

/* A word for every stream, from within another request. */
static void tell(hg_req *r)
{
    for (state *s = live; s; s = s->next)
        if (s->stream) hg_stream_write(s->r, HG_STR("told\n"));
    hg_reply_bytes(r, 200, "text/plain", HG_STR("done\n"));
}

static void metrics(hg_req *r)
{
    hg_buf b;
    hg_buf_init(&b, HG_MIB);
    if (hg_metrics_write(&b, NULL) != HANGAR_OK) abort();
    hg_reply_bytes(r, 200, HG_METRICS_TYPE, hg_buf_view(&b));
    hg_buf_deinit(&b);
}

static void form(hg_req *r)
{
    const char *name;
    char bytes[65536];
    uint64_t len = 0, sum = 0;
    int fd = hg_req_take_file(r, &name);
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0; len += (uint64_t)n)
        for (ssize_t i = 0; i < n; i++) sum += (unsigned char)bytes[i];
    close(fd);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", name);
    hg_jw_u64(w, "bytes", len);
    hg_jw_u64(w, "sum", sum);
    hg_jw_text(w, "model", hg_req_form(r, "model"));
    hg_jw_text(w, "list", hg_req_form(r, "list[]"));
    hg_jw_end(w);
    reply(r, 200, w);
}

static void fail(hg_req *r)
{
    hangar_err err = {0};
    unsigned code = number(r, "code", 0);
    hg_fail(&err, code < HANGAR_E_COUNT ? (hangar_code)code : HANGAR_E_FAILED,
            "\"model\" at 0x7ffdeadbeef0 is odd");
    hg_reply_error(r, &err, number(r, "retry", 0) ? number(r, "retry", 0) : -1.0);
}

static void stats(hg_req *r)
{
    unsigned fds = 0;
    unsigned long pages = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d)) fds++;
    if (d) closedir(d);
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*u %lu", &pages) != 1) pages = 0;
    if (f) fclose(f);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_u64(w, "gone", gone_count);
    hg_jw_u64(w, "called", called_count);
    hg_jw_u64(w, "running", hg_server_running(server));
    hg_jw_u64(w, "fds", fds);
    hg_jw_u64(w, "rss", pages * (unsigned long)sysconf(_SC_PAGESIZE));
    hg_jw_end(w);
    reply(r, 200, w);
}

static void quiesce(hg_req *r)
{
    hg_reply_bytes(r, 200, "text/plain", HG_STR("quiet\n"));
    hg_server_quiesce(server);
}

static const hg_field fields[] = {
    {"model", 's', true, 0, 0, "a model"},
    {"temperature", 'n', false, 0, 2, "0 to 2"},
    {"n", 'i', false, 1, 128, "how many"},
    {"stream", 'b', false, 0, 0, "as a stream"},
    {"list", 'a', false, 0, 0, "a list"},
    {"options", 'o', false, 0, 0, "options"},
    {0},
};

static const hg_endpoint endpoints[] = {
    {"GET", "/v1/echo", HG_DIALECT_OPENAI, HG_SCOPE_INFER, HG_BODY_NONE, NULL, NULL, "echo", echo},
    {"GET", "/v1/echo/:", HG_DIALECT_OPENAI, HG_SCOPE_INFER, HG_BODY_NONE, NULL, NULL, "echo", echo},
    {"GET", "/v1/echo/list", HG_DIALECT_OPENAI, HG_SCOPE_INFER, HG_BODY_NONE, NULL, NULL, "echo", echo},
    {"GET", "/v1/rest/*", HG_DIALECT_OPENAI, HG_SCOPE_INFER, HG_BODY_NONE, NULL, NULL, "echo", echo},
    {"POST", "/v1/json", HG_DIALECT_OPENAI, HG_SCOPE_INFER, HG_BODY_JSON, fields, NULL, "json", echo},
    {"POST", "/api/json", HG_DIALECT_OLLAMA, HG_SCOPE_INFER, HG_BODY_JSON, fields, NULL, "json", echo},
    {"POST", "/hangar/v1/json", HG_DIALECT_NATIVE, HG_SCOPE_INFER, HG_BODY_JSON, fields, NULL, "json", echo},
    {"DELETE", "/v1/echo/:", HG_DIALECT_OPENAI, HG_SCOPE_MANAGE, HG_BODY_NONE, NULL, NULL, "delete", echo},
    {"POST", "/v1/form", HG_DIALECT_OPENAI, HG_SCOPE_INFER, HG_BODY_FORM, NULL, NULL, "form", form},
    {"GET", "/later", HG_DIALECT_NATIVE, HG_SCOPE_INFER, HG_BODY_NONE, NULL, NULL, "later", later},
    {"GET", "/stream", HG_DIALECT_NATIVE, HG_SCOPE_INFER, HG_BODY_NONE, NULL, "text/event-stream", "stream",
     stream},
    {"GET", "/v1/fail", HG_DIALECT_OPENAI, HG_SCOPE_INFER, HG_BODY_NONE, NULL, NULL, "fail", fail},
    {"GET", "/api/fail", HG_DIALECT_OLLAMA, HG_SCOPE_INFER, HG_BODY_NONE, NULL, NULL, "fail", fail},
    {"GET", "/hangar/v1/fail", HG_DIALECT_NATIVE, HG_SCOPE_INFER, HG_BODY_NONE, NULL, NULL, "fail", fail},
    {"GET", "/metrics", HG_DIALECT_NATIVE, HG_SCOPE_OPEN, HG_BODY_NONE, NULL, NULL, "figures", metrics},
    {"GET", "/tell", HG_DIALECT_NATIVE, HG_SCOPE_OPEN, HG_BODY_NONE, NULL, NULL, "tell", tell},
    {"GET", "/stats", HG_DIALECT_NATIVE, HG_SCOPE_OPEN, HG_BODY_NONE, NULL, NULL, "stats", stats},
    {"POST", "/quiesce", HG_DIALECT_NATIVE, HG_SCOPE_MANAGE, HG_BODY_JSON, NULL, NULL, "quiesce", quiesce},
    {0},
};
static const hg_endpoint *const lists[] = {endpoints, NULL};

/* ---- the program ---- */

static void on_input(void *ctx, unsigned events)
{
    char c[64];
    (void)ctx, (void)events;
    if (read(0, c, sizeof c) <= 0) hg_loop_stop(host.loop);
}

/* Makes a key and tells it. */
static void make_key(const char *spec)
{
    hangar_err err = {0};
    hg_json *doc = NULL;
    hg_str scope = hg_str_of(spec), name;
    char *json = NULL, text[HANGAR_ERR_MAX];
    hg_str_cut(&scope, ':', &name);
    snprintf(text, sizeof text, "%.*s", HG_STR_ARG(name));
    if (hangar_key_create(host.h, text, scope.ptr, &json, &err) != HANGAR_OK ||
        hg_json_parse(hg_str_of(json), NULL, &doc, &err) != HANGAR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    printf("key %s %s\n", text, hg_json_text_or(hg_json_get(hg_json_root(doc), "key"), ""));
    hg_json_free(doc);
    hangar_free(json);
}

static void open_home(const char *dir)
{
    hangar_err err = {0};
    setenv("HANGAR_HOME", dir, 1);
    if (hangar_open(NULL, &host.h, &err) == HANGAR_OK) return;
    fprintf(stderr, "%s\n", err.msg);
    exit(1);
}

int main(int argc, char **argv)
{
    hangar_err err = {0};
    hg_watch *input = NULL;
    const char *cors[2] = {NULL, NULL};
    hg_server_options o = {.listen = "127.0.0.1:0",
                           .cors = cors,
                           .max_body = 1 << 20,
                           .max_upload = 4 << 20,
                           .max_connections = 16384,
                           .slow_seconds = 30,
                           .endpoints = lists};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "listen")) o.listen = value;
        if (!strcmp(name, "socket")) o.socket = value;
        if (!strcmp(name, "cors")) cors[0] = value;
        if (!strcmp(name, "slow")) o.slow_seconds = strtod(value, NULL);
        if (!strcmp(name, "max")) o.max_connections = (unsigned)strtoul(value, NULL, 10);
        if (!strcmp(name, "home")) open_home(value);
        if (!strcmp(name, "key")) make_key(value);
        if (!strcmp(name, "body")) o.max_body = strtoull(value, NULL, 10);
        if (!strcmp(name, "upload")) o.max_upload = strtoull(value, NULL, 10);
    }
    if (hg_loop_new(&host.loop, &err) != HANGAR_OK || hg_server_new(&host, &o, &server, &err) != HANGAR_OK ||
        hg_watch_new(host.loop, 0, on_input, NULL, &input, &err) != HANGAR_OK ||
        hg_watch_set(input, HG_READABLE, &err) != HANGAR_OK) {
        fprintf(stderr, "%s: %s\n", hangar_code_name(err.code), err.msg);
        return hangar_code_exit(err.code);
    }
    printf("listens %s\n", hg_server_url(server));
    fflush(stdout);
    hg_loop_run(host.loop);
    hg_server_free(server);
    hg_watch_free(input);
    hg_loop_free(host.loop);
    if (host.h) hangar_close(host.h);
    return 0;
}
