/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts from the headers of the weights. Every further file that a header or an index names is looked up among the
 * snapshot's own files; one that is not a member is named as trouble and left out.
 */
#include "base/buf.h"
#include "base/fsx.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "manager/facts.h"

#include <stdio.h>

#define INDEX_MAX  ((size_t)64 << 20)
#define SPLITS_MAX 1000

void hg_facts_trouble(hangar_err *problem, const char *file, const hangar_err *why)
{
    if (!problem || problem->code != HANGAR_OK) return;
    *problem = *why;
    hg_wrap(problem, why->code, "%s", file);
}

void hg_facts_copy(char *out, size_t cap, hg_str s)
{
    if (s.len >= cap) s = (hg_str){s.ptr, hg_utf8_whole((hg_str){s.ptr, cap - 1})};
    if (!hg_utf8_valid(s)) return;
    if (s.len) memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
}

static void add_to(uint64_t *sum, uint64_t n)
{
    if (!hg_add(*sum, n, sum)) *sum = UINT64_MAX;
}

/* ---- safetensors ---- */

/* Elements per dtype over all shards. */
typedef struct tally {
    uint64_t elements[HG_DTYPE_COUNT];
} tally;

static void read_shard(const hg_snapshot *snap, const char *name, hg_facts *f, tally *t, hangar_err *problem)
{
    hangar_err why = {0};
    HG_AUTO(hg_safetensors_auto_free) hg_safetensors *st = NULL;
    const hg_snapshot_file *file = hg_snapshot_file_get(snap, name);
    HG_AUTO(hg_auto_free) char *path = file ? hg_snapshot_file_path(snap, name) : NULL;
    hangar_code code = file ? HANGAR_OK : hg_fail(&why, HANGAR_E_NOT_FOUND, "not in the store");
    if (code == HANGAR_OK) code = path ? hg_safetensors_open(path, &st, &why) : hg_fail_memory(&why);
    if (code != HANGAR_OK) {
        hg_facts_trouble(problem, name, &why);
        return;
    }
    add_to(&f->weight_bytes, file->size);
    add_to(&f->parameters, hg_safetensors_parameters(st));
    for (size_t i = 0; i < hg_safetensors_count(st); i++) {
        const hg_tensor *tensor = hg_safetensors_at(st, i);
        add_to(&t->elements[tensor->dtype], tensor->elements);
    }
}

/* The index beside `name` that makes it one shard of several: model.safetensors.index.json. */
static const char *index_of(const hg_snapshot *snap)
{
    static const char *const names[] = {"model.safetensors.index.json",
                                        "diffusion_pytorch_model.safetensors.index.json"};
    for (size_t i = 0; i < HG_LEN(names); i++)
        if (hg_snapshot_file_get(snap, names[i])) return names[i];
    return NULL;
}

/* All shards of the index; false when there is none that holds, or it does not have f->weights. */
static bool read_index(const hg_snapshot *snap, hg_facts *f, tally *t, hangar_err *problem)
{
    hangar_err why = {0};
    hg_buf json;
    hg_shards shards = {0};
    const char *name = index_of(snap);
    if (!name) return false;
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(snap, name);
    hg_buf_init(&json, INDEX_MAX);
    hangar_code code = path ? hg_read_file(path, &json, &why) : hg_fail_memory(&why);
    if (code == HANGAR_OK) code = hg_shards_parse(hg_buf_view(&json), &shards, &why);
    hg_buf_deinit(&json);
    if (code != HANGAR_OK) {
        hg_facts_trouble(problem, name, &why);
        return false;
    }
    bool member = false;
    for (size_t i = 0; i < shards.count; i++) member = member || hg_streq(shards.files[i], f->weights);
    for (size_t i = 0; member && i < shards.count; i++) read_shard(snap, shards.files[i], f, t, problem);
    hg_shards_deinit(&shards);
    return member;
}

void hg_facts_safetensors(const hg_snapshot *snap, hg_facts *f, hangar_err *problem)
{
    tally t = {0};
    size_t most = 0;
    if (!read_index(snap, f, &t, problem)) read_shard(snap, f->weights, f, &t, problem);
    for (size_t i = 1; i < HG_DTYPE_COUNT; i++)
        if (t.elements[i] > t.elements[most]) most = i;
    if (t.elements[most]) hg_facts_copy(f->dtype, sizeof f->dtype, hg_str_of(hg_dtype_name((hg_dtype)most)));
}

/* ---- GGUF ---- */

/* general.file_type as people call it; NULL for numbers that have no name. */
static const char *file_type_name(uint64_t type)
{
    static const char *const names[] = {
        [0] = "F32",      [1] = "F16",      [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
        [8] = "Q5_0",     [9] = "Q5_1",     [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
        [13] = "Q3_K_L",  [14] = "Q4_K_S",  [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
        [18] = "Q6_K",    [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
        [23] = "IQ3_XXS", [24] = "IQ1_S",   [25] = "IQ4_NL", [26] = "IQ3_S",  [27] = "IQ3_M",
        [28] = "IQ2_S",   [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",  [32] = "BF16",
        [36] = "TQ1_0",   [37] = "TQ2_0",   [38] = "MXFP4",
    };
    return type < HG_LEN(names) ? names[type] : NULL;
}

/* The number, or the largest of an array of numbers that differ from layer to layer (32-bit ones, as they are written). */
static uint64_t number_or_largest(const hg_gguf *g, const char *arch_key, hg_str arch)
{
    uint64_t n = 0;
    if (hg_gguf_arch_u64(g, arch_key, &n)) return n;
    HG_AUTO(hg_auto_free) char *key = hg_format("%.*s.%s", HG_STR_ARG(arch), arch_key);
    const hg_gguf_kv *kv = key ? hg_gguf_get(g, key) : NULL;
    if (!kv || kv->type != HG_GGUF_ARRAY) return 0;
    const hg_gguf_array *a = &kv->v.array;
    if (a->type != HG_GGUF_U32 && a->type != HG_GGUF_I32) return 0;
    for (uint64_t i = 0; i < a->count && (i + 1) * 4 <= a->bytes.len; i++) {
        const unsigned char *b = (const unsigned char *)a->bytes.ptr + i * 4;
        uint64_t one = hg_little(b, 4) & 0x7fffffff;
        if (one > n) n = one;
    }
    return n;
}

static void read_gguf_shape(const hg_gguf *g, hg_str arch, hg_shape *shape)
{
    uint64_t width = 0, heads = number_or_largest(g, "attention.head_count", arch);
    (void)hg_gguf_arch_u64(g, "block_count", &shape->layers);
    (void)hg_gguf_arch_u64(g, "embedding_length", &width);
    (void)hg_gguf_arch_u64(g, "attention.key_length", &shape->head_dim);
    shape->kv_heads = number_or_largest(g, "attention.head_count_kv", arch);
    if (!shape->kv_heads) shape->kv_heads = heads;
    if (!shape->head_dim && heads) shape->head_dim = width / heads;
    shape->cache_bytes = 2;
}

/* What the first (or only) file says of the model. */
static void read_gguf_head(const hg_gguf *g, hg_facts *f, hg_shape *shape)
{
    static const char *const encoders[] = {"bert", "nomic-bert", "jina-bert-v2", "t5encoder", "modern-bert"};
    hg_str arch = {0}, license;
    uint64_t type = 0;
    const char *name = NULL;
    if (hg_gguf_text(g, "general.architecture", &arch))
        hg_facts_copy(f->architecture, sizeof f->architecture, arch);
    (void)hg_gguf_arch_u64(g, "context_length", &f->context_length);
    if (hg_gguf_text(g, "general.license", &license)) hg_facts_copy(f->license, sizeof f->license, license);
    if (hg_gguf_u64(g, "general.file_type", &type)) name = file_type_name(type);
    hg_facts_copy(f->dtype, sizeof f->dtype, hg_str_of(name ? name : hg_gguf_dtype(g)));
    const char *task = arch.len ? "text-generation" : "";
    for (size_t i = 0; i < HG_LEN(encoders); i++)
        if (hg_str_eq(arch, hg_str_of(encoders[i]))) task = "feature-extraction";
    hg_facts_copy(f->task, sizeof f->task, hg_str_of(task));
    if (hg_streq(task, "text-generation")) read_gguf_shape(g, arch, shape);
}

static bool read_gguf(const hg_snapshot *snap, const char *name, bool first, hg_facts *f, hg_shape *shape,
                      hangar_err *problem)
{
    hangar_err why = {0};
    hg_map map = {0};
    hg_gguf g;
    const hg_snapshot_file *file = hg_snapshot_file_get(snap, name);
    HG_AUTO(hg_auto_free) char *path = file ? hg_snapshot_file_path(snap, name) : NULL;
    hangar_code code = file ? HANGAR_OK : hg_fail(&why, HANGAR_E_NOT_FOUND, "not in the store");
    if (code == HANGAR_OK) code = path ? hg_map_open(path, &map, &why) : hg_fail_memory(&why);
    if (code == HANGAR_OK) code = hg_gguf_parse(map.data, map.len, &g, &why);
    if (code == HANGAR_OK) {
        if (first) read_gguf_head(&g, f, shape);
        add_to(&f->parameters, g.parameters);
        add_to(&f->weight_bytes, file->size);
        hg_gguf_deinit(&g);
    } else {
        hg_facts_trouble(problem, name, &why);
    }
    hg_map_close(&map);
    return code == HANGAR_OK;
}

/* "x-00001-of-00003.gguf": the stem's length and the number of files; false for a single file. */
static bool split_of(const char *name, size_t *out_stem, unsigned *out_count)
{
    static const char tail[] = "-00001-of-00000.gguf";
    size_t len = strlen(name), n = sizeof tail - 1;
    unsigned count = 0;
    int used = 0;
    if (len <= n || sscanf(name + len - n, "-00001-of-%5u.gguf%n", &count, &used) != 1 || (size_t)used != n)
        return false;
    *out_stem = len - n;
    *out_count = count;
    return count >= 1 && count <= SPLITS_MAX;
}

void hg_facts_gguf(const hg_snapshot *snap, hg_facts *f, hg_shape *shape, hangar_err *problem)
{
    size_t stem;
    unsigned count = 1;
    if (!read_gguf(snap, f->weights, true, f, shape, problem) || !split_of(f->weights, &stem, &count)) return;
    for (unsigned i = 2; i <= count; i++) {
        HG_AUTO(hg_auto_free)
        char *name = hg_format("%.*s-%05u-of-%05u.gguf", (int)stem, f->weights, i, count);
        if (name) (void)read_gguf(snap, name, false, f, shape, problem);
    }
}
