/* SPDX-License-Identifier: Apache-2.0 */
/* The words for a table of parameters: usage lines and the options' part of a help page. */
#include "base/mem.h"
#include "base/table.h"
#include "base/view.h"

#include <stdio.h>

#define MARGIN        2  /* before a name */
#define NAMES_MAX     28 /* a longer name puts its help on the next line */
#define NARROW        60 /* below this the help stands under the names */
#define DEFAULT_WIDTH 80

static const char *metavar(const hg_param *p)
{
    if (p->metavar) return p->metavar;
    if (p->choices) return p->choices;
    switch (p->type) {
    case HG_INT: return "N";
    case HG_NUMBER: return "X";
    case HG_SIZE: return "SIZE";
    case HG_DURATION: return "TIME";
    default: return "TEXT";
    }
}

static void add_positional(const hg_param *p, hg_buf *out)
{
    if (p->metavar || p->choices) {
        hg_buf_puts(out, p->metavar ? p->metavar : p->choices);
        return;
    }
    for (const char *c = p->name; *c; c++)
        hg_buf_putc(out, *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c);
}

void hg_params_usage(const hg_param *params, hg_buf *out)
{
    bool first = true;
    for (int options = 0; options < 2; options++) {
        for (const hg_param *p = params; p->name; p++) {
            if (p->positional == (options == 1) || p->type == HG_REST) continue;
            if (!first) hg_buf_putc(out, ' ');
            first = false;
            if (!p->required) hg_buf_putc(out, '[');
            if (p->positional) add_positional(p, out);
            else if (p->type == HG_FLAG) hg_buf_printf(out, "--%s", p->name);
            else hg_buf_printf(out, "--%s %s", p->name, metavar(p));
            if (!p->required) hg_buf_putc(out, ']');
            if (p->type == HG_TEXTS) hg_buf_puts(out, "...");
        }
    }
    for (const hg_param *p = params; p->name; p++) {
        if (p->type != HG_REST) continue;
        hg_buf_puts(out, first ? "[-- " : " [-- ");
        add_positional(p, out);
        hg_buf_puts(out, "...]");
    }
}

/* The left column of a row. */
static void add_names(const hg_param *p, bool letters, hg_buf *out)
{
    if (p->positional) {
        add_positional(p, out);
        return;
    }
    if (p->letter) hg_buf_printf(out, "-%c, ", p->letter);
    else if (letters) hg_buf_puts(out, "    ");
    hg_buf_printf(out, "--%s", p->name);
    if (p->type != HG_FLAG) hg_buf_printf(out, " %s", metavar(p));
}

/* The right column: the help, then what the default is. */
static void add_help(const hg_param *p, hg_buf *out)
{
    hg_buf_puts(out, p->help ? p->help : "");
    if (p->choices && p->metavar) hg_buf_printf(out, "; one of %s", p->choices);
    if (p->def && p->type != HG_FLAG) hg_buf_printf(out, " (default: %s)", p->def);
}

/* One heading and its rows. */
static void add_section(const hg_param *params, bool positional, size_t names, size_t width, hg_buf *out)
{
    bool letters = false, any = false;
    for (const hg_param *p = params; p->name; p++) {
        letters = letters || (p->letter && !p->positional);
        any = any || p->positional == positional;
    }
    if (!any) return;
    hg_buf_puts(out, positional ? "Arguments:\n" : "Options:\n");
    for (const hg_param *p = params; p->name; p++) {
        if (p->positional != positional) continue;
        hg_buf left, right;
        hg_buf_init(&left, HG_KIB);
        hg_buf_init(&right, 16 * HG_KIB);
        add_names(p, letters, &left);
        add_help(p, &right);
        size_t indent = width < NARROW ? 2 * MARGIN + 2 : MARGIN + names + 2;
        size_t at = MARGIN + left.len;
        hg_buf_printf(out, "%*s%s", MARGIN, "", hg_buf_text(&left));
        if (at + 2 > indent) hg_buf_printf(out, "\n%*s", (int)indent, "");
        else hg_buf_printf(out, "%*s", (int)(indent - at), "");
        hg_wrap_words(out, hg_buf_view(&right), indent, indent, width);
        hg_buf_putc(out, '\n');
        hg_buf_deinit(&left);
        hg_buf_deinit(&right);
    }
}

void hg_params_help(const hg_param *params, size_t columns, hg_buf *out)
{
    size_t width = columns ? columns : DEFAULT_WIDTH;
    for (int section = 0; section < 2; section++) {
        bool positional = section == 0, letters = false, other = false;
        size_t names = 0;
        for (const hg_param *p = params; p->name; p++) letters = letters || (p->letter && !p->positional);
        for (const hg_param *p = params; p->name; p++) {
            other = other || p->positional != positional;
            if (p->positional != positional) continue;
            hg_buf left;
            hg_buf_init(&left, HG_KIB);
            add_names(p, letters, &left);
            if (left.len <= NAMES_MAX && left.len > names) names = left.len;
            hg_buf_deinit(&left);
        }
        size_t before = out->len;
        add_section(params, positional, names, width, out);
        if (positional && other && out->len > before) hg_buf_putc(out, '\n');
    }
}
