/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/words.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static const char *none(hg_words *w)
{
    memcpy(w->text, "-", 2);
    return w->text;
}

const char *hg_size_words(hg_words *w, const hg_jval *bytes)
{
    uint64_t n;
    char buf[16];
    if (!hg_json_u64(bytes, &n)) return none(w);
    snprintf(w->text, sizeof w->text, "%s", hg_size_format(n, buf));
    return w->text;
}

const char *hg_count_words(hg_words *w, const hg_jval *count)
{
    uint64_t n;
    if (!hg_json_u64(count, &n)) return none(w);
    if (n < 10000) snprintf(w->text, sizeof w->text, "%u", (unsigned)n);
    else if (n < 1000000)
        snprintf(w->text, sizeof w->text, "%u,%03u", (unsigned)n / 1000, (unsigned)n % 1000);
    else if (n < 999950000) snprintf(w->text, sizeof w->text, "%.1f million", (double)n / 1e6);
    else snprintf(w->text, sizeof w->text, "%.1f billion", (double)n / 1e9);
    return w->text;
}

const char *hg_plural_words(hg_words *w, uint64_t count, const char *one, const char *many)
{
    snprintf(w->text, sizeof w->text, "%llu %s", (unsigned long long)count, count == 1 ? one : many);
    return w->text;
}

/* Unix seconds from a number or from "YYYY-MM-DDTHH:MM:SS...". */
static bool read_time(const hg_jval *time, int64_t *out)
{
    if (hg_json_i64(time, out)) return true;
    double number;
    if (hg_json_f64(time, &number) && number >= 0 && number < 1e12) {
        *out = (int64_t)number;
        return true;
    }
    const char *text = hg_json_text(time);
    struct tm tm = {0};
    if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm)) return false;
    *out = (int64_t)timegm(&tm);
    return true;
}

const char *hg_ago_words(hg_words *w, const hg_jval *time, int64_t now)
{
    static const struct {
        int64_t seconds;
        const char *one, *many;
    } units[] = {{86400 * 7, "week", "weeks"},
                 {86400, "day", "days"},
                 {3600, "hour", "hours"},
                 {60, "minute", "minutes"}};
    int64_t then;
    if (!read_time(time, &then) || then < 0 || then > INT64_MAX / 2) return none(w);
    int64_t age = now - then;
    if (age < 60 && age > -60) {
        snprintf(w->text, sizeof w->text, "just now");
        return w->text;
    }
    if (age < 0 || age >= 86400 * 60) { /* a date says more */
        char stamp[24];
        snprintf(w->text, sizeof w->text, "%.10s", hg_time_format(then, stamp));
        return w->text;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        int64_t n = age / units[i].seconds;
        if (n == 0 || (i == 0 && n < 2)) continue;
        snprintf(w->text, sizeof w->text, "%d %s ago", (int)n, n == 1 ? units[i].one : units[i].many);
        break;
    }
    return w->text;
}

const char *hg_seconds_words(hg_words *w, const hg_jval *seconds)
{
    double s;
    char buf[16];
    if (!hg_json_f64(seconds, &s)) return none(w);
    if (s >= 0 && s < 0.95) snprintf(w->text, sizeof w->text, "%.0f ms", s * 1000);
    else snprintf(w->text, sizeof w->text, "%s", hg_duration_format(s, buf));
    return w->text;
}

const char *hg_commit_words(hg_words *w, const hg_jval *commit)
{
    const char *text = hg_json_text(commit);
    if (!text) return none(w);
    snprintf(w->text, sizeof w->text, "%.12s", text);
    return w->text;
}
