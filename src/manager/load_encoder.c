/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loader for encoders of texts in safetensors: BERT and what came after it, and T5's encoder alone. How hidden states become a vector is what
 * the repository declares in modules.json, as sentence-transformers reads it: a Transformer, a Pooling with its config.json, then any of
 * Dense, Normalize and Dropout (which does nothing here). A declared folder that is not there is no error for Normalize, which needs none,
 * and for Pooling, which is the mean then. A repository that declares nothing gets the mean, not normalised, as there. A module of another
 * kind is refused by name.
 */
#include "manager/load_encoder.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "manager/load_onnx.h"
#include "manager/text_limits.h"

#include <stdio.h>
#include <stdlib.h>

/* The class that config.json names, into `out`; "" = none. */
static hangar_code read_class(const hg_snapshot *snap, char *out, size_t cap, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_load_json(snap, "config.json", &doc, err);
    const hg_jval *list = doc ? hg_json_get(hg_json_root(doc), "architectures") : NULL;
    snprintf(out, cap, "%s", hg_json_text_or(hg_json_at(list, 0), ""));
    return code;
}

static bool takes(const hg_snapshot *snap, const hg_facts *facts)
{
    static const char *const types[] = {"bert",       "electra", "roberta",    "xlm-roberta", "camembert",
                                        "distilbert", "mpnet",   "modernbert", "deberta-v2"};
    char class[96];
    if (snap->ref.file[0] || !hg_streq(facts->format, "safetensors")) return false;
    for (size_t i = 0; i < HG_LEN(types); i++)
        if (hg_streq(types[i], facts->architecture)) return true;
    if (read_class(snap, class, sizeof class, NULL) != HANGAR_OK) return false;
    return hg_str_ends(hg_str_of(class), HG_STR("T5EncoderModel"));
}

/* A head in place of the hidden states is said before anything is converted for nothing. Embedders often bear the class of the masked language
 * model that they were made of, without its head: conversion sees that from the weights. */
static hangar_code check_class(const hg_snapshot *snap, hangar_err *err)
{
    char class[96];
    hangar_code code = read_class(snap, class, sizeof class, err);
    if (code != HANGAR_OK || !class[0] || hg_str_ends(hg_str_of(class), HG_STR("Model"))) return code;
    if (hg_str_ends(hg_str_of(class), HG_STR("ForMaskedLM")) && hg_snapshot_file_get(snap, "modules.json"))
        return HANGAR_OK;
    return hg_fail(err, HANGAR_E_UNSUPPORTED,
                   "a %s gives the answers of its head (words, classes, ..) and no hidden states to make "
                   "embeddings of",
                   class);
}

/* ---- modules.json ---- */

/* The pooling of one folder; `path` is its place in the repository. */
static hangar_code read_pooling(const hg_snapshot *snap, const char *path, hg_encoder *e, hangar_err *err)
{
    static const struct {
        const char *flag, *name;
        unsigned mode;
    } modes[] = {{"pooling_mode_cls_token", "cls", HG_POOL_CLS},
                 {"pooling_mode_max_tokens", "max", HG_POOL_MAX},
                 {"pooling_mode_mean_tokens", "mean", HG_POOL_MEAN},
                 {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", HG_POOL_MEAN_SQRT},
                 {"pooling_mode_weightedmean_tokens", "weightedmean", HG_POOL_WEIGHTED_MEAN},
                 {"pooling_mode_lasttoken", "lasttoken", HG_POOL_LAST}};
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_auto_free) char *file = hg_path_join(path, "config.json");
    if (!file) return hg_fail_memory(err);
    hangar_code code = hg_load_json(snap, file, &doc, err);
    if (code != HANGAR_OK || !doc) return code;
    const hg_jval *root = hg_json_root(doc), *word = hg_json_get(root, "pooling_mode");
    unsigned found = 0;
    for (hg_json_iter it = hg_json_iter_of(root); hg_json_next(&it);) {
        if (!hg_str_starts(it.key, HG_STR("pooling_mode_")) || !hg_json_bool_or(it.val, false)) continue;
        unsigned mode = 0;
        for (size_t i = 0; i < HG_LEN(modes); i++)
            if (hg_str_eq(it.key, hg_str_of(modes[i].flag))) mode = modes[i].mode;
        if (!mode) return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s: %.*s", file, HG_STR_ARG(it.key));
        found |= mode;
    }
    for (size_t i = 0; i < HG_LEN(modes); i++)
        if (hg_streq(hg_json_text(word), modes[i].name)) found |= modes[i].mode;
    if (!found)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s: no pooling that is known (%s)", file,
                       hg_json_text_or(word, "none"));
    e->pooling = found;
    e->whole = hg_json_bool_or(hg_json_get(root, "include_prompt"), true);
    return HANGAR_OK;
}

/* The last word of "sentence_transformers.models.Pooling". */
static const char *class_of(const hg_jval *module)
{
    const char *type = hg_json_text_or(hg_json_get(module, "type"), "");
    const char *dot = strrchr(type, '.');
    return dot ? dot + 1 : type;
}

/* One more thing that becomes of the vector: a Dense, or length 1 (NULL). Owns it, also on failure. */
static hangar_code add_step(hg_encoder *e, hg_dense *dense, hangar_err *err)
{
    if (e->step_count < HG_ENCODER_STEPS_MAX) {
        e->steps[e->step_count++] = dense;
        return HANGAR_OK;
    }
    hg_dense_free(dense);
    return hg_fail(err, HANGAR_E_LIMIT, "modules.json: more than %d modules behind the pooling",
                   HG_ENCODER_STEPS_MAX);
}

static hangar_code read_dense(const hg_snapshot *snap, const char *path, hg_encoder *e, hangar_err *err)
{
    hg_dense *dense = NULL;
    hangar_code code = hg_dense_open(snap, path, &dense, err);
    return code == HANGAR_OK ? add_step(e, dense, err) : code;
}

static hangar_code read_modules(const hg_snapshot *snap, hg_encoder *e, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_load_json(snap, "modules.json", &doc, err);
    bool pooled = false;
    e->pooling = HG_POOL_MEAN;
    e->whole = true;
    for (hg_json_iter it = hg_json_iter_of(hg_json_root(doc)); code == HANGAR_OK && hg_json_next(&it);) {
        const char *class = class_of(it.val), *path = hg_json_text_or(hg_json_get(it.val, "path"), "");
        bool pooling = hg_streq(class, "Pooling");
        if (hg_streq(class, "Transformer") || hg_streq(class, "Dropout")) continue;
        if (pooling && !pooled) code = read_pooling(snap, path, e, err);
        else if (!pooling && pooled && hg_streq(class, "Normalize")) code = add_step(e, NULL, err);
        else if (!pooling && pooled && hg_streq(class, "Dense")) code = read_dense(snap, path, e, err);
        else
            code = hg_fail(err, HANGAR_E_UNSUPPORTED, "modules.json: a module \"%s\"%s", class,
                           hg_streq(class, "Dense") ? " before the pooling" : "");
        pooled = pooled || pooling;
    }
    return code;
}

/* ---- limits, tokens, prompt ---- */

/* The shortest of what the position table, the tokenizer and sentence-transformers allow. */
static hangar_code read_limits(const hg_snapshot *snap, hg_encoder *e, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *config = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *sentence = NULL;
    hangar_code code = hg_load_json(snap, "config.json", &config, err);
    if (code == HANGAR_OK) code = hg_load_json(snap, "sentence_bert_config.json", &sentence, err);
    if (code == HANGAR_OK)
        code = hg_text_limits(snap, hg_json_root(config), e->tokenizer, &e->max_tokens, &e->pad, err);
    if (code != HANGAR_OK) return code;
    hg_limit_lower(hg_json_get(hg_json_root(sentence), "max_seq_length"), &e->max_tokens);
    if (hg_json_bool_or(hg_json_get(hg_json_root(sentence), "do_lower_case"), false))
        hg_tokenizer_set_lower(e->tokenizer);
    return HANGAR_OK;
}

/* The prompt that goes before each text when no other is named. */
static hangar_code read_prompt(const hg_snapshot *snap, hg_encoder *e, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_load_json(snap, "config_sentence_transformers.json", &doc, err);
    if (code != HANGAR_OK) return code;
    const char *name = hg_json_text(hg_json_get(hg_json_root(doc), "default_prompt_name"));
    const char *prompt = name ? hg_json_text(hg_json_path(hg_json_root(doc), "prompts", name, NULL)) : "";
    if (!prompt)
        return hg_fail(err, HANGAR_E_INVALID,
                       "config_sentence_transformers.json names the prompt \"%s\" and has none such", name);
    if (prompt[0] && !e->whole)
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "a prompt that goes before each text and is left out of the pooling (include_prompt)");
    e->prompt = hg_strdup(prompt);
    return e->prompt ? HANGAR_OK : hg_fail_memory(err);
}

static void encoder_free(hg_encoder *e)
{
    if (!e) return;
    for (size_t i = 0; i < e->step_count; i++) hg_dense_free(e->steps[i]);
    hg_tokenizer_free(e->tokenizer);
    free(e->prompt);
    free(e);
}

/* What the graph wants and gives, from the READY frame. */
static hangar_code check_graph(const hg_jval *ready, hg_encoder *e, hangar_err *err)
{
    const hg_jval *graph = hg_json_at(hg_json_get(ready, "graphs"), 0);
    bool hidden = false;
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(graph, "inputs")); hg_json_next(&it);)
        e->token_types =
            e->token_types || hg_streq(hg_json_text(hg_json_get(it.val, "name")), "token_type_ids");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(graph, "outputs")); hg_json_next(&it);)
        hidden = hidden || hg_streq(hg_json_text(hg_json_get(it.val, "name")), "last_hidden_state");
    if (hidden) return HANGAR_OK;
    return hg_fail(
        err, HANGAR_E_UNSUPPORTED,
        "the converted model gives the answers of its head and no last_hidden_state to make embeddings of");
}

static hangar_code encoder_read(const hg_snapshot *snap, hg_encoder *e, hangar_err *err)
{
    hangar_code code = check_class(snap, err);
    if (code == HANGAR_OK) code = hg_load_tokenizer(snap, &e->tokenizer, err);
    if (code == HANGAR_OK) code = read_limits(snap, e, err);
    if (code == HANGAR_OK) code = read_modules(snap, e, err);
    if (code == HANGAR_OK) code = read_prompt(snap, e, err);
    return code;
}

static hangar_code load(hangar_model *m, hangar_job *job, hangar_err *err)
{
    hg_encoder *e = hg_calloc(1, sizeof *e);
    if (!e) return hg_fail_memory(err);
    hangar_code code = encoder_read(m->snap, e, err);
    if (code == HANGAR_OK) code = hg_load_onnx(m, job, err);
    if (code == HANGAR_OK) code = check_graph(hg_json_root(m->ready.doc), e, err);
    if (code == HANGAR_OK) {
        m->data = e;
        return code;
    }
    hg_runner_end(m->runner);
    m->runner = NULL;
    encoder_free(e);
    return code;
}

static void unload(hangar_model *m)
{
    encoder_free(m->data);
}

/* A few tokens to hidden states. */
static hangar_code probe(const hangar_model *m, char **out_call_json, hangar_err *err)
{
    return hg_probe_whole(m, "model", out_call_json, err);
}

const hg_loader hg_loader_encoder = {
    .name = "encoder",
    .task = "embeddings",
    .verb = "embed",
    .takes = takes,
    .load = load,
    .unload = unload,
    .probe = probe,
};
