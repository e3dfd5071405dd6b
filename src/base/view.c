/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines go into the page at once. Fields wait until something else comes, so that their values line up; the cells of a
 * table wait for its end. Every text is made safe (hg_escape) when it comes in. When memory ends, what came until then
 * stays and hg_view_check tells.
 */
#include "base/view.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define PAGE_MAX    (256 * HG_MIB)
#define COLUMNS_MAX 16 /* of a table */
#define GAP         2  /* between columns */
#define CUT_MIN     20 /* a column is not cut below this */
#define CUT_FREE    40 /* and others are left out rather than that it gets less than this */
#define WRAP_MIN    20 /* a column that wraps has at least this */

typedef struct cell {
    char *text;
    hg_tone tone;
} cell;

typedef struct column {
    char *heading;
    bool right, gives, optional, wraps;
    bool hidden; /* left out this time */
    size_t width;
} column;

struct hg_view {
    size_t columns;
    bool colour, ascii;
    hg_buf page;
    cell *fields; /* label, value, label, value, ... */
    size_t field_count, field_cap;
    column table[COLUMNS_MAX];
    size_t column_count; /* 0: no table is open */
    cell *cells;
    size_t cell_count, cell_cap;
};

hg_view *hg_view_new(size_t columns, bool colour)
{
    hg_view *v = hg_calloc(1, sizeof *v);
    if (!v) return NULL;
    v->columns = columns;
    v->colour = colour;
    hg_buf_init(&v->page, PAGE_MAX);
    return v;
}

static void drop_cells(cell *cells, size_t *count)
{
    for (size_t i = 0; i < *count; i++) free(cells[i].text);
    *count = 0;
}

static void drop_table(hg_view *v)
{
    drop_cells(v->cells, &v->cell_count);
    for (size_t i = 0; i < v->column_count; i++) free(v->table[i].heading);
    v->column_count = 0;
}

void hg_view_free(hg_view *v)
{
    if (!v) return;
    drop_table(v);
    drop_cells(v->fields, &v->field_count);
    free(v->fields);
    free(v->cells);
    hg_buf_deinit(&v->page);
    free(v);
}

void hg_view_set_ascii(hg_view *v, bool ascii)
{
    v->ascii = ascii;
}

/* ---- texts ---- */

/* Our own marks in letters. */
static char *to_ascii(const char *text)
{
    static const char *const marks[][2] = {{"✓", "ok"}, {"✗", "FAIL"}, {"…", "..."},
                                           {"→", "->"}, {"·", "-"},    {"×", "x"}};
    hg_buf b;
    hg_buf_init(&b, PAGE_MAX);
    while (*text) {
        size_t i = 0;
        while (i < HG_LEN(marks) && !hg_str_starts(hg_str_of(text), hg_str_of(marks[i][0]))) i++;
        if (i < HG_LEN(marks)) {
            hg_buf_puts(&b, marks[i][1]);
            text += strlen(marks[i][0]);
        } else {
            hg_buf_putc(&b, *text++);
        }
    }
    char *out = hg_buf_take(&b);
    hg_buf_deinit(&b);
    return out;
}

/* Text as it may be shown, ours; NULL (and the page is marked as not whole) when out of memory. */
static char *safe_text(hg_view *v, const char *text)
{
    size_t len = strlen(text);
    uint64_t room;
    char *out = NULL;
    if (hg_mul(len, 6, &room) && hg_add(room, 4, &room)) out = malloc(room);
    if (out) {
        hg_escape((hg_str){text, len}, out, room);
        if (v->ascii) {
            char *plain = to_ascii(out);
            free(out);
            out = plain;
        }
    }
    if (!out && v->page.state == HANGAR_OK) v->page.state = HANGAR_E_NO_MEMORY;
    return out;
}

static char *safe_format(hg_view *v, const char *fmt, va_list args)
{
    char *raw = NULL;
    if (vasprintf(&raw, fmt, args) < 0) {
        if (v->page.state == HANGAR_OK) v->page.state = HANGAR_E_NO_MEMORY;
        return NULL;
    }
    char *out = safe_text(v, raw);
    free(raw);
    return out;
}

static void add_cell(hg_view *v, cell **list, size_t *count, size_t *cap, cell c)
{
    if (c.text && hg_grow((void **)list, cap, *count + 1, sizeof **list)) {
        (*list)[(*count)++] = c;
        return;
    }
    free(c.text);
    if (v->page.state == HANGAR_OK) v->page.state = HANGAR_E_NO_MEMORY;
}

void hg_wrap_words(hg_buf *out, hg_str text, size_t at, size_t indent, size_t columns)
{
    hg_str word;
    bool first = true;
    while (text.len) {
        hg_str_cut(&text, ' ', &word);
        size_t len = hg_utf8_columns(word);
        if (!first && len && columns && at + 1 + len > columns) {
            hg_buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
            first = true;
        }
        if (!first) {
            hg_buf_putc(out, ' ');
            at++;
        }
        hg_buf_str(out, word);
        at += len;
        first = false;
    }
}

static const char *const tone_codes[] = {
    [HG_PLAIN] = "",        [HG_BOLD] = "\033[1m",  [HG_DIM] = "\033[2m",
    [HG_GOOD] = "\033[32m", [HG_WARN] = "\033[33m", [HG_BAD] = "\033[31m"};

static void tone_on(hg_view *v, hg_tone tone)
{
    if (v->colour && tone != HG_PLAIN) hg_buf_puts(&v->page, tone_codes[tone]);
}

static void tone_off(hg_view *v, hg_tone tone)
{
    if (v->colour && tone != HG_PLAIN) hg_buf_puts(&v->page, "\033[0m");
}

static void toned(hg_view *v, hg_tone tone, const char *text)
{
    if (!*text) return;
    tone_on(v, tone);
    hg_buf_puts(&v->page, text);
    tone_off(v, tone);
}

static void spaces(hg_view *v, size_t count)
{
    if (count) hg_buf_printf(&v->page, "%*s", (int)count, "");
}

/* Ends a line without blanks before its end. */
static void end_line(hg_view *v)
{
    while (v->page.len && v->page.data[v->page.len - 1] == ' ') v->page.data[--v->page.len] = '\0';
    hg_buf_putc(&v->page, '\n');
}

/* ---- lines and fields ---- */

/* "  label      value" for each pair that waits. */
static void flush_fields(hg_view *v)
{
    size_t widest = 0;
    for (size_t i = 0; i < v->field_count; i += 2) {
        size_t w = hg_utf8_columns(hg_str_of(v->fields[i].text));
        if (w > widest) widest = w;
    }
    size_t indent = 2 + widest + 2;
    for (size_t i = 0; i + 1 < v->field_count; i += 2) {
        const char *label = v->fields[i].text;
        spaces(v, 2);
        toned(v, HG_DIM, label);
        spaces(v, indent - 2 - hg_utf8_columns(hg_str_of(label)));
        hg_wrap_words(&v->page, hg_str_of(v->fields[i + 1].text), indent, indent, v->columns);
        end_line(v);
    }
    drop_cells(v->fields, &v->field_count);
}

/* Columns of a mark and the blank behind it ("✓ ") at the beginning of a line; 0 when it begins with a word. */
static size_t mark_width(const char *text)
{
    uint32_t c = 0;
    size_t n = hg_utf8_next(hg_str_of(text), &c);
    bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    return n && !word && text[n] == ' ' ? hg_utf8_columns((hg_str){text, n}) + 1 : 0;
}

void hg_view_line(hg_view *v, hg_tone tone, const char *fmt, ...)
{
    va_list args;
    flush_fields(v);
    va_start(args, fmt);
    char *text = safe_format(v, fmt, args);
    va_end(args);
    if (!text) return;
    size_t indent = strspn(text, " ");
    spaces(v, indent);
    if (text[indent]) {
        tone_on(v, tone);
        hg_wrap_words(&v->page, hg_str_of(text + indent), indent, indent + mark_width(text + indent),
                      v->columns);
        tone_off(v, tone);
    }
    end_line(v);
    free(text);
}

static void add_field(hg_view *v, const char *label, char *value)
{
    char *name = safe_text(v, label);
    if (!name || !value) {
        free(name);
        free(value);
        return;
    }
    size_t before = v->field_count;
    add_cell(v, &v->fields, &v->field_count, &v->field_cap, (cell){.text = name});
    add_cell(v, &v->fields, &v->field_count, &v->field_cap, (cell){.text = value});
    if (v->field_count == before + 1) free(v->fields[--v->field_count].text);
}

void hg_view_field(hg_view *v, const char *label, const char *value)
{
    add_field(v, label, safe_text(v, value ? value : "-"));
}

void hg_view_fieldf(hg_view *v, const char *label, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *value = safe_format(v, fmt, args);
    va_end(args);
    add_field(v, label, value);
}

/* ---- tables ---- */

void hg_view_table(hg_view *v, const char *headings)
{
    flush_fields(v);
    drop_table(v);
    hg_str rest = hg_str_of(headings), word;
    bool more = true;
    while (more && v->column_count < COLUMNS_MAX) {
        more = hg_str_cut(&rest, '|', &word);
        column c = {0};
        while (word.len && strchr(">~-=", word.ptr[0])) {
            c.right = c.right || word.ptr[0] == '>';
            c.gives = c.gives || word.ptr[0] == '~';
            c.optional = c.optional || word.ptr[0] == '-';
            c.wraps = c.wraps || word.ptr[0] == '=';
            word = (hg_str){word.ptr + 1, word.len - 1};
        }
        c.heading = hg_strndup(word.ptr, word.len);
        if (!c.heading) {
            v->page.state = HANGAR_E_NO_MEMORY;
            return;
        }
        v->table[v->column_count++] = c;
    }
}

void hg_view_cell(hg_view *v, hg_tone tone, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = safe_format(v, fmt, args);
    va_end(args);
    add_cell(v, &v->cells, &v->cell_count, &v->cell_cap, (cell){text, tone});
}

/* The widths that the texts ask for. */
static void measure(hg_view *v)
{
    for (size_t c = 0; c < v->column_count; c++) {
        size_t width = hg_utf8_columns(hg_str_of(v->table[c].heading));
        for (size_t i = c; i < v->cell_count; i += v->column_count) {
            size_t w = hg_utf8_columns(hg_str_of(v->cells[i].text));
            if (w > width) width = w;
        }
        v->table[c].width = width;
    }
}

/* The width of a whole row, or, when `least`, what it needs so that nothing becomes hard to read. */
static size_t row_width(const hg_view *v, bool least)
{
    size_t total = 0;
    for (size_t c = 0; c < v->column_count; c++) {
        const column *col = &v->table[c];
        size_t width = col->width;
        if (col->hidden) continue;
        if (least && col->gives && width > CUT_FREE) width = CUT_FREE;
        if (least && col->wraps && width > WRAP_MIN) width = WRAP_MIN;
        total += (total ? GAP : 0) + width;
    }
    return total;
}

/* Makes the row as wide as the page at most: leaves out, wraps, cuts. False when it cannot be done. */
static bool fit(hg_view *v)
{
    for (size_t c = v->column_count; c-- > 0 && row_width(v, true) > v->columns;)
        v->table[c].hidden = v->table[c].optional;
    size_t total = row_width(v, false);
    column *last = &v->table[v->column_count - 1];
    if (last->wraps && total > v->columns) {
        size_t others = total - last->width;
        size_t width = v->columns > others + WRAP_MIN ? v->columns - others : WRAP_MIN;
        if (width < last->width) last->width = width;
        total = others + last->width;
    }
    while (total > v->columns) {
        column *widest = NULL;
        for (size_t c = 0; c < v->column_count; c++)
            if (v->table[c].gives && (!widest || v->table[c].width > widest->width)) widest = &v->table[c];
        if (!widest || widest->width <= CUT_MIN) return false;
        widest->width--;
        total--;
    }
    return true;
}

/* As much of the text as fits the width, an ellipsis where it was cut; returns the columns used. */
static size_t put_cut(hg_view *v, hg_tone tone, const char *text, size_t width)
{
    size_t whole = hg_utf8_columns(hg_str_of(text));
    if (whole <= width) {
        toned(v, tone, text);
        return whole;
    }
    const char *mark = v->ascii ? "~" : "…";
    hg_str s = hg_str_of(text);
    size_t used = 0, bytes = 0;
    for (uint32_t c; s.len;) {
        size_t n = hg_utf8_next(s, &c);
        if (n == 0) n = 1;
        size_t w = hg_utf8_columns((hg_str){s.ptr, n});
        if (used + w > width - 1) break;
        used += w;
        bytes += n;
        s = (hg_str){s.ptr + n, s.len - n};
    }
    tone_on(v, tone);
    hg_buf_add(&v->page, text, bytes);
    hg_buf_puts(&v->page, mark);
    tone_off(v, tone);
    return used + 1;
}

/* Puts a cell into the row; `at` is the column where it begins. */
static void put_row_cell(hg_view *v, const column *col, size_t at, hg_tone tone, const char *text)
{
    size_t w = hg_utf8_columns(hg_str_of(text));
    if (col->wraps) {
        if (!*text) return;
        tone_on(v, tone);
        hg_wrap_words(&v->page, hg_str_of(text), at, at, v->columns);
        tone_off(v, tone);
        return;
    }
    if (col->right && w < col->width) spaces(v, col->width - w);
    size_t used = put_cut(v, tone, text, col->width);
    if (!col->right && used < col->width) spaces(v, col->width - used);
}

/* One row; cells NULL: the headings. */
static void put_row(hg_view *v, const cell *cells, size_t count)
{
    size_t at = 0;
    for (size_t c = 0; c < count; c++) {
        const column *col = &v->table[c];
        if (col->hidden) continue;
        if (at) spaces(v, GAP);
        at += at ? GAP : 0;
        if (cells) put_row_cell(v, col, at, cells[c].tone, cells[c].text);
        else put_row_cell(v, col, at, HG_DIM, col->heading);
        at += col->width;
    }
    end_line(v);
}

static void put_rows(hg_view *v)
{
    bool headed = false;
    for (size_t c = 0; c < v->column_count; c++) headed = headed || v->table[c].heading[0];
    if (headed) put_row(v, NULL, v->column_count);
    for (size_t i = 0; i < v->cell_count; i += v->column_count)
        put_row(v, &v->cells[i], v->cell_count - i < v->column_count ? v->cell_count - i : v->column_count);
}

/* Each row as a block, for narrow terminals. */
static void put_blocks(hg_view *v)
{
    size_t title = 0, widest = 0;
    for (size_t c = v->column_count; c-- > 0;)
        if (v->table[c].heading[0]) title = c;
    for (size_t c = 0; c < v->column_count; c++) {
        size_t w = hg_utf8_columns(hg_str_of(v->table[c].heading));
        if (c != title && w > widest) widest = w;
    }
    for (size_t row = 0; row < v->cell_count; row += v->column_count) {
        size_t cells = v->cell_count - row < v->column_count ? v->cell_count - row : v->column_count;
        for (size_t c = 0; c < cells; c++) {
            const cell *it = &v->cells[row + c];
            if (c == title || v->table[c].heading[0] || !it->text[0]) continue;
            toned(v, it->tone, it->text);
            spaces(v, 1);
        }
        if (title < cells) toned(v, HG_BOLD, v->cells[row + title].text);
        end_line(v);
        for (size_t c = 0; c < cells; c++) {
            const cell *it = &v->cells[row + c];
            const char *heading = v->table[c].heading;
            if (c == title || !heading[0] || !it->text[0]) continue;
            spaces(v, 2);
            toned(v, HG_DIM, heading);
            spaces(v, widest + 2 - hg_utf8_columns(hg_str_of(heading)));
            tone_on(v, it->tone);
            hg_wrap_words(&v->page, hg_str_of(it->text), widest + 4, widest + 4, v->columns);
            tone_off(v, it->tone);
            end_line(v);
        }
    }
}

void hg_view_table_end(hg_view *v)
{
    if (v->column_count == 0) return;
    measure(v);
    if (v->columns == 0 || fit(v)) put_rows(v);
    else put_blocks(v);
    drop_table(v);
}

const char *hg_view_text(hg_view *v)
{
    flush_fields(v);
    return hg_buf_text(&v->page);
}

hangar_code hg_view_check(hg_view *v, hangar_err *err)
{
    flush_fields(v);
    return hg_buf_check(&v->page, err);
}
