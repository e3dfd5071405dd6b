/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/dialect.h"

#include "base/mem.h"

#include <stdio.h>

void hg_cloud_answer_init(hg_cloud_answer *a, const hg_cloud_fns *fns, void *ctx)
{
    *a = (hg_cloud_answer){
        .fns = fns, .ctx = ctx, .prompt_tokens = -1, .generated_tokens = -1, .retry_after = -1};
    hg_buf_init(&a->literal, SIZE_MAX);
}

void hg_cloud_answer_deinit(hg_cloud_answer *a)
{
    for (size_t i = 0; i < a->tool_count; i++) {
        free(a->tools[i].id);
        free(a->tools[i].name);
        hg_buf_deinit(&a->tools[i].arguments);
    }
    free(a->tools);
    free(a->skip);
    hg_buf_deinit(&a->literal);
}

/* ---- faults ---- */

static void fail(hg_cloud_answer *a, hg_cloud_fault fault, hangar_code code, const char *words)
{
    if (a->fault != HG_CLOUD_NONE) return;
    a->fault = fault;
    hg_fail(&a->err, code, "%s", words);
}

void hg_cloud_answer_error(hg_cloud_answer *a, hg_cloud_fault fault, const char *words)
{
    hangar_code code = fault == HG_CLOUD_RATE ? HANGAR_E_RATE_LIMITED : HANGAR_E_NETWORK;
    fail(a, fault, code, words && words[0] ? words : "an error in the stream, without words");
}

static void out_of_memory(hg_cloud_answer *a)
{
    fail(a, HG_CLOUD_BROKEN, HANGAR_E_NO_MEMORY, hangar_code_text(HANGAR_E_NO_MEMORY));
}

const char *hg_cloud_answer_words(const hg_jval *doc)
{
    const hg_jval *inner = hg_json_get(doc, "error");
    if (hg_json_is_array(doc))
        return hg_cloud_answer_words(hg_json_is_object(hg_json_at(doc, 0)) ? hg_json_at(doc, 0) : NULL);
    const hg_jval *places[] = {hg_json_get(inner, "message"), inner, hg_json_get(doc, "message"),
                               hg_json_get(doc, "detail"), hg_json_get(inner, "type")};
    for (size_t i = 0; i < HG_LEN(places); i++) {
        const char *text = hg_json_text(places[i]);
        if (text && text[0]) return text;
    }
    return NULL;
}

/* ---- text ---- */

/* A string literal with its quotes. What is not UTF-8 becomes U+FFFD first. */
static void write_literal(hg_buf *out, hg_str text)
{
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;
    hg_buf_reset(out);
    hg_buf_putc(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= ' ' && c != '"' && c != '\\') continue;
        hg_buf_add(out, text.ptr + from, i - from);
        from = i + 1;
        if (c == '\n') hg_buf_puts(out, "\\n");
        else if (c == '\t') hg_buf_puts(out, "\\t");
        else if (c == '\r') hg_buf_puts(out, "\\r");
        else if (c == '"' || c == '\\') hg_buf_putc(out, '\\'), hg_buf_putc(out, (char)c);
        else hg_buf_printf(out, "\\u00%c%c", hex[c >> 4], hex[c & 15]);
    }
    hg_buf_add(out, text.ptr + from, text.len - from);
    hg_buf_putc(out, '"');
}

/* Takes from the answer's begin what is out already, as far as it is the same. */
static void skip_begun(hg_cloud_answer *a, hg_str *text)
{
    while (a->skip && text->len && a->skip[a->skipped] == text->ptr[0]) {
        text->ptr++, text->len--;
        if (!a->skip[++a->skipped]) free(a->skip), a->skip = NULL;
    }
    if (text->len) free(a->skip), a->skip = NULL;
}

void hg_cloud_answer_text(hg_cloud_answer *a, hg_str text)
{
    if (a->fault != HG_CLOUD_NONE || text.len == 0) return;
    a->alive = true;
    skip_begun(a, &text);
    a->text_bytes += text.len;
    if (a->text_bytes > HG_ANSWER_TEXT_MAX) {
        fail(a, HG_CLOUD_BROKEN, HANGAR_E_LIMIT, "more text than one answer may have");
        return;
    }
    if (a->deaf || text.len == 0) return;
    hg_buf clean;
    hg_buf_init(&clean, SIZE_MAX);
    bool valid = hg_utf8_valid(text);
    if (!valid) hg_buf_utf8(&clean, text);
    write_literal(&a->literal, valid ? text : hg_buf_view(&clean));
    bool lost = clean.state != HANGAR_OK || a->literal.state != HANGAR_OK;
    hg_buf_deinit(&clean);
    if (lost) out_of_memory(a);
    else a->fns->text(a->ctx, hg_buf_view(&a->literal));
}

void hg_cloud_answer_thought(hg_cloud_answer *a)
{
    a->alive = true;
}

/* ---- tool calls ---- */

/* Notes a text that was not told before; false when out of memory. */
static bool note(char **place, const char *text)
{
    if (!text || !text[0] || *place) return true;
    *place = hg_strdup(text);
    return *place != NULL;
}

hg_cloud_answer_tool *hg_cloud_answer_tool_at(hg_cloud_answer *a, int64_t index, const char *id,
                                              const char *name)
{
    hg_cloud_answer_tool *t = NULL;
    a->alive = true;
    for (size_t i = a->tool_count; i > 0 && !t; i--)
        if (a->tools[i - 1].index == index) t = &a->tools[i - 1];
    if (!t) {
        if (a->tool_count == HG_ANSWER_TOOLS_MAX) {
            fail(a, HG_CLOUD_BROKEN, HANGAR_E_LIMIT, "more tool calls than one answer may have");
            return NULL;
        }
        if (!hg_grow((void **)&a->tools, &a->tool_cap, a->tool_count + 1, sizeof *a->tools)) {
            out_of_memory(a);
            return NULL;
        }
        t = &a->tools[a->tool_count++];
        *t = (hg_cloud_answer_tool){.index = index};
        hg_buf_init(&t->arguments, HG_ANSWER_ARGS_MAX);
    }
    if (note(&t->id, id) && note(&t->name, name)) return t;
    out_of_memory(a);
    return NULL;
}

void hg_cloud_answer_tool_add(hg_cloud_answer *a, hg_cloud_answer_tool *t, hg_str arguments)
{
    if (!t) return;
    hg_buf_str(&t->arguments, arguments);
    if (t->arguments.state == HANGAR_E_LIMIT)
        fail(a, HG_CLOUD_BROKEN, HANGAR_E_LIMIT, "a tool call with longer arguments than one may have");
    else if (t->arguments.state != HANGAR_OK) out_of_memory(a);
}

void hg_cloud_answer_tool_end(hg_cloud_answer *a, hg_cloud_answer_tool *t)
{
    if (!t || t->told || a->fault != HG_CLOUD_NONE) return;
    t->told = true;
    hg_str arguments = hg_str_trim(hg_buf_view(&t->arguments));
    if (arguments.len == 0) arguments = HG_STR("{}");
    hg_json *doc = NULL;
    const hg_json_limits limits = {.bytes = HG_ANSWER_ARGS_MAX};
    bool good =
        hg_json_parse(arguments, &limits, &doc, NULL) == HANGAR_OK && hg_json_is_object(hg_json_root(doc));
    hg_json_free(doc);
    if (!good || !t->name) {
        fail(a, HG_CLOUD_SERVER, HANGAR_E_NETWORK,
             t->name ? "the model called a tool with arguments that are no JSON object"
                     : "the model called a tool without a name");
        return;
    }
    if (!a->deaf) a->fns->tool(a->ctx, t->id ? t->id : "", t->name, arguments);
}

void hg_cloud_answer_tools_end(hg_cloud_answer *a)
{
    for (size_t i = 0; i < a->tool_count; i++) hg_cloud_answer_tool_end(a, &a->tools[i]);
}

/* ---- the end ---- */

void hg_cloud_answer_finish(hg_cloud_answer *a, const char *finish)
{
    snprintf(a->finish, sizeof a->finish, "%s", finish);
}

void hg_cloud_answer_usage(hg_cloud_answer *a, int64_t prompt, int64_t generated)
{
    if (prompt >= 0) a->prompt_tokens = prompt;
    if (generated >= 0) a->generated_tokens = generated;
}
