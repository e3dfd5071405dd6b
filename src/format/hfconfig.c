/* SPDX-License-Identifier: Apache-2.0 */
#include "format/hfconfig.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses the text of a config.json. */
hangar_code hg_hfconfig_parse(hg_str json, hg_hfconfig *out, hangar_err *err)
{
    *out = (hg_hfconfig){0};
    hg_json_limits limits = {.bytes = HG_HFCONFIG_MAX, .depth = 32, .unique_keys = true};
    hangar_code code = hg_json_parse(json, &limits, &out->doc, err);
    if (code != HANGAR_OK) return code;
    out->root = hg_json_root(out->doc);
    if (hg_json_is_object(out->root)) return HANGAR_OK;
    hg_hfconfig_deinit(out);
    return hg_fail(err, HANGAR_E_INVALID, "is not an object");
}

/* Reads and parses a file. */
hangar_code hg_hfconfig_open(const char *path, hg_hfconfig *out, hangar_err *err)
{
    hg_buf text;
    *out = (hg_hfconfig){0};
    hg_buf_init(&text, HG_HFCONFIG_MAX);
    hangar_code code = hg_read_file(path, &text, err);
    if (code == HANGAR_OK) {
        code = hg_hfconfig_parse(hg_buf_view(&text), out, err);
        hg_wrap(err, code, "%s", hg_path_base(path));
    }
    hg_buf_deinit(&text);
    return code;
}

/* Frees it. */
void hg_hfconfig_deinit(hg_hfconfig *c)
{
    hg_json_free(c->doc);
    c->doc = NULL;
    c->root = NULL;
}

/* The first error, if any. */
hangar_code hg_hfconfig_check(const hg_hfconfig *c, hangar_err *err)
{
    if (c->wrong.code != HANGAR_OK && err) *err = c->wrong;
    return c->wrong.code;
}

/* Makes an error stick. */
void hg_hfconfig_wrong(hg_hfconfig *c, hangar_code code, const char *fmt, ...)
{
    if (c->wrong.code != HANGAR_OK) return;
    char words[HANGAR_ERR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    (void)hg_fail(&c->wrong, code, "config.json: %s%s%s", c->where ? c->where : "", c->where ? "." : "",
                  words);
}

static bool was_read(const hg_hfconfig *c, hg_str key)
{
    for (size_t i = 0; i < c->read_count; i++) {
        if (hg_str_eq(key, hg_str_of(c->read[i]))) return true;
    }
    return false;
}

static void remember(hg_hfconfig *c, const char *key)
{
    if (was_read(c, hg_str_of(key))) return;
    if (c->read_count < HG_HFCONFIG_READ_MAX) c->read[c->read_count++] = key;
    else hg_hfconfig_wrong(c, HANGAR_E_INTERNAL, "more than %d keys are read", HG_HFCONFIG_READ_MAX);
}

/* A value that counts: NULL for a missing one and for null. */
static const hg_jval *value(hg_hfconfig *c, const char *key)
{
    remember(c, key);
    const hg_jval *v = hg_json_get(c->root, key);
    return hg_json_is_null(v) ? NULL : v;
}

/* Is there something? */
bool hg_hfconfig_has(hg_hfconfig *c, const char *key)
{
    return value(c, key) != NULL;
}

/* The value itself. */
const hg_jval *hg_hfconfig_value(hg_hfconfig *c, const char *key)
{
    return value(c, key);
}

/* An object inside. */
void hg_hfconfig_enter(hg_hfconfig *c, const char *key, hg_hfconfig *out)
{
    const hg_jval *v = value(c, key);
    *out = (hg_hfconfig){.root = v, .where = key};
    if (v && !hg_json_is_object(v)) hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not an object", key);
}

/* Ends the work on it. */
void hg_hfconfig_leave(hg_hfconfig *c, hg_hfconfig *sub)
{
    hg_hfconfig_all_known(sub);
    if (c->wrong.code == HANGAR_OK) c->wrong = sub->wrong;
}

/* Marks keys as read. */
void hg_hfconfig_ignore(hg_hfconfig *c, const char *const *keys)
{
    for (; *keys; keys++) remember(c, *keys);
}

/* A whole number. */
uint32_t hg_hfconfig_u32(hg_hfconfig *c, const char *key, uint32_t def, uint32_t min, uint32_t max)
{
    const hg_jval *v = value(c, key);
    uint64_t n = def;
    if (!v && (def < min || def > max)) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is missing", key);
        return min;
    }
    if (!v) return def;
    if (!hg_json_u64(v, &n) || n < min || n > max) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not a whole number from %u to %u", key, min, max);
        return min;
    }
    return (uint32_t)n;
}

/* A number. */
double hg_hfconfig_f64(hg_hfconfig *c, const char *key, double def, double min, double max)
{
    const hg_jval *v = value(c, key);
    double n = def;
    if (!v) return def;
    if (!hg_json_f64(v, &n) || !(n >= min && n <= max)) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not a number from %g to %g", key, min, max);
        return def;
    }
    return n;
}

/* A truth value. */
bool hg_hfconfig_bool(hg_hfconfig *c, const char *key, bool def)
{
    const hg_jval *v = value(c, key);
    bool b = def;
    if (v && !hg_json_bool(v, &b)) hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not true or false", key);
    return b;
}

/* A text. */
const char *hg_hfconfig_text(hg_hfconfig *c, const char *key, const char *def)
{
    const hg_jval *v = value(c, key);
    if (!v) return def;
    const char *text = hg_json_text(v);
    if (!text) hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not a text", key);
    return text ? text : def;
}

/* The model's class. */
const char *hg_hfconfig_class(hg_hfconfig *c)
{
    const hg_jval *list = value(c, "architectures");
    if (!list || (hg_json_is_array(list) && hg_json_len(list) == 0)) return NULL;
    const char *name = hg_json_is_array(list) ? hg_json_text(hg_json_at(list, 0)) : NULL;
    if (!name) hg_hfconfig_wrong(c, HANGAR_E_INVALID, "architectures is not a list of names");
    return name;
}

/* The value as it stands in the file, shortened, for a message. */
static const char *shown(const hg_jval *v, char out[64])
{
    char *text = hg_json_print(v, false);
    snprintf(out, 64, "%s", text ? text : "?");
    if (text && strlen(text) > 63) snprintf(out + 60, 4, "...");
    free(text);
    return out;
}

/* Refuses every text but one. */
void hg_hfconfig_only(hg_hfconfig *c, const char *key, const char *wanted)
{
    char text[64];
    const hg_jval *v = value(c, key);
    const char *have = hg_json_text(v);
    if (v && (!have || strcmp(have, wanted) != 0)) {
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "%s %s (only \"%s\" is known)", key, shown(v, text),
                          wanted);
    }
}

/* Refuses the other truth value. */
void hg_hfconfig_only_bool(hg_hfconfig *c, const char *key, bool wanted)
{
    char text[64];
    const hg_jval *v = value(c, key);
    bool have = !wanted;
    if (v && (!hg_json_bool(v, &have) || have != wanted)) {
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "%s %s", key, shown(v, text));
    }
}

/* null, false, 0, "", [] or {}. */
static bool says_nothing(const hg_jval *v)
{
    bool truth = false;
    double number = 0;
    return !v || hg_json_is_null(v) || (hg_json_is_string(v) && hg_json_text(v) && !hg_json_text(v)[0]) ||
           (hg_json_bool(v, &truth) && !truth) || (hg_json_f64(v, &number) && number == 0) ||
           ((hg_json_is_array(v) || hg_json_is_object(v)) && hg_json_len(v) == 0);
}

/* Refuses a key that says something. */
void hg_hfconfig_refuse(hg_hfconfig *c, const char *key)
{
    char text[64];
    const hg_jval *v = value(c, key);
    if (!says_nothing(v)) hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "%s %s", key, shown(v, text));
}

/* Keys of any model that change no number of a graph: names, training, how text is generated or labelled, what others do with the outputs, who
 * wrote the file. */
static const char *const harmless[] = {"activation_dropout",
                                       "apply_spec_augment",
                                       "architectures",
                                       "attention_dropout",
                                       "attention_probs_dropout_prob",
                                       "attn_implementation",
                                       "_attn_implementation",
                                       "_attn_implementation_autoset",
                                       "attn_pdrop",
                                       "bad_words_ids",
                                       "begin_suppress_tokens",
                                       "bos_token_id",
                                       "classifier_dropout",
                                       "cls_token_id",
                                       "_commit_hash",
                                       "custom_pipelines",
                                       "decoder_layerdrop",
                                       "decoder_start_token_id",
                                       "diversity_penalty",
                                       "do_sample",
                                       "dropout",
                                       "dropout_rate",
                                       "dtype",
                                       "early_stopping",
                                       "embd_pdrop",
                                       "embedding_dropout",
                                       "encoder_layerdrop",
                                       "encoder_no_repeat_ngram_size",
                                       "eos_token_id",
                                       "extra_gradient_checkpointing_layers",
                                       "finetuning_task",
                                       "_flash_attn_2_enabled",
                                       "forced_bos_token_id",
                                       "forced_decoder_ids",
                                       "forced_eos_token_id",
                                       "gradient_checkpointing",
                                       "hidden_dropout",
                                       "hidden_dropout_prob",
                                       "id2label",
                                       "init_std",
                                       "initializer_cutoff_factor",
                                       "initializer_factor",
                                       "initializer_range",
                                       "is_decoder",
                                       "is_encoder_decoder",
                                       "keys_to_ignore_at_inference",
                                       "label2id",
                                       "language",
                                       "layerdrop",
                                       "length_penalty",
                                       "mask_token_id",
                                       "max_length",
                                       "max_new_tokens",
                                       "min_length",
                                       "mlp_dropout",
                                       "model_type",
                                       "_name_or_path",
                                       "no_repeat_ngram_size",
                                       "num_beam_groups",
                                       "num_beams",
                                       "num_labels",
                                       "_num_labels",
                                       "num_return_sequences",
                                       "output_attentions",
                                       "output_hidden_states",
                                       "output_past",
                                       "output_router_logits",
                                       "output_scores",
                                       "pad_token_id",
                                       "pooler_dropout",
                                       "prefix",
                                       "pretraining_tp",
                                       "problem_type",
                                       "qa_dropout",
                                       "remove_invalid_values",
                                       "repetition_penalty",
                                       "resid_pdrop",
                                       "return_dict",
                                       "return_dict_in_generate",
                                       "router_aux_loss_coef",
                                       "router_jitter_noise",
                                       "sbert_ce_default_activation_function",
                                       "sentence_transformers",
                                       "sep_token_id",
                                       "seq_classif_dropout",
                                       "suppress_tokens",
                                       "task_specific_params",
                                       "temperature",
                                       "tokenizer_class",
                                       "top_k",
                                       "top_p",
                                       "torch_dtype",
                                       "transformers.js_config",
                                       "transformers_version",
                                       "typical_p",
                                       "unsloth_fixed",
                                       "unsloth_version",
                                       "use_cache"};

/* Refuses what nobody read. */
void hg_hfconfig_all_known(hg_hfconfig *c)
{
    char text[64];
    for (hg_json_iter it = hg_json_iter_of(c->root); hg_json_next(&it);) {
        bool known = says_nothing(it.val) || was_read(c, it.key);
        for (size_t i = 0; !known && i < HG_LEN(harmless); i++)
            known = hg_str_eq(it.key, hg_str_of(harmless[i]));
        if (known) continue;
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "%.*s %s is not known for this model", HG_STR_ARG(it.key),
                          shown(it.val, text));
        return;
    }
}
