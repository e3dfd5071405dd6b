/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loader for models in safetensors that write text: a decoder alone (llama, gpt2, ...) or beside an encoder (t5, bart, marian). Which they
 * are, the class in config.json says. Tokenizer, chat template and special ids are read inside the runner, so their files are sent along as
 * they are.
 */
#include "base/mem.h"
#include "manager/load_onnx.h"

static const char *const texts[] = {"tokenizer.json",         "tokenizer_config.json", "chat_template.jinja",
                                    "generation_config.json", "config.json",           NULL};

static bool takes(const hg_snapshot *snap, const hg_facts *facts)
{
    static const char *const classes[] = {"ForCausalLM", "LMHeadModel", "ForConditionalGeneration",
                                          "MarianMTModel"};
    if (snap->ref.file[0] || !hg_streq(facts->format, "safetensors")) return false;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    if (hg_load_json(snap, "config.json", &doc, NULL) != HANGAR_OK) return false;
    const char *class = hg_json_text(hg_json_at(hg_json_get(hg_json_root(doc), "architectures"), 0));
    for (size_t i = 0; class && i < HG_LEN(classes); i++)
        if (hg_str_ends(hg_str_of(class), hg_str_of(classes[i]))) return true;
    return false;
}

static hangar_code load(hangar_model *m, hangar_job *job, hangar_err *err)
{
    return hg_load_onnx_texts(m, texts, job, err);
}

/* One token behind another, with a cache made for it: the one that is kept for the next question is not touched. */
static hangar_code probe(const hangar_model *m, char **out_call_json, hangar_err *err)
{
    hg_time_shape shape = {.graph = "model", .rows = 1, .length = 1, .past = 1};
    const hg_or_session s = {.ready = m->ready};
    if (hg_or_name(&s, "decoder_model_merged", "inputs", 0))
        shape =
            (hg_time_shape){.graph = "decoder_model_merged", .rows = 1, .length = 1, .past = 1, .source = 1};
    return hg_probe_graph(m, &shape, out_call_json, err);
}

const hg_loader hg_loader_text = {
    .name = "text",
    .task = "text generation",
    .verb = "run",
    .takes = takes,
    .load = load,
    .probe = probe,
};
