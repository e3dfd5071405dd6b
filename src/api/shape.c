/* SPDX-License-Identifier: Apache-2.0 */
/* What forms have in common: their life, what a whole answer keeps, JSON text that is put together by hand. */
#include "api/dialect.h"
#include "base/mem.h"
#include "format/logprobs.h"

#include <stdio.h>

void hg_shape_init(hg_shape *f, const hg_shape_fns *fns, const char *id, int64_t created)
{
    *f = (hg_shape){.fns = fns, .created = created};
    snprintf(f->id, sizeof f->id, "%s", id);
    hg_buf_init(&f->lead, HG_MIB);
    hg_buf_init(&f->said, HG_ANSWER_BYTES);
    hg_buf_init(&f->probs, HG_ANSWER_BYTES);
    hg_buf_init(&f->items, HG_ANSWER_BYTES);
}

void hg_shape_deinit(hg_shape *f)
{
    for (size_t i = 0; i < f->tool_count; i++) {
        free(f->tools[i].id);
        free(f->tools[i].name);
        free(f->tools[i].arguments);
    }
    free(f->tools);
    free(f->model);
    free(f->echo);
    hg_buf_deinit(&f->lead);
    hg_buf_deinit(&f->said);
    hg_buf_deinit(&f->probs);
    hg_buf_deinit(&f->items);
    f->tools = NULL;
    f->model = f->echo = NULL;
    f->tool_count = 0;
}

hangar_code hg_shape_head(hg_shape *f, const hg_ask_head *head, hangar_err *err)
{
    char *model = hg_strdup(head->model);
    if (!model) return hg_fail_memory(err);
    free(f->model);
    f->model = model;
    f->fell_back = f->fell_back || head->fell_back;
    if (f->streaming && f->fns->head) {
        hg_buf_reset(&f->lead);
        f->fns->head(f);
    }
    return hg_buf_check(&f->lead, err);
}

hangar_code hg_shape_keep(hg_shape *f, hg_str literal, const hg_jval *logprobs, hangar_err *err)
{
    hg_buf_str(&f->said, hg_literal_inner(literal));
    for (hg_json_iter it = hg_json_iter_of(logprobs); hg_json_is_array(logprobs) && hg_json_next(&it);) {
        HG_AUTO(hg_auto_free) char *item = hg_json_print(it.val, false);
        if (!item) return hg_fail_memory(err);
        if (f->probs.len) hg_buf_putc(&f->probs, ',');
        hg_buf_puts(&f->probs, item);
    }
    hangar_code code = hg_buf_check(&f->said, err);
    if (code == HANGAR_OK) code = hg_buf_check(&f->probs, err);
    return hg_wrap(err, code, "the answer");
}

hangar_code hg_shape_keep_tool(hg_shape *f, const char *id, const char *name, hg_str arguments,
                               const hg_said_tool **out, hangar_err *err)
{
    if (f->tool_count >= HG_TOOL_CALLS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "the answer calls more than %d tools", HG_TOOL_CALLS_MAX);
    if (!hg_grow((void **)&f->tools, &f->tool_cap, f->tool_count + 1, sizeof *f->tools))
        return hg_fail_memory(err);
    hg_said_tool *t = &f->tools[f->tool_count++];
    t->id = id && id[0] ? hg_strdup(id) : hg_format("call_%s%02zu", f->id, f->tool_count - 1);
    t->name = hg_strdup(name ? name : "");
    t->arguments = hg_strndup(arguments.ptr ? arguments.ptr : "", arguments.len);
    if (!t->id || !t->name || !t->arguments) return hg_fail_memory(err);
    *out = t;
    return HANGAR_OK;
}

/* ---- pieces of text ---- */

/* Bytes that are UTF-8, escaped. */
static void put_escaped(hg_buf *out, hg_str s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        hg_buf_add(out, s.ptr + from, i - from);
        from = i + 1;
        if (c == '\n') hg_buf_puts(out, "\\n");
        else if (c < 0x20) hg_buf_printf(out, "\\u%04x", c);
        else hg_buf_printf(out, "\\%c", c);
    }
    hg_buf_add(out, s.ptr + from, s.len - from);
}

void hg_put_json(hg_buf *out, hg_str s)
{
    hg_buf_putc(out, '"');
    if (s.len && hg_utf8_valid(s)) {
        put_escaped(out, s);
    } else if (s.len) {
        hg_buf clean;
        hg_buf_init(&clean, out->max);
        hg_buf_utf8(&clean, s);
        if (clean.state == HANGAR_OK) put_escaped(out, hg_buf_view(&clean));
        else out->state = clean.state;
        hg_buf_deinit(&clean);
    }
    hg_buf_putc(out, '"');
}

hg_str hg_literal_inner(hg_str literal)
{
    if (literal.len < 2) return (hg_str){"", 0};
    return (hg_str){literal.ptr + 1, literal.len - 2};
}

void hg_put_error(hg_buf *out, hg_dialect dialect, const hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *text = hg_error_json(dialect, err);
    hg_buf_puts(out, text ? text : "{\"error\":\"out of memory\"}");
}

/* ---- logprobs ---- */

/* Token, its logarithm, its bytes: what an item and each of its alternatives have. */
static void put_prob(hg_buf *out, const hg_jval *item)
{
    hg_str token = {0};
    double value = HG_LOGPROB_NEVER;
    const hg_jval *bytes = hg_json_get(item, "bytes");
    (void)hg_json_str(hg_json_get(item, "token"), &token);
    (void)hg_json_f64(hg_json_get(item, "logprob"), &value);
    hg_buf_puts(out, "{\"token\":");
    hg_put_json(out, token);
    hg_buf_printf(out, ",\"logprob\":%.9g,\"bytes\":[", value);
    if (hg_json_is_array(bytes)) {
        for (hg_json_iter it = hg_json_iter_of(bytes); hg_json_next(&it);)
            hg_buf_printf(out, it.index ? ",%d" : "%d", (int)(hg_json_i64_or(it.val, 0) & 0xff));
    } else {
        for (size_t i = 0; i < token.len; i++)
            hg_buf_printf(out, i ? ",%d" : "%d", (unsigned char)token.ptr[i]);
    }
    hg_buf_putc(out, ']');
}

void hg_put_logprobs(hg_buf *out, const hg_jval *logprobs)
{
    for (hg_json_iter it = hg_json_iter_of(logprobs); hg_json_is_array(logprobs) && hg_json_next(&it);) {
        const hg_jval *top = hg_json_get(it.val, "top");
        if (it.index) hg_buf_putc(out, ',');
        put_prob(out, it.val);
        hg_buf_puts(out, ",\"top_logprobs\":[");
        for (hg_json_iter t = hg_json_iter_of(top); hg_json_is_array(top) && hg_json_next(&t);) {
            if (t.index) hg_buf_putc(out, ',');
            put_prob(out, t.val);
            hg_buf_putc(out, '}');
        }
        hg_buf_puts(out, "]}");
    }
}

hg_json *hg_shape_probs(const hg_shape *f)
{
    hg_json *doc = NULL;
    hg_buf text;
    hg_buf_init(&text, HG_ANSWER_BYTES + 2);
    hg_buf_putc(&text, '[');
    hg_buf_str(&text, hg_buf_view(&f->probs));
    hg_buf_putc(&text, ']');
    if (hg_buf_check(&text, NULL) == HANGAR_OK) (void)!hg_json_parse(hg_buf_view(&text), NULL, &doc, NULL);
    hg_buf_deinit(&text);
    return doc;
}

/* ---- vectors ---- */

void hg_put_base64_floats(hg_buf *out, const hg_jval *vector)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned have = 0; /* bytes in bits, at most 2 between two of them */
    hg_buf_putc(out, '"');
    for (hg_json_iter it = hg_json_iter_of(vector); hg_json_is_array(vector) && hg_json_next(&it);) {
        float x = (float)hg_json_f64_or(it.val, 0);
        uint32_t raw;
        memcpy(&raw, &x, sizeof raw);
        for (unsigned byte = 0; byte < 4; byte++) {
            bits = bits << 8 | (raw >> (8 * byte) & 0xff);
            if (++have < 3) continue;
            for (int shift = 18; shift >= 0; shift -= 6) hg_buf_putc(out, digits[bits >> shift & 63]);
            bits = have = 0;
        }
    }
    if (have) {
        bits <<= 8 * (3 - have);
        hg_buf_putc(out, digits[bits >> 18 & 63]);
        hg_buf_putc(out, digits[bits >> 12 & 63]);
        hg_buf_putc(out, have == 2 ? digits[bits >> 6 & 63] : '=');
        hg_buf_putc(out, '=');
    }
    hg_buf_putc(out, '"');
}
