/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loader for models of texts and pictures in safetensors: CLIP and SigLIP. Only the two halves are loaded; how alike a text and a picture are
 * follows from their embeddings with two numbers of the checkpoint, logit_scale and (SigLIP) logit_bias.
 */
#include "base/fsx.h"
#include "base/mem.h"
#include "convert/checkpoint.h"
#include "manager/load_onnx.h"
#include "manager/see.h"
#include "manager/text_limits.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>

static const char *const graphs[] = {"text_model", "vision_model", NULL};

static bool takes(const hg_snapshot *snap, const hg_facts *facts)
{
    return !snap->ref.file[0] && hg_streq(facts->format, "safetensors") &&
           (hg_streq(facts->architecture, "clip") || hg_streq(facts->architecture, "siglip"));
}

/* A tensor of one number. */
static hangar_code read_number(const hg_checkpoint *ck, const char *name, double *out, hangar_err *err)
{
    uint32_t file = 0;
    const hg_tensor *t = hg_checkpoint_get(ck, name, &file);
    uint8_t bytes[4];
    if (!t || t->elements != 1 ||
        (t->dtype != HG_DTYPE_F32 && t->dtype != HG_DTYPE_F16 && t->dtype != HG_DTYPE_BF16))
        return hg_fail(err, HANGAR_E_INVALID, "the checkpoint's %s is not one number", name);
    HG_AUTO(hg_auto_close) int fd = -1;
    hangar_code code = hg_open_regular(ck->files[file].real, &fd, NULL, err);
    if (code == HANGAR_OK) code = hg_pread_all(fd, bytes, hg_dtype_bits(t->dtype) / 8, t->offset, err);
    if (code == HANGAR_OK) *out = hg_dense_number(bytes, t->dtype, 0);
    if (code == HANGAR_OK && !isfinite(*out))
        code = hg_fail(err, HANGAR_E_INVALID, "the checkpoint's %s is not finite", name);
    return code;
}

static hangar_code read_scores(const hg_snapshot *snap, bool siglip, hg_pair *p, hangar_err *err)
{
    hg_checkpoint ck = {0};
    double log_scale = 0;
    hangar_code code = hg_checkpoint_open(snap, &ck, err);
    if (code != HANGAR_OK) return code;
    code = read_number(&ck, "logit_scale", &log_scale, err);
    if (code == HANGAR_OK && siglip) code = read_number(&ck, "logit_bias", &p->bias, err);
    hg_checkpoint_deinit(&ck);
    p->scale = exp(log_scale);
    p->score = siglip ? HG_SCORE_SIGMOID : HG_SCORE_SOFTMAX;
    return code;
}

static hangar_code read_text(const hg_snapshot *snap, bool siglip, hg_encoder *e, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_load_json(snap, "config.json", &doc, err);
    if (code == HANGAR_OK) code = hg_load_tokenizer(snap, &e->tokenizer, err);
    const hg_jval *config = hg_json_get(hg_json_root(doc), "text_config");
    if (code == HANGAR_OK) code = hg_text_limits(snap, config, e->tokenizer, &e->max_tokens, &e->pad, err);
    if (code != HANGAR_OK) return code;
    size_t positions = siglip ? 64 : 77; /* of the classes, when config.json does not say */
    if (hg_json_is_null(hg_json_get(config, "max_position_embeddings")) && e->max_tokens > positions)
        e->max_tokens = positions;
    e->prompt = hg_strdup("");
    e->graph = "text_model";
    e->output = siglip ? "pooler_output" : "text_embeds";
    e->no_mask = siglip;
    e->pad_to = siglip ? e->max_tokens : 0; /* as it was trained: padding is read like words */
    return e->prompt ? HANGAR_OK : hg_fail_memory(err);
}

static void pair_free(hg_pair *p)
{
    if (!p) return;
    hg_tokenizer_free(p->text.tokenizer);
    free(p->text.prompt);
    hg_sight_deinit(&p->sight);
    free(p);
}

static hangar_code load(hangar_model *m, hangar_job *job, hangar_err *err)
{
    bool siglip = hg_streq(m->facts.architecture, "siglip");
    hg_pair *p = hg_calloc(1, sizeof *p);
    if (!p) return hg_fail_memory(err);
    p->picture_output = siglip ? "pooler_output" : "image_embeds";
    hangar_code code = read_text(m->snap, siglip, &p->text, err);
    if (code == HANGAR_OK) code = hg_sight_read(m->snap, m->facts.architecture, &p->sight, err);
    if (code == HANGAR_OK) code = read_scores(m->snap, siglip, p, err);
    if (code == HANGAR_OK) code = hg_load_onnx_media(m, graphs, job, err);
    if (code == HANGAR_OK) m->data = p;
    else pair_free(p);
    return code;
}

static void unload(hangar_model *m)
{
    pair_free(m->data);
}

/* A few tokens through the text's half. */
static hangar_code probe(const hangar_model *m, char **out_call_json, hangar_err *err)
{
    return hg_probe_whole(m, graphs[0], out_call_json, err);
}

const hg_loader hg_loader_pair = {
    .name = "pair",
    .verb = "embed",
    .task = "texts and pictures",
    .takes = takes,
    .load = load,
    .unload = unload,
    .probe = probe,
};
