/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/text_limits.h"

#include "base/mem.h"
#include "manager/load_onnx.h"

#define TOKENS_MAX 65536 /* tokens of one text, whatever the files say */

void hg_limit_lower(const hg_jval *number, size_t *limit)
{
    double n = 0;
    if (hg_json_f64(number, &n) && n >= 1 && n < (double)*limit) *limit = (size_t)n;
}

/* The tokenizer's padding token: a text, or an object with "content". */
static int64_t pad_token(const hg_jval *config, const hg_tokenizer *tokenizer)
{
    const hg_jval *v = hg_json_get(config, "pad_token");
    const char *text = hg_json_text(v), *content = hg_json_text(hg_json_get(v, "content"));
    return hg_tokenizer_id(tokenizer, text ? text : content ? content : "[PAD]");
}

hangar_code hg_text_limits(const hg_snapshot *snap, const hg_jval *config, const hg_tokenizer *tokenizer,
                           size_t *max_tokens, int64_t *pad, hangar_err *err)
{
    static const char *const offset[] = {"roberta", "xlm-roberta", "camembert", "mpnet", "longformer"};
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_load_json(snap, "tokenizer_config.json", &doc, err);
    if (code != HANGAR_OK) return code;
    const char *type = hg_json_text_or(hg_json_get(config, "model_type"), "");
    int64_t positions = hg_json_i64_or(hg_json_get(config, "max_position_embeddings"), 0);
    *pad = hg_json_i64_or(hg_json_get(config, "pad_token_id"), pad_token(hg_json_root(doc), tokenizer));
    if (*pad < 0) *pad = 0; /* masked out in any case */
    for (size_t i = 0; i < HG_LEN(offset); i++)
        if (hg_streq(type, offset[i]) && positions > *pad + 1) positions -= *pad + 1;
    *max_tokens = positions > 0 && positions < TOKENS_MAX ? (size_t)positions : TOKENS_MAX;
    hg_limit_lower(hg_json_get(hg_json_root(doc), "model_max_length"), max_tokens);
    return HANGAR_OK;
}
