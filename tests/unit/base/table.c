/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

typedef struct values {
    const char *ref;
    const char **files;
    const char **include;
    bool dry, quiet, fast;
    int64_t beams;
    double heat;
    uint64_t rate;
    double wait;
    const char *task;
    const char *note;
} values;

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(values, ref),
     .positional = true,
     .required = true,
     .help = "the model"},
    {.name = "file", .type = HG_TEXTS, .at = offsetof(values, files), .positional = true, .help = "files"},
    {.name = "include",
     .type = HG_TEXTS,
     .at = offsetof(values, include),
     .metavar = "GLOB",
     .help = "only these"},
    {.name = "dry-run", .letter = 'd', .type = HG_FLAG, .at = offsetof(values, dry), .help = "plan only"},
    {.name = "quiet", .letter = 'q', .type = HG_FLAG, .at = offsetof(values, quiet), .help = "say less"},
    {.name = "fast",
     .type = HG_FLAG,
     .at = offsetof(values, fast),
     .def = "true",
     .help = "on unless --no-fast"},
    {.name = "beams",
     .letter = 'n',
     .type = HG_INT,
     .at = offsetof(values, beams),
     .def = "1",
     .min = 1,
     .max = 16,
     .help = "beams"},
    {.name = "temperature",
     .type = HG_NUMBER,
     .at = offsetof(values, heat),
     .def = "0.8",
     .max = 5,
     .help = "heat"},
    {.name = "limit-rate",
     .type = HG_SIZE,
     .at = offsetof(values, rate),
     .metavar = "RATE",
     .help = "bytes per second"},
    {.name = "wait", .type = HG_DURATION, .at = offsetof(values, wait), .def = "1m", .help = "how long"},
    {.name = "task",
     .type = HG_CHOICE,
     .at = offsetof(values, task),
     .def = "transcribe",
     .choices = "transcribe|translate",
     .help = "what to do"},
    {.name = "note", .type = HG_TEXT, .at = offsetof(values, note), .help = "a text"},
    {0}};

static hangar_err err;

static hangar_code parse(hg_args *out, const char *const *words)
{
    int argc = 0;
    while (words[argc]) argc++;
    err = (hangar_err){0};
    return hg_args_parse(params, sizeof(values), argc, (char *const *)words, out, &err);
}
#define PARSE(out, ...) parse(out, (const char *const[]){__VA_ARGS__, NULL})

/* The words of the error that these arguments give. */
#define REFUSED(...) refused((const char *const[]){__VA_ARGS__, NULL})
static const char *refused(const char *const *words)
{
    hg_args a;
    assert_int_equal(parse(&a, words), HANGAR_E_USAGE);
    assert_null(a.values);
    return err.msg;
}

static void test_defaults(void **state)
{
    (void)state;
    hg_args a;
    assert_int_equal(PARSE(&a, "m"), HANGAR_OK);
    const values *v = a.values;
    assert_string_equal(v->ref, "m");
    assert_null(v->files);
    assert_null(v->include);
    assert_false(v->dry);
    assert_true(v->fast);
    assert_int_equal(v->beams, 1);
    assert_true(fabs(v->heat - 0.8) < 1e-12);
    assert_int_equal(v->rate, 0);
    assert_true(fabs(v->wait - 60) < 1e-12);
    assert_string_equal(v->task, "transcribe");
    assert_null(v->note);
    hg_args_deinit(&a);
}

static void test_forms(void **state)
{
    (void)state;
    hg_args a;
    assert_int_equal(PARSE(&a, "--include=*.json", "m", "--include", "a*", "-dq", "f1", "--limit-rate",
                           "10MiB", "f2", "--wait=1.5s", "--temperature", "0", "--no-fast", "--task",
                           "translate", "--note=", "-n5"),
                     HANGAR_OK);
    const values *v = a.values;
    assert_string_equal(v->ref, "m");
    assert_string_equal(v->files[0], "f1");
    assert_string_equal(v->files[1], "f2");
    assert_null(v->files[2]);
    assert_string_equal(v->include[0], "*.json");
    assert_string_equal(v->include[1], "a*");
    assert_null(v->include[2]);
    assert_true(v->dry && v->quiet);
    assert_false(v->fast);
    assert_int_equal(v->rate, 10485760);
    assert_true(fabs(v->wait - 1.5) < 1e-12);
    assert_true(v->heat < 1e-12);
    assert_string_equal(v->task, "translate");
    assert_string_equal(v->note, "");
    assert_int_equal(v->beams, 5);
    hg_args_deinit(&a);
}

static void test_letters(void **state)
{
    (void)state;
    hg_args a;
    assert_int_equal(PARSE(&a, "-dqn", "7", "m"), HANGAR_OK);
    assert_int_equal(((values *)a.values)->beams, 7);
    assert_true(((values *)a.values)->quiet);
    hg_args_deinit(&a);
    assert_int_equal(PARSE(&a, "-n=8", "m"), HANGAR_OK);
    assert_int_equal(((values *)a.values)->beams, 8);
    hg_args_deinit(&a);
    assert_string_equal(REFUSED("m", "-dx"),
                        "there is no option -x (in '-dx'); -- before a text ends the options");
    assert_string_equal(REFUSED("m", "-n"), "--beams needs a value");
}

static void test_last_wins_and_flags(void **state)
{
    (void)state;
    hg_args a;
    assert_int_equal(PARSE(&a, "m", "--note", "a", "--note", "b", "--dry-run", "--no-dry-run", "--fast=no"),
                     HANGAR_OK);
    assert_string_equal(((values *)a.values)->note, "b");
    assert_false(((values *)a.values)->dry);
    assert_false(((values *)a.values)->fast);
    hg_args_deinit(&a);
    assert_string_equal(REFUSED("m", "--dry-run=maybe"), "--dry-run needs true or false, not 'maybe'");
    assert_string_equal(REFUSED("m", "--no-dry-run=1"), "--no-dry-run takes no value");
    /* Only flags have a --no- form. */
    assert_string_equal(REFUSED("m", "--no-note"), "there is no --no-note; did you mean --note?");
}

static void test_end_of_options(void **state)
{
    (void)state;
    hg_args a;
    assert_int_equal(PARSE(&a, "m", "--", "--dry-run", "-", "--"), HANGAR_OK);
    const values *v = a.values;
    assert_false(v->dry);
    assert_string_equal(v->files[0], "--dry-run");
    assert_string_equal(v->files[1], "-");
    assert_string_equal(v->files[2], "--");
    hg_args_deinit(&a);
    assert_int_equal(PARSE(&a, "m", "-"), HANGAR_OK);
    assert_string_equal(((values *)a.values)->files[0], "-");
    hg_args_deinit(&a);
}

/* A table with a row for what stands behind "--". */
typedef struct waiting {
    const char **models;
    bool quiet;
    const char **command;
} waiting;

static const hg_param waits[] = {
    {.name = "model",
     .type = HG_TEXTS,
     .at = offsetof(waiting, models),
     .positional = true,
     .required = true},
    {.name = "quiet", .letter = 'q', .type = HG_FLAG, .at = offsetof(waiting, quiet), .help = "say less"},
    {.name = "command", .type = HG_REST, .at = offsetof(waiting, command), .positional = true, .local = true},
    {0}};

static void test_rest(void **state)
{
    (void)state;
    static const char *const words[] = {"a", "-q", "b", "--", "run", "--", "-q", "--nothing=x", "", NULL};
    hg_args args;
    assert_int_equal(hg_args_parse(waits, sizeof(waiting), 9, (char *const *)words, &args, &err), HANGAR_OK);
    const waiting *w = args.values;
    assert_string_equal(w->models[1], "b");
    assert_null(w->models[2]);
    assert_true(w->quiet);
    for (size_t i = 0; i < 5; i++) assert_string_equal(w->command[i], words[i + 4]);
    assert_null(w->command[5]);
    hg_args_deinit(&args);
    /* Without any, it is none; and no positional goes there. */
    assert_int_equal(hg_args_parse(waits, sizeof(waiting), 4, (char *const *)words, &args, &err), HANGAR_OK);
    assert_null(((const waiting *)args.values)->command);
    hg_args_deinit(&args);
    assert_int_equal(hg_args_parse(waits, sizeof(waiting), 2, (char *const *)words + 3, &args, &err),
                     HANGAR_E_USAGE);
    hg_json *doc;
    assert_int_equal(hg_json_parse(HG_STR("{\"model\":[\"a\"],\"command\":[\"rm\"]}"), NULL, &doc, NULL),
                     HANGAR_OK);
    assert_int_equal(hg_args_from_json(waits, sizeof(waiting), hg_json_root(doc), &args, &err),
                     HANGAR_E_USAGE);
    hg_json_free(doc);
    hg_buf b;
    hg_buf_init(&b, HG_KIB);
    hg_params_usage(waits, &b);
    assert_string_equal(hg_buf_text(&b), "MODEL... [--quiet] [-- COMMAND...]");
    hg_buf_deinit(&b);
}

static void test_values_with_dashes(void **state)
{
    (void)state;
    hg_args a;
    assert_int_equal(PARSE(&a, "m", "--note", "-x", "--note=--y"), HANGAR_OK);
    assert_string_equal(((values *)a.values)->note, "--y");
    hg_args_deinit(&a);
    assert_string_equal(REFUSED("m", "--note", "--dry-run"),
                        "--note needs a value; one that begins with -- is given as --note=--dry-run");
}

static void test_mistakes(void **state)
{
    (void)state;
    assert_string_equal(REFUSED("--dry-run"), "REF is missing");
    assert_string_equal(REFUSED("m", "--inlcude", "x"), "there is no --inlcude; did you mean --include?");
    assert_string_equal(REFUSED("m", "--temp", "1"), "there is no --temp; did you mean --temperature?");
    assert_string_equal(REFUSED("m", "--zzz"), "there is no option --zzz");
    assert_string_equal(REFUSED("m", "--beams", "17"), "--beams must be from 1 to 16, not 17");
    assert_string_equal(REFUSED("m", "--beams", "0"), "--beams must be from 1 to 16, not 0");
    assert_string_equal(REFUSED("m", "--beams", "2.5"), "--beams needs a whole number, not '2.5'");
    assert_string_equal(REFUSED("m", "--beams="), "--beams needs a whole number, not ''");
    assert_string_equal(REFUSED("m", "--beams", "99999999999999999999"),
                        "--beams needs a whole number, not '99999999999999999999'");
    assert_string_equal(REFUSED("m", "--temperature", "5.01"), "--temperature must be from 0 to 5, not 5.01");
    assert_string_equal(REFUSED("m", "--temperature", "-0.1"), "--temperature must be from 0 to 5, not -0.1");
    assert_string_equal(REFUSED("m", "--temperature", "nan"), "--temperature needs a number, not 'nan'");
    assert_string_equal(REFUSED("m", "--temperature", "1e999"), "--temperature needs a number, not '1e999'");
    assert_string_equal(REFUSED("m", "--temperature", "0x1"), "--temperature needs a number, not '0x1'");
    assert_string_equal(REFUSED("m", "--limit-rate", "fast"),
                        "--limit-rate needs a size such as 10M, not 'fast'");
    assert_string_equal(REFUSED("m", "--wait", "soon"), "--wait needs a time such as 30s or 5m, not 'soon'");
    assert_string_equal(REFUSED("m", "--task", "translte"),
                        "--task cannot be 'translte'; did you mean translate?");
    assert_string_equal(REFUSED("m", "--task", "x"),
                        "--task cannot be 'x'; it is one of transcribe|translate");
    assert_string_equal(REFUSED("m", "--task", ""), "--task cannot be ''; it is one of transcribe|translate");
    assert_string_equal(REFUSED("m", "--limit-rate"), "--limit-rate needs a value");
}

/* A hostile argument cannot forge a second line. */
static void test_hostile(void **state)
{
    (void)state;
    assert_string_equal(REFUSED("m", "--x\ny"), "there is no option --x\\x0ay");
    assert_string_equal(REFUSED("m", "--beams", "\033[2J"), "--beams needs a whole number, not '\\x1b[2J'");
}

static void test_one_too_many(void **state)
{
    (void)state;
    static const hg_param one[] = {{.name = "ref", .type = HG_TEXT, .positional = true}, {0}};
    const char *words[] = {"a", "b"};
    hg_args a;
    assert_int_equal(hg_args_parse(one, sizeof(char *), 2, (char *const *)words, &a, &err), HANGAR_E_USAGE);
    assert_string_equal(err.msg, "'b' is one argument too many");
    assert_int_equal(hg_args_parse(one, sizeof(char *), 0, (char *const *)words, &a, &err), HANGAR_OK);
    hg_args_deinit(&a);
}

static void test_list_default(void **state)
{
    (void)state;
    static const hg_param list[] = {{.name = "stop", .type = HG_TEXTS, .def = "END"}, {0}};
    const char *words[] = {"--stop", "a", "--stop=b"};
    hg_args a;
    assert_int_equal(hg_args_parse(list, sizeof(char **), 0, (char *const *)words, &a, &err), HANGAR_OK);
    const char **got = *(const char ***)a.values;
    assert_string_equal(got[0], "END");
    assert_null(got[1]);
    hg_args_deinit(&a);
    assert_int_equal(hg_args_parse(list, sizeof(char **), 3, (char *const *)words, &a, &err), HANGAR_OK);
    got = *(const char ***)a.values;
    assert_string_equal(got[0], "a");
    assert_string_equal(got[1], "b");
    assert_null(got[2]);
    hg_args_deinit(&a);
}

/* Many values: the list moves in memory, the struct must follow. */
static void test_long_list(void **state)
{
    (void)state;
    const char *words[2002];
    words[0] = "m";
    for (int i = 1; i < 2001; i++) words[i] = "f";
    words[2001] = NULL;
    hg_args a;
    assert_int_equal(parse(&a, words), HANGAR_OK);
    size_t n = 0;
    while (((values *)a.values)->files[n]) n++;
    assert_int_equal(n, 2000);
    hg_args_deinit(&a);
}

static void test_nearest(void **state)
{
    (void)state;
    const char *names[] = {"pull", "add", "ls", "show", "verify", "rm", "run", "transcribe", NULL};
    assert_string_equal(hg_nearest("pul", names), "pull");
    assert_string_equal(hg_nearest("plul", names), "pull");
    assert_string_equal(hg_nearest("transcrbie", names), "transcribe");
    assert_string_equal(hg_nearest("trans", names), "transcribe");
    assert_string_equal(hg_nearest("sl", names), "ls");
    assert_null(hg_nearest("", names));
    assert_null(hg_nearest("x", names));
    assert_null(hg_nearest("quantize", names));
    char big[200];
    memset(big, 'p', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_null(hg_nearest(big, names));
}

static void test_usage(void **state)
{
    (void)state;
    hg_buf b;
    hg_buf_init(&b, HG_KIB);
    hg_params_usage(params, &b);
    assert_string_equal(
        hg_buf_text(&b),
        "REF [FILE]... [--include GLOB]... [--dry-run] [--quiet] [--fast] [--beams N] [--temperature X] "
        "[--limit-rate RATE] [--wait TIME] [--task transcribe|translate] [--note TEXT]");
    hg_buf_deinit(&b);
}

static void test_help(void **state)
{
    (void)state;
    static const hg_param few[] = {{.name = "ref", .type = HG_TEXT, .positional = true, .help = "the model"},
                                   {.name = "beams",
                                    .letter = 'n',
                                    .type = HG_INT,
                                    .def = "1",
                                    .help = "how many ways are followed at the same time"},
                                   {.name = "quiet", .type = HG_FLAG, .help = "say less"},
                                   {0}};
    hg_buf b;
    hg_buf_init(&b, HG_KIB);
    hg_params_help(few, 60, &b);
    assert_string_equal(hg_buf_text(&b), "Arguments:\n"
                                         "  REF  the model\n"
                                         "\n"
                                         "Options:\n"
                                         "  -n, --beams N  how many ways are followed at the same time\n"
                                         "                 (default: 1)\n"
                                         "      --quiet    say less\n");
    hg_buf_reset(&b);
    hg_params_help(few, 40, &b);
    assert_string_equal(hg_buf_text(&b), "Arguments:\n"
                                         "  REF\n"
                                         "      the model\n"
                                         "\n"
                                         "Options:\n"
                                         "  -n, --beams N\n"
                                         "      how many ways are followed at the\n"
                                         "      same time (default: 1)\n"
                                         "      --quiet\n"
                                         "      say less\n");
    hg_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_last_wins_and_flags),
        cmocka_unit_test(test_end_of_options),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_values_with_dashes),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_one_too_many),
        cmocka_unit_test(test_list_default),
        cmocka_unit_test(test_long_list),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
