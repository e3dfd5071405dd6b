/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one can tell of a model without loading it. Everything read here is hostile and nothing here may fail: what is
 * malformed is left out, and the first trouble is handed back in words.
 *
 * Which file stands for the model: the one that the REF names; else of several forms GGUF, then safetensors, then ONNX.
 * Of several GGUF files the quantization nearest to the usual choice (Q4_K_M, else the next larger ones, else what there
 * is); projectors and further parts of a split are passed over.
 *
 * memory_needed = weights + cache + working space, where
 *   weights = bytes of the files as they lie (they are mapped, not converted);
 *   cache   = 2 (keys, values) x layers x key/value heads x head size x positions x bytes per number, for models that
 *             write token after token; positions = the context, at most 8192 (what a model is loaded with when nothing
 *             else is asked for), plus the encoder's positions where the decoder attends to one;
 *   working = a tenth of the weights + 64 MiB (the engine itself, scratch tensors).
 */
#include "manager/facts.h"

#include "base/fsx.h"

#include <stdio.h>
#include <strings.h>

#define CONTEXT_DEFAULT_MAX 8192
#define WORKING_BYTES       ((uint64_t)64 << 20)

static bool ends_with(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n >= m && strcasecmp(path + n - m, end) == 0;
}

/* "GGUF", "safetensors", ... by the name of a file; NULL for others. */
static const char *format_of(const char *path)
{
    if (ends_with(path, ".gguf")) return "gguf";
    if (ends_with(path, ".safetensors")) return "safetensors";
    return ends_with(path, ".onnx") ? "onnx" : NULL;
}

/* The lower, the more a GGUF file is the one that is meant when nobody says which. */
static size_t gguf_rank(const char *path)
{
    static const char *const order[] = {"q4_k_m", "q5_k_m", "q6_k", "q8_0", "q5_k_s", "q4_k_s", "q5_0",
                                        "q4_0",   "mxfp4",  "iq4",  "bf16", "f16",    "q3_k",   "f32"};
    const char *base = hg_path_base(path), *of = strstr(base, "-of-");
    if (strncasecmp(base, "mmproj", 6) == 0) return SIZE_MAX;
    if (of && of - base >= 6 && of[-6] == '-' && strncmp(of - 6, "-00001", 6) != 0)
        return SIZE_MAX; /* a further part */
    for (size_t i = 0; i < HG_LEN(order); i++)
        if (strcasestr(base, order[i])) return i;
    return HG_LEN(order);
}

/* The same for safetensors and ONNX. */
static size_t plain_rank(const char *path)
{
    static const char *const order[] = {"model.safetensors", "model-00001-of-", "onnx/model.onnx",
                                        "model.onnx", "diffusion_pytorch_model.safetensors"};
    for (size_t i = 0; i < HG_LEN(order); i++)
        if (strncmp(path, order[i], strlen(order[i])) == 0) return i;
    return HG_LEN(order) + (strchr(path, '/') != NULL);
}

/* Chooses format and weights. */
static void choose(const hg_snapshot *snap, hg_facts *f)
{
    static const char *const formats[] = {"gguf", "safetensors", "onnx"};
    snprintf(f->format, sizeof f->format, "other");
    if (snap->ref.file[0]) {
        const char *format = format_of(snap->ref.file);
        if (!format || !hg_snapshot_file_get(snap, snap->ref.file)) return;
        snprintf(f->format, sizeof f->format, "%s", format);
        snprintf(f->weights, sizeof f->weights, "%s", snap->ref.file);
        return;
    }
    for (size_t k = 0; k < HG_LEN(formats) && !f->weights[0]; k++) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < snap->count; i++) {
            const char *path = snap->files[i].path;
            if (!hg_streq(format_of(path), formats[k])) continue;
            size_t rank = k == 0 ? gguf_rank(path) : plain_rank(path);
            if (rank >= best) continue;
            best = rank;
            snprintf(f->weights, sizeof f->weights, "%s", path);
            snprintf(f->format, sizeof f->format, "%s", formats[k]);
        }
    }
}

/* An ONNX graph and the data beside it. */
static void read_onnx_size(const hg_snapshot *snap, hg_facts *f)
{
    size_t n = strlen(f->weights);
    for (size_t i = 0; i < snap->count; i++) {
        const char *path = snap->files[i].path;
        bool data =
            strncmp(path, f->weights, n) == 0 &&
            (strncmp(path + n, "_data", 5) == 0 || strncmp(path + n, ".data", 5) == 0 || path[n] == '\0');
        if (data && !hg_add(f->weight_bytes, snap->files[i].size, &f->weight_bytes))
            f->weight_bytes = UINT64_MAX;
    }
}

static void estimate_memory(hg_facts *f, const hg_shape *shape)
{
    uint64_t positions = f->context_length < CONTEXT_DEFAULT_MAX ? f->context_length : CONTEXT_DEFAULT_MAX;
    uint64_t cache = 2, sum = f->weight_bytes;
    if (f->weight_bytes == 0) return;
    bool fits = hg_add(positions, shape->cross_context, &positions) && hg_mul(cache, shape->layers, &cache) &&
                hg_mul(cache, shape->kv_heads, &cache) && hg_mul(cache, shape->head_dim, &cache) &&
                hg_mul(cache, positions, &cache) && hg_mul(cache, shape->cache_bytes, &cache) &&
                hg_add(sum, cache, &sum) && hg_add(sum, f->weight_bytes / 10, &sum) &&
                hg_add(sum, WORKING_BYTES, &sum);
    f->memory_needed = fits ? sum : UINT64_MAX;
}

void hg_facts_read(const hg_snapshot *snap, hg_facts *out, hangar_err *problem)
{
    hg_shape shape = {0};
    *out = (hg_facts){0};
    choose(snap, out);
    hg_facts_config(snap, out, &shape, problem);
    if (hg_streq(out->format, "gguf")) hg_facts_gguf(snap, out, &shape, problem);
    else if (hg_streq(out->format, "safetensors")) hg_facts_safetensors(snap, out, problem);
    else if (hg_streq(out->format, "onnx")) read_onnx_size(snap, out);
    hg_facts_readme(snap, out);
    estimate_memory(out, &shape);
}
