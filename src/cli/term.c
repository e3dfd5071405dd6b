/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_MIN 20
#define COLUMNS_MAX 1000

void hg_term_init(hg_term *t)
{
    const char *term = getenv("TERM"), *plain = getenv("NO_COLOR");
    bool colour = term && *term && !hg_streq(term, "dumb") && !(plain && *plain);
    setlocale(LC_CTYPE, "");
    t->in = isatty(STDIN_FILENO);
    t->out = isatty(STDOUT_FILENO);
    t->err = isatty(STDERR_FILENO);
    t->colour_out = t->out && colour;
    t->colour_err = t->err && colour;
    t->utf8 = hg_streq(nl_langinfo(CODESET), "UTF-8");
}

/* The terminal's size; false when it is not one or does not tell. */
static bool ask_size(int fd, struct winsize *size)
{
    return ioctl(fd, TIOCGWINSZ, size) == 0 && size->ws_col > 0;
}

size_t hg_term_columns(int fd, bool terminal)
{
    struct winsize size;
    uint64_t columns = 0;
    const char *set = getenv("COLUMNS");
    if (terminal && ask_size(fd, &size)) columns = size.ws_col;
    else if (!set || !hg_u64_parse(hg_str_of(set), &columns)) return terminal ? 80 : 0;
    if (columns < COLUMNS_MIN) return COLUMNS_MIN;
    return columns > COLUMNS_MAX ? COLUMNS_MAX : (size_t)columns;
}

size_t hg_term_rows(int fd)
{
    struct winsize size;
    return ask_size(fd, &size) && size.ws_row > 0 ? size.ws_row : 24;
}
