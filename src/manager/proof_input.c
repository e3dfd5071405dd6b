/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed inputs for any model, from what its graphs declare and its config.json says. */
#include "base/fsx.h"
#include "base/mem.h"
#include "manager/proof.h"

#include <math.h>
#include <stdlib.h>

#define SAMPLES 4000 /* of a sound: a quarter of a second */
#define SEED    12345

/* ---- facts ---- */

/* A whole number of config.json or of one of the objects that models of several parts keep. */
static bool number(const hg_jval *root, const char *key, uint64_t *out)
{
    static const char *const inside[] = {"text_config", "vision_config", "decoder", "encoder"};
    if (hg_json_u64(hg_json_get(root, key), out)) return true;
    for (size_t i = 0; i < HG_LEN(inside); i++) {
        if (hg_json_u64(hg_json_path(root, inside[i], key, NULL), out)) return true;
    }
    return false;
}

/* image_size: a number, or [height, width]. */
static void read_picture(const hg_jval *root, hg_proof_facts *f)
{
    uint64_t n = 0, sizes[2] = {224, 224};
    const hg_jval *size = hg_json_get(root, "image_size");
    if (!size) size = hg_json_path(root, "vision_config", "image_size", NULL);
    if (hg_json_u64(size, &n)) sizes[0] = sizes[1] = n;
    for (size_t i = 0; i < 2; i++) (void)!hg_json_u64(hg_json_at(size, i), &sizes[i]);
    f->height = sizes[0] <= 4096 ? (size_t)sizes[0] : 224;
    f->width = sizes[1] <= 4096 ? (size_t)sizes[1] : 224;
    n = 3;
    (void)!number(root, "num_channels", &n);
    f->channels = n >= 1 && n <= 64 ? (size_t)n : 3;
}

/* How many layers the longest stack has. */
static uint64_t read_layers(const hg_jval *root)
{
    static const char *const keys[] = {"num_hidden_layers",  "n_layer",        "n_layers",      "num_layers",
                                       "num_decoder_layers", "encoder_layers", "decoder_layers"};
    uint64_t most = 0, n = 0;
    for (size_t i = 0; i < HG_LEN(keys); i++)
        if (number(root, keys[i], &n) && n > most) most = n;
    return most;
}

/* Types of tokens, and how many tokens there is room for. */
static void read_sizes(const hg_jval *root, hg_proof_facts *f)
{
    static const char *const places[] = {"max_position_embeddings", "n_positions", "max_target_positions",
                                         "original_max_position_embeddings"};
    uint64_t n = 0;
    f->tokens = HG_PROOF_TOKENS;
    f->brief = HG_PROOF_SHORT;
    for (size_t i = 0; i < HG_LEN(places); i++) {
        bool said = number(root, places[i], &n) ||
                    hg_json_u64(hg_json_path(root, "rope_parameters", places[i], NULL), &n) ||
                    hg_json_u64(hg_json_path(root, "rope_scaling", places[i], NULL), &n);
        if (!said || n >= HG_PROOF_POSITIONS) continue;
        f->tokens = HG_PROOF_TOKENS_LESS;
        f->brief = HG_PROOF_SHORT_LESS;
    }
    (void)!number(root, "type_vocab_size", &f->types);
}

static void read_ends(const hg_jval *end, hg_proof_facts *f)
{
    if (hg_json_u64(end, &f->end[0])) f->end_count = 1;
    for (hg_json_iter it = hg_json_iter_of(hg_json_is_array(end) ? end : NULL); hg_json_next(&it);) {
        if (f->end_count < HG_LEN(f->end) && hg_json_u64(it.val, &f->end[f->end_count])) f->end_count++;
    }
}

/* Reads config.json. */
hangar_code hg_proof_facts_read(const hg_snapshot *snap, const hg_or_session *s, hg_proof_facts *out,
                                hangar_err *err)
{
    hg_buf text;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(snap, "config.json");
    if (!path) return hg_fail_memory(err);
    hg_buf_init(&text, 4 * HG_MIB);
    hangar_code code = hg_read_file(path, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_buf_view(&text), NULL, &doc, err);
    hg_buf_deinit(&text);
    if (code != HANGAR_OK) return hg_wrap(err, code, "config.json");
    const hg_jval *root = hg_json_root(doc);
    *out = (hg_proof_facts){.vocab = 2, .left = hg_proof_kind_of(s) == HG_PROOF_DECODER};
    (void)!number(root, "vocab_size", &out->vocab);
    uint64_t other = out->vocab; /* Marian's decoder may know fewer tokens than its encoder */
    if (number(root, "decoder_vocab_size", &other) && other < out->vocab) out->vocab = other;
    (void)!number(root, "pad_token_id", &out->pad);
    if (!number(root, "decoder_start_token_id", &out->start))
        (void)!number(root, "bos_token_id", &out->start);
    out->layers = read_layers(root);
    if (out->vocab < 1) out->vocab = 1;
    if (out->pad >= out->vocab) out->pad = 0;
    if (out->start >= out->vocab) out->start = 0;
    read_ends(hg_json_get(root, "eos_token_id"), out);
    read_picture(root, out);
    read_sizes(root, out);
    return HANGAR_OK;
}

/* ---- inputs ---- */

void *hg_proof_input_own(hg_proof_input *i, void *memory)
{
    if (memory && i->owned_count < HG_LEN(i->owned)) return i->owned[i->owned_count++] = memory;
    free(memory);
    return NULL;
}

void hg_proof_input_deinit(hg_proof_input *i)
{
    for (size_t k = 0; k < i->owned_count; k++) free(i->owned[k]);
    *i = (hg_proof_input){0};
}

/* Tokens of a row; padding's own token is none of them, for some models take every place of it for padding. */
static void fill_ids(const hg_proof_facts *f, size_t row, size_t n, int64_t *ids)
{
    uint64_t state = SEED + row;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t id = (state >> 33) % f->vocab;
        if (id == f->pad) id = (id + 1) % f->vocab;
        ids[i] = (int64_t)id;
    }
}

/* Numbers between -0.9 and 0.9. */
static const float *wave(hg_proof_input *i, size_t first, size_t rows, size_t each)
{
    uint64_t count = 0;
    if (!hg_mul(rows, each, &count) || count > HG_WIRE_BIN_MAX / sizeof(float)) return NULL;
    float *to = hg_proof_input_own(i, hg_calloc((size_t)count, sizeof *to));
    for (size_t r = 0; to && r < rows; r++)
        for (size_t k = 0; k < each; k++)
            to[r * each + k] = (float)(0.9 * sin(0.013 * (double)k * (double)(first + r + 1)));
    return to;
}

/* Tokens and mask of all rows, the last of which may be shorter than the others. */
static bool fill_tokens(hg_proof_input *i, const hg_proof_facts *f, size_t first, size_t rows, size_t length,
                        bool left, const int64_t **ids, const int64_t **mask)
{
    int64_t *to = hg_proof_input_own(i, hg_calloc(rows * length, sizeof *to));
    int64_t *seen = hg_proof_input_own(i, hg_calloc(rows * length, sizeof *seen));
    if (!to || !seen) return false;
    for (size_t r = 0; r < rows; r++) {
        size_t real = i->masked && first + r == 1 ? f->brief : length, at = left ? length - real : 0;
        for (size_t k = 0; k < length; k++) to[r * length + k] = (int64_t)f->pad;
        fill_ids(f, first + r, real, to + r * length + at);
        for (size_t k = 0; k < real; k++) seen[r * length + at + k] = 1;
        i->real[first + r > 0] = real;
    }
    *ids = to;
    *mask = seen;
    return true;
}

/* Types of tokens: of a pair, the second text of which begins at the fourth token. */
static bool fill_types(hg_proof_input *i, const hg_proof_facts *f, size_t rows, size_t length)
{
    if (f->types < 2) return true;
    int64_t *to = hg_proof_input_own(i, hg_calloc(rows * length, sizeof *to));
    for (size_t k = 0; to && k < rows * length; k++) to[k] = k % length >= 3;
    i->in.types = to;
    return to != NULL;
}

static bool wants(const hg_or_session *s, const char *graph, const char *name)
{
    hg_or_tensor port;
    return hg_or_port(s, graph, "inputs", name, &port);
}

/* Behind a third of row 1 there is silence: in normalized features it is two below the largest number. */
static void fall_silent(hg_proof_input *i, size_t first, size_t rows)
{
    const size_t each = i->in.frames, third = each / 3;
    float *numbers = (float *)(uintptr_t)i->in.features;
    i->sound = each;
    if (first + rows != 2) return;
    i->sound = third;
    for (size_t m = 0; m < i->in.mels; m++)
        for (size_t k = third; k < each; k++) numbers[((rows - 1) * i->in.mels + m) * each + k] = -1.1f;
}

/* input_features of the size that the encoder declares. */
static bool fill_features(const hg_or_session *s, size_t first, size_t rows, hg_proof_input *i)
{
    hg_or_tensor port;
    if (!hg_or_port(s, "encoder_model", "inputs", "input_features", &port)) return true;
    if (port.rank != 3 || port.shape[1] < 1 || port.shape[2] < 1 || port.shape[1] > 4096 ||
        port.shape[2] > 1 << 20)
        return false;
    i->in.mels = (size_t)port.shape[1];
    i->in.frames = (size_t)port.shape[2];
    i->in.features = wave(i, first, rows, i->in.mels * i->in.frames);
    if (!i->in.features) return false;
    fall_silent(i, first, rows);
    return true;
}

static bool fill_encdec(const hg_or_session *s, const hg_proof_facts *f, size_t first, size_t rows,
                        size_t length, hg_proof_input *i)
{
    hg_ref_input *in = &i->in;
    const int64_t *unused;
    bool masked = i->masked;
    if (!fill_features(s, first, rows, i)) return false;
    if (wants(s, "encoder_model", "input_ids")) {
        in->source_length = length;
        if (!fill_tokens(i, f, first, rows, length, false, &in->source, &in->source_mask)) return false;
    }
    /* The decoder's own tokens are never padded. */
    size_t real[2] = {i->real[0], i->real[1]};
    i->masked = false;
    in->length = f->tokens;
    if (!fill_tokens(i, f, first + 2, rows, in->length, false, &in->ids, &unused)) return false;
    for (size_t r = 0; r < rows; r++) ((int64_t *)(uintptr_t)in->ids)[r * in->length] = (int64_t)f->start;
    i->real[0] = real[0];
    i->real[1] = real[1];
    i->masked = masked;
    return true;
}

static bool fill_model(const hg_or_session *s, const hg_proof_facts *f, size_t first, size_t rows,
                       size_t length, hg_proof_input *i)
{
    hg_ref_input *in = &i->in;
    if (wants(s, "model", "input_ids")) {
        in->length = length;
        if (!fill_tokens(i, f, first, rows, length, f->left, &in->ids, &in->mask)) return false;
        if (!wants(s, "model", "attention_mask")) in->mask = NULL;
        if (wants(s, "model", "token_type_ids") && !fill_types(i, f, rows, length)) return false;
        /* What some models make of padding by themselves is another thing: both sides are told. */
        if (f->left && !(in->positions = hg_proof_input_own(i, hg_proof_positions(in)))) return false;
    }
    if (wants(s, "model", "pixel_values")) {
        in->channels = f->channels;
        in->height = f->height;
        in->width = f->width;
        in->pixels = wave(i, first, rows, in->channels * in->height * in->width);
        if (!in->pixels) return false;
    }
    if (wants(s, "model", "input_values")) {
        in->sample_count = SAMPLES;
        in->samples = wave(i, first, rows, SAMPLES);
        if (!in->samples) return false;
    }
    return true;
}

/* Makes inputs. */
hangar_code hg_proof_input_make(const hg_or_session *s, const hg_proof_facts *facts, size_t first,
                                size_t rows, bool padded, hg_proof_input *out, hangar_err *err)
{
    bool encdec = hg_proof_kind_of(s) == HG_PROOF_ENCDEC;
    bool mask = wants(s, encdec ? "encoder_model" : "model", "attention_mask");
    *out = (hg_proof_input){.in.batch = rows, .masked = mask && padded && first + rows == 2};
    size_t length = mask && !padded && first == 1 ? facts->brief : facts->tokens;
    bool ok = encdec ? fill_encdec(s, facts, first, rows, length, out)
                     : fill_model(s, facts, first, rows, length, out);
    if (ok) return HANGAR_OK;
    hg_proof_input_deinit(out);
    return hg_fail(err, HANGAR_E_LIMIT, "no test inputs of the declared sizes can be made");
}
