/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loader for models in safetensors that give a text, or each of its tokens, a label. The class in config.json says which; problem_type says
 * what the numbers are, as transformers reads it; id2label has the names.
 */
#include "manager/load_classifier.h"

#include "base/mem.h"
#include "manager/load_onnx.h"
#include "manager/text_limits.h"

#include <stdlib.h>

static const char sequence_class[] = "ForSequenceClassification", token_class[] = "ForTokenClassification";

/* The class ends in that. */
static bool is_class(const hg_jval *config, const char *suffix)
{
    const char *class = hg_json_text(hg_json_at(hg_json_get(config, "architectures"), 0));
    return class && hg_str_ends(hg_str_of(class), hg_str_of(suffix));
}

static bool takes(const hg_snapshot *snap, const hg_facts *facts)
{
    if (snap->ref.file[0] || !hg_streq(facts->format, "safetensors")) return false;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    if (hg_load_json(snap, "config.json", &doc, NULL) != HANGAR_OK) return false;
    return is_class(hg_json_root(doc), sequence_class) || is_class(hg_json_root(doc), token_class);
}

/* ---- config.json ---- */

static hangar_code read_problem(hg_classifier *c, hangar_err *err)
{
    static const struct {
        const char *name;
        hg_score score;
    } kinds[] = {{"single_label_classification", HG_SCORE_SOFTMAX},
                 {"multi_label_classification", HG_SCORE_SIGMOID},
                 {"regression", HG_SCORE_NONE}};
    const hg_jval *v = hg_json_get(hg_json_root(c->config), "problem_type");
    c->per_token = is_class(hg_json_root(c->config), token_class);
    if (hg_json_is_null(v) || c->per_token) {
        c->declared = c->per_token; /* tokens have one label each, whatever stands there */
        return HANGAR_OK;
    }
    for (size_t i = 0; i < HG_LEN(kinds); i++)
        if (hg_streq(hg_json_text(v), kinds[i].name)) {
            c->score = kinds[i].score;
            c->declared = true;
            return HANGAR_OK;
        }
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "config.json: problem_type \"%s\" is not known",
                   hg_json_text_or(v, "?"));
}

hg_score hg_classifier_score(const hg_classifier *c, size_t width)
{
    if (c->declared) return c->score;
    return width == 1 ? HG_SCORE_SIGMOID : HG_SCORE_SOFTMAX;
}

static hangar_code read_labels(hg_classifier *c, hangar_err *err)
{
    const hg_jval *names = hg_json_get(hg_json_root(c->config), "id2label");
    c->label_count = hg_json_len(names);
    if (c->label_count > HG_BATCH_WIDTH_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "config.json: %zu labels, at most %d are read", c->label_count,
                       HG_BATCH_WIDTH_MAX);
    c->labels = hg_calloc(c->label_count, sizeof *c->labels);
    if (!c->labels) return hg_fail_memory(err);
    for (hg_json_iter it = hg_json_iter_of(names); hg_json_next(&it);) {
        uint64_t index = it.index;
        if (hg_json_is_object(names) && !hg_u64_parse(it.key, &index)) continue;
        if (index < c->label_count) c->labels[index] = hg_json_text(it.val);
    }
    return HANGAR_OK;
}

/* ---- the graph ---- */

/* What the graph wants and gives, from the READY frame. */
static hangar_code check_graph(const hg_jval *ready, hg_classifier *c, hangar_err *err)
{
    const hg_jval *graph = hg_json_at(hg_json_get(ready, "graphs"), 0);
    size_t rank = 0;
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(graph, "inputs")); hg_json_next(&it);)
        c->token_types =
            c->token_types || hg_streq(hg_json_text(hg_json_get(it.val, "name")), "token_type_ids");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(graph, "outputs")); hg_json_next(&it);)
        if (hg_streq(hg_json_text(hg_json_get(it.val, "name")), "logits"))
            rank = hg_json_len(hg_json_get(it.val, "shape"));
    if (rank == (c->per_token ? 3 : 2)) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "the converted model has no labels to give");
}

void hg_classifier_deinit(hg_classifier *c)
{
    hg_tokenizer_free(c->tokenizer);
    hg_json_free(c->config);
    free((void *)c->labels);
}

static void classifier_free(hg_classifier *c)
{
    if (!c) return;
    hg_classifier_deinit(c);
    free(c);
}

hangar_code hg_classifier_config(const hg_snapshot *snap, hg_classifier *c, hangar_err *err)
{
    hangar_code code = hg_load_json(snap, "config.json", &c->config, err);
    if (code == HANGAR_OK) code = read_problem(c, err);
    return code == HANGAR_OK ? read_labels(c, err) : code;
}

static hangar_code classifier_read(const hg_snapshot *snap, hg_classifier *c, hangar_err *err)
{
    hangar_code code = hg_classifier_config(snap, c, err);
    if (code == HANGAR_OK) code = hg_load_tokenizer(snap, &c->tokenizer, err);
    if (code != HANGAR_OK) return code;
    return hg_text_limits(snap, hg_json_root(c->config), c->tokenizer, &c->max_tokens, &c->pad, err);
}

static hangar_code load(hangar_model *m, hangar_job *job, hangar_err *err)
{
    hg_classifier *c = hg_calloc(1, sizeof *c);
    if (!c) return hg_fail_memory(err);
    hangar_code code = classifier_read(m->snap, c, err);
    if (code == HANGAR_OK) code = hg_load_onnx(m, job, err);
    if (code == HANGAR_OK) code = check_graph(hg_json_root(m->ready.doc), c, err);
    if (code == HANGAR_OK) {
        m->data = c;
        return code;
    }
    hg_runner_end(m->runner);
    m->runner = NULL;
    classifier_free(c);
    return code;
}

static void unload(hangar_model *m)
{
    classifier_free(m->data);
}

/* A few tokens, labelled. */
static hangar_code probe(const hangar_model *m, char **out_call_json, hangar_err *err)
{
    return hg_probe_whole(m, "model", out_call_json, err);
}

const hg_loader hg_loader_classifier = {
    .name = "classifier",
    .task = "text classification",
    .verb = "classify",
    .takes = takes,
    .load = load,
    .unload = unload,
    .probe = probe,
};
