/* SPDX-License-Identifier: Apache-2.0 */
/* hangar: finds the verb, reads its arguments, opens what it needs, runs it, prints what came out. */
#include "cli/cli.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define PARAMS_MAX 48 /* of one verb, with the common ones */

/* ---- the two outputs ---- */

void hg_cli_out(hg_cli *cli, const char *bytes, size_t len)
{
    if (cli->out_errno || len == 0) return;
    hangar_err err = {0};
    if (hg_write_all(STDOUT_FILENO, bytes, len, &err) != HANGAR_OK) {
        cli->out_errno = err.sys ? err.sys : EIO;
        hangar_job_cancel(cli->job);
        return;
    }
    cli->out_midline = bytes[len - 1] != '\n';
}

void hg_cli_err(hg_cli *cli, const char *line)
{
    if (cli->render) hg_render_clear(cli->render);
    if (cli->out_midline && cli->term.out && cli->term.err) hg_cli_out(cli, "\n", 1);
    if (!line) return;
    (void)hg_write_all(STDERR_FILENO, line, strlen(line), NULL);
    (void)hg_write_all(STDERR_FILENO, "\n", 1, NULL);
}

static void render_out(void *ctx, const char *bytes, size_t len)
{
    hg_cli_out(ctx, bytes, len);
}

static void render_err(void *ctx, const char *bytes, size_t len)
{
    (void)ctx;
    (void)hg_write_all(STDERR_FILENO, bytes, len, NULL);
}

static void render_size(void *ctx, size_t *columns, size_t *rows)
{
    const hg_cli *cli = ctx;
    *columns = hg_term_columns(STDERR_FILENO, cli->term.err);
    *rows = hg_term_rows(STDERR_FILENO);
}

/* ---- arguments ---- */

/* What every verb takes; it stands behind the verb's own values. */
typedef struct common {
    bool json, help;
} common;

/* Where the common values stand. */
static size_t common_at(const hg_verb *verb)
{
    size_t align = _Alignof(max_align_t);
    return (verb->args_size + align - 1) / align * align;
}

static void all_params(const hg_verb *verb, hg_param out[PARAMS_MAX])
{
    size_t n = 0;
    while (n < PARAMS_MAX - 3 && verb->params[n].name) {
        out[n] = verb->params[n];
        n++;
    }
    if (!(verb->flags & HG_VERB_NO_JSON))
        out[n++] = (hg_param){.name = "json",
                              .type = HG_FLAG,
                              .at = common_at(verb) + offsetof(common, json),
                              .help = verb->flags & HG_VERB_EVENTS
                                          ? "one JSON object per event, then the result, for programs"
                                          : "the result as JSON, for programs"};
    out[n++] = (hg_param){.name = "help",
                          .letter = 'h',
                          .type = HG_FLAG,
                          .at = common_at(verb) + offsetof(common, help),
                          .help = "this page"};
    out[n] = (hg_param){0};
}

/* Whether a word stands among the options: needed where the arguments as a whole are wrong. */
static bool has_word(int argc, char *const *argv, const char *word)
{
    for (int i = 0; i < argc && !hg_streq(argv[i], "--"); i++)
        if (hg_streq(argv[i], word)) return true;
    return false;
}

/* ---- one call ---- */

static hg_render_mode render_mode(const hg_cli *cli, const hg_verb *verb)
{
    if (cli->json) return verb->flags & HG_VERB_EVENTS ? HG_RENDER_JSON : HG_RENDER_QUIET;
    if (!(verb->flags & HG_VERB_PROGRESS)) return HG_RENDER_TEXT;
    return cli->term.err && cli->term.colour_err ? HG_RENDER_BARS : HG_RENDER_LINES;
}

/* The verb's parameter `ref` as it was given. */
static const char *ref_of(const hg_verb *verb, const void *args)
{
    for (const hg_param *p = verb->params; p->name; p++) {
        const char *text;
        if (!p->positional || p->type != HG_TEXT || !hg_streq(p->name, "ref")) continue;
        memcpy(&text, (const char *)args + p->at, sizeof text);
        return text;
    }
    return NULL;
}

/* Runs the verb with everything it needs around it, and prints what came out. */
static int run_call(hg_cli *cli, const hg_verb *verb, const void *args)
{
    hangar_err err = {0};
    char *json = NULL;
    hg_render_options options = {.mode = render_mode(cli, verb),
                                 .bytes = verb->flags & HG_VERB_BYTES,
                                 .colour = cli->term.colour_err,
                                 .utf8 = cli->term.utf8,
                                 .out_terminal = cli->term.out,
                                 .err_terminal = cli->term.err && cli->term.colour_err,
                                 .out = render_out,
                                 .err = render_err,
                                 .size = render_size,
                                 .ctx = cli};
    hg_call call = {.args = args, .json = cli->json};
    hangar_code code = HANGAR_OK;
    cli->render = hg_render_new(&options);
    cli->job = cli->render ? hangar_job_new(hg_render_event, cli->render) : NULL;
    call.job = cli->job;
    if (!cli->job) code = hg_fail_memory(&err);
    if (code == HANGAR_OK) code = hg_face_open(cli, &call, &err);
    if (code == HANGAR_OK && !(verb->flags & HG_VERB_NO_HANDLE)) code = hangar_open(NULL, &call.h, &err);
    if (code == HANGAR_OK) {
        hg_render_start(cli->render);
        code = verb->run(&call, &json, &err);
        hg_render_stop(cli->render);
    }
    hg_answer answer = {.verb = verb, .ref = ref_of(verb, args), .code = code, .err = &err, .json = json};
    answer.silent = call.silent;
    answer.kept = cli->render && hg_render_done(cli->render) > 0;
    if (code == HANGAR_E_NOT_FOUND && call.h && answer.ref && !hg_streq(verb->name, "pull") &&
        !hg_streq(verb->name, "rm"))
        answer.missing = hangar_model_exists(call.h, answer.ref, NULL) == HANGAR_E_NOT_FOUND;
    hangar_close(call.h);
    hg_face_close(&call);
    int status = hg_answer_print(cli, &answer);
    hangar_job_free(cli->job);
    hg_render_free(cli->render);
    cli->job = NULL;
    cli->render = NULL;
    hangar_free(json);
    return status;
}

static int run_verb(hg_cli *cli, const hg_verb *verb, int argc, char *const *argv)
{
    hg_param params[PARAMS_MAX];
    hangar_err err = {0};
    hg_args args;
    all_params(verb, params);
    if (has_word(argc, argv, "--help") || has_word(argc, argv, "-h")) {
        hg_help_verb(cli, verb, params);
        return hg_answer_print(cli, &(hg_answer){.code = HANGAR_OK});
    }
    hangar_code code = hg_args_parse(params, common_at(verb) + sizeof(common), argc, argv, &args, &err);
    if (code != HANGAR_OK) {
        cli->json = !(verb->flags & HG_VERB_NO_JSON) && has_word(argc, argv, "--json");
        return hg_answer_print(cli, &(hg_answer){.verb = verb, .code = code, .err = &err});
    }
    const common *c = (const void *)((const char *)args.values + common_at(verb));
    cli->json = c->json;
    int status = run_call(cli, verb, args.values);
    hg_args_deinit(&args);
    return status;
}

/* ---- the first word ---- */

static int no_such_verb(hg_cli *cli, const char *word)
{
    const char *names[PARAMS_MAX] = {"help"};
    size_t n = 1;
    for (const hg_verb *const *v = hg_verb_all(); *v && n < PARAMS_MAX - 1; v++) names[n++] = (*v)->name;
    const char *near = hg_nearest(word, names);
    hangar_err err = {0};
    if (word[0] == '-')
        hg_fail(&err, HANGAR_E_USAGE, "'%s' stands where a verb is expected: hangar VERB [OPTIONS]", word);
    else if (near) hg_fail(&err, HANGAR_E_USAGE, "there is no '%s'; did you mean %s?", word, near);
    else hg_fail(&err, HANGAR_E_USAGE, "there is no '%s'", word);
    return hg_answer_print(cli, &(hg_answer){.code = HANGAR_E_USAGE, .err = &err});
}

static int help(hg_cli *cli, const char *name)
{
    hg_param params[PARAMS_MAX];
    const hg_verb *verb = name ? hg_verb_get(name) : NULL;
    if (name && !verb && !hg_streq(name, "help")) return no_such_verb(cli, name);
    if (!verb) {
        hg_help_overview(cli);
    } else {
        all_params(verb, params);
        hg_help_verb(cli, verb, params);
    }
    return hg_answer_print(cli, &(hg_answer){.code = HANGAR_OK});
}

/* Descriptors 0 to 2 are open from here on, so that no file of ours becomes one of them. */
static void open_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_WRONLY : O_RDONLY) < 0) _exit(1);
}

int main(int argc, char **argv)
{
    hg_cli cli = {0};
    open_standard_files();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ,
           SIG_IGN); /* a file that may not grow is an error of the write, with words and tidying up */
    hg_term_init(&cli.term);
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word || hg_streq(word, "--help") || hg_streq(word, "-h")) return help(&cli, NULL);
    if (hg_streq(word, "help")) return help(&cli, argc > 2 ? argv[2] : NULL);
    const hg_verb *verb = hg_verb_get(hg_streq(word, "--version") || hg_streq(word, "-V") ? "version" : word);
    return verb ? run_verb(&cli, verb, argc - 2, argv + 2) : no_such_verb(&cli, word);
}
