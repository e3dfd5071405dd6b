/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads a model, asks it two questions, lets it go.
 *
 *   basic ORG/NAME[@REV][:FILE]
 *
 * The model is held by a child process: should it crash, this program gets an error and lives on. Ends with the exit code of the
 * `hangar` command.
 */
#include <hangar/hangar.h>

#include <stdio.h>

/* One question to a loaded model. */
static hangar_code ask(hangar_model *model, const char *question, hangar_err *err)
{
    const hangar_message turns[] = {{.role = "user", .content = question}};
    hangar_generate_options options = HANGAR_GENERATE_OPTIONS_INIT;
    char *answer = NULL;
    options.temperature = 0;
    hangar_code code = hangar_generate(model, turns, 1, &options, NULL, &answer, err);
    if (code == HANGAR_OK) printf("%s\n%s\n", question, answer);
    hangar_free(answer);
    return code;
}

int main(int argc, char **argv)
{
    hangar *h = NULL;
    hangar_model *model = NULL;
    hangar_err err = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: basic ORG/NAME[@REV][:FILE]\n");
        return 2;
    }
    hangar_code code = hangar_open(NULL, &h, &err);
    if (code == HANGAR_OK) code = hangar_model_load(h, argv[1], NULL, &model, &err);
    if (code == HANGAR_OK) code = ask(model, "What is the capital of France?", &err);
    if (code == HANGAR_OK) code = ask(model, "What is 3 plus 4?", &err);
    if (code != HANGAR_OK) fprintf(stderr, "%s: %s\n", hangar_code_name(code), err.msg);
    hangar_model_unload(model);
    hangar_close(h);
    return hangar_code_exit(code);
}
