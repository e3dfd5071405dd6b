/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile template and a hostile context: the input is both, cut at the first NUL. fuzz-room: format */
#include "format/jinja.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hg_str context = {(const char *)data, size}, source;
    hg_str_cut(&context, '\0', &source);
    hg_json *doc = NULL;
    hg_jinja *t = NULL;
    hangar_err err = {0};
    hg_json_limits json = {.bytes = 65536};
    const hg_jinja_limits limits = {.steps = 20000, .output = 65536, .memory = HG_MIB, .depth = 100};
    if (hg_jinja_parse(source, &t, &err) != HANGAR_OK) return 0;
    if (hg_json_parse(context, &json, &doc, &err) != HANGAR_OK) doc = NULL;
    const hg_jval *root = doc && hg_json_is_object(hg_json_root(doc)) ? hg_json_root(doc) : NULL;
    hg_buf out;
    hg_buf_init(&out, HG_MIB);
    hangar_code code = hg_jinja_render(t, root, &limits, 1732152896, &out, &err);
    if (code == HANGAR_OK && (out.len > limits.output || !hg_utf8_valid(hg_buf_view(&out)))) __builtin_trap();
    if (code != HANGAR_OK && (out.len != 0 || !err.msg[0] || err.code != code)) __builtin_trap();
    if (code == HANGAR_E_INTERNAL) __builtin_trap();
    hg_buf_deinit(&out);
    hg_json_free(doc);
    hg_jinja_free(t);
    return 0;
}
