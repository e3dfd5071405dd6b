// SPDX-License-Identifier: Apache-2.0
// fuzz-room: base
// JSON from outside: whatever is taken can be walked, and what is printed from it means the same again.
#include "base/json.h"
#include "base/mem.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Touches a value with every getter, and all below it. The depth is bounded by the parser's limit.
static size_t walk(const hg_jval *v)
{
    uint64_t u;
    int64_t i;
    double d;
    bool b;
    hg_str s;
    size_t count = 1;
    int kinds = hg_json_is_object(v) + hg_json_is_array(v) + hg_json_is_string(v) + hg_json_is_number(v) +
                hg_json_is_bool(v) + hg_json_is_null(v);
    if (kinds != 1) __builtin_trap();
    if (hg_json_u64(v, &u) && !hg_json_f64(v, &d)) __builtin_trap();
    if (hg_json_i64(v, &i) && i >= 0 && !hg_json_u64(v, &u)) __builtin_trap();
    if (hg_json_bool(v, &b) && hg_json_text(v)) __builtin_trap();
    if (hg_json_str(v, &s) && !hg_utf8_valid(s)) __builtin_trap();
    size_t members = 0;
    for (hg_json_iter it = hg_json_iter_of(v); hg_json_next(&it); members++) {
        if (it.index != members) __builtin_trap();
        count += walk(it.val);
    }
    if (members != hg_json_len(v)) __builtin_trap();
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const hg_json_limits limits = {.bytes = 1 << 20, .depth = 40, .unique_keys = size % 2};
    hg_json *doc = NULL, *again = NULL;
    hangar_err err = {0};
    if (hg_json_parse((hg_str){(const char *)data, size}, &limits, &doc, &err) != HANGAR_OK) {
        if (!err.msg[0] || doc) __builtin_trap();
        return 0;
    }
    size_t count = walk(hg_json_root(doc));
    char *plain = hg_json_print(hg_json_root(doc), false);
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_jw_val(w, NULL, hg_json_root(doc));
    char *copied = NULL;
    if (!plain || hg_jw_finish(w, false, &copied, NULL) != HANGAR_OK) __builtin_trap();
    if (strcmp(plain, copied) != 0) __builtin_trap();
    if (hg_json_parse(hg_str_of(plain), &(hg_json_limits){.bytes = SIZE_MAX}, &again, NULL) != HANGAR_OK)
        __builtin_trap();
    if (walk(hg_json_root(again)) != count) __builtin_trap();
    free(plain);
    free(copied);
    hg_json_free(doc);
    hg_json_free(again);
    return 0;
}
