/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokenizers for tests in other languages: tool_tokenize FILE [CONFIG], FILE a tokenizer.json; then one JSON document per
 * line, answered by one line each.
 *
 *   {"text": "...", "pair": "...", "plain": true, "max": 8}   {"ids": [...], "types": [...], "truncated": false}
 *   {"hex": "ff41"}                                           the same, for bytes that are no text
 *   {"decode": [...], "skip": true}                           {"text": "...", "pieces": ["...", ...]}: at once, and by id
 *
 * Or, when something is wrong, {"error": "..."}.
 */
#include "base/fsx.h"
#include "base/mem.h"
#include "format/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

static hangar_code read_json(const char *path, hg_json **out, hangar_err *err)
{
    hg_buf text;
    hg_buf_init(&text, 64 * HG_MIB);
    hangar_code code = hg_read_file(path, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_buf_view(&text), NULL, out, err);
    hg_buf_deinit(&text);
    return code;
}

static hangar_code encode(const hg_tokenizer *t, const hg_jval *ask, hg_jw *w, hangar_err *err)
{
    hg_encode_options o = {.types = true, .plain = hg_json_bool_or(hg_json_get(ask, "plain"), false)};
    hg_str text = {0}, hex;
    hg_token_ids ids;
    uint8_t *bytes = NULL;
    o.max_tokens = (size_t)hg_json_i64_or(hg_json_get(ask, "max"), 0);
    hg_json_str(hg_json_get(ask, "text"), &text);
    hg_json_str(hg_json_get(ask, "pair"), &o.pair);
    if (hg_json_str(hg_json_get(ask, "hex"), &hex)) {
        bytes = hg_calloc(hex.len / 2, 1);
        if (!bytes || !hg_hex_decode(hex, bytes, hex.len / 2)) abort();
        text = (hg_str){(const char *)bytes, hex.len / 2};
    }
    hangar_code code = hg_tokenizer_encode_with(t, text, &o, &ids, err);
    free(bytes);
    if (code != HANGAR_OK) return code;
    hg_jw_arr(w, "ids");
    for (size_t i = 0; i < ids.count; i++) hg_jw_i64(w, NULL, ids.ids[i]);
    hg_jw_end(w);
    hg_jw_arr(w, "types");
    for (size_t i = 0; i < ids.count; i++) hg_jw_i64(w, NULL, ids.types[i]);
    hg_jw_end(w);
    hg_jw_bool(w, "truncated", ids.truncated);
    hg_token_ids_deinit(&ids);
    return HANGAR_OK;
}

static hangar_code decode(const hg_tokenizer *t, const hg_jval *ask, hg_jw *w, hangar_err *err)
{
    hg_decode_skip skip =
        hg_json_bool_or(hg_json_get(ask, "skip"), false) ? HG_DECODE_SPECIAL : HG_DECODE_ALL;
    const hg_jval *list = hg_json_get(ask, "decode");
    size_t count = hg_json_len(list), n = 0;
    int64_t *ids = hg_calloc(count, sizeof *ids);
    hg_token_stream *s = NULL;
    hg_buf text;
    if (!ids) return hg_fail_memory(err);
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);) ids[n++] = hg_json_i64_or(it.val, -1);
    hg_buf_init(&text, HG_TOKENIZER_TEXT_MAX);
    hangar_code code = hg_tokenizer_decode_with(t, ids, count, skip, &text, err);
    if (code == HANGAR_OK) code = hg_token_stream_new(t, skip, &s, err);
    if (code == HANGAR_OK) {
        hg_jw_str(w, "text", hg_buf_view(&text));
        hg_jw_arr(w, "pieces");
    }
    for (size_t i = 0; i <= count && code == HANGAR_OK; i++) {
        hg_buf_reset(&text);
        code = i < count ? hg_token_stream_push(s, ids[i], &text, err) : hg_token_stream_end(s, &text, err);
        if (code == HANGAR_OK) hg_jw_str(w, NULL, hg_buf_view(&text));
    }
    if (code == HANGAR_OK) hg_jw_end(w);
    hg_token_stream_free(s);
    hg_buf_deinit(&text);
    free(ids);
    return code;
}

/* One line in, one out. */
static void answer(const hg_tokenizer *t, hg_str line)
{
    hangar_err err = {0};
    hg_json *doc = NULL;
    hangar_code code = hg_json_parse(line, NULL, &doc, &err);
    hg_jw *w = hg_jw_new();
    const hg_jval *ask = hg_json_root(doc);
    hg_jw_obj(w, NULL);
    if (code == HANGAR_OK)
        code = hg_json_get(ask, "decode") ? decode(t, ask, w, &err) : encode(t, ask, w, &err);
    if (code != HANGAR_OK) {
        hg_jw_free(w);
        w = hg_jw_new();
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "error", err.msg);
    }
    char *out = NULL;
    if (hg_jw_finish(w, false, &out, &err) != HANGAR_OK) abort();
    puts(out);
    free(out);
    hg_jw_free(w);
    hg_json_free(doc);
}

int main(int argc, char **argv)
{
    hangar_err err = {0};
    hg_json *doc = NULL, *config = NULL;
    hg_tokenizer *t = NULL;
    if (argc < 2) return 2;
    hangar_code code = read_json(argv[1], &doc, &err);
    if (code == HANGAR_OK && argc > 2) code = read_json(argv[2], &config, &err);
    if (code == HANGAR_OK) code = hg_tokenizer_parse(hg_json_root(doc), &t, &err);
    if (code != HANGAR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        hg_json_free(doc);
        hg_json_free(config);
        return 1;
    }
    if (config) hg_tokenizer_configure(t, hg_json_root(config));
    hg_json_free(doc);
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;)
        answer(t, (hg_str){line, (size_t)n - (line[n - 1] == '\n')});
    free(line);
    hg_json_free(config);
    hg_tokenizer_free(t);
    return 0;
}
