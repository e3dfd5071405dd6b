/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon does: its models and the figures of /metrics in one document, with what happened between two of them. */
#include "base/clock.h"
#include "base/mem.h"
#include "manager/daemon_client.h"

#include <math.h>
#include <stdio.h>

#define ASK_SECONDS 10.0
#define LABEL_MAX   256

/* The totals that are read, of a model or (model "") of the daemon. */
typedef enum figure {
    F_ASKS,
    F_PROMPT,
    F_GENERATED,
    F_SECONDS,
    F_FIRST_SUM,
    F_FIRST_COUNT,
    F_MODEL_COUNT, /* those above are of models */
    F_CONNECTIONS = F_MODEL_COUNT,
    F_STREAMS,
    F_REQUESTS,
    F_RESIDENT,
    F_CPU,
    F_COUNT
} figure;

/* Its name in /metrics, and in the document "totals" when it is one of the daemon's. Several series of one name are added up. */
static const char *const figure_names[F_COUNT] = {
    [F_ASKS] = "hangar_asks_total",
    [F_PROMPT] = "hangar_prompt_tokens_total",
    [F_GENERATED] = "hangar_generated_tokens_total",
    [F_SECONDS] = "hangar_generate_seconds_total",
    [F_FIRST_SUM] = "hangar_first_token_seconds_sum",
    [F_FIRST_COUNT] = "hangar_first_token_seconds_count",
    [F_CONNECTIONS] = "hangar_http_connections",
    [F_STREAMS] = "hangar_http_streams",
    [F_REQUESTS] = "hangar_http_requests_total",
    [F_RESIDENT] = "hangar_process_resident_bytes",
    [F_CPU] = "hangar_process_cpu_seconds_total",
};

/* ---- the text format ---- */

/* The value of the label `model` in "{a="b",model="c"}"; "" when there is none. Moves *rest behind the labels; false when malformed. */
static bool read_labels(hg_str *rest, char model[LABEL_MAX])
{
    hg_str s = *rest, name;
    model[0] = '\0';
    if (!s.len || *s.ptr != '{') return true;
    s = (hg_str){s.ptr + 1, s.len - 1};
    while (s.len && *s.ptr != '}') {
        size_t n = 0;
        if (!hg_str_cut(&s, '=', &name) || !s.len || *s.ptr != '"') return false;
        bool ours = hg_str_eq(name, HG_STR("model"));
        for (s = (hg_str){s.ptr + 1, s.len - 1}; s.len && *s.ptr != '"'; s = (hg_str){s.ptr + 1, s.len - 1}) {
            char c = *s.ptr;
            if (c == '\\' && s.len > 1) {
                s = (hg_str){s.ptr + 1, s.len - 1};
                c = *s.ptr == 'n' ? '\n' : *s.ptr;
            }
            if (ours && n + 1 < LABEL_MAX) model[n++] = c;
        }
        if (ours) model[n] = '\0';
        if (!s.len) return false;
        s = (hg_str){s.ptr + 1, s.len - 1};
        if (s.len && *s.ptr == ',') s = (hg_str){s.ptr + 1, s.len - 1};
    }
    if (!s.len) return false;
    *rest = (hg_str){s.ptr + 1, s.len - 1};
    return true;
}

/* Adds up the figures of one model, or of the daemon (""). */
static void read_figures(hg_str text, const char *model, double out[F_COUNT])
{
    hg_str line;
    memset(out, 0, F_COUNT * sizeof *out);
    while (text.len) {
        char label[LABEL_MAX], number[64];
        hg_str_cut(&text, '\n', &line);
        size_t len = 0;
        while (len < line.len && line.ptr[len] != '{' && line.ptr[len] != ' ') len++;
        int id = 0;
        while (id < F_COUNT && !hg_str_eq((hg_str){line.ptr, len}, hg_str_of(figure_names[id]))) id++;
        if (id == F_COUNT || (id < F_MODEL_COUNT) != (*model != '\0')) continue;
        hg_str rest = {line.ptr + len, line.len - len};
        if (!read_labels(&rest, label) || (*model && !hg_streq(label, model))) continue;
        rest = hg_str_trim(rest);
        snprintf(number, sizeof number, "%.*s", rest.len < sizeof number ? (int)rest.len : 0, rest.ptr);
        double value = strtod(number, NULL);
        if (isfinite(value)) out[id] += value;
    }
}

/* ---- the document ---- */

/* One sampling: what is now, and what was. */
typedef struct sample {
    hg_str text;           /* of /metrics */
    const hg_jval *before; /* the last document's root; NULL */
    double seconds;        /* since then; 0 without one, and when the daemon began anew */
    hg_jw *w;
} sample;

/* now / over as a number, or null. */
static void write_ratio(hg_jw *w, const char *key, double now, double over)
{
    if (over > 0 && now >= 0) hg_jw_f64(w, key, now / over);
    else hg_jw_null(w, key);
}

static double was(const hg_jval *doc, const char *key)
{
    return hg_json_f64_or(hg_json_get(hg_json_get(doc, "totals"), key), 0);
}

/* The document of the same model in the last one. */
static const hg_jval *model_before(const sample *s, const char *name)
{
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(s->before, "models")); hg_json_next(&it);)
        if (hg_streq(hg_json_text(hg_json_get(it.val, "name")), name)) return it.val;
    return NULL;
}

static void write_totals(hg_jw *w, const double *f, int from, int to)
{
    hg_jw_obj(w, "totals");
    for (int i = from; i < to; i++) hg_jw_f64(w, figure_names[i], f[i]);
    hg_jw_end(w);
}

static void write_model(const sample *s, const hg_jval *m)
{
    double f[F_COUNT];
    const char *name = hg_json_text_or(hg_json_get(m, "name"), "");
    const hg_jval *before = model_before(s, name);
    hg_jw *w = s->w;
    read_figures(s->text, *name ? name : "?", f);
    double seconds = f[F_SECONDS] - was(before, figure_names[F_SECONDS]);
    double tokens = f[F_GENERATED] - was(before, figure_names[F_GENERATED]);
    double count = f[F_FIRST_COUNT] - was(before, figure_names[F_FIRST_COUNT]);
    double first = f[F_FIRST_SUM] - was(before, figure_names[F_FIRST_SUM]);
    /* Nothing since then: what it was over all its time. */
    bool new_speed = seconds > 0 && tokens > 0, new_first = count > 0;
    hg_jw_obj(w, NULL);
    hg_jw_members(w, m, NULL);
    hg_jw_u64(w, "asks", (uint64_t)f[F_ASKS]);
    hg_jw_u64(w, "prompt_tokens", (uint64_t)f[F_PROMPT]);
    hg_jw_u64(w, "generated_tokens", (uint64_t)f[F_GENERATED]);
    write_ratio(w, "speed", new_speed ? tokens : f[F_GENERATED], new_speed ? seconds : f[F_SECONDS]);
    write_ratio(w, "first_token_seconds", new_first ? first : f[F_FIRST_SUM],
                new_first ? count : f[F_FIRST_COUNT]);
    write_ratio(w, "tokens_per_second", tokens, before ? s->seconds : 0);
    write_totals(w, f, 0, F_MODEL_COUNT);
    hg_jw_end(w);
}

static void write_all(const sample *s, const hg_jval *ps)
{
    static const char *const ours[] = {"models", NULL};
    double f[F_COUNT];
    hg_jw *w = s->w;
    read_figures(s->text, "", f);
    hg_jw_obj(w, NULL);
    hg_jw_f64(w, "at", hg_now());
    hg_jw_arr(w, "models");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(ps, "models")); hg_json_next(&it);)
        write_model(s, it.val);
    hg_jw_end(w);
    hg_jw_members(w, ps, ours);
    hg_jw_obj(w, "http");
    hg_jw_u64(w, "connections", (uint64_t)fmax(f[F_CONNECTIONS], 0));
    hg_jw_u64(w, "streams", (uint64_t)fmax(f[F_STREAMS], 0));
    hg_jw_u64(w, "requests", (uint64_t)f[F_REQUESTS]);
    write_ratio(w, "requests_per_second", f[F_REQUESTS] - was(s->before, figure_names[F_REQUESTS]),
                s->seconds);
    hg_jw_end(w);
    hg_jw_obj(w, "process");
    hg_jw_u64(w, "resident", (uint64_t)fmax(f[F_RESIDENT], 0));
    write_ratio(w, "cpu", f[F_CPU] - was(s->before, figure_names[F_CPU]), s->seconds);
    hg_jw_end(w);
    write_totals(w, f, F_MODEL_COUNT, F_COUNT);
}

hangar_code hangar_daemon_top(hangar *h, const char *before, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *ps = NULL;
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *last = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    const hg_daemon_call slots = {.method = "GET", .path = "/hangar/v1/ps", .timeout = ASK_SECONDS};
    const hg_daemon_call figures = {.method = "GET", .path = "/metrics", .timeout = ASK_SECONDS, .raw = true};
    *out_json = NULL;
    hangar_code code = before ? hg_json_parse(hg_str_of(before), NULL, &last, err) : HANGAR_OK;
    if (code == HANGAR_OK) code = hg_daemon_ask(h, &slots, &ps, err);
    if (code == HANGAR_OK) code = hg_daemon_ask(h, &figures, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(ps), NULL, &doc, err);
    if (code != HANGAR_OK) return code;
    sample s = {.text = hg_str_of(text), .before = hg_json_root(last), .w = w};
    if (last) s.seconds = hg_now() - hg_json_f64_or(hg_json_get(s.before, "at"), hg_now());
    write_all(&s, hg_json_root(doc));
    return hg_jw_finish(w, false, out_json, err);
}
