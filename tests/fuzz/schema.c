/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schemas on their way to a grammar. fuzz-room: runner_llama */
#include "runner.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536) return 0;
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    hg_buf out;
    hangar_err err = {0};
    hg_buf_init(&out, HG_MIB);
    hangar_code code = hg_schema_grammar(text, &out, &err);
    /* an accepted schema has a root, a refused one has words */
    if (code == HANGAR_OK ? !strstr(hg_buf_text(&out), "root ::= ") : !err.msg[0]) abort();
    hg_buf_deinit(&out);
    free(text);
    return 0;
}
