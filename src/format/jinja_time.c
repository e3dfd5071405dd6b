/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strftime_now(): a point in time given by the caller, in UTC, in the words of the C locale. The calendar is worked out
 * here, so that neither the machine's locale nor its zone is seen.
 */
#include "format/jinja_inner.h"

typedef struct moment {
    int64_t year, epoch;
    int month, day, hour, minute, second; /* month and day from 1 */
    int weekday, yearday;                 /* from 0; Sunday is 0 */
} moment;

static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};

static bool leap(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static void moment_of(int64_t now, moment *m)
{
    /* Years 1 to 9999, which is what Python's dates are. */
    if (now < -62135596800) now = -62135596800;
    if (now > 253402300799) now = 253402300799;
    int64_t day = now / 86400, second = now % 86400;
    if (second < 0) {
        second += 86400;
        day--;
    }
    *m = (moment){.epoch = now,
                  .hour = (int)(second / 3600),
                  .minute = (int)(second / 60 % 60),
                  .second = (int)(second % 60),
                  .weekday = (int)(((day + 4) % 7 + 7) % 7)};
    /* Counted from 1 March of year 0, so that the leap day ends a year. */
    int64_t z = day + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    m->day = (int)(doy - (153 * mp + 2) / 5 + 1);
    m->month = (int)(mp < 10 ? mp + 3 : mp - 9);
    m->year = yoe + era * 400 + (m->month <= 2);
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    m->yearday = before[m->month - 1] + m->day - 1 + (m->month > 2 && leap(m->year));
}

/* ISO week and its year. */
static int iso_week(const moment *m, int64_t *year)
{
    int monday = (m->weekday + 6) % 7, week = (m->yearday - monday + 10) / 7;
    *year = m->year;
    if (week < 1) {
        --*year;
        int last = m->yearday + (leap(*year) ? 366 : 365);
        return (last - monday + 10) / 7;
    }
    if (week == 53 && m->yearday - monday + 3 >= (leap(m->year) ? 366 : 365)) {
        ++*year;
        return 1;
    }
    return week;
}

/* A number in so many places; pad is '0', ' ' or '-' (none). */
static void number(hg_buf *b, char flag, char pad, int width, int64_t n)
{
    if (flag == '-') width = 0;
    else if (flag == '_') pad = ' ';
    else if (flag == '0') pad = '0';
    hg_buf_printf(b, pad == '0' ? "%0*lld" : "%*lld", width, (long long)n);
}

static bool write_number(const moment *m, char flag, char what, hg_buf *b)
{
    int64_t year;
    int week = iso_week(m, &year), twelve = m->hour % 12 ? m->hour % 12 : 12;
    switch (what) {
    case 'Y': number(b, flag, '-', 0, m->year); break;
    case 'C': number(b, flag, '0', 2, m->year / 100); break;
    case 'y': number(b, flag, '0', 2, m->year % 100); break;
    case 'm': number(b, flag, '0', 2, m->month); break;
    case 'd': number(b, flag, '0', 2, m->day); break;
    case 'e': number(b, flag, ' ', 2, m->day); break;
    case 'H': number(b, flag, '0', 2, m->hour); break;
    case 'k': number(b, flag, ' ', 2, m->hour); break;
    case 'I': number(b, flag, '0', 2, twelve); break;
    case 'l': number(b, flag, ' ', 2, twelve); break;
    case 'M': number(b, flag, '0', 2, m->minute); break;
    case 'S': number(b, flag, '0', 2, m->second); break;
    case 'f': number(b, flag, '0', 6, 0); break;
    case 'j': number(b, flag, '0', 3, m->yearday + 1); break;
    case 'w': number(b, flag, '0', 1, m->weekday); break;
    case 'u': number(b, flag, '0', 1, m->weekday ? m->weekday : 7); break;
    case 'U': number(b, flag, '0', 2, (m->yearday + 7 - m->weekday) / 7); break;
    case 'W': number(b, flag, '0', 2, (m->yearday + 7 - (m->weekday + 6) % 7) / 7); break;
    case 'V': number(b, flag, '0', 2, week); break;
    case 'G': number(b, flag, '-', 0, year); break;
    case 's': number(b, flag, '-', 0, m->epoch); break;
    default: return false;
    }
    return true;
}

static void write_format(const moment *m, hg_str format, hg_buf *b);

/* One directive; false when there is none of that letter. */
static bool write_one(const moment *m, char flag, char what, hg_buf *b)
{
    static const struct {
        char what;
        const char *format;
    } whole[] = {{'c', "%a %b %e %H:%M:%S %Y"},
                 {'x', "%m/%d/%y"},
                 {'X', "%H:%M:%S"},
                 {'D', "%m/%d/%y"},
                 {'F', "%Y-%m-%d"},
                 {'T', "%H:%M:%S"},
                 {'R', "%H:%M"},
                 {'r', "%I:%M:%S %p"}};
    for (size_t i = 0; i < HG_LEN(whole); i++)
        if (whole[i].what == what) {
            write_format(m, hg_str_of(whole[i].format), b);
            return true;
        }
    switch (what) {
    case 'A': hg_buf_puts(b, days[m->weekday]); return true;
    case 'a': hg_buf_add(b, days[m->weekday], 3); return true;
    case 'B': hg_buf_puts(b, months[m->month - 1]); return true;
    case 'b':
    case 'h': hg_buf_add(b, months[m->month - 1], 3); return true;
    case 'p': hg_buf_puts(b, m->hour < 12 ? "AM" : "PM"); return true;
    case 'P': hg_buf_puts(b, m->hour < 12 ? "am" : "pm"); return true;
    case 'Z':
    case 'z': return true; /* Python's now() has no zone */
    case 'n': hg_buf_putc(b, '\n'); return true;
    case 't': hg_buf_putc(b, '\t'); return true;
    case '%': hg_buf_putc(b, '%'); return true;
    default: return write_number(m, flag, what, b);
    }
}

static void write_format(const moment *m, hg_str f, hg_buf *b)
{
    for (size_t i = 0; i < f.len; i++) {
        size_t k = i + 1;
        char flag = k + 1 < f.len && (f.ptr[k] == '-' || f.ptr[k] == '_' || f.ptr[k] == '0') ? f.ptr[k++] : 0;
        if (f.ptr[i] == '%' && k < f.len && write_one(m, flag, f.ptr[k], b)) i = k;
        else hg_buf_putc(b, f.ptr[i]);
    }
}

bool hg_jj_time(jj_run *r, hg_str format, hg_buf *b)
{
    moment m;
    if (!hg_jj_steps(r, format.len)) return false;
    moment_of(r->now, &m);
    write_format(&m, format, b);
    return true;
}
