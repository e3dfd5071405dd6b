/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's answers: a line of JSON per piece of text, or one document; times in nanoseconds. */
#include "api/dialect.h"
#include "base/clock.h"
#include "base/mem.h"

#include <math.h>

/* {"model":"...","created_at":"..." : what every line begins with. */
static void put_base(const hg_shape *f, hg_buf *out)
{
    char when[24];
    hg_buf_puts(out, "{\"model\":");
    hg_put_json(out, hg_str_of(f->model));
    hg_buf_printf(out, ",\"created_at\":\"%s\"", hg_time_format(f->created, when));
}

static void put_nanoseconds(const char *name, double seconds, hg_buf *out)
{
    double ns = seconds > 0 && seconds < 1e9 ? round(seconds * 1e9) : 0;
    hg_buf_printf(out, ",\"%s\":%lld", name, (long long)ns);
}

static void put_count(const char *name, int64_t n, hg_buf *out)
{
    if (n >= 0) hg_buf_printf(out, ",\"%s\":%lld", name, (long long)n);
}

/* What the last line says of the whole answer. This dialect has no reason of its own for tool calls. */
static void put_numbers(const hg_ask_end *e, hg_buf *out)
{
    hg_buf_puts(out, ",\"done\":true,\"done_reason\":");
    hg_put_json(out, hg_streq(e->finish, "tool_calls") ? HG_STR("stop") : hg_str_of(e->finish));
    put_nanoseconds("total_duration", e->total_seconds, out);
    put_nanoseconds("load_duration", e->load_seconds, out);
    put_count("prompt_eval_count", e->prompt_tokens, out);
    put_nanoseconds("prompt_eval_duration", e->prompt_seconds, out);
    put_count("eval_count", e->generated_tokens, out);
    put_nanoseconds("eval_duration", e->generate_seconds, out);
}

static void put_probs(const hg_shape *f, const hg_jval *logprobs, hg_buf *out)
{
    if (!logprobs || !f->logprobs) return;
    hg_buf_puts(out, ",\"logprobs\":[");
    hg_put_logprobs(out, logprobs);
    hg_buf_putc(out, ']');
}

static void fail(hg_shape *f, const hangar_err *err, hg_buf *out)
{
    (void)f;
    hg_put_error(out, HG_DIALECT_OLLAMA, err);
    hg_buf_putc(out, '\n');
}

void hg_ollama_put_done(const hg_shape *f, bool chat, const char *reason, hg_buf *out)
{
    put_base(f, out);
    hg_buf_puts(out, chat ? ",\"message\":{\"role\":\"assistant\",\"content\":\"\"}" : ",\"response\":\"\"");
    hg_buf_printf(out, ",\"done\":true,\"done_reason\":\"%s\"}", reason);
}

/* ---- generate ---- */

static void generate_head(hg_shape *f)
{
    put_base(f, &f->lead);
    f->lead_base = f->lead.len;
    hg_buf_puts(&f->lead, ",\"response\":");
}

static void generate_text(hg_shape *f, hg_str literal, const hg_jval *logprobs, hg_buf *out)
{
    hg_buf_str(out, hg_buf_view(&f->lead));
    hg_buf_str(out, literal);
    put_probs(f, logprobs, out);
    hg_buf_puts(out, ",\"done\":false}\n");
}

static void generate_end(hg_shape *f, const hg_ask_end *e, hg_buf *out)
{
    hg_buf_str(out, hg_buf_view(&f->lead));
    hg_buf_puts(out, "\"\"");
    put_numbers(e, out);
    hg_buf_puts(out, "}\n");
}

static hangar_code generate_whole(hg_shape *f, const hg_ask_end *e, hg_buf *out, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *probs = f->logprobs ? hg_shape_probs(f) : NULL;
    (void)err;
    put_base(f, out);
    hg_buf_puts(out, ",\"response\":\"");
    hg_buf_str(out, hg_buf_view(&f->said));
    hg_buf_putc(out, '"');
    put_probs(f, hg_json_root(probs), out);
    put_numbers(e, out);
    hg_buf_putc(out, '}');
    return HANGAR_OK;
}

const hg_shape_fns hg_shape_ollama_generate = {.stream_type = "application/x-ndjson",
                                               .head = generate_head,
                                               .text = generate_text,
                                               .end = generate_end,
                                               .fail = fail,
                                               .whole = generate_whole};

/* ---- chat ---- */

static void chat_head(hg_shape *f)
{
    put_base(f, &f->lead);
    f->lead_base = f->lead.len;
    hg_buf_puts(&f->lead, ",\"message\":{\"role\":\"assistant\",\"content\":");
}

static void chat_text(hg_shape *f, hg_str literal, const hg_jval *logprobs, hg_buf *out)
{
    hg_buf_str(out, hg_buf_view(&f->lead));
    hg_buf_str(out, literal);
    hg_buf_putc(out, '}');
    put_probs(f, logprobs, out);
    hg_buf_puts(out, ",\"done\":false}\n");
}

/* Arguments are an object here: what is none is the engine's fault and ends the answer. */
static hangar_code put_call(const hg_said_tool *t, hg_buf *out, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_str arguments = hg_str_trim(hg_str_of(t->arguments));
    if (arguments.len == 0) arguments = HG_STR("{}");
    if (hg_json_parse(arguments, NULL, &doc, NULL) != HANGAR_OK || !hg_json_is_object(hg_json_root(doc)))
        return hg_fail(err, HANGAR_E_ENGINE, "the call of tool \"%s\" has arguments that are no JSON object",
                       t->name);
    hg_buf_puts(out, "{\"id\":");
    hg_put_json(out, hg_str_of(t->id));
    hg_buf_puts(out, ",\"function\":{\"name\":");
    hg_put_json(out, hg_str_of(t->name));
    HG_AUTO(hg_auto_free)
    char *text = hg_json_print(hg_json_root(doc), false); /* one line, whatever it was */
    if (!text) return hg_fail_memory(err);
    hg_buf_printf(out, ",\"arguments\":%s}}", text);
    return HANGAR_OK;
}

static hangar_code chat_tool(hg_shape *f, const hg_said_tool *t, hg_buf *out, hangar_err *err)
{
    hg_buf_str(out, hg_buf_view(&f->lead));
    hg_buf_puts(out, "\"\",\"tool_calls\":[");
    hangar_code code = put_call(t, out, err);
    hg_buf_puts(out, "]},\"done\":false}\n");
    return code;
}

static void chat_end(hg_shape *f, const hg_ask_end *e, hg_buf *out)
{
    hg_buf_str(out, hg_buf_view(&f->lead));
    hg_buf_puts(out, "\"\"}");
    put_numbers(e, out);
    hg_buf_puts(out, "}\n");
}

static hangar_code chat_whole(hg_shape *f, const hg_ask_end *e, hg_buf *out, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *probs = f->logprobs ? hg_shape_probs(f) : NULL;
    put_base(f, out);
    hg_buf_puts(out, ",\"message\":{\"role\":\"assistant\",\"content\":\"");
    hg_buf_str(out, hg_buf_view(&f->said));
    hg_buf_putc(out, '"');
    for (size_t i = 0; i < f->tool_count; i++) {
        hg_buf_puts(out, i ? "," : ",\"tool_calls\":[");
        hangar_code code = put_call(&f->tools[i], out, err);
        if (code != HANGAR_OK) return code;
    }
    hg_buf_puts(out, f->tool_count ? "]}" : "}");
    put_probs(f, hg_json_root(probs), out);
    put_numbers(e, out);
    hg_buf_putc(out, '}');
    return HANGAR_OK;
}

const hg_shape_fns hg_shape_ollama_chat = {.stream_type = "application/x-ndjson",
                                           .head = chat_head,
                                           .text = chat_text,
                                           .tool = chat_tool,
                                           .end = chat_end,
                                           .fail = fail,
                                           .whole = chat_whole};

/* ---- vectors ---- */

static hangar_code embed_whole(hg_shape *f, const hg_ask_end *e, hg_buf *out, hangar_err *err)
{
    const hg_jval *vectors = hg_json_get(e->doc, "embeddings");
    hangar_code code = hg_shape_dimensions(f, e->doc, err);
    if (code != HANGAR_OK) return code;
    if (f->no_cut && hg_json_len(hg_json_get(e->doc, "truncated")) > 0)
        return hg_fail(err, HANGAR_E_USAGE,
                       "a text is longer than the model takes, and \"truncate\" is false");
    if (f->single) {
        hg_buf_puts(out, "{\"embedding\":");
        hg_put_numbers(out, hg_json_at(vectors, 0));
        hg_buf_putc(out, '}');
        return HANGAR_OK;
    }
    hg_buf_puts(out, "{\"model\":");
    hg_put_json(out, hg_str_of(f->model));
    hg_buf_puts(out, ",\"embeddings\":[");
    for (hg_json_iter it = hg_json_iter_of(vectors); hg_json_is_array(vectors) && hg_json_next(&it);) {
        if (it.index) hg_buf_putc(out, ',');
        hg_put_numbers(out, it.val);
    }
    hg_buf_putc(out, ']');
    put_nanoseconds("total_duration", e->total_seconds, out);
    put_nanoseconds("load_duration", e->load_seconds, out);
    put_count("prompt_eval_count", hg_doc_tokens(e->doc), out);
    hg_buf_putc(out, '}');
    return HANGAR_OK;
}

const hg_shape_fns hg_shape_ollama_embed = {.whole = embed_whole};
