/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a runner still answers, and how much memory it has. A probe is the smallest inference of its loader, over the line like any call, so it
 * proves what a request needs; a runner that is stopped, hangs or answers with an error is killed, and the slot goes the way of every failure.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "manager/pool_inner.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

/* ---- memory ---- */

/* Resident bytes of a process; 0 = not known. Not by hg_runner_memory, which looks after the child: that is the line's. */
static uint64_t resident(pid_t pid)
{
    char path[64], text[128];
    unsigned long long size = 0, pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    HG_AUTO(hg_auto_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (n <= 0) return 0;
    text[n] = '\0';
    if (sscanf(text, "%llu %llu", &size, &pages) != 2) return 0;
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void hg_slot_measure(hg_slot *s)
{
    char limit[16], has[16];
    s->measure_at = hg_now() + (s->entry->memory_limit ? HG_POOL_LIMITED : HG_POOL_MEASURE);
    uint64_t bytes = resident(s->pid);
    if (bytes == 0 || s->kill_why) return;
    if (s->state != HG_SLOT_LOADING || bytes > s->memory) s->memory = bytes;
    hg_metric_set(HG_M_RUNNER_MEMORY, (const char *const[]){s->entry->name}, (double)s->memory);
    hg_metric_set(HG_M_MEMORY_USED, NULL, (double)hg_pool_used(s->pool));
    if (s->entry->memory_limit == 0 || bytes <= s->entry->memory_limit) return;
    HG_AUTO(hg_auto_free)
    char *words = hg_format("%s grew over its memory limit of %s (it had %s)", s->entry->name,
                            hg_size_format(s->entry->memory_limit, limit), hg_size_format(bytes, has));
    s->kill_why = "memory";
    hg_line_kill(s->line, words ? words : "over its memory limit");
}

/* ---- probes ---- */

double hg_slot_probe_ends(const hg_slot *s)
{
    return s->kill_why ? INFINITY : s->probe_from + s->pool->h->settings->serve_probe_timeout;
}

static void note_probe(const hg_slot *s, const char *result, double seconds)
{
    const char *const labels[] = {s->entry->name, result};
    hg_metric_add(HG_M_RUNNER_PROBES, labels, 1);
    hg_metric_add(HG_M_RUNNER_PROBE_SECONDS, labels, seconds);
}

void hg_slot_watch(hg_slot *s)
{
    double now = hg_now();
    if (now >= s->measure_at) hg_slot_measure(s);
    if (!s->probing || now < hg_slot_probe_ends(s)) return;
    HG_AUTO(hg_auto_free)
    char *words = hg_format("%s did not answer a probe within %.3g s", s->entry->name,
                            s->pool->h->settings->serve_probe_timeout);
    s->kill_why = "silent";
    note_probe(s, "TIMEOUT", now - s->probe_from);
    hg_why_note(s->pool->why, "probe", s->entry->name, "%s", words ? words : "it did not answer");
    hg_line_kill(s->line, words ? words : "it did not answer a probe");
}

static void on_piece(void *ctx, const hg_raw *piece)
{
    (void)ctx, (void)piece; /* that it answers is all that is asked */
}

static void on_end(void *ctx, hangar_code code, const hg_raw *done, const hangar_err *err)
{
    (void)done;
    hg_slot *s = ctx;
    double now = hg_now();
    s->probing = false;
    s->probe_next = now + s->pool->h->settings->serve_probe_interval;
    hg_pool_poke(s->pool);
    if (s->kill_why) return; /* it was noted when it was killed */
    note_probe(s, hangar_code_name(code), now - s->probe_from);
    if (code == HANGAR_OK) {
        s->proved = true;
        s->probed_at = hg_wall();
        if (s->state == HG_SLOT_READY) s->failures = s->tries = 0; /* up for a whole interval */
        hg_slot_measure(s);
        hg_pool_changed(s->pool);
        return;
    }
    if (code == HANGAR_E_CANCELLED) return;
    hg_why_note(s->pool->why, "probe", s->entry->name, "%s", err->msg);
    s->kill_why = "silent";
    hg_line_kill(s->line, err->msg);
}

bool hg_slot_probe(hg_slot *s)
{
    static const hg_line_fns fns = {.piece = on_piece, .end = on_end};
    HG_AUTO(hg_auto_free) char *call = NULL;
    hangar_err err = {0};
    hangar_code code = s->loader->probe(s->model, &call, &err);
    if (code == HANGAR_OK)
        code = hg_line_call(s->line, &(hg_parcel){.json = hg_str_of(call)},
                            2 * s->pool->h->settings->serve_probe_timeout, &fns, s, &err);
    s->probe_from = hg_now();
    s->again_at = code == HANGAR_OK ? 0 : s->probe_from + HG_POOL_RETRY;
    s->probing = code == HANGAR_OK;
    if (code != HANGAR_OK) hg_log(HG_LOG_WARN, "pool", "%s: no probe now: %s", s->entry->name, err.msg);
    return s->probing;
}
