/* SPDX-License-Identifier: Apache-2.0 */
/* What the events of a job look like in each mode. A small terminal is played, to see what a person would. */
#include "base/clock.h"
#include "base/job.h"
#include "base/mem.h"
#include "cli/render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

/* ---- a terminal ---- */

#define ROWS 60
#define COLS 200

static struct {
    size_t rows, columns;
    char cell[ROWS][COLS][5];
    size_t row, col;
    bool wrap;
    size_t scrolled; /* lines that left at the top */
} screen;

static void wipe(size_t row, size_t from)
{
    for (size_t c = from; c < COLS; c++) screen.cell[row][c][0] = '\0';
}

static void new_line(void)
{
    if (screen.row + 1 < screen.rows) {
        screen.row++;
        return;
    }
    memmove(screen.cell[0], screen.cell[1], sizeof screen.cell[0] * (ROWS - 1));
    wipe(ROWS - 1, 0);
    wipe(screen.rows - 1, 0);
    screen.scrolled++;
}

/* One escape sequence, behind ESC [; returns its length. */
static size_t escape(const char *s)
{
    size_t digits = strspn(s, "?0123456789;");
    unsigned n = (unsigned)strtoul(s, NULL, 10);
    switch (s[digits]) {
    case 'A': screen.row -= n < screen.row ? n : screen.row; break;
    case 'K': wipe(screen.row, screen.col); break;
    case 'J':
        wipe(screen.row, screen.col);
        for (size_t r = screen.row + 1; r < ROWS; r++) wipe(r, 0);
        break;
    case 'm': break;
    case 'h': screen.wrap = true; break;
    case 'l': screen.wrap = false; break;
    default: fail_msg("unknown escape %s", s);
    }
    return digits + 1;
}

static void play(const char *bytes, size_t len)
{
    hg_str s = {bytes, len};
    while (s.len) {
        size_t n = 1;
        uint32_t c = 0;
        if (s.ptr[0] == '\033') {
            assert_int_equal(s.ptr[1], '[');
            n = 2 + escape(s.ptr + 2);
        } else if (s.ptr[0] == '\n') {
            new_line();
            screen.col = 0;
        } else if (s.ptr[0] == '\r') {
            screen.col = 0;
        } else {
            n = hg_utf8_next(s, &c);
            assert_true(n > 0);
            if (screen.col >= screen.columns) {
                if (screen.wrap) {
                    new_line();
                    screen.col = 0;
                } else {
                    screen.col = screen.columns - 1;
                }
            }
            memcpy(screen.cell[screen.row][screen.col], s.ptr, n);
            screen.cell[screen.row][screen.col][n] = '\0';
            screen.col++;
        }
        s = (hg_str){s.ptr + n, s.len - n};
    }
}

/* The screen as text, without what is empty at its end. */
static const char *shown(void)
{
    static char text[ROWS * COLS * 5];
    size_t len = 0, keep = 0;
    for (size_t r = 0; r < screen.rows; r++) {
        size_t last = 0;
        for (size_t c = 0; c < COLS; c++)
            if (screen.cell[r][c][0] && screen.cell[r][c][0] != ' ') last = c + 1;
        for (size_t c = 0; c < last; c++) {
            const char *cell = screen.cell[r][c][0] ? screen.cell[r][c] : " ";
            memcpy(text + len, cell, strlen(cell));
            len += strlen(cell);
        }
        if (last) keep = len + 1;
        text[len++] = '\n';
    }
    text[keep] = '\0';
    return text;
}

/* ---- a renderer with its outputs ---- */

static hg_buf out, err;

static void take_out(void *ctx, const char *bytes, size_t len)
{
    (void)ctx;
    hg_buf_add(&out, bytes, len);
}

static void take_err(void *ctx, const char *bytes, size_t len)
{
    bool bars = *(bool *)ctx;
    hg_buf_add(&err, bytes, len);
    if (bars) play(bytes, len);
}

static void take_size(void *ctx, size_t *columns, size_t *rows)
{
    (void)ctx;
    *columns = screen.columns;
    *rows = screen.rows;
}

typedef struct setup {
    hg_render *r;
    hangar_job *job;
    bool bars;
} setup;

static void open_render(setup *s, hg_render_options o, size_t columns, size_t rows)
{
    hg_buf_init(&out, HG_MIB);
    hg_buf_init(&err, HG_MIB);
    memset(&screen, 0, sizeof screen);
    screen.columns = columns;
    screen.rows = rows;
    screen.wrap = true;
    s->bars = o.mode == HG_RENDER_BARS;
    o.out = take_out;
    o.err = take_err;
    o.size = take_size;
    o.ctx = &s->bars;
    s->r = hg_render_new(&o);
    s->job = hangar_job_new(hg_render_event, s->r);
    assert_non_null(s->job);
}

static void close_render(setup *s)
{
    hangar_job_free(s->job);
    hg_render_free(s->r);
    hg_buf_deinit(&out);
    hg_buf_deinit(&err);
}

#define MB ((uint64_t)1000000)

static void test_bars(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_BARS, .bytes = true, .utf8 = true}, 80, 12);
    play("$ hangar pull\n", 14);
    hg_job_phase(s.job, "resolving");
    hg_render_tick(s.r);
    assert_string_equal(shown(), "$ hangar pull\n"
                                 "resolving …\n");
    hg_job_phase(s.job, "downloading");
    hg_job_plan(s.job, "config.json", 1000, "fetch");
    hg_job_plan(s.job, "old.json", 1000, "have");
    hg_job_plan(s.job, "model.safetensors", 100 * MB, "fetch");
    hg_job_item(s.job, "config.json", 0, 1000, "");
    hg_job_item(s.job, "model.safetensors", 25 * MB, 100 * MB, "");
    hg_job_total(s.job, 25 * MB, 100 * MB + 1000, 5e6);
    hg_render_tick(s.r);
    assert_string_equal(shown(),
                        "$ hangar pull\n"
                        "config.json       ─────────────────   0 %      1.0 kB\n"
                        "model.safetensors ━━━━─────────────  25 %    100.0 MB\n"
                        "downloading       ━━━━─────────────  24 %    100.0 MB     5.0 MB/s  15 s left\n");
    hg_job_item(s.job, "config.json", 1000, 1000, "done");
    hg_job_note(s.job, "the Hub asks to wait");
    hg_job_total(s.job, 50 * MB, 100 * MB + 1000, 0);
    hg_render_tick(s.r);
    assert_string_equal(shown(), "$ hangar pull\n"
                                 "✓ config.json  1.0 kB\n"
                                 "the Hub asks to wait\n"
                                 "model.safetensors ━━━━─────────────  25 %    100.0 MB\n"
                                 "downloading       ━━━━━━━━─────────  49 %    100.0 MB          -/s\n");
    hg_render_say(s.r, "something \033[31mred");
    hg_render_stop(s.r);
    assert_string_equal(shown(), "$ hangar pull\n"
                                 "✓ config.json  1.0 kB\n"
                                 "the Hub asks to wait\n"
                                 "something \\x1b[31mred\n");
    assert_int_equal(screen.col, 0);
    assert_true(screen.wrap);
    assert_int_equal(out.len, 0);
    close_render(&s);
}

/* Without a tick nothing is written, however many events come. */
static void test_bars_wait_for_ticks(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_BARS, .bytes = true}, 80, 12);
    for (int i = 0; i < 1000; i++) hg_job_total(s.job, (uint64_t)i, 1000, 0);
    assert_int_equal(err.len, 0);
    hg_render_tick(s.r);
    size_t once = err.len;
    assert_true(once > 0);
    hg_render_tick(s.r); /* nothing changed */
    assert_int_equal(err.len, once);
    assert_null(strstr(hg_buf_text(&err), "\xe2")); /* ASCII was asked for */
    close_render(&s);
}

/* More files than rows: never more than the terminal holds, so nothing scrolls away. */
static void test_bars_height(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_BARS, .bytes = true}, 60, 6);
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof name, "file-%d", i);
        hg_job_item(s.job, name, 1, 2, "");
    }
    hg_job_total(s.job, 1, 2, 0);
    for (int i = 0; i < 20; i++) {
        hg_job_total(s.job, 1, 2, i);
        hg_render_tick(s.r);
    }
    assert_int_equal(screen.scrolled, 0);
    assert_non_null(strstr(shown(), "file-0 "));
    assert_non_null(strstr(shown(), "more\n"));
    hg_render_stop(s.r);
    assert_string_equal(shown(), "");
    close_render(&s);
}

/* No drawn line is as wide as the terminal, whatever the width and the names. */
static void test_bars_every_width(void **state)
{
    (void)state;
    for (size_t columns = 20; columns < 150; columns++) {
        setup s;
        open_render(&s,
                    (hg_render_options){.mode = HG_RENDER_BARS, .bytes = true, .utf8 = true, .colour = true},
                    columns, 10);
        hg_job_phase(s.job, "downloading");
        hg_job_item(s.job, "a/long/path/to/model-00001-of-00002.safetensors", 12 * MB, 123 * MB, "");
        hg_job_item(s.job, "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.bin", 12 * MB, 123 * MB, "");
        hg_job_total(s.job, 24 * MB, 246 * MB, 1e6);
        hg_render_tick(s.r);
        assert_int_equal(screen.row, 2); /* three lines, none of them wrapped */
        assert_true(screen.col < columns);
        hg_render_stop(s.r);
        close_render(&s);
    }
}

/* A terminal that becomes narrower folds what stands there: the redraw takes all of it away. */
static void test_bars_narrower(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_BARS, .bytes = true}, 100, 12);
    play("$ hangar pull\n", 14);
    hg_job_item(s.job, "model.safetensors", MB, 2 * MB, "");
    hg_job_total(s.job, MB, 2 * MB, 1e6);
    hg_render_tick(s.r);
    /* Fold the two lines at 40 columns, as a terminal does. */
    hg_buf copy;
    hg_buf_init(&copy, HG_MIB);
    hg_buf_puts(&copy, shown());
    memset(screen.cell, 0, sizeof screen.cell);
    screen.row = screen.col = 0;
    screen.columns = 40;
    play(hg_buf_text(&copy), copy.len - 1);
    assert_true(screen.row > 2);
    hg_job_total(s.job, MB, 2 * MB, 1e6);
    hg_render_tick(s.r);
    assert_string_equal(shown(), "$ hangar pull\n"
                                 "model.~ensors ===---  50 %\n"
                                 "total         ===---  50 %  1.0 s left\n");
    hg_buf_deinit(&copy);
    close_render(&s);
}

/* After a stop the shell has written below the block: it is drawn anew there, and what the shell wrote stays. */
static void test_bars_resumed(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_BARS, .bytes = true}, 80, 12);
    hg_job_item(s.job, "a", 1, 2, "");
    hg_job_total(s.job, 1, 2, 0);
    hg_render_tick(s.r);
    play("\n[1]+  Stopped\n", 15);
    hg_render_resumed(s.r);
    hg_job_total(s.job, 1, 2, 0);
    hg_render_tick(s.r);
    hg_render_tick(s.r);
    hg_job_item(s.job, "a", 2, 2, "done");
    hg_render_stop(s.r);
    assert_non_null(strstr(shown(), "\n[1]+  Stopped\nok a  2 B\n"));
    close_render(&s);
}

static void test_hostile_names(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_BARS, .bytes = true}, 80, 12);
    hg_job_phase(s.job, "a\033[2Jb");
    hg_job_item(s.job, "x\033[2J\ny", 1, 2, "");
    hg_job_total(s.job, 1, 2, 0);
    hg_render_tick(s.r);
    hg_job_item(s.job, "x\033[2J\ny", 2, 2, "done");
    hg_render_tick(s.r);
    assert_null(strstr(hg_buf_text(&err), "\033[2J"));
    assert_non_null(strstr(hg_buf_text(&err), "x\\x1b[2J\\x0ay"));
    close_render(&s);
}

static void test_lines(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_LINES, .bytes = true}, 80, 24);
    hg_job_phase(s.job, "downloading");
    hg_job_phase(s.job, "downloading");
    hg_job_item(s.job, "small", 0, 1000, "");
    hg_job_item(s.job, "small", 1000, 1000, "done");
    hg_job_item(s.job, "big", 30 * MB, 100 * MB, "");
    for (uint64_t n = 30; n < 100; n++) hg_job_item(s.job, "big", n * MB, 100 * MB, "");
    hg_job_item(s.job, "big", 70 * MB, 100 * MB, "retry");
    hg_job_item(s.job, "big", 100 * MB, 100 * MB, "done");
    hg_job_note(s.job, "a note");
    hg_job_total(s.job, 50, 100, 1);
    assert_string_equal(hg_buf_text(&err), "downloading\n"
                                           "small: done, 1.0 kB\n"
                                           "big: 100.0 MB, resumed\n"
                                           "big: 40 % of 100.0 MB\n"
                                           "big: 50 % of 100.0 MB\n"
                                           "big: 60 % of 100.0 MB\n"
                                           "big: 70 % of 100.0 MB\n"
                                           "big: 80 % of 100.0 MB\n"
                                           "big: 90 % of 100.0 MB\n"
                                           "big: trying again\n"
                                           "big: done, 100.0 MB\n"
                                           "a note\n");
    assert_int_equal(out.len, 0);
    close_render(&s);
}

static void test_json(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_JSON, .bytes = true}, 80, 24);
    hg_job_phase(s.job, "resolving");
    hg_job_plan(s.job, "a", 10, "fetch");
    hg_job_item(s.job, "a", 1, 10, "");
    for (uint64_t n = 2; n < 10; n++) hg_job_item(s.job, "a", n, 10, ""); /* too soon to be told again */
    hg_job_item(s.job, "a", 10, 10, "done");
    hg_job_total(s.job, 5, 10, 2.5);
    hg_job_send(s.job, (hangar_event){.kind = HANGAR_EVENT_TOTAL, .done = 10, .eta = -1});
    hg_job_total(s.job, 10, 10, 0);
    hg_job_note(s.job, "a \"note\"");
    assert_string_equal(hg_buf_text(&out),
                        "{\"event\":\"phase\",\"text\":\"resolving\"}\n"
                        "{\"event\":\"plan\",\"item\":\"a\",\"text\":\"fetch\",\"total\":10}\n"
                        "{\"event\":\"item\",\"item\":\"a\",\"done\":1,\"total\":10}\n"
                        "{\"event\":\"item\",\"item\":\"a\",\"text\":\"done\",\"done\":10,\"total\":10}\n"
                        "{\"event\":\"total\",\"done\":5,\"total\":10,\"rate\":3.0,\"eta\":2.0}\n"
                        "{\"event\":\"total\",\"done\":10,\"total\":10,\"rate\":0.0,\"eta\":0.0}\n"
                        "{\"event\":\"note\",\"text\":\"a \\\"note\\\"\"}\n");
    assert_int_equal(err.len, 0);
    close_render(&s);
}

static void test_text(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_TEXT, .err_terminal = true, .out_terminal = true},
                80, 24);
    hg_job_phase(s.job, "loading");
    assert_string_equal(hg_buf_text(&err), "loading ...");
    hg_job_text(s.job, HG_STR("one\ttwo\n\033[31m\xc3\xa9\r"));
    assert_string_equal(hg_buf_text(&err), "loading ...\r\033[K");
    assert_string_equal(hg_buf_text(&out), "one\ttwo\n\\x1b[31m\xc3\xa9\\x0d");
    hg_job_phase(s.job, "generating"); /* not into the middle of an answer */
    hg_render_say(s.r, "cut");
    assert_string_equal(hg_buf_text(&err), "loading ...\r\033[K\ncut\n");
    close_render(&s);
    /* A program gets the bytes as they are. */
    open_render(&s, (hg_render_options){.mode = HG_RENDER_TEXT}, 80, 24);
    hg_job_phase(s.job, "loading");
    hg_job_text(s.job, HG_STR("\033[31m\r"));
    assert_string_equal(hg_buf_text(&out), "\033[31m\r");
    assert_int_equal(err.len, 0);
    close_render(&s);
}

/* The same text in any cutting comes out whole, however long its lines. */
static void test_long_text(void **state)
{
    (void)state;
    setup s;
    hg_buf text;
    hg_buf_init(&text, HG_MIB);
    open_render(&s, (hg_render_options){.mode = HG_RENDER_TEXT, .out_terminal = true}, 80, 24);
    for (int i = 0; i < 3000; i++) hg_buf_puts(&text, i % 7 ? "\xe6\x97\xa5" : i % 3 ? "ab" : "\n");
    hg_job_text(s.job, hg_buf_view(&text));
    assert_string_equal(hg_buf_text(&out), hg_buf_text(&text));
    hg_buf_deinit(&text);
    close_render(&s);
}

static void test_quiet(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_QUIET}, 80, 24);
    hg_job_phase(s.job, "loading");
    hg_job_text(s.job, HG_STR("text"));
    hg_job_note(s.job, "note");
    assert_int_equal(out.len + err.len, 0);
    close_render(&s);
}

/* The thread draws by itself, notices a new width, and ends. */
static void test_thread(void **state)
{
    (void)state;
    setup s;
    open_render(&s, (hg_render_options){.mode = HG_RENDER_BARS, .bytes = true}, 80, 12);
    hg_render_start(s.r);
    hg_job_total(s.job, 1, 2, 0);
    double until = hg_now() + 5;
    hg_sleep(0.3);
    while (hg_now() < until) {
        hg_job_total(s.job, 1, 2, 0);
        hg_sleep(0.05);
        if (hg_now() > until - 4.5) break;
    }
    hg_render_stop(s.r);
    assert_non_null(strstr(hg_buf_text(&err), "total"));
    assert_string_equal(shown(), "");
    close_render(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bars),          cmocka_unit_test(test_bars_wait_for_ticks),
        cmocka_unit_test(test_bars_height),   cmocka_unit_test(test_bars_every_width),
        cmocka_unit_test(test_bars_narrower), cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_bars_resumed),  cmocka_unit_test(test_lines),
        cmocka_unit_test(test_json),          cmocka_unit_test(test_text),
        cmocka_unit_test(test_long_text),     cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
