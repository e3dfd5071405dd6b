/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror's server: where it listens, who may ask, which route answers. The design is told in mirror.h. */
#include "api/mirror.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

static const hg_route routes[] = {
    {"api/models", "GET", hg_route_models, true, false},
    {"api/models/:/:", "GET", hg_route_info, true, false},
    {"api/models/:/:/revision/:", "GET", hg_route_info, true, false},
    {"api/models/:/:/tree/:/*", "GET", hg_route_tree, true, false},
    {"api/models/:/:/paths-info/:", "POST", hg_route_paths, true, false},
    {"api/models/:/:/refs", "GET", hg_route_refs, true, false},
    {"api/models/:/:/commits/:", "GET", hg_route_commits, true, false},
    {"api/whoami-v2", "GET", hg_route_whoami, true, false},
    {"api/resolve-cache/models/:/:/:/*", "GET", hg_route_cached, false, false},
    {"lfs/:", "GET", hg_route_lfs, false, true},
    {":/:/resolve/:/*", "GET", hg_route_resolve, false, false},
    {":/:/raw/:/*", "GET", hg_route_raw, false, false},
};

/* ---- one request ---- */

/* Called with the raw address before anything else; what it returns stays with the request. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *connection)
{
    (void)connection;
    hg_request *r = hg_calloc(1, sizeof *r);
    if (!r) return NULL;
    r->m = cls;
    r->arrived = hg_now();
    r->method = "";
    hg_buf_init(&r->body, HG_MIRROR_BODY_BYTES);
    snprintf(r->shown, sizeof r->shown, "%.*s", (int)strcspn(uri, "?"), uri);
    hg_target_parse(hg_str_of(uri), &r->target, &r->target_err);
    return r;
}

/* The end of a request, however it ended. */
static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    hangar_mirror *m = cls;
    hg_request *r = *state;
    (void)connection, (void)why;
    *state = NULL;
    if (!r) return;
    hg_snap_drop(&m->work, r->snap);
    hg_target_deinit(&r->target);
    hg_buf_deinit(&r->body);
    free(r);
}

/* Counts one header and remembers its value. */
typedef struct header {
    const char *name;
    const char *value;
    unsigned count;
} header;

static enum MHD_Result count_header(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
    header *h = cls;
    (void)kind;
    if (strcasecmp(key, h->name) != 0) return MHD_YES;
    h->value = value ? value : "";
    h->count++;
    return MHD_YES;
}

/* The value of a header that may come once only; false when it comes more often. */
static bool single_header(hg_request *r, const char *name, const char **out)
{
    header h = {.name = name};
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, count_header, &h);
    *out = h.value;
    return h.count <= 1;
}

/* A page from elsewhere that was led here by its name's address names another host; false when it was turned away. */
static bool check_host(hg_request *r, enum MHD_Result *out)
{
    bool single = single_header(r, MHD_HTTP_HEADER_HOST, &r->host);
    if (!single || !r->host) {
        *out = hg_mirror_error(r, MHD_HTTP_BAD_REQUEST, NULL, NULL, "One Host header is needed");
        return false;
    }
    if (r->m->loopback ? hg_host_local(r->host, r->m->port) : hg_host_plain(r->host)) return true;
    *out = hg_mirror_error(r, MHD_HTTP_MISDIRECTED_REQUEST, NULL, NULL, "This host is not served here");
    return false;
}

/* "Authorization: Bearer TOKEN" when the mirror has one. */
static bool check_token(hg_request *r, enum MHD_Result *out)
{
    const char *given = NULL;
    if (!r->m->token || (r->route && r->route->open)) return true;
    bool single = single_header(r, MHD_HTTP_HEADER_AUTHORIZATION, &given);
    if (single && given && !strncasecmp(given, "Bearer ", 7) &&
        hg_equal_secret(hg_str_of(given + 7), hg_str_of(r->m->token)))
        return true;
    *out = hg_mirror_error(r, MHD_HTTP_UNAUTHORIZED, NULL, NULL,
                           given ? "Invalid credentials in Authorization header"
                                 : "Invalid username or password.");
    return false;
}

/* Chooses the route: the address decides first, then the method. False when an error was queued. */
static bool choose_route(hg_request *r, enum MHD_Result *out)
{
    for (size_t i = 0; i < HG_LEN(routes); i++) {
        if (!hg_target_match(&r->target, routes[i].pattern, &r->rest)) continue;
        r->route = &routes[i];
        break;
    }
    if (!check_token(r, out)) return false;
    if (!r->route) {
        *out = hg_mirror_error(r, MHD_HTTP_NOT_FOUND, NULL, NULL, "Not found");
        return false;
    }
    const char *method = r->head ? "GET" : r->method;
    if (!strcmp(method, r->route->method)) return true;
    *out = hg_mirror_error(r, MHD_HTTP_METHOD_NOT_ALLOWED, NULL, NULL, "Method not allowed");
    return false;
}

/* All that is decided before a body is read. */
static bool check_request(hg_request *r, enum MHD_Result *out)
{
    if (!check_host(r, out)) return false;
    if (r->target_err.code != HANGAR_OK) {
        unsigned status = r->target_err.code == HANGAR_E_LIMIT ? MHD_HTTP_URI_TOO_LONG : MHD_HTTP_BAD_REQUEST;
        *out = hg_mirror_error(r, status, NULL, NULL, r->target_err.msg);
        return false;
    }
    if (!choose_route(r, out)) return false;
    uint64_t length = 0;
    const char *text = NULL;
    if (!single_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH, &text) ||
        (text && !hg_u64_parse(hg_str_of(text), &length))) {
        *out = hg_mirror_error(r, MHD_HTTP_BAD_REQUEST, NULL, NULL, "Malformed Content-Length");
        return false;
    }
    if (length > HG_MIRROR_BODY_BYTES) {
        *out = hg_mirror_error(r, MHD_HTTP_CONTENT_TOO_LARGE, NULL, NULL, "The body is too large");
        return false;
    }
    /* Which revisions are good enough: an answer of the API is never older than its question; a file's is checked against the file. */
    r->since = r->route->api ? r->arrived : r->arrived - 1.0;
    return true;
}

/* Called once for the headers, for each piece of a body, for its end, and again after each wait. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **state)
{
    hg_request *r = *state;
    (void)cls, (void)url, (void)version;
    if (!r) return MHD_NO;
    r->connection = connection;
    if (!r->checked) {
        enum MHD_Result result;
        r->checked = true;
        r->method = method;
        r->head = !strcmp(method, MHD_HTTP_METHOD_HEAD);
        return check_request(r, &result) ? MHD_YES : result;
    }
    if (*upload_len > 0) {
        hg_buf_add(&r->body, upload, *upload_len);
        *upload_len = 0;
        return hg_buf_check(&r->body, NULL) == HANGAR_OK ? MHD_YES
                                                         : MHD_NO; /* no length was told and it is too long */
    }
    return r->route->fn(r);
}

/* ---- start and stop ---- */

/* The listening socket, its port and the mirror's address. */
static hangar_code open_socket(hangar_mirror *m, const char *text, hangar_err *err)
{
    hg_listen at;
    hangar_code code = hg_listen_parse(text, &at, err);
    if (code != HANGAR_OK) return code;
    m->loopback = at.loopback;
    if (!at.loopback && !m->token)
        return hg_fail(
            err, HANGAR_E_USAGE,
            "%s can be reached from other machines; without a token a mirror listens on 127.0.0.1 only",
            text);
    code = hg_listen_open(&at, &m->socket, err);
    m->port = at.port;
    if (code == HANGAR_OK && !(m->url = hg_format("http://%s", at.host))) code = hg_fail_memory(err);
    return code;
}

/* A token must be something that a header can carry. */
static hangar_code take_token(hangar_mirror *m, const char *token, hangar_err *err)
{
    if (!token) return HANGAR_OK;
    size_t len = strlen(token);
    for (size_t i = 0; i < len; i++)
        if (token[i] <= 0x20 || token[i] > 0x7e)
            return hg_fail(err, HANGAR_E_USAGE, "the token has a character that no header can carry");
    if (len == 0 || len > 1024)
        return hg_fail(err, HANGAR_E_USAGE, "the token must have 1 to 1024 characters");
    m->token = hg_strdup(token);
    return m->token ? HANGAR_OK : hg_fail_memory(err);
}

static hangar_code start_daemon(hangar_mirror *m, hangar_err *err)
{
    hangar_code code = hg_mhd_ready(err);
    if (code != HANGAR_OK) return code;
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_LISTEN_SOCKET, m->socket, NULL},
        {MHD_OPTION_THREAD_POOL_SIZE, HG_MIRROR_THREADS, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, HG_MIRROR_CONNECTIONS, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, HG_MIRROR_IDLE_SECONDS, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, HG_MIRROR_HEADER_BYTES, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, m},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, m},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)hg_mhd_keep_escapes, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    m->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
                                 0, NULL, NULL, on_request, m, MHD_OPTION_EXTERNAL_LOGGER, hg_mhd_log,
                                 "mirror", MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!m->daemon) return hg_fail(err, HANGAR_E_FAILED, "the HTTP server did not start");
    m->socket = -1; /* the daemon's now */
    return HANGAR_OK;
}

/* hangar_mirror_start without its clean-up. */
static hangar_code start(hangar_mirror *m, const char *dir, const hangar_mirror_options *options,
                         hangar_err *err)
{
    if (!dir || !*dir) return hg_fail(err, HANGAR_E_USAGE, "no folder was given");
    if (options && options->size != sizeof *options)
        return hg_fail(err, HANGAR_E_USAGE, "hangar_mirror_options has another size than this library's");
    hangar_code code = take_token(m, options ? options->token : NULL, err);
    if (code != HANGAR_OK) return code;
    m->root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->root < 0) return hg_fail_errno(err, errno, "opening %s", dir);
    if (getrandom(m->secret, sizeof m->secret, 0) != (ssize_t)sizeof m->secret)
        return hg_fail_errno(err, errno, "random bytes");
    code = open_socket(m, options && options->listen ? options->listen : "127.0.0.1:0", err);
    if (code == HANGAR_OK) code = hg_work_start(&m->work, m->root, err);
    m->working = code == HANGAR_OK;
    return code == HANGAR_OK ? start_daemon(m, err) : code;
}

hangar_code hangar_mirror_start(const char *dir, const hangar_mirror_options *options, hangar_mirror **out,
                                hangar_err *err)
{
    hangar_mirror *m = hg_calloc(1, sizeof *m);
    if (!m) return hg_fail_memory(err);
    m->root = m->socket = -1;
    hangar_code code = start(m, dir, options, err);
    if (code == HANGAR_OK) {
        *out = m;
    } else {
        hangar_mirror_stop(m);
    }
    return code;
}

const char *hangar_mirror_url(const hangar_mirror *mirror)
{
    return mirror->url;
}

void hangar_mirror_stop(hangar_mirror *mirror)
{
    if (!mirror) return;
    if (mirror->working)
        hg_work_stop(&mirror->work); /* wakes who waits: a server with sleeping connections cannot end */
    if (mirror->daemon) MHD_stop_daemon(mirror->daemon);
    if (mirror->working) hg_work_deinit(&mirror->work);
    if (mirror->socket >= 0) close(mirror->socket);
    if (mirror->root >= 0) close(mirror->root);
    free(mirror->url);
    free(mirror->token);
    explicit_bzero(mirror->secret, sizeof mirror->secret);
    free(mirror);
}
