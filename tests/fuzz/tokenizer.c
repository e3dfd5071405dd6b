/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile tokenizer.json and a hostile text: the input is both, cut at the first NUL. What a stream gives is what decoding
 * at once gives, and text all the way. fuzz-room: format
 */
#include "format/tokenizer.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decodes at once and id by id. */
static void decode(const hg_tokenizer *t, const int64_t *ids, size_t count, hg_decode_skip skip)
{
    hg_token_stream *s = NULL;
    hg_buf once, stream;
    hangar_err err = {0};
    hg_buf_init(&once, HG_MIB);
    hg_buf_init(&stream, HG_MIB);
    hangar_code code = hg_tokenizer_decode_with(t, ids, count, skip, &once, &err);
    if (hg_token_stream_new(t, skip, &s, &err) != HANGAR_OK) abort();
    hangar_code other = HANGAR_OK;
    for (size_t i = 0; i < count && other == HANGAR_OK; i++) {
        other = hg_token_stream_push(s, ids[i], &stream, &err);
        if (other == HANGAR_OK && !hg_utf8_valid(hg_buf_view(&stream))) __builtin_trap();
    }
    if (other == HANGAR_OK) other = hg_token_stream_end(s, &stream, &err);
    if (code != other) __builtin_trap();
    if (code == HANGAR_OK && !hg_str_eq(hg_buf_view(&once), hg_buf_view(&stream))) __builtin_trap();
    if (code == HANGAR_OK && !hg_utf8_valid(hg_buf_view(&once))) __builtin_trap();
    hg_token_stream_free(s);
    hg_buf_deinit(&once);
    hg_buf_deinit(&stream);
}

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
        hg_encode_options o = {.max_tokens = 32, .types = true, .pair = {text.ptr, text.len / 2}};
        if (hg_tokenizer_encode(t, text, 0, &ids, &err) == HANGAR_OK) {
            for (size_t i = 0; i < ids.count; i++)
                if (!hg_tokenizer_text(t, ids.ids[i])) __builtin_trap();
            decode(t, ids.ids, ids.count, HG_DECODE_ALL);
            hg_token_ids_deinit(&ids);
        }
        if (hg_tokenizer_encode_with(t, text, &o, &ids, &err) == HANGAR_OK) {
            if (ids.count > 32) __builtin_trap();
            hg_token_ids_deinit(&ids);
        }
        int64_t all[64];
        for (size_t i = 0; i < 64; i++) all[i] = (int64_t)i - 1;
        decode(t, all, 64, HG_DECODE_SPECIAL);
    }
    hg_tokenizer_free(t);
    hg_json_free(doc);
    return 0;
}
