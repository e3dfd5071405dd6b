/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile tokenizer.json and a hostile text: the input is both, cut at the first NUL. fuzz-room: format */
#include "format/tokenizer.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hg_str text = {(const char *)data, size}, json;
    hg_str_cut(&text, '\0', &json);
    hg_json *doc = NULL;
    hg_tokenizer *t = NULL;
    hangar_err err = {0};
    hg_json_limits limits = {.bytes = 65536};
    if (hg_json_parse(json, &limits, &doc, &err) != HANGAR_OK) return 0;
    if (hg_tokenizer_parse(hg_json_root(doc), &t, &err) == HANGAR_OK) {
        hg_token_ids ids;
        if (hg_tokenizer_encode(t, text, 32, &ids, &err) == HANGAR_OK) {
            if (ids.count > 32) __builtin_trap();
            for (size_t i = 0; i < ids.count; i++)
                if (!hg_tokenizer_text(t, ids.ids[i])) __builtin_trap();
            free(ids.ids);
        }
        int64_t all[64];
        for (size_t i = 0; i < 64; i++) all[i] = (int64_t)i - 1;
        hg_buf out;
        hg_buf_init(&out, HG_MIB);
        if (hg_tokenizer_decode(t, all, 64, &out, &err) == HANGAR_OK && !hg_utf8_valid(hg_buf_view(&out)))
            __builtin_trap();
        hg_buf_deinit(&out);
    }
    hg_tokenizer_free(t);
    hg_json_free(doc);
    return 0;
}
