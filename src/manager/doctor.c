/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is installed, what is missing, what to do. Each check looks at one thing, adds one row and changes nothing that
 * lasts. FAIL is for what keeps hangar from its main job (fetch, convert, run), WARN for what may surprise.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/proc.h"
#include "db/db.h"
#include "engine/runner.h"
#include "hardware/hardware.h"
#include "manager/journal.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RUNNER_SECONDS 20.0
#define DISK_WARN      (5 * (uint64_t)1000000000)
#define DISK_FAIL      (100 * (uint64_t)1000000)
#define MEMORY_WARN    (1 * (uint64_t)1000000000)

typedef struct doctor {
    hangar *h;
    hg_jw *w;
    unsigned fails;
    char first[64]; /* the first that failed */
} doctor;

typedef enum verdict { FINE, WARN, FAIL } verdict;

/* One row. advice: what to do, "" when nothing needs doing. */
static void add(doctor *d, const char *name, verdict v, const char *advice, const char *fmt, ...)
    HG_PRINTF(5, 6);
static void add(doctor *d, const char *name, verdict v, const char *advice, const char *fmt, ...)
{
    static const char *const states[] = {"ok", "warn", "fail"};
    char detail[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    hg_jw_obj(d->w, NULL);
    hg_jw_text(d->w, "name", name);
    hg_jw_text(d->w, "state", states[v]);
    hg_jw_text(d->w, "detail", detail);
    hg_jw_text(d->w, "advice", advice);
    hg_jw_end(d->w);
    if (v == FAIL && d->fails++ == 0) snprintf(d->first, sizeof d->first, "%s", name);
}

/* ---- libraries ---- */

/* A library tells its version through one of these; it is asked by name, for its header is another room's. */
typedef const char *text_fn(void);
typedef const char *text_of_fn(int what);
typedef uint32_t number_fn(void);

static const struct {
    const char *name, *symbol;
    enum { TEXT, TEXT_OF, PACKED } how; /* PACKED: major in bits 16.., minor in 8.., patch in 0.. */
    unsigned major, minor;              /* the oldest that is known to do */
    const char *file;                   /* of one that is loaded when it is needed (base/lazy.h) */
} libraries[] = {
    {"libcurl", "curl_version", TEXT, 7, 75, "libcurl.so.4"},
    {"OpenSSL", "OpenSSL_version", TEXT_OF, 3, 0, NULL},
    {"SQLite", "sqlite3_libversion", TEXT, 3, 35, NULL},
    {"yyjson", "yyjson_version", PACKED, 0, 8, NULL},
    {"libyaml", "yaml_get_version_string", TEXT, 0, 2, NULL},
    {"libmicrohttpd", "MHD_get_version", TEXT, 0, 9, "libmicrohttpd.so.12"},
    {"protobuf-c", "protobuf_c_version", TEXT, 1, 3, NULL},
    {"hwloc", "hwloc_get_api_version", PACKED, 2, 0, NULL},
};

/* The first "A.B[.C]" in a text; false when there is none. */
static bool find_version(const char *text, unsigned *major, unsigned *minor, char out[32])
{
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9') continue;
        if (sscanf(p, "%u.%u", major, minor) == 2) {
            snprintf(out, 32, "%.*s", (int)strspn(p, "0123456789."), p);
            return true;
        }
        while (p[1] >= '0' && p[1] <= '9') p++;
    }
    return false;
}

static bool library_version(size_t i, unsigned *major, unsigned *minor, char out[32])
{
    void *from = libraries[i].file ? dlopen(libraries[i].file, RTLD_LAZY | RTLD_LOCAL) : RTLD_DEFAULT;
    void *symbol = libraries[i].file && !from ? NULL : dlsym(from, libraries[i].symbol);
    if (!symbol) return false;
    if (libraries[i].how == PACKED) {
        number_fn *ask;
        memcpy(&ask, &symbol, sizeof ask);
        uint32_t n = ask();
        *major = n >> 16;
        *minor = n >> 8 & 255;
        snprintf(out, 32, "%u.%u.%u", *major, *minor, n & 255);
        return true;
    }
    const char *text;
    if (libraries[i].how == TEXT) {
        text_fn *ask;
        memcpy(&ask, &symbol, sizeof ask);
        text = ask();
    } else {
        text_of_fn *ask;
        memcpy(&ask, &symbol, sizeof ask);
        text = ask(0);
    }
    return text && find_version(text, major, minor, out);
}

static void check_libraries(doctor *d)
{
    hg_buf list, old;
    hg_buf_init(&list, 4096);
    hg_buf_init(&old, 4096);
    for (size_t i = 0; i < HG_LEN(libraries); i++) {
        unsigned major = 0, minor = 0;
        char version[32] = "is missing";
        if (!library_version(i, &major, &minor, version) && !libraries[i].file)
            continue; /* linked in, or not needed by this program */
        hg_buf_printf(&list, "%s%s %s", list.len ? ", " : "", libraries[i].name, version);
        if (major < libraries[i].major || (major == libraries[i].major && minor < libraries[i].minor))
            hg_buf_printf(&old, "%s%s %u.%u", old.len ? ", " : "install at least ", libraries[i].name,
                          libraries[i].major, libraries[i].minor);
    }
    add(d, "libraries", old.len ? WARN : FINE, hg_buf_text(&old), "%s",
        list.len ? hg_buf_text(&list) : "linked into the program");
    hg_buf_deinit(&list);
    hg_buf_deinit(&old);
}

/* ---- runners ---- */

/* What `program --version` prints on its last line; an error when it does not answer. */
static hangar_code ask_version(const char *program, char *out, size_t cap, hangar_err *err)
{
    const char *const argv[] = {program, "--version", NULL};
    const hg_proc_spec spec = {.argv = argv};
    hg_proc *p;
    hangar_code code = hg_proc_start(&spec, &p, err);
    if (code != HANGAR_OK) return code;
    double end = hg_now() + RUNNER_SECONDS;
    while (!hg_proc_ended(p) && hg_now() < end) hg_sleep(0.01);
    if (!hg_proc_ended(p)) {
        code = hg_fail(err, HANGAR_E_TIMEOUT, "does not answer within %d seconds", (int)RUNNER_SECONDS);
    } else {
        char how[128];
        hg_proc_how(p, how, sizeof how, NULL, NULL);
        hg_str text = hg_str_trim(hg_str_of(hg_proc_tail(p))), line;
        while (hg_str_cut(&text, '\n', &line)) continue;
        hg_escape(hg_str_trim(line), out, cap);
        if (!hg_streq(how, "exit code 0"))
            code = hg_fail(err, HANGAR_E_ENGINE, "%s%s%s", how, out[0] ? ": " : "", out);
    }
    hg_proc_end(p, 0);
    return code;
}

static void check_runners(doctor *d)
{
    for (const hg_engine *const *e = hg_engine_all(); *e; e++) {
        HG_AUTO(hg_auto_free) char *program = NULL;
        hangar_err why = {0};
        char name[64], version[160] = "";
        snprintf(name, sizeof name, "runner %s", (*e)->name);
        hangar_code code = hg_engine_program(*e, &program, &why);
        if (code != HANGAR_OK) {
            add(d, name, FAIL, "install hangar again, or name the runners' folder in HANGAR_RUNNERS", "%s",
                why.msg);
        } else if (ask_version(program, version, sizeof version, &why) != HANGAR_OK) {
            add(d, name, FAIL, "install hangar again: the runner or a library that it needs is broken",
                "%s: %s", program, why.msg);
        } else {
            add(d, name, FINE, "", "%s (%s)", version[0] ? version : "answers", program);
        }
    }
}

/* ---- folders, disk, memory ---- */

/* Tries to write into a folder, or, when it is not made yet, looks whether it could be made. */
static hangar_code try_writing(const char *dir, bool *missing, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *at = hg_strdup(dir);
    if (!at) return hg_fail_memory(err);
    *missing = !hg_is_dir(at);
    while (access(at, F_OK) != 0 && !hg_streq(at, "/")) {
        char *parent = hg_path_dir(at);
        if (!parent) return hg_fail_memory(err);
        free(at);
        at = parent;
    }
    if (!hg_is_dir(at)) return hg_fail(err, HANGAR_E_FAILED, "%s: is in the way, not a folder", at);
    if (access(at, W_OK | X_OK) != 0) return hg_fail_errno(err, errno, "%s", at);
    if (*missing) return HANGAR_OK;
    HG_AUTO(hg_auto_free) char *probe = hg_path_join(at, "doctor");
    hg_out *out;
    if (!probe) return hg_fail_memory(err);
    hangar_code code = hg_out_open(probe, 0600, &out, err);
    if (code == HANGAR_OK) hg_out_abort(out);
    return code;
}

static void check_folder(doctor *d, const char *name, const char *dir, const char *advice)
{
    hangar_err why = {0};
    bool missing = false;
    if (try_writing(dir, &missing, &why) != HANGAR_OK) add(d, name, FAIL, advice, "%s", why.msg);
    else add(d, name, FINE, "", "%s%s", dir, missing ? " (will be made)" : "");
}

static void check_disk(doctor *d)
{
    const char *cache = d->h->settings->cache;
    uint64_t bytes;
    char size[16];
    hangar_err why = {0};
    if (hg_disk_free(cache, &bytes, &why) != HANGAR_OK) {
        add(d, "disk", WARN, "look whether the disk of the cache is mounted", "%s", why.msg);
        return;
    }
    verdict v = bytes < DISK_FAIL ? FAIL : bytes < DISK_WARN ? WARN : FINE;
    add(d, "disk", v, v == FINE ? "" : "make room, or move the cache: models.cache.path or HF_HUB_CACHE",
        "%s free for the cache", hg_size_format(bytes, size));
}

static void check_memory(doctor *d)
{
    uint64_t bytes = hg_usable_memory();
    char size[16];
    bool low = bytes < MEMORY_WARN;
    add(d, "memory", low ? WARN : FINE, low ? "end other programs, or use small models" : "",
        "%s free, %u threads usable", hg_size_format(bytes, size), hg_usable_threads());
}

/* ---- the Hub ---- */

/* The host of a URL is this machine. */
static bool is_loopback(hg_str url)
{
    static const char *const hosts[] = {"http://127.", "http://localhost", "http://[::1]"};
    for (size_t i = 0; i < HG_LEN(hosts); i++)
        if (hg_str_starts(url, hg_str_of(hosts[i]))) return true;
    return false;
}

static void check_endpoint(doctor *d)
{
    const hg_settings *s = d->h->settings;
    hg_str url = hg_str_of(s->endpoint);
    bool open = hg_str_starts(url, HG_STR("http://")) && !is_loopback(url);
    add(d, "endpoint", open ? WARN : FINE,
        open ? "use https:// in HF_ENDPOINT: without it others can read the token and change what is fetched"
             : "",
        "%s", s->endpoint);
    if (s->offline)
        add(d, "offline", WARN, "unset HF_HUB_OFFLINE (or hub.offline) to fetch models",
            "the network is not used; models that are there can be run");
    else add(d, "offline", FINE, "", "no");
}

static void check_token(doctor *d)
{
    const hg_settings *s = d->h->settings;
    struct stat st;
    if (s->token_problem[0]) {
        add(d, "token", WARN, "mend or remove the token file, or set HF_TOKEN", "%s", s->token_problem);
    } else if (stat(s->token_file, &st) == 0 && (st.st_mode & 077) != 0) {
        char advice[1200];
        snprintf(advice, sizeof advice, "chmod 600 %s", s->token_file);
        add(d, "token", WARN, advice, "%s can be read by others (mode %04o)", s->token_file,
            (unsigned)(st.st_mode & 07777));
    } else {
        add(d, "token", FINE, "", "%s", s->token[0] ? "there is one" : "none: public models only");
    }
}

/* ---- the rest ---- */

/* What the kernel offers for the runners' cage, asked without putting one on. */
static void check_sandbox(doctor *d)
{
    long landlock = -1;
#ifdef SYS_landlock_create_ruleset
    landlock = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1u); /* 1: only tell the version */
#endif
    bool seccomp = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
    if (landlock > 0 && seccomp)
        add(d, "sandbox", FINE, "", "runners are caged: files (Landlock %ld) and system calls (seccomp)",
            landlock);
    else if (seccomp)
        add(d, "sandbox", FINE, "",
            "runners are caged by system calls (seccomp); this kernel has no Landlock");
    else
        add(d, "sandbox", WARN, "run models from sources you trust only",
            "this kernel offers no cage for runners");
}

static void check_configuration(doctor *d)
{
    const char *file = d->h->settings->file;
    add(d, "configuration", FINE, "", "%s", file[0] ? file : "no file: defaults and environment");
}

/* ---- jobs ---- */

/* Walks the journal, newest first: a lost job counts unless one of its kind was run on the same model since. */
typedef struct jobs {
    char *later[HG_JOURNAL_KEEP]; /* "kind ref" of the jobs seen so far */
    size_t len;
    unsigned lost;
    char first[600];
} jobs;

static hangar_code note_job(void *ctx, const hg_db_job *job, hangar_err *err)
{
    jobs *j = ctx;
    char *name = hg_format("%s %s", job->kind, job->ref);
    if (!name) return hg_fail_memory(err);
    bool seen = false;
    for (size_t i = 0; i < j->len && !seen; i++) seen = hg_streq(j->later[i], name);
    if (!seen && hg_streq(job->state, "lost") && j->lost++ == 0)
        snprintf(j->first, sizeof j->first, "%s", name);
    if (seen || j->len == HG_JOURNAL_KEEP) free(name);
    else j->later[j->len++] = name;
    return HANGAR_OK;
}

static void check_jobs(doctor *d)
{
    jobs j = {0};
    hg_db *db = hg_store_db(d->h->store);
    if (!db || hg_db_job_list(db, HG_JOURNAL_KEEP, note_job, &j, NULL) != HANGAR_OK)
        add(d, "jobs", WARN, "look at the permissions of HANGAR_HOME", "the index cannot be read");
    else if (j.lost == 0) add(d, "jobs", FINE, "", "none was cut short");
    else
        add(d, "jobs", WARN, "run it again: what was done is kept",
            "%u cut short by a kill or a crash; the last: %s", j.lost, j.first);
    for (size_t i = 0; i < j.len; i++) free(j.later[i]);
}

hangar_code hangar_doctor(hangar *h, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    doctor d = {.h = h, .w = w};
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "checks");
    add(&d, "hangar", FINE, "", "version %s", HANGAR_VERSION);
    check_configuration(&d);
    check_libraries(&d);
    check_runners(&d);
    check_folder(&d, "cache", h->settings->cache,
                 "set HF_HUB_CACHE or models.cache.path to a folder that you may write");
    check_folder(&d, "home", h->settings->home, "set HANGAR_HOME to a folder that you may write");
    check_disk(&d);
    check_memory(&d);
    check_endpoint(&d);
    check_token(&d);
    check_sandbox(&d);
    check_jobs(&d);
    hg_jw_end(w);
    hg_jw_bool(w, "ok", d.fails == 0);
    hangar_code code = hg_jw_finish(w, false, out_json, err);
    if (code == HANGAR_OK && d.fails)
        code =
            hg_fail(err, HANGAR_E_FAILED, "%u check%s failed: %s", d.fails, d.fails == 1 ? "" : "s", d.first);
    return code;
}
