/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transformers of images: ViT (Dosovitskiy et al.), and the two-tower models CLIP (Radford et al.) and SigLIP (Zhai et al.).
 *
 *   image   x = patches * W + b (with a learned token before them: ViT, CLIP) + P
 *   layer   x = x + Attention(norm(x));  x = x + W2 act(W1 norm(x))
 *   ViT     classifier(norm(x) of the learned token)
 *   CLIP    image: W norm(x of the learned token); text: causal, W norm(x) of the end token; each made of length 1
 *   SigLIP  image: a learned query attends to norm(x), + its own MLP; text: W norm(x) + b of the last token; each made of length 1
 */
#include "convert/check/inner.h"

#include <stdio.h>
#include <string.h>

typedef struct tower {
    const char *at, *layer; /* "vision_model.", "encoder.layers.%zu." */
    hg_plain_mha_names mha;
    const char *norm1, *norm2, *up, *down;
    size_t batch, length, width, layers, heads, inner, patch[2];
    hg_plain_act act;
    hg_plain_norm norm;
    bool causal;
    const int64_t *mask;
} tower;

/* The layers of a tower over x [batch * length][width]. */
static void run(hg_plain_state *r, const tower *t, double *x)
{
    size_t rows = t->batch * t->length, depth = hg_plain_depth(r, t->layers);
    hg_plain_attention a = {.batch = t->batch,
                            .queries = t->length,
                            .keys = t->length,
                            .heads = t->heads,
                            .kv_heads = t->heads,
                            .dim = t->width / t->heads,
                            .scale = 1 / sqrt((double)(t->width / t->heads)),
                            .causal = t->causal,
                            .mask = t->mask};
    for (size_t i = 0; r->code == HANGAR_OK && i < depth; i++) {
        hg_plain_block *mark = r->blocks;
        char at[96], name[48];
        (void)snprintf(name, sizeof name, t->layer, i);
        (void)snprintf(at, sizeof at, "%s%s", t->at, name);
        const double *h = hg_plain_normalize(r, x, rows, t->width, &t->norm, at, t->norm1);
        hg_plain_add(r, x, hg_plain_mha(r, h, h, t->width, &a, &t->mha, at), rows * t->width, 1);
        h = hg_plain_normalize(r, x, rows, t->width, &t->norm, at, t->norm2);
        h = hg_plain_mlp(r, h, rows, t->width, t->inner, t->act, true, at, t->up, t->down);
        hg_plain_add(r, x, h, rows * t->width, 1);
        hg_plain_release(r, mark);
    }
}

/* Sizes a file may leave out: those inside text_config and vision_config are written only where they differ. */
typedef struct usual {
    size_t width, layers, heads, inner, patch;
    double eps;
    const char *act;
} usual;

/* A number for height and width, or one for each. */
static void read_pair(hg_plain_state *r, const char *key, int64_t def, size_t out[2])
{
    const hg_jval *v = hg_plain_key(r, key);
    if (!hg_json_is_array(v)) {
        out[0] = out[1] = hg_plain_int(r, key, def, 1);
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        int64_t n = 0;
        if (hg_json_len(v) != 2 || !hg_json_i64(hg_json_at(v, i), &n) || n < 1 || n > UINT16_MAX)
            hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s is not one or two whole numbers", key);
        out[i] = n >= 1 ? (size_t)n : 1;
    }
}

static void read_tower(hg_plain_state *r, tower *t, const usual *u)
{
    t->batch = r->in->batch;
    t->width = hg_plain_int(r, "hidden_size", u->width ? (int64_t)u->width : HG_REF_NEEDED, 1);
    t->layers = hg_plain_int(r, "num_hidden_layers", u->layers ? (int64_t)u->layers : HG_REF_NEEDED, 1);
    t->heads = hg_plain_int(r, "num_attention_heads", u->heads ? (int64_t)u->heads : HG_REF_NEEDED, 1);
    t->inner = hg_plain_int(r, "intermediate_size", u->inner ? (int64_t)u->inner : HG_REF_NEEDED, 1);
    read_pair(r, "patch_size", (int64_t)u->patch, t->patch);
    t->act = hg_plain_act_key(r, "hidden_act", u->act);
    t->norm = (hg_plain_norm){.bias = true, .eps = hg_plain_real(r, "layer_norm_eps", u->eps)};
    if (t->width % t->heads) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: hidden_size is no multiple of num_attention_heads");
    }
}

/* The patches of the picture as rows [batch * patches][channels * height * width]. */
static double *squares(hg_plain_state *r, const size_t size[2], size_t patches)
{
    const hg_ref_input *in = r->in;
    size_t across = in->width / size[1], one = size[0] * size[1], all = in->channels * one;
    double *x = hg_plain_array_new(r, in->batch * patches, all);
    for (size_t i = 0; hg_plain_go(r) && i < in->batch * patches * all; i++) {
        size_t n = i / all % patches, c = i % all / one;
        size_t row = n / across * size[0] + i % one / size[1], column = n % across * size[1] + i % size[1];
        x[i] =
            (double)
                in->pixels[((i / all / patches * in->channels + c) * in->height + row) * in->width + column];
    }
    return x;
}

/* (token, patches W + b) + P; the length of a sequence goes to t->length. */
static double *see(hg_plain_state *r, tower *t, const char *patch, bool bias, const char *token,
                   const char *places)
{
    const hg_ref_input *in = r->in;
    size_t side[2];
    const size_t *size = t->patch;
    read_pair(r, "image_size", 224, side);
    size_t channels = hg_plain_int(r, "num_channels", 3, 1), first = token ? 1 : 0, d = t->width;
    if (!in->pixels || in->channels != channels || in->height != side[0] || in->width != side[1] ||
        side[0] < size[0] || side[1] < size[1]) {
        hg_plain_fail(r, HANGAR_E_USAGE, "the reference needs pixels of %zu channels and %zu x %zu", channels,
                      side[0], side[1]);
        return NULL;
    }
    size_t patches = (side[0] / size[0]) * (side[1] / size[1]);
    char name[HG_REF_NAME_MAX];
    (void)snprintf(name, sizeof name, "%s.weight", patch);
    hg_plain_mat w = hg_plain_matrix(r, t->at, name, d, channels * size[0] * size[1]);
    (void)snprintf(name, sizeof name, "%s.bias", patch);
    const double *b = bias ? hg_plain_vector(r, t->at, name, d) : NULL;
    const double *y = hg_plain_linear(r, squares(r, size, patches), in->batch * patches, w, b);
    const double *lead = token ? hg_plain_vector(r, t->at, token, d) : NULL;
    t->length = patches + first;
    const double *p = hg_plain_vector(r, t->at, places, t->length * d);
    double *x = hg_plain_array_new(r, in->batch * t->length, d);
    for (size_t n = 0; hg_plain_go(r) && n < in->batch * t->length; n++) {
        size_t image = n / t->length, i = n % t->length;
        const double *from = i < first ? lead : y + (image * patches + i - first) * d;
        for (size_t j = 0; j < d; j++) x[n * d + j] = from[j] + p[i * d + j];
    }
    return x;
}

/* One row of each sequence: the one numbered at[sequence], or 0. */
static double *take(hg_plain_state *r, const tower *t, const double *x, const size_t *at)
{
    double *y = hg_plain_array_new(r, t->batch, t->width);
    for (size_t b = 0; hg_plain_go(r) && b < t->batch; b++) {
        memcpy(y + b * t->width, x + (b * t->length + (at ? at[b] : 0)) * t->width, t->width * sizeof *y);
    }
    return y;
}

static const usual vit_usual = {.patch = 16, .eps = 1e-12, .act = "gelu"};

/* ViT. */
void hg_plain_vit(hg_plain_state *r, const char *model_type)
{
    tower t = {.at = "vit.",
               .layer = "encoder.layer.%zu.",
               .mha = {"attention.attention.query", "attention.attention.key", "attention.attention.value",
                       "attention.output.dense", false, false, true},
               .norm1 = "layernorm_before",
               .norm2 = "layernorm_after",
               .up = "intermediate.dense",
               .down = "output.dense"};
    (void)model_type;
    hg_plain_head head = hg_plain_head_key(r, 1U << HG_REF_BARE | 1U << HG_REF_IMAGE);
    r->base = "vit.";
    t.mha.bias = hg_plain_flag(r, "qkv_bias", true);
    read_tower(r, &t, &vit_usual);
    if (r->code != HANGAR_OK) return;
    double *x = see(r, &t, "embeddings.patch_embeddings.projection", true, "embeddings.cls_token",
                    "embeddings.position_embeddings");
    if (r->code != HANGAR_OK) return;
    run(r, &t, x);
    x = hg_plain_normalize(r, x, t.batch * t.length, t.width, &t.norm, t.at, "layernorm");
    double *first = take(r, &t, x, NULL);
    if (head == HG_REF_IMAGE) {
        hg_plain_classify(r, first, false, false, t.width, true, "classifier");
        return;
    }
    const size_t shape[3] = {t.batch, t.length, t.width};
    hg_plain_give(r, "last_hidden_state", x, 3, shape);
    size_t pooled[2] = {t.batch, hg_plain_int(r, "pooler_output_size", (int64_t)t.width, 1)};
    if (!hg_plain_has(r, "vit.", "pooler.dense.weight")) return;
    first = hg_plain_project(r, first, t.batch, t.width, pooled[1], true, "vit.", "pooler.dense");
    hg_plain_activate(r, first, t.batch * pooled[1], hg_plain_act_key(r, "pooler_act", "tanh"));
    hg_plain_give(r, "pooler_output", first, 2, pooled);
}

/* Rows of length 1, as an output. */
static void give_unit(hg_plain_state *r, const char *name, double *x, size_t rows, size_t columns)
{
    const size_t shape[2] = {rows, columns};
    for (size_t n = 0; hg_plain_go(r) && n < rows; n++) {
        double square = 0;
        for (size_t i = 0; i < columns; i++) square += x[n * columns + i] * x[n * columns + i];
        for (size_t i = 0; i < columns; i++) x[n * columns + i] /= sqrt(square);
    }
    hg_plain_give(r, name, x, 2, shape);
}

/* SigLIP's pooling: y = Attention(probe, x);  y + MLP(norm(y)) */
static double *probe(hg_plain_state *r, const tower *t, const double *x)
{
    const char *at = "vision_model.head.";
    size_t d = t->width, rows = t->batch * t->length;
    hg_plain_mat w = hg_plain_matrix(r, at, "attention.in_proj_weight", 3 * d, d);
    const double *b = hg_plain_vector(r, at, "attention.in_proj_bias", 3 * d);
    const double *query = hg_plain_vector(r, at, "probe", d);
    double *asked = hg_plain_array_new(r, t->batch, d);
    for (size_t n = 0; hg_plain_go(r) && n < t->batch; n++) memcpy(asked + n * d, query, d * sizeof *query);
    const double *q = hg_plain_linear(r, asked, t->batch, hg_plain_mat_part(w, 0, d), b);
    const double *k = hg_plain_linear(r, x, rows, hg_plain_mat_part(w, d, d), b ? b + d : NULL);
    const double *v = hg_plain_linear(r, x, rows, hg_plain_mat_part(w, 2 * d, d), b ? b + 2 * d : NULL);
    hg_plain_attention a = {.batch = t->batch,
                            .queries = 1,
                            .keys = t->length,
                            .heads = t->heads,
                            .kv_heads = t->heads,
                            .dim = d / t->heads,
                            .scale = 1 / sqrt((double)(d / t->heads))};
    double *y =
        hg_plain_project(r, hg_plain_attend(r, q, k, v, &a), t->batch, d, d, true, at, "attention.out_proj");
    const double *m = hg_plain_normalize(r, y, t->batch, d, &t->norm, at, "layernorm");
    m = hg_plain_mlp(r, m, t->batch, d, t->inner, t->act, true, at, "mlp.fc1", "mlp.fc2");
    hg_plain_add(r, y, m, t->batch * d, 1);
    return y;
}

static const usual clip_text = {512, 12, 8, 2048, 32, 1e-5, "quick_gelu"};
static const usual clip_image = {768, 12, 12, 3072, 32, 1e-5, "quick_gelu"};
static const usual siglip_usual = {768, 12, 12, 3072, 16, 1e-6, "gelu_pytorch_tanh"};

static const tower clip_tower = {.layer = "encoder.layers.%zu.",
                                 .mha = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                         "self_attn.out_proj", true, false, false},
                                 .norm1 = "layer_norm1",
                                 .norm2 = "layer_norm2",
                                 .up = "mlp.fc1",
                                 .down = "mlp.fc2"};

static void image(hg_plain_state *r, bool siglip, size_t out)
{
    tower t = clip_tower;
    t.at = "vision_model.";
    read_tower(r, &t, siglip ? &siglip_usual : &clip_image);
    if (siglip && !hg_plain_flag(r, "vision_use_head", true)) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                      "config.json: the reference does not know vision_use_head false");
    }
    if (r->code != HANGAR_OK) return;
    double *x = see(r, &t, "embeddings.patch_embedding", siglip, siglip ? NULL : "embeddings.class_embedding",
                    "embeddings.position_embedding.weight");
    if (r->code != HANGAR_OK) return;
    size_t rows = t.batch * t.length;
    if (!siglip) x = hg_plain_normalize(r, x, rows, t.width, &t.norm, t.at, "pre_layrnorm");
    run(r, &t, x);
    if (siglip) {
        x = hg_plain_normalize(r, x, rows, t.width, &t.norm, t.at, "post_layernorm");
        give_unit(r, "image_embeds", probe(r, &t, x), t.batch, t.width);
        return;
    }
    x = hg_plain_normalize(r, take(r, &t, x, NULL), t.batch, t.width, &t.norm, t.at, "post_layernorm");
    x = hg_plain_project(r, x, t.batch, t.width, out, false, "", "visual_projection");
    give_unit(r, "image_embeds", x, t.batch, out);
}

/* Where CLIP looks for a text's sum: at the first end token; old files, which name 2, at the highest id. */
static const size_t *ends(hg_plain_state *r, bool siglip)
{
    const hg_ref_input *in = r->in;
    int64_t end = (int64_t)hg_plain_int(r, "eos_token_id", 49407, 0);
    size_t *at = (size_t *)hg_plain_bytes_new(r, in->batch, sizeof *at);
    for (size_t b = 0; hg_plain_go(r) && b < in->batch; b++) {
        const int64_t *ids = in->ids + b * in->length;
        at[b] = siglip ? in->length - 1 : 0;
        for (size_t t = 0; !siglip && end == 2 && t < in->length; t++)
            at[b] = ids[t] > ids[at[b]] ? t : at[b];
        for (size_t t = in->length; !siglip && end != 2 && t-- > 0;) at[b] = ids[t] == end ? t : at[b];
    }
    return at;
}

static void text(hg_plain_state *r, bool siglip, size_t out)
{
    tower t = clip_tower;
    const hg_ref_input *in = r->in;
    size_t rows = in->batch * in->length;
    t.at = "text_model.";
    t.length = in->length;
    t.causal = !siglip;
    t.mask = in->mask;
    read_tower(r, &t, siglip ? &siglip_usual : &clip_text);
    if (siglip) out = hg_plain_int(r, "projection_size", (int64_t)t.width, 1);
    size_t vocab = hg_plain_int(r, "vocab_size", siglip ? 32000 : 49408, 1);
    size_t places = hg_plain_int(r, "max_position_embeddings", siglip ? 64 : 77, 1);
    if (r->code != HANGAR_OK) return;
    hg_plain_mat words = hg_plain_matrix(r, t.at, "embeddings.token_embedding.weight", vocab, t.width);
    hg_plain_mat place = hg_plain_matrix(r, t.at, "embeddings.position_embedding.weight", places, t.width);
    double *x = hg_plain_embed(r, in->ids, rows, words, 1);
    hg_plain_add(r, x, hg_plain_embed(r, hg_plain_positions(r), rows, place, 1), rows * t.width, 1);
    run(r, &t, x);
    x = hg_plain_normalize(r, x, rows, t.width, &t.norm, t.at, "final_layer_norm");
    x = take(r, &t, x, ends(r, siglip));
    x = hg_plain_project(r, x, t.batch, t.width, out, siglip, siglip ? t.at : "",
                         siglip ? "head" : "text_projection");
    give_unit(r, "text_embeds", x, t.batch, out);
}

/* CLIP and SigLIP: whichever towers there are inputs for. */
void hg_plain_clip(hg_plain_state *r, const char *model_type)
{
    const hg_jval *all = r->config, *words = hg_plain_key(r, "text_config"),
                  *sight = hg_plain_key(r, "vision_config");
    bool siglip = strcmp(model_type, "siglip") == 0;
    size_t out = hg_plain_int(r, "projection_dim", 512, 1);
    (void)hg_plain_head_key(r, 1U << HG_REF_BARE);
    if (!r->in->pixels && !(r->in->ids && r->in->length)) {
        hg_plain_fail(r, HANGAR_E_USAGE, "the reference needs token ids or pixels");
    }
    if (r->code == HANGAR_OK && r->in->ids && r->in->length) {
        r->config = words;
        text(r, siglip, out);
    }
    if (r->code == HANGAR_OK && r->in->pixels) {
        r->config = sight;
        image(r, siglip, out);
    }
    r->config = all;
}
