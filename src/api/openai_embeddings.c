/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/embeddings: texts to vectors, as numbers or as base64 of their floats. */
#include "api/dialect.h"
#include "base/mem.h"

#include <math.h>

hangar_code hg_openai_embeddings_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err)
{
    *spec = (hg_ask_spec){.kind = HG_ASK_EMBED, .file = -1, .keep_alive = NAN};
    const hg_jval *dimensions = hg_json_get(body, "dimensions");
    const char *encoding = hg_json_text_or(hg_json_get(body, "encoding_format"), "float");
    size_t count = 0;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    spec->model = hg_read_model(body, err);
    if (!spec->model) return HANGAR_E_USAGE;
    f->base64 = hg_streq(encoding, "base64");
    if (!f->base64 && !hg_streq(encoding, "float"))
        return hg_fail(err, HANGAR_E_USAGE, "\"encoding_format\" must be float or base64");
    if (!hg_json_is_null(dimensions) && (!hg_json_i64(dimensions, &f->dimensions) || f->dimensions < 1))
        return hg_fail(err, HANGAR_E_USAGE, "\"dimensions\" must be a whole number above 0");
    hg_jw_obj(w, NULL);
    hangar_code code = hg_read_inputs(hg_json_get(body, "input"), "input", w, &count, err);
    if (code == HANGAR_OK && count == 0)
        code = hg_fail(err, HANGAR_E_USAGE, "\"input\" must hold at least one text");
    if (code == HANGAR_OK) code = hg_read_keep_alive(hg_json_get(body, "keep_alive"), &spec->keep_alive, err);
    return code == HANGAR_OK ? hg_read_doc(w, &spec->doc, err) : code;
}

hangar_code hg_shape_dimensions(const hg_shape *f, const hg_jval *doc, hangar_err *err)
{
    int64_t has = hg_json_i64_or(hg_json_get(doc, "dimensions"), 0);
    if (f->dimensions == 0 || f->dimensions == has) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_USAGE,
                   "\"dimensions\" is %lld; the vectors of %s have %lld, no other number",
                   (long long)f->dimensions, f->model, (long long)has);
}

int64_t hg_doc_tokens(const hg_jval *doc)
{
    int64_t sum = 0;
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(doc, "tokens")); hg_json_next(&it);)
        sum += hg_json_i64_or(it.val, 0);
    return sum;
}

void hg_put_numbers(hg_buf *out, const hg_jval *vector)
{
    hg_buf_putc(out, '[');
    for (hg_json_iter it = hg_json_iter_of(vector); hg_json_is_array(vector) && hg_json_next(&it);)
        hg_buf_printf(out, it.index ? ",%.9g" : "%.9g", hg_json_f64_or(it.val, 0));
    hg_buf_putc(out, ']');
}

static hangar_code whole(hg_shape *f, const hg_ask_end *e, hg_buf *out, hangar_err *err)
{
    const hg_jval *vectors = hg_json_get(e->doc, "embeddings");
    hangar_code code = hg_shape_dimensions(f, e->doc, err);
    if (code != HANGAR_OK) return code;
    hg_buf_puts(out, "{\"object\":\"list\",\"data\":[");
    for (hg_json_iter it = hg_json_iter_of(vectors); hg_json_is_array(vectors) && hg_json_next(&it);) {
        hg_buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", it.index ? "," : "",
                      it.index);
        if (f->base64) hg_put_base64_floats(out, it.val);
        else hg_put_numbers(out, it.val);
        hg_buf_putc(out, '}');
    }
    hg_buf_puts(out, "],\"model\":");
    hg_put_json(out, hg_str_of(f->model));
    int64_t tokens = hg_doc_tokens(e->doc);
    hg_buf_printf(out, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}}", (long long)tokens,
                  (long long)tokens);
    return HANGAR_OK;
}

const hg_shape_fns hg_shape_openai_embeddings = {.whole = whole};
