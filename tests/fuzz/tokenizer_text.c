/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile text through tokenizers that are as they should be, one per pattern of the well-known families. They are
 * byte-level: what was well-formed text comes back as it was. fuzz-room: format
 */
#include "format/tokenizer.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const patterns[] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+",
    ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?+\\\\p{L}+|\\\\p{N}{1,3}| "
     "?[^\\\\s\\\\p{L}\\\\p{N}]++[\\\\r\\\\n]*|"
     "\\\\s*[\\\\r\\\\n]|\\\\s+(?!\\\\S)|\\\\s+"),
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{M}]*[\\\\p{Ll}\\\\p{M}]+|\\\\w+&&?|[a-z&&[^aeiou]]+|"
    "\\\\b.",
};

/* A vocabulary of the 256 bytes and a few merges. */
static hg_tokenizer *make(const char *pattern)
{
    hg_buf json;
    hg_json *doc = NULL;
    hg_tokenizer *t = NULL;
    hangar_err err = {0};
    hg_buf_init(&json, HG_MIB);
    hg_buf_puts(
        &json,
        "{\"added_tokens\":[],\"normalizer\":null,\"post_processor\":null,\"decoder\":{\"type\":"
        "\"ByteLevel\"},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
        "\"behavior\":\"Isolated\",\"invert\":false,\"pattern\":{\"Regex\":\"");
    hg_buf_puts(&json, pattern);
    hg_buf_puts(&json,
                "\"}},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},\"model\":{"
                "\"type\":\"BPE\",\"merges\":[\"a b\",\"ab c\",\"b c\",\"Ġ a\",\"Ã ©\"],\"vocab\":{");
    unsigned rank = 256;
    for (unsigned b = 0; b < 256; b++) {
        bool self = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        char text[4];
        size_t n = hg_utf8_put(self ? b : rank++, text);
        hg_buf_printf(&json, "\"%s%.*s\":%u,", b == '"' || b == '\\' ? "\\" : "", (int)n, text, b);
    }
    hg_buf_puts(&json, "\"ab\":256,\"abc\":257,\"bc\":258,\"Ġa\":259,\"Ã©\":260}}}");
    if (hg_json_parse(hg_buf_view(&json), NULL, &doc, &err) != HANGAR_OK) abort();
    if (hg_tokenizer_parse(hg_json_root(doc), &t, &err) != HANGAR_OK) abort();
    hg_json_free(doc);
    hg_buf_deinit(&json);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hg_tokenizer *all[3];
    hg_str text = {(const char *)data, size};
    bool valid = hg_utf8_valid(text);
    for (size_t i = 0; i < 3; i++) {
        hg_token_ids ids;
        hg_buf back;
        hangar_err err = {0};
        if (!all[i]) all[i] = make(patterns[i]);
        if (hg_tokenizer_encode(all[i], text, 0, &ids, &err) != HANGAR_OK) {
            if (err.code != HANGAR_E_LIMIT) __builtin_trap();
            continue;
        }
        hg_buf_init(&back, HG_TOKENIZER_TEXT_MAX);
        if (hg_tokenizer_decode(all[i], ids.ids, ids.count, &back, &err) != HANGAR_OK) __builtin_trap();
        if (!hg_utf8_valid(hg_buf_view(&back))) __builtin_trap();
        if (valid && !hg_str_eq(hg_buf_view(&back), text)) __builtin_trap();
        hg_buf_deinit(&back);
        hg_token_ids_deinit(&ids);
    }
    return 0;
}
