/* SPDX-License-Identifier: Apache-2.0 */
/* The pages of `hangar help`. All that they say comes from the verbs' own tables. */
#include "cli/cli.h"

#include <unistd.h>

#define PAGE_MAX  HG_MIB
#define WIDTH_MAX 100 /* longer lines are hard to read */

static size_t page_width(const hg_cli *cli)
{
    size_t columns = hg_term_columns(STDOUT_FILENO, cli->term.out);
    if (columns == 0) return 80;
    return columns < WIDTH_MAX ? columns : WIDTH_MAX;
}

static void bold(const hg_cli *cli, hg_buf *out, const char *text)
{
    hg_buf_printf(out, "%s%s%s", cli->term.colour_out ? "\033[1m" : "", text,
                  cli->term.colour_out ? "\033[0m" : "");
}

/* "  name      text", the text wrapped under its own beginning. */
static void row(hg_buf *out, const char *name, size_t names, const char *text, size_t width)
{
    hg_buf_printf(out, "  %-*s  ", (int)names, name);
    hg_wrap_words(out, hg_str_of(text), names + 4, names + 4, width);
    hg_buf_putc(out, '\n');
}

static void print(hg_cli *cli, hg_buf *page)
{
    hg_cli_out(cli, hg_buf_text(page), page->len);
    hg_buf_deinit(page);
}

/* A command and below it what it does, as in all examples. */
static void example(const hg_cli *cli, hg_buf *out, const hg_example *e, size_t width)
{
    bool colour = cli->term.colour_out;
    hg_buf_printf(out, "  %s\n      %s", e->command, colour ? "\033[2m" : "");
    hg_wrap_words(out, hg_str_of(e->what), 6, 6, width);
    hg_buf_printf(out, "%s\n", colour ? "\033[0m" : "");
}

void hg_help_overview(hg_cli *cli)
{
    static const hg_example first[] = {{"hangar pull hangar-labs/tiny-chat-gguf",
                                        "fetch a model from the Hugging Face Hub"},
                                       {"hangar run hangar-labs/tiny-chat-gguf \"Say hello\"",
                                        "let it answer"},
                                       {0}};
    const hg_verb *const *all = hg_verb_all();
    size_t width = page_width(cli), names = 0;
    const char *group = "";
    hg_buf b;
    hg_buf_init(&b, PAGE_MAX);
    for (const hg_verb *const *v = all; *v; v++)
        if (strlen((*v)->name) > names) names = strlen((*v)->name);
    hg_wrap_words(&b,
                  HG_STR("hangar keeps AI models on a machine: it pulls, verifies, converts and runs them."),
                  0, 0, width);
    hg_buf_puts(&b, "\n\nUsage: hangar VERB [ARGUMENTS]\n");
    for (const hg_verb *const *v = all; *v; v++) {
        if (!hg_streq((*v)->group, group)) {
            group = (*v)->group;
            hg_buf_putc(&b, '\n');
            bold(cli, &b, group);
            hg_buf_putc(&b, '\n');
        }
        row(&b, (*v)->name, names, (*v)->summary, width);
    }
    hg_buf_putc(&b, '\n');
    bold(cli, &b, "Start with");
    hg_buf_putc(&b, '\n');
    for (const hg_example *e = first; e->command; e++) example(cli, &b, e, width);
    hg_buf_putc(&b, '\n');
    hg_wrap_words(
        &b,
        HG_STR(
            "hangar help VERB explains one; most take --json. Exit codes: 0 ok, 1 failure, 2 usage, 3 not "
            "found, "
            "4 no permission, 5 network, 6 integrity, 7 no space, 8 busy, 9 not supported, 130 cancelled."),
        0, 0, width);
    hg_buf_putc(&b, '\n');
    print(cli, &b);
}

/* Paragraphs are separated by an empty line. */
static void paragraphs(hg_buf *out, const char *text, size_t width)
{
    hg_str rest = hg_str_of(text), one;
    while (rest.len) {
        hg_str_cut(&rest, '\n', &one);
        hg_wrap_words(out, one, 0, 0, width);
        hg_buf_putc(out, '\n');
    }
}

/* "hangar pull REF [--dry-run] ...", further lines under the first word behind the verb. A bracket stays on one line. */
static void usage(hg_buf *out, const hg_verb *verb, size_t width)
{
    hg_buf line;
    hg_buf_init(&line, PAGE_MAX);
    hg_params_usage(verb->params, &line);
    hg_str rest = hg_buf_view(&line);
    size_t before = out->len;
    hg_buf_printf(out, "Usage: hangar %s", verb->name);
    size_t indent = out->len - before + 1, at = indent - 1;
    while (rest.len) {
        size_t depth = 0, end = 0;
        while (end < rest.len && (rest.ptr[end] != ' ' || depth)) {
            depth += rest.ptr[end] == '[';
            depth -= rest.ptr[end] == ']' && depth;
            end++;
        }
        hg_str piece = {rest.ptr, end};
        if (at + 1 + piece.len > width && at > indent) {
            hg_buf_printf(out, "\n%*s", (int)indent - 1, "");
            at = indent - 1;
        }
        hg_buf_putc(out, ' ');
        hg_buf_str(out, piece);
        at += 1 + piece.len;
        end += end < rest.len;
        rest = (hg_str){rest.ptr + end, rest.len - end};
    }
    hg_buf_putc(out, '\n');
    hg_buf_deinit(&line);
}

void hg_help_verb(hg_cli *cli, const hg_verb *verb, const hg_param *params)
{
    size_t width = page_width(cli);
    hg_buf b;
    hg_buf_init(&b, PAGE_MAX);
    hg_buf_puts(&b, "hangar ");
    bold(cli, &b, verb->name);
    hg_buf_puts(&b, ": ");
    hg_wrap_words(&b, hg_str_of(verb->summary), 9 + strlen(verb->name), 0, width);
    hg_buf_puts(&b, "\n\n");
    usage(&b, verb, width);
    hg_buf_putc(&b, '\n');
    paragraphs(&b, verb->about, width);
    hg_buf_putc(&b, '\n');
    hg_params_help(params, width, &b);
    hg_buf_puts(&b, "\nExamples:\n");
    for (const hg_example *e = verb->examples; e->command; e++) example(cli, &b, e, width);
    print(cli, &b);
}
