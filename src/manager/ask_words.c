/* SPDX-License-Identifier: Apache-2.0 */
/* Between hangar's words and a runner's: the way of every token is one look over its bytes. */
#include "manager/ask_inner.h"

#include "base/mem.h"
#include "format/generate.h"

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* How long the escape at s is; 0 when it is none. */
static size_t escape_len(hg_str s)
{
    if (s.len < 2) return 0;
    if (s.ptr[1] != 'u') return strchr("\"\\/bfnrt", s.ptr[1]) && s.ptr[1] ? 2 : 0;
    if (s.len < 6) return 0;
    for (size_t i = 2; i < 6; i++)
        if (!is_hex(s.ptr[i])) return 0;
    return 6;
}

/* Whether s may stand between the quotes of a JSON string. */
static bool literal_valid(hg_str s)
{
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.ptr[i];
        size_t n = 1;
        if (c < 0x20 || c == '"') return false;
        if (c == '\\') n = escape_len((hg_str){s.ptr + i, s.len - i});
        if (n == 0) return false;
        i += n;
    }
    return hg_utf8_valid(s);
}

bool hg_words_plain(hg_str json, hg_str *out_inside)
{
    const hg_str head = HG_STR("{\"text\":\""), tail = HG_STR("\"}");
    if (!hg_str_starts(json, head) || json.len < head.len + tail.len || !hg_str_ends(json, tail))
        return false;
    *out_inside = (hg_str){json.ptr + head.len, json.len - head.len - tail.len};
    return literal_valid(*out_inside);
}

void hg_words_literal(hg_str inside, hg_buf *out)
{
    hg_buf_init(out, HG_ASK_TEXT_MAX + 2);
    hg_buf_putc(out, '"');
    hg_buf_str(out, inside);
    hg_buf_putc(out, '"');
}

hangar_code hg_words_text(hg_str inside, hg_buf *out, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_buf literal;
    hg_str text = {0};
    hg_words_literal(inside, &literal);
    hangar_code code = hg_buf_check(&literal, err);
    if (code == HANGAR_OK)
        code = hg_json_parse(hg_buf_view(&literal), &(hg_json_limits){.bytes = literal.len}, &doc, err);
    if (code == HANGAR_OK && hg_json_str(hg_json_root(doc), &text)) hg_buf_str(out, text);
    hg_buf_deinit(&literal);
    return code == HANGAR_OK ? hg_buf_check(out, err) : code;
}

hangar_code hg_words_call(const hg_ask *a, const hg_entry *entry, char **out, hangar_err *err)
{
    static const char *const ours[] = {"op", "begun", "begun_tokens", "context", NULL};
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    const hg_jval *doc = hg_json_root(a->doc);
    hangar_code code = HANGAR_OK;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "op", "generate");
    hg_jw_members(w, doc, ours);
    int64_t context = hg_json_i64_or(hg_json_get(doc, "context"), 0);
    hg_jw_i64(w, "context", context > 0 ? context : entry->context);
    if (hg_json_is_null(hg_json_get(doc, "max_tokens")))
        hg_jw_i64(w, "max_tokens", HG_GENERATE_CONTEXT_MAX); /* the context ends it */
    if (a->text.len > 0) {
        hg_buf text;
        hg_buf_init(&text, HG_ASK_TEXT_MAX);
        code = hg_words_text(hg_buf_view(&a->text), &text, err);
        hg_jw_str(w, "begun", hg_buf_view(&text));
        hg_jw_i64(w, "begun_tokens", a->pieces);
        hg_buf_deinit(&text);
    }
    if (code != HANGAR_OK) return code;
    return w ? hg_jw_finish(w, false, out, err) : hg_fail_memory(err);
}
