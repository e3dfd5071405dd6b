/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bars on a terminal. The block is the last lines of the terminal, without a newline after the last one; the cursor rests at
 * its end and stays visible, so that a kill at any moment leaves a usable terminal. A redraw is one write: up to the first
 * line of the block, new finished lines, the block again, each line cleared to its end (clearing the screen at once would
 * make some terminals keep a copy in their history). When the terminal became narrower
 * the lines that were drawn take more rows than before: that is counted from their widths. Some terminals become narrower before
 * they tell: wrapping is off while the block is written, so that it cannot grow meanwhile.
 */
#include "cli/render_inner.h"

#include "base/mem.h"

#include <stdio.h>

#define BLOCK_MAX        (256 * HG_KIB)
#define NAME_MAX_COLUMNS 48

/* A line as it is being put together: text with escapes, and the columns that show. */
typedef struct line {
    hg_buf text;
    size_t columns;
} line;

static void put(line *l, hg_str s)
{
    hg_buf_str(&l->text, s);
    l->columns += hg_utf8_columns(s);
}

static void put_tone(const hg_render *r, line *l, int tone, hg_str s)
{
    if (r->o.colour && tone) hg_buf_printf(&l->text, "\033[%dm", tone);
    put(l, s);
    if (r->o.colour && tone) hg_buf_puts(&l->text, "\033[0m");
}

/* A name in exactly `width` columns: cut in its middle, because the ends of file names tell most. */
static void put_name(const hg_render *r, line *l, const char *name, size_t width)
{
    hg_str s = hg_str_of(name);
    size_t all = hg_utf8_columns(s), used = all;
    if (all <= width) {
        put(l, s);
    } else {
        const char *mark = r->o.utf8 ? "…" : "~";
        size_t head = (width - 1) / 2, tail = width - 1 - head;
        uint32_t c;
        used = 0;
        while (s.len) {
            size_t n = hg_utf8_next(s, &c);
            n = n ? n : 1;
            size_t w = hg_utf8_columns((hg_str){s.ptr, n});
            if (used + w > head) break;
            put(l, (hg_str){s.ptr, n});
            used += w;
            s = (hg_str){s.ptr + n, s.len - n};
        }
        put(l, hg_str_of(mark));
        size_t rest = hg_utf8_columns(s);
        while (s.len && rest > tail) {
            size_t n = hg_utf8_next(s, &c);
            n = n ? n : 1;
            rest -= hg_utf8_columns((hg_str){s.ptr, n});
            s = (hg_str){s.ptr + n, s.len - n};
        }
        put(l, s);
        used += 1 + rest;
    }
    for (; used < width; used++) put(l, HG_STR(" "));
}

static double share(uint64_t done, uint64_t total)
{
    if (total == 0) return 0;
    return done >= total ? 1 : (double)done / (double)total;
}

/* A bar of `width` columns. */
static void put_bar(const hg_render *r, line *l, double part, size_t width)
{
    size_t full = (size_t)(part * (double)width + 1e-9);
    const char *on = r->o.utf8 ? "━" : "=", *off = r->o.utf8 ? "─" : "-";
    if (r->o.colour) hg_buf_puts(&l->text, "\033[32m");
    for (size_t i = 0; i < full; i++) put(l, hg_str_of(on));
    if (r->o.colour) hg_buf_puts(&l->text, "\033[0m\033[2m");
    for (size_t i = full; i < width; i++) put(l, hg_str_of(off));
    if (r->o.colour) hg_buf_puts(&l->text, "\033[0m");
}

static void put_percent(line *l, double part)
{
    char text[16];
    snprintf(text, sizeof text, " %3u %%", (unsigned)(part * 100));
    put(l, hg_str_of(text));
}

/* How the columns of the block are shared out: name, bar, percent; then, as long as there is room for them, the time left,
 * the size and the rate. All lines share one layout, so that their bars stand below each other. */
typedef struct layout {
    size_t columns; /* one less than the terminal has, so that nothing wraps */
    size_t name, bar;
    bool left, size, rate;
} layout;

#define PERCENT 6 /* columns, blanks included */
#define LEFT    13
#define SIZE    12
#define RATE    13
#define BAR_MIN 6
#define BAR_MAX 30

/* Whether `want` more columns can be taken from `rest` and leave a bar. */
static bool take_room(size_t *rest, size_t want)
{
    if (*rest < want + BAR_MIN) return false;
    *rest -= want;
    return true;
}

static layout share_out(const hg_render *r, size_t columns)
{
    layout at = {.columns = columns > 1 ? columns - 1 : 1};
    size_t widest = hg_utf8_columns(hg_str_of(r->phase));
    for (size_t i = 0; i < r->item_count; i++) {
        size_t w = hg_utf8_columns(hg_str_of(r->items[i].shown));
        if (w > widest) widest = w;
    }
    size_t limit = at.columns / 3;
    if (limit > NAME_MAX_COLUMNS) limit = NAME_MAX_COLUMNS;
    if (limit < 8) limit = 8;
    if (widest < 11) widest = 11; /* so that bars do not jump with the first short names */
    at.name = widest < limit ? widest : limit;
    size_t rest = at.columns > at.name + 1 + PERCENT ? at.columns - at.name - 1 - PERCENT : 0;
    at.left = take_room(&rest, LEFT);
    at.size = at.left && r->o.bytes && take_room(&rest, SIZE);
    at.rate = at.size && take_room(&rest, RATE);
    at.bar = rest < BAR_MIN ? 0 : rest < BAR_MAX ? rest : BAR_MAX;
    return at;
}

static void put_item(const hg_render *r, line *l, const layout *at, const hg_item *item)
{
    double part = share(item->done, item->total);
    char size[16];
    put_name(r, l, item->shown, at->name);
    put(l, HG_STR(" "));
    if (at->bar) put_bar(r, l, part, at->bar);
    put_percent(l, part);
    if (at->size) {
        char text[32];
        snprintf(text, sizeof text, "  %10s", hg_size_format(item->total, size));
        put_tone(r, l, 2, hg_str_of(text));
    }
}

/* Adds "  text" when it still fits. */
static void put_if(const hg_render *r, line *l, const layout *at, int tone, const char *text)
{
    if (l->columns + 2 + hg_utf8_columns(hg_str_of(text)) > at->columns) return;
    put(l, HG_STR("  "));
    put_tone(r, l, tone, hg_str_of(text));
}

/* The last line: the whole job. */
static void put_total(const hg_render *r, line *l, const layout *at)
{
    char a[16], b[16], text[96];
    if (!r->total_known || r->total == 0) {
        put_tone(r, l, 2, hg_str_of(r->phase[0] ? r->phase : "working"));
        put_tone(r, l, 2, hg_str_of(r->o.utf8 ? " …" : " ..."));
        return;
    }
    double part = share(r->done, r->total);
    if (r->o.colour) hg_buf_puts(&l->text, "\033[1m");
    put_name(r, l, r->phase[0] ? r->phase : "total", at->name);
    if (r->o.colour) hg_buf_puts(&l->text, "\033[0m");
    put(l, HG_STR(" "));
    if (at->bar) put_bar(r, l, part, at->bar);
    put_percent(l, part);
    if (at->size) {
        snprintf(text, sizeof text, "%10s", hg_size_format(r->total, a));
        put_if(r, l, at, 0, text);
    }
    if (at->rate) {
        snprintf(text, sizeof text, "%9s/s", r->rate > 0 ? hg_size_format((uint64_t)r->rate, b) : "-");
        put_if(r, l, at, 0, text);
    }
    if (at->left && r->eta > 0) {
        snprintf(text, sizeof text, "%s left", hg_duration_format(r->eta, a));
        put_if(r, l, at, 0, text);
    }
    if (r->planned > 1) {
        snprintf(text, sizeof text, "%llu of %llu files", (unsigned long long)r->finished,
                 (unsigned long long)r->planned);
        put_if(r, l, at, 2, text);
    }
}

/* Rows that the block takes on a terminal of that width. */
static size_t rows_taken(const hg_render *r, size_t columns)
{
    size_t rows = 0;
    for (size_t i = 0; i < r->drawn; i++) {
        size_t w = r->widths[i];
        rows += w > columns ? (w + columns - 1) / columns : 1;
    }
    return rows;
}

/* To the first column of the block's first line; after a stop the block stands above what the shell wrote, and stays. */
static void go_up(hg_render *r, size_t columns, hg_buf *out)
{
    if (atomic_exchange(&r->resumed, false)) r->drawn = 0;
    size_t rows = rows_taken(r, columns);
    hg_buf_putc(out, '\r');
    if (rows > 1) hg_buf_printf(out, "\033[%zuA", rows - 1);
}

static void size_now(const hg_render *r, size_t *columns, size_t *rows)
{
    *columns = 80;
    *rows = 24;
    if (r->o.size) r->o.size(r->o.ctx, columns, rows);
    if (*columns < 10) *columns = 10;
    if (*rows < 2) *rows = 2;
}

/* The columns of a text with colours in it. */
static size_t shown_columns(hg_str s)
{
    size_t columns = 0;
    hg_str piece;
    for (bool first = true; s.len; first = false) {
        hg_str_cut(&s, '\033', &piece);
        size_t skip = 0;
        if (!first)
            while (skip < piece.len && piece.ptr[skip++] != 'm') {
            }
        columns += hg_utf8_columns((hg_str){piece.ptr + skip, piece.len - skip});
    }
    return columns;
}

/* The finished lines. One that ends in the last column is not cleared behind: that would take its last character. */
static void put_above(hg_render *r, size_t columns, hg_buf *out)
{
    hg_str rest = hg_buf_view(&r->above), one;
    while (rest.len) {
        hg_str_cut(&rest, '\n', &one);
        hg_buf_puts(out, "\033[K");
        hg_buf_str(out, one);
        hg_buf_puts(out, shown_columns(one) % columns ? "\033[K\n" : "\n");
    }
    hg_buf_reset(&r->above);
}

/* One line of the block into the page, and its width into the record. */
static void end_line(hg_render *r, line *l, bool last, hg_buf *out)
{
    hg_buf_str(out, hg_buf_view(&l->text));
    hg_buf_puts(out, last ? "\033[K\033[J" : "\033[K\n");
    if (r->drawn < HG_RENDER_DRAWN) r->widths[r->drawn++] = l->columns;
    hg_buf_reset(&l->text);
    l->columns = 0;
}

void hg_bars_draw(hg_render *r)
{
    size_t columns, rows;
    hg_buf out;
    line l = {0};
    size_now(r, &columns, &rows);
    hg_buf_init(&out, BLOCK_MAX + r->above.len);
    hg_buf_init(&l.text, BLOCK_MAX);
    go_up(r, columns, &out);
    put_above(r, columns, &out);
    hg_buf_puts(&out, "\033[?7l");
    r->drawn = 0;
    layout at = share_out(r, columns);
    size_t room = rows - 1 < HG_RENDER_DRAWN ? rows - 1 : HG_RENDER_DRAWN;
    size_t shown = r->item_count < room - 1 ? r->item_count : room - 1;
    if (shown < r->item_count && shown) shown--; /* a line that tells how many more there are */
    for (size_t i = 0; i < shown; i++) {
        put_item(r, &l, &at, &r->items[i]);
        end_line(r, &l, false, &out);
    }
    if (shown && shown < r->item_count) {
        char text[48];
        snprintf(text, sizeof text, "and %zu more", r->item_count - shown);
        put_tone(r, &l, 2, hg_str_of(text));
        end_line(r, &l, false, &out);
    }
    put_total(r, &l, &at);
    end_line(r, &l, true, &out);
    hg_buf_puts(&out, "\033[?7h");
    r->o.err(r->o.ctx, hg_buf_text(&out), out.len);
    hg_buf_deinit(&l.text);
    hg_buf_deinit(&out);
    r->dirty = false;
}

void hg_bars_clear(hg_render *r)
{
    size_t columns, rows;
    if (!r->drawn && !r->above.len) return;
    hg_buf out;
    size_now(r, &columns, &rows);
    hg_buf_init(&out, BLOCK_MAX + r->above.len);
    if (r->drawn) go_up(r, columns, &out);
    put_above(r, columns, &out);
    hg_buf_puts(&out, "\033[J");
    r->o.err(r->o.ctx, hg_buf_text(&out), out.len);
    hg_buf_deinit(&out);
    r->drawn = 0;
}

void hg_bars_above(hg_render *r, int tone, const char *mark, const char *text)
{
    char safe[2048];
    hg_escape(hg_str_of(text), safe, sizeof safe);
    if (r->o.colour && tone) hg_buf_printf(&r->above, "\033[%dm", tone);
    hg_buf_puts(&r->above, mark);
    if (r->o.colour && tone && *mark) hg_buf_puts(&r->above, "\033[0m");
    hg_buf_printf(&r->above, "%s%s", *mark ? " " : "", safe);
    if (r->o.colour && tone && !*mark) hg_buf_puts(&r->above, "\033[0m");
    hg_buf_putc(&r->above, '\n');
    r->dirty = true;
}
