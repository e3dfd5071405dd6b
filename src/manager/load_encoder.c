/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loader for BERT-style encoders in safetensors. How hidden states become a vector is what the repository
 * declares in modules.json, as sentence-transformers reads it: a Transformer, a Pooling with its config.json,
 * perhaps Normalize. A declared folder that is not there is no error: Normalize needs none, and Pooling
 * without one is the mean. A repository that declares nothing gets the mean, not normalised, as there. A
 * module of another kind (Dense, ...) is refused by name.
 */
#include "manager/load_encoder.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "manager/load_onnx.h"

#include <stdlib.h>

#define TOKENS_MAX 65536 /* tokens of one text, whatever the files say */

static bool takes(const hg_snapshot *snap, const hg_facts *facts)
{
    static const char *const types[] = {"bert", NULL};
    if (snap->ref.file[0] || !hg_streq(facts->format, "safetensors")) return false;
    for (const char *const *t = types; *t; t++)
        if (hg_streq(*t, facts->architecture)) return true;
    return false;
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
    const hg_jval *root = hg_json_root(doc);
    const char *word = hg_json_text(hg_json_get(root, "pooling_mode"));
    unsigned found = 0;
    for (size_t i = 0; i < HG_LEN(modes); i++)
        if (hg_json_bool_or(hg_json_get(root, modes[i].flag), false) || hg_streq(word, modes[i].name))
            found |= modes[i].mode;
    if (!found) return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s: no pooling that is known", file);
    e->pooling = found;
    return HANGAR_OK;
}

/* The last word of "sentence_transformers.models.Pooling". */
static const char *class_of(const hg_jval *module)
{
    const char *type = hg_json_text_or(hg_json_get(module, "type"), "");
    const char *dot = strrchr(type, '.');
    return dot ? dot + 1 : type;
}

static hangar_code read_modules(const hg_snapshot *snap, hg_encoder *e, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_load_json(snap, "modules.json", &doc, err);
    e->pooling = HG_POOL_MEAN;
    for (hg_json_iter it = hg_json_iter_of(hg_json_root(doc)); code == HANGAR_OK && hg_json_next(&it);) {
        const char *class = class_of(it.val), *path = hg_json_text_or(hg_json_get(it.val, "path"), "");
        if (hg_streq(class, "Pooling")) code = read_pooling(snap, path, e, err);
        else if (hg_streq(class, "Normalize")) e->normalize = true;
        else if (!hg_streq(class, "Transformer"))
            code = hg_fail(err, HANGAR_E_UNSUPPORTED, "modules.json: a module \"%s\"", class);
    }
    return code;
}

/* ---- limits, tokens, prompt ---- */

/* Lowers *limit to a positive number of a file. */
static void lower_to(const hg_jval *v, size_t *limit)
{
    double n = 0; /* tokenizers write "no limit" as 1e30 */
    if (hg_json_f64(v, &n) && n >= 1 && n < (double)*limit) *limit = (size_t)n;
}

/* The shortest of what the tokenizer, sentence-transformers and the position table allow. */
static hangar_code read_limits(const hg_snapshot *snap, hg_encoder *e, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *config = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *tokenizer = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *sentence = NULL;
    hangar_code code = hg_load_json(snap, "config.json", &config, err);
    if (code == HANGAR_OK) code = hg_load_json(snap, "tokenizer_config.json", &tokenizer, err);
    if (code == HANGAR_OK) code = hg_load_json(snap, "sentence_bert_config.json", &sentence, err);
    if (code != HANGAR_OK) return code;
    const hg_jval *root = hg_json_root(config);
    e->max_tokens = TOKENS_MAX;
    lower_to(hg_json_get(root, "max_position_embeddings"), &e->max_tokens);
    lower_to(hg_json_get(hg_json_root(tokenizer), "model_max_length"), &e->max_tokens);
    lower_to(hg_json_get(hg_json_root(sentence), "max_seq_length"), &e->max_tokens);
    if (hg_json_bool_or(hg_json_get(hg_json_root(sentence), "do_lower_case"), false))
        hg_tokenizer_set_lower(e->tokenizer);
    const char *pad = hg_json_text(hg_json_get(hg_json_root(tokenizer), "pad_token"));
    e->pad =
        hg_json_i64_or(hg_json_get(root, "pad_token_id"), hg_tokenizer_id(e->tokenizer, pad ? pad : "[PAD]"));
    if (e->pad < 0) e->pad = 0; /* masked out in any case */
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
    e->prompt = hg_strdup(prompt);
    return e->prompt ? HANGAR_OK : hg_fail_memory(err);
}

static void encoder_free(hg_encoder *e)
{
    if (!e) return;
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
    return hg_fail(err, HANGAR_E_UNSUPPORTED,
                   "this model classifies or fills in words; it has no embeddings to give");
}

static hangar_code encoder_read(const hg_snapshot *snap, hg_encoder *e, hangar_err *err)
{
    hangar_code code = hg_load_tokenizer(snap, &e->tokenizer, err);
    if (code == HANGAR_OK) code = read_limits(snap, e, err);
    if (code == HANGAR_OK) code = read_modules(snap, e, err);
    if (code == HANGAR_OK) code = read_prompt(snap, e, err);
    return code;
}

static hangar_code load(hangar_model *m, hangar_job *job, hangar_err *err)
{
    hg_frame ready = {0};
    hg_encoder *e = hg_calloc(1, sizeof *e);
    if (!e) return hg_fail_memory(err);
    hangar_code code = encoder_read(m->snap, e, err);
    if (code == HANGAR_OK) code = hg_load_onnx(m, job, &ready, err);
    if (code == HANGAR_OK) code = check_graph(hg_json_root(ready.doc), e, err);
    hg_frame_deinit(&ready);
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

const hg_loader hg_loader_encoder = {
    .name = "encoder",
    .task = "embeddings",
    .takes = takes,
    .load = load,
    .unload = unload,
};
