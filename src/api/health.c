/* SPDX-License-Identifier: Apache-2.0 */
/* /health, /ready, /livez, /metrics. */
#include "api/health.h"

#include "api/native.h"
#include "base/clock.h"
#include "base/mem.h"
#include "hardware/hardware.h"
#include "manager/metrics.h"

#define RETRY_AFTER 2.0 /* seconds until it is worth to ask again whether all is ready */

static void answer_health(hg_req *r);
static void answer_ready(hg_req *r);
static void answer_live(hg_req *r);
static void answer_metrics(hg_req *r);

const hg_endpoint hg_endpoints_health[] = {
    {.method = "GET",
     .path = "/health",
     .scope = HG_SCOPE_OPEN,
     .summary = "how the daemon and its models are; 503 when no wanted model answers",
     .fn = answer_health},
    {.method = "GET",
     .path = "/ready",
     .scope = HG_SCOPE_OPEN,
     .summary = "200 when all preload models answer, else 503 with the first that does not",
     .fn = answer_ready},
    {.method = "GET",
     .path = "/livez",
     .scope = HG_SCOPE_OPEN,
     .summary = "200 as long as the daemon answers at all",
     .fn = answer_live},
    {.method = "GET",
     .path = "/metrics",
     .scope = HG_SCOPE_INFER,
     .summary = "figures for Prometheus (text)",
     .fn = answer_metrics},
    {0}};

/* ---- how it is ---- */

const char *hg_health_name(hg_health h)
{
    static const char *const names[] = {"healthy", "loading", "degraded", "unhealthy"};
    return h < HG_LEN(names) ? names[h] : "unknown";
}

bool hg_slot_answers(const hg_slot_info *s)
{
    return s->state == HG_SLOT_READY || s->state == HG_SLOT_BUSY;
}

void hg_health_add(hg_health_sum *sum, const hg_slot_info *s)
{
    sum->loaded += hg_slot_answers(s);
    if (!s->wanted) return;
    sum->wanted++;
    if (hg_slot_answers(s)) sum->answer++;
    else if (s->state == HG_SLOT_LOADING && s->restarts == 0 && !*s->error) sum->loading++;
    else sum->failed++;
}

hg_health hg_health_judge(const hg_health_sum *sum)
{
    if (sum->answer == sum->wanted) return HG_HEALTHY;
    if (sum->failed == 0) return HG_LOADING;
    return sum->answer ? HG_DEGRADED : HG_UNHEALTHY;
}

hg_health hg_health_read(const hg_pool *pool, hg_health_sum *out)
{
    hg_slot_info info;
    *out = (hg_health_sum){0};
    for (size_t i = 0; hg_pool_info(pool, i, &info); i++) hg_health_add(out, &info);
    return hg_health_judge(out);
}

/* Why a slot does not answer yet. */
static void say_why(const hg_slot_info *s, hangar_err *why)
{
    const char *words = *s->error ? s->error : "";
    hg_fail(why, HANGAR_E_OVERLOADED, "%s is %s%s%s", s->entry->name, hg_slot_state_name(s->state),
            *words ? ": " : "", words);
}

bool hg_ready(const hg_host *host, hangar_err *why)
{
    hg_slot_info info;
    if (host->stopping) {
        hg_fail(why, HANGAR_E_OVERLOADED, "hangar is ending");
        return false;
    }
    for (const hg_entry *const *e = host->preload; e && *e; e++) {
        if (!hg_pool_info_of(host->pool, *e, &info)) {
            hg_fail(why, HANGAR_E_OVERLOADED, "%s is not loaded", (*e)->name);
            return false;
        }
        if (hg_slot_answers(&info)) continue;
        say_why(&info, why);
        return false;
    }
    for (size_t i = 0; hg_pool_info(host->pool, i, &info); i++) {
        if (!info.wanted || hg_slot_answers(&info)) continue;
        say_why(&info, why);
        return false;
    }
    return true;
}

/* ---- /health ---- */

/* The answer to one /health; the first waits for the look at the hardware, a worker's. */
typedef struct asking {
    hg_req *r;
    hg_host *host;
    bool gpu;
} asking;

/* Whether the machine has a GPU: it is asked once in the life of the process. -1 = not yet. Loop's thread. */
static int has_gpu = -1;

static void write_health(const asking *a)
{
    const hg_host *host = a->host;
    hg_health_sum sum;
    hg_slot_info info;
    hg_health health = hg_health_read(host->pool, &sum);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "status", hg_health_name(health));
    hg_jw_bool(w, "gpu_available", a->gpu);
    hg_jw_bool(w, "model_loaded", sum.wanted ? sum.answer == sum.wanted : sum.loaded > 0);
    hg_jw_arr(w, "models");
    for (size_t i = 0; hg_pool_info(host->pool, i, &info); i++) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", info.entry->name);
        hg_jw_text(w, "state", hg_slot_state_name(info.state));
        hg_jw_bool(w, "wanted", info.wanted);
        hg_jw_text(w, "error", *info.error ? info.error : NULL);
        if (info.probed_at) hg_jw_i64(w, "probed_at", info.probed_at);
        else hg_jw_null(w, "probed_at");
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_jw_text(w, "version", hangar_version());
    hg_jw_i64(w, "uptime", hg_wall() - host->started);
    hg_reply_jw(a->r, health == HG_UNHEALTHY ? 503 : 200, w);
}

static void look(void *ctx)
{
    asking *a = ctx;
    hg_hardware *hw = hg_calloc(1, sizeof *hw);
    if (!hw) return;
    hg_hardware_read(NULL, hw);
    a->gpu = hw->gpu_count > 0;
    free(hw);
}

static void looked(void *ctx)
{
    asking *a = ctx;
    has_gpu = a->gpu;
    if (a->r) write_health(a);
    free(a);
}

static void gone(void *ctx)
{
    ((asking *)ctx)->r = NULL;
}

static void answer_health(hg_req *r)
{
    hangar_err err = {0};
    if (has_gpu >= 0) {
        write_health(&(asking){.r = r, .host = hg_req_host(r), .gpu = has_gpu > 0});
        return;
    }
    asking *a = hg_calloc(1, sizeof *a);
    hangar_code code = HANGAR_OK;
    if (!a) code = hg_fail_memory(&err);
    else *a = (asking){.r = r, .host = hg_req_host(r)};
    if (code == HANGAR_OK) code = hg_loop_work(a->host->loop, look, looked, a, &err);
    if (code == HANGAR_OK) {
        hg_req_on_gone(r, gone, a);
        return;
    }
    free(a);
    hg_reply_error(r, &err, -1);
}

/* ---- the others ---- */

static void answer_ready(hg_req *r)
{
    hangar_err why = {0};
    if (!hg_ready(hg_req_host(r), &why)) {
        hg_reply_error(r, &why, RETRY_AFTER);
        return;
    }
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_bool(w, "ready", true);
    hg_reply_jw(r, 200, w);
}

static void answer_live(hg_req *r)
{
    hg_reply_bytes(r, 200, "text/plain; charset=utf-8", HG_STR("ok\n"));
}

static void answer_metrics(hg_req *r)
{
    hangar_err err = {0};
    hg_buf b;
    hg_buf_init(&b, 16 * HG_MIB);
    if (hg_metrics_write(&b, &err) == HANGAR_OK) hg_reply_bytes(r, 200, HG_METRICS_TYPE, hg_buf_view(&b));
    else hg_reply_error(r, &err, -1);
    hg_buf_deinit(&b);
}
