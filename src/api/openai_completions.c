/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/completions: a text to go on with as it is, without the model's chat template. */
#include "api/dialect.h"
#include "base/mem.h"
#include "format/generate.h"
#include "format/logprobs.h"

#include <math.h>

#define MAX_TOKENS_DEFAULT 16 /* the dialect's own */

/* ---- reading ---- */

static hangar_code read_prompt(const hg_jval *prompt, hg_jw *w, hangar_err *err)
{
    const hg_jval *one = prompt;
    if (hg_json_is_array(prompt)) {
        one = hg_json_at(prompt, 0);
        if (hg_json_is_number(one) || hg_json_is_array(one))
            return hg_fail(
                err, HANGAR_E_USAGE,
                "\"prompt\" is a list of tokens; only text can be taken: each model has tokens of its own");
        if (hg_json_len(prompt) != 1)
            return hg_fail(err, HANGAR_E_USAGE, "\"prompt\" must be one text; it holds %zu",
                           hg_json_len(prompt));
    }
    if (!hg_json_is_string(one)) return hg_fail(err, HANGAR_E_USAGE, "\"prompt\" must be text");
    hg_jw_val(w, "prompt", one);
    return HANGAR_OK;
}

static hangar_code refuse(const hg_jval *body, hangar_err *err)
{
    static const struct {
        const char *key, *why;
    } none[] = {
        {"echo", "the answer holds what was made alone"},
        {"suffix", "the engines do not fill in before a text"},
        {"logit_bias", "the engines have no bias on tokens"},
    };
    for (size_t i = 0; i < HG_LEN(none); i++) {
        hangar_code code = hg_read_nothing(body, none[i].key, none[i].why, err);
        if (code != HANGAR_OK) return code;
    }
    static const char *const ones[] = {"n", "best_of"};
    for (size_t i = 0; i < HG_LEN(ones); i++) {
        const hg_jval *v = hg_json_get(body, ones[i]);
        if (!hg_json_is_null(v) && hg_json_i64_or(v, 0) != 1)
            return hg_fail(err, HANGAR_E_USAGE, "\"%s\" must be 1: one answer to one request", ones[i]);
    }
    return HANGAR_OK;
}

hangar_code hg_openai_completion_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err)
{
    *spec = (hg_ask_spec){.kind = HG_ASK_GENERATE, .file = -1, .keep_alive = NAN};
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    spec->model = hg_read_model(body, err);
    if (!spec->model) return HANGAR_E_USAGE;
    hg_jw_obj(w, NULL);
    hangar_code code = refuse(body, err);
    if (code == HANGAR_OK) code = read_prompt(hg_json_get(body, "prompt"), w, err);
    if (code == HANGAR_OK) code = hg_read_sampling(body, w, err);
    if (code == HANGAR_OK)
        code = hg_read_integer(body, "max_tokens", 1, HG_GENERATE_CONTEXT_MAX, "max_tokens", w, err);
    if (hg_json_is_null(hg_json_get(body, "max_tokens"))) hg_jw_i64(w, "max_tokens", MAX_TOKENS_DEFAULT);
    if (code == HANGAR_OK)
        code = hg_read_integer(body, "logprobs", 0, HG_GENERATE_LOGPROBS_MAX, "logprobs", w, err);
    if (code == HANGAR_OK) code = hg_read_keep_alive(hg_json_get(body, "keep_alive"), &spec->keep_alive, err);
    if (code != HANGAR_OK) return code;
    spec->streams = spec->spliceable = hg_json_bool_or(hg_json_get(body, "stream"), false);
    f->logprobs = !hg_json_is_null(hg_json_get(body, "logprobs"));
    f->usage = hg_json_bool_or(hg_json_path(body, "stream_options", "include_usage", NULL), false);
    return hg_read_doc(w, &spec->doc, err);
}

/* ---- writing ---- */

static void put_base(const hg_shape *f, hg_buf *out)
{
    hg_buf_printf(out,
                  "{\"id\":\"cmpl-%s\",\"object\":\"text_completion\",\"created\":%lld,\"model\":", f->id,
                  (long long)f->created);
    hg_put_json(out, hg_str_of(f->model));
    hg_buf_puts(out, ",\"choices\":[");
}

static void head(hg_shape *f)
{
    hg_buf_puts(&f->lead, "data: ");
    put_base(f, &f->lead);
    f->lead_base = f->lead.len;
    hg_buf_puts(&f->lead, "{\"index\":0,\"text\":");
}

/* Characters, not bytes. */
static int64_t characters(hg_str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.len; i++) n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

static hg_str token_of(const hg_jval *item)
{
    hg_str token = {"", 0};
    (void)hg_json_str(hg_json_get(item, "token"), &token);
    return token;
}

/* One of the four lists of the dialect's older logprobs. `offset` is moved on by the list of offsets. */
static void put_list(const hg_jval *probs, const char *name, int64_t *offset, hg_buf *out)
{
    hg_buf_printf(out, "\"%s\":[", name);
    for (hg_json_iter it = hg_json_iter_of(probs); hg_json_next(&it);) {
        if (it.index) hg_buf_putc(out, ',');
        if (name[0] == 't' && name[1] == 'e') {
            hg_buf_printf(out, "%lld", (long long)*offset);
            *offset += characters(token_of(it.val));
        } else if (hg_streq(name, "tokens")) {
            hg_put_json(out, token_of(it.val));
        } else if (hg_streq(name, "token_logprobs")) {
            hg_buf_printf(out, "%.9g", hg_json_f64_or(hg_json_get(it.val, "logprob"), HG_LOGPROB_NEVER));
        } else {
            const hg_jval *top = hg_json_get(it.val, "top");
            hg_buf_putc(out, '{');
            for (hg_json_iter t = hg_json_iter_of(top); hg_json_is_array(top) && hg_json_next(&t);) {
                if (t.index) hg_buf_putc(out, ',');
                hg_put_json(out, token_of(t.val));
                hg_buf_printf(out, ":%.9g", hg_json_f64_or(hg_json_get(t.val, "logprob"), HG_LOGPROB_NEVER));
            }
            hg_buf_putc(out, '}');
        }
    }
    hg_buf_putc(out, ']');
}

static void put_logprobs(hg_shape *f, const hg_jval *probs, hg_buf *out)
{
    if (!f->logprobs || !hg_json_is_array(probs)) {
        hg_buf_puts(out, "null");
        return;
    }
    static const char *const lists[] = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};
    for (size_t i = 0; i < HG_LEN(lists); i++) {
        hg_buf_putc(out, i ? ',' : '{');
        put_list(probs, lists[i], &f->sequence, out);
    }
    hg_buf_putc(out, '}');
}

static void put_chunk_end(const hg_shape *f, hg_buf *out)
{
    hg_buf_puts(out, f->usage ? "],\"usage\":null}\n\n" : "]}\n\n");
}

static void text(hg_shape *f, hg_str literal, const hg_jval *logprobs, hg_buf *out)
{
    hg_buf_str(out, hg_buf_view(&f->lead));
    hg_buf_str(out, literal);
    if (logprobs && f->logprobs) {
        hg_buf_puts(out, ",\"logprobs\":");
        put_logprobs(f, logprobs, out);
        hg_buf_puts(out, ",\"finish_reason\":null}");
    } else {
        hg_buf_puts(out, ",\"logprobs\":null,\"finish_reason\":null}");
    }
    put_chunk_end(f, out);
}

static void end(hg_shape *f, const hg_ask_end *e, hg_buf *out)
{
    hg_buf_str(out, hg_buf_view(&f->lead));
    hg_buf_puts(out, "\"\",\"logprobs\":null,\"finish_reason\":");
    hg_put_json(out, hg_str_of(e->finish));
    hg_buf_putc(out, '}');
    put_chunk_end(f, out);
    if (f->usage) {
        hg_buf_add(out, hg_buf_text(&f->lead), f->lead_base);
        hg_buf_puts(out, "],\"usage\":");
        hg_openai_put_usage(e, out);
        hg_buf_puts(out, "}\n\n");
    }
    hg_buf_puts(out, "data: [DONE]\n\n");
}

static hangar_code whole(hg_shape *f, const hg_ask_end *e, hg_buf *out, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *probs = f->logprobs ? hg_shape_probs(f) : NULL;
    (void)err;
    put_base(f, out);
    hg_buf_puts(out, "{\"index\":0,\"text\":\"");
    hg_buf_str(out, hg_buf_view(&f->said));
    hg_buf_puts(out, "\",\"logprobs\":");
    put_logprobs(f, hg_json_root(probs), out);
    hg_buf_puts(out, ",\"finish_reason\":");
    hg_put_json(out, hg_str_of(e->finish));
    hg_buf_puts(out, "}]");
    if (e->prompt_tokens >= 0 && e->generated_tokens >= 0) {
        hg_buf_puts(out, ",\"usage\":");
        hg_openai_put_usage(e, out);
    }
    hg_buf_putc(out, '}');
    return HANGAR_OK;
}

const hg_shape_fns hg_shape_openai_completion = {.stream_type = "text/event-stream",
                                                 .head = head,
                                                 .text = text,
                                                 .end = end,
                                                 .fail = hg_openai_put_fail,
                                                 .whole = whole};
