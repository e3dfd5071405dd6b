/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HANGAR_LOG is read once, at the first line that is offered. A line that nobody asked for costs one look at a
 * table of at most sixteen entries. Lines reach the sink one at a time.
 */
#include "base/log.h"

#include "base/mem.h"
#include "base/str.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define WANTED_MAX 16

typedef struct wanted {
    char component[24]; /* "all" stands for every one */
    hg_log_level level;
} wanted;

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static wanted table[WANTED_MAX];
static size_t table_len;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t sink_mutex = PTHREAD_MUTEX_INITIALIZER;
static hg_log_fn *sink_fn;
static void *sink_ctx;

/* "hub=info" into an entry; a level that is none asks for everything. */
static void read_wish(hg_str wish)
{
    hg_str name;
    hg_str_cut(&wish, '=', &name);
    name = hg_str_trim(name);
    wish = hg_str_trim(wish);
    if (name.len == 0 || name.len >= sizeof table[0].component || table_len == WANTED_MAX) return;
    wanted *w = &table[table_len++];
    memcpy(w->component, name.ptr, name.len);
    w->level = HG_LOG_DEBUG;
    for (size_t i = 0; i < HG_LEN(level_names); i++)
        if (hg_str_eq(wish, hg_str_of(level_names[i]))) w->level = (hg_log_level)i;
}

static void read_wishes(void)
{
    const char *env = getenv("HANGAR_LOG");
    hg_str rest = hg_str_of(env ? env : "");
    bool more = rest.len != 0;
    while (more) {
        hg_str wish;
        more = hg_str_cut(&rest, ',', &wish);
        read_wish(wish);
    }
}

static bool is_wanted(hg_log_level level, const char *component)
{
    pthread_once(&table_once, read_wishes);
    for (size_t i = 0; i < table_len; i++) {
        if (!hg_streq(table[i].component, component) && !hg_streq(table[i].component, "all")) continue;
        if (level <= table[i].level) return true;
    }
    return false;
}

void hg_log_sink(hg_log_fn *fn, void *ctx)
{
    pthread_mutex_lock(&sink_mutex);
    sink_fn = fn;
    sink_ctx = ctx;
    pthread_mutex_unlock(&sink_mutex);
}

/* One write, so that lines of several processes do not mix. */
static void to_stderr(hg_log_level level, const char *component, const char *line)
{
    struct timespec now;
    struct tm tm = {0};
    char text[1200];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    int len =
        snprintf(text, sizeof text, "%02d:%02d:%02d.%03d [%d] %s %s: %s\n", tm.tm_hour, tm.tm_min, tm.tm_sec,
                 (int)(now.tv_nsec / 1000000), (int)getpid(), component, level_names[level], line);
    if (len <= 0) return;
    size_t size = (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
    if (write(STDERR_FILENO, text, size) < 0) return; /* there is nobody left to tell */
}

void hg_log(hg_log_level level, const char *component, const char *fmt, ...)
{
    if ((unsigned)level > HG_LOG_DEBUG || !component || !is_wanted(level, component)) return;
    char draft[1024], line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(draft, sizeof draft, fmt, args);
    va_end(args);
    hg_escape(hg_str_of(draft), line, sizeof line);
    pthread_mutex_lock(&sink_mutex);
    if (sink_fn) sink_fn(sink_ctx, level, component, line);
    else to_stderr(level, component, line);
    pthread_mutex_unlock(&sink_mutex);
}
