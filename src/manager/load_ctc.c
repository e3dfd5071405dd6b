/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loader for wav2vec 2.0 and HuBERT that write letters (..ForCTC). The letters come from vocab.json, else from the vocabulary of
 * tokenizer.json; which of them are no letters (the blank, the end of a word, <s>, <unk>, ..) from tokenizer_config.json, else
 * special_tokens_map.json, else the decoder of tokenizer.json, else the custom of Wav2Vec2CTCTokenizer. How sound is prepared, from
 * preprocessor_config.json; the length of a frame from the strides of the convolutions.
 */
#include "manager/load_ctc.h"

#include "base/mem.h"
#include "engine/onnx_ops.h"
#include "format/mel.h"
#include "format/tokenizer.h"
#include "format/uni.h"
#include "manager/load_onnx.h"

#include <stdlib.h>

#define PROBE_FRAMES 4
#define WINDOW      \
    ((uint64_t)30 * \
     HG_MEL_RATE) /* of transformers' pipeline: chunk_length_s 30, a sixth of it on each side */
#define EDGE       (WINDOW / 6)
#define CONVS_MAX  32
#define LETTER_MAX 1024 /* bytes of a token */

static bool takes(const hg_snapshot *snap, const hg_facts *facts)
{
    if (snap->ref.file[0] || !hg_streq(facts->format, "safetensors")) return false;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    if (hg_load_json(snap, "config.json", &doc, NULL) != HANGAR_OK) return false;
    const char *class = hg_json_text(hg_json_at(hg_json_get(hg_json_root(doc), "architectures"), 0));
    return class && hg_str_ends(hg_str_of(class), HG_STR("ForCTC"));
}

/* ---- letters ---- */

/* The files that say something about letters; any may be missing. */
typedef struct files {
    hg_json *config, *tokenizer, *tokenizer_config, *special, *vocab, *added;
} files;

static void files_free(files *f)
{
    hg_json *const docs[] = {f->config, f->tokenizer, f->tokenizer_config, f->special, f->vocab, f->added};
    for (size_t i = 0; i < HG_LEN(docs); i++) hg_json_free(docs[i]);
}

static hangar_code set_letter(hg_ctc *c, hg_str text, const hg_jval *number, hangar_err *err)
{
    uint64_t id = 0;
    if (!hg_json_u64(number, &id) || id >= HG_TOKENIZER_IDS_MAX || text.len > LETTER_MAX)
        return hg_fail(err, HANGAR_E_INVALID, "the vocabulary is not {token: id} below %zu",
                       HG_TOKENIZER_IDS_MAX);
    if (id >= c->count) {
        size_t cap = c->count, more = c->count;
        if (!hg_grow((void **)&c->letters, &cap, (size_t)id + 1, sizeof *c->letters) ||
            !hg_grow((void **)&c->special, &more, (size_t)id + 1, sizeof *c->special))
            return hg_fail_memory(err);
        size_t room = cap < more ? cap : more;
        for (size_t i = c->count; i < room; i++) {
            c->letters[i] = NULL;
            c->special[i] = false;
        }
        c->count = room;
    }
    char *copy = hg_strndup(text.ptr, text.len);
    if (!copy) return hg_fail_memory(err);
    free(c->letters[id]);
    c->letters[id] = copy;
    return HANGAR_OK;
}

/* An object {token: id}. */
static hangar_code read_vocab(hg_ctc *c, const hg_jval *vocab, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(vocab); code == HANGAR_OK && hg_json_next(&it);)
        code = set_letter(c, it.key, it.val, err);
    return code;
}

/* The vocabulary of tokenizer.json, and what was added to it. */
static hangar_code read_tokenizer(hg_ctc *c, const hg_jval *root, hangar_err *err)
{
    hangar_code code = read_vocab(c, hg_json_path(root, "model", "vocab", NULL), err);
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(root, "added_tokens"));
         code == HANGAR_OK && hg_json_next(&it);)
        code = set_letter(c, hg_str_of(hg_json_text_or(hg_json_get(it.val, "content"), "")),
                          hg_json_get(it.val, "id"), err);
    return code;
}

static int64_t id_of(const hg_ctc *c, const char *text)
{
    for (size_t i = 0; text && i < c->count; i++)
        if (c->letters[i] && strcmp(c->letters[i], text) == 0) return (int64_t)i;
    return -1;
}

/* The token of a name, by the first file that says it. */
static int64_t named_id(const hg_ctc *c, const files *f, const char *key, const char *def)
{
    const hg_jval *places[] = {hg_json_root(f->tokenizer_config), hg_json_root(f->special),
                               hg_json_get(hg_json_root(f->tokenizer), "decoder")};
    for (size_t i = 0; i < HG_LEN(places); i++) {
        const hg_jval *v = hg_json_get(places[i], key);
        const char *text = hg_json_is_object(v) ? hg_json_text(hg_json_get(v, "content")) : hg_json_text(v);
        if (text) return id_of(c, text);
    }
    return id_of(c, def);
}

/* Which tokens are no letters; all others in lower case when the files want that. */
static hangar_code read_roles(hg_ctc *c, const files *f, hangar_err *err)
{
    static const char *const none[][2] = {{"bos_token", "<s>"},
                                          {"eos_token", "</s>"},
                                          {"unk_token", "<unk>"}};
    for (size_t i = 0; i < HG_LEN(none); i++) {
        int64_t id = named_id(c, f, none[i][0], none[i][1]);
        if (id >= 0) c->special[id] = true;
    }
    c->blank = named_id(c, f, "pad_token", "<pad>");
    if (c->blank < 0) c->blank = hg_json_i64_or(hg_json_get(hg_json_root(f->config), "pad_token_id"), -1);
    if (c->blank < 0) return hg_fail(err, HANGAR_E_INVALID, "no file names the blank (pad_token)");
    c->delimiter = named_id(c, f, "word_delimiter_token", "|");
    if (!hg_json_bool_or(hg_json_get(hg_json_root(f->tokenizer_config), "do_lower_case"), false))
        return HANGAR_OK;
    hg_buf lower;
    hg_buf_init(&lower, 4 * LETTER_MAX);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < c->count && code == HANGAR_OK; i++) {
        if (!c->letters[i]) continue;
        hg_buf_reset(&lower);
        hg_uni_lower(hg_str_of(c->letters[i]), &lower);
        char *copy = hg_strndup(hg_buf_view(&lower).ptr, hg_buf_view(&lower).len);
        code = copy ? hg_buf_check(&lower, err) : hg_fail_memory(err);
        free(c->letters[i]);
        c->letters[i] = copy;
    }
    hg_buf_deinit(&lower);
    return code;
}

static hangar_code read_letters(const hg_snapshot *snap, const files *f, hg_ctc *c, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    if (f->vocab) code = hg_wrap(err, read_vocab(c, hg_json_root(f->vocab), err), "vocab.json");
    else code = hg_wrap(err, read_tokenizer(c, hg_json_root(f->tokenizer), err), "tokenizer.json");
    if (code == HANGAR_OK && f->vocab && f->added)
        code = hg_wrap(err, read_vocab(c, hg_json_root(f->added), err), "added_tokens.json");
    if (code == HANGAR_OK && c->count == 0)
        code = hg_fail(err, f->vocab || f->tokenizer ? HANGAR_E_INVALID : HANGAR_E_NOT_FOUND,
                       "%s has no letters: neither vocab.json nor a vocabulary in tokenizer.json",
                       snap->ref.repo);
    return code == HANGAR_OK ? read_roles(c, f, err) : code;
}

/* ---- sound ---- */

static hangar_code read_features(const hg_snapshot *snap, hg_ctc *c, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_load_json(snap, "preprocessor_config.json", &doc, err);
    if (code != HANGAR_OK) return code;
    const hg_jval *root = hg_json_root(doc);
    const char *type =
        hg_json_text_or(hg_json_get(root, "feature_extractor_type"), "Wav2Vec2FeatureExtractor");
    c->normalize = hg_json_bool_or(hg_json_get(root, "do_normalize"), true);
    if (!hg_streq(type, "Wav2Vec2FeatureExtractor"))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "preprocessor_config.json: feature_extractor_type \"%s\"",
                       type);
    if (hg_json_i64_or(hg_json_get(root, "sampling_rate"), HG_MEL_RATE) != HG_MEL_RATE)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "preprocessor_config.json: sampling_rate is not %d",
                       HG_MEL_RATE);
    if (hg_json_i64_or(hg_json_get(root, "feature_size"), 1) != 1)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "preprocessor_config.json: feature_size is not 1");
    return HANGAR_OK;
}

/* A list of up to CONVS_MAX positive numbers of config.json; how many, 0 when it is something else. */
static size_t read_list(const hg_jval *v, uint64_t out[CONVS_MAX])
{
    size_t len = hg_json_len(v);
    if (!hg_json_is_array(v) || len > CONVS_MAX) return 0;
    for (hg_json_iter it = hg_json_iter_of(v); hg_json_next(&it);)
        if (!hg_json_u64(it.val, &out[it.index]) || out[it.index] < 1 || out[it.index] > 4096) return 0;
    return len;
}

/* Samples of a frame and from one to the next, by the convolutions; then windows of whole frames. */
static hangar_code read_frames(const hg_jval *config, hg_ctc *c, hangar_err *err)
{
    uint64_t kernel[CONVS_MAX] = {10, 3, 3, 3, 3, 2, 2}, stride[CONVS_MAX] = {5, 2, 2, 2, 2, 2, 2};
    uint64_t least = 1, ratio = 1;
    size_t count = 7, kernels = 7;
    if (hg_json_get(config, "conv_kernel")) kernels = read_list(hg_json_get(config, "conv_kernel"), kernel);
    if (hg_json_get(config, "conv_stride")) count = read_list(hg_json_get(config, "conv_stride"), stride);
    bool ok = count > 0 && count == kernels;
    for (size_t i = count; ok && i-- > 0;) {
        least = (least - 1) * stride[i] + kernel[i];
        ratio *= stride[i];
        ok = least <= EDGE && ratio <= HG_MEL_RATE;
    }
    if (!ok)
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "config.json: conv_kernel and conv_stride are no steps of up to a second");
    c->ratio = (size_t)ratio;
    c->least = (size_t)least;
    c->window = (size_t)((WINDOW + ratio / 2) / ratio * ratio);
    c->edge = (size_t)((EDGE + ratio / 2) / ratio * ratio);
    return HANGAR_OK;
}

/* ---- the loader ---- */

static void ctc_free(hg_ctc *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->count; i++) free(c->letters[i]);
    free(c->letters);
    free(c->special);
    free(c);
}

static hangar_code ctc_read(const hg_snapshot *snap, hg_ctc *c, hangar_err *err)
{
    files f = {0};
    const struct {
        const char *path;
        hg_json **to;
    } all[] = {{"config.json", &f.config},
               {"tokenizer.json", &f.tokenizer},
               {"tokenizer_config.json", &f.tokenizer_config},
               {"special_tokens_map.json", &f.special},
               {"vocab.json", &f.vocab},
               {"added_tokens.json", &f.added}};
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < HG_LEN(all) && code == HANGAR_OK; i++)
        code = hg_load_json(snap, all[i].path, all[i].to, err);
    if (code == HANGAR_OK) code = read_letters(snap, &f, c, err);
    if (code == HANGAR_OK) code = read_frames(hg_json_root(f.config), c, err);
    if (code == HANGAR_OK) code = read_features(snap, c, err);
    files_free(&f);
    return code;
}

static hangar_code load(hangar_model *m, hangar_job *job, hangar_err *err)
{
    hg_ctc *c = hg_calloc(1, sizeof *c);
    if (!c) return hg_fail_memory(err);
    hangar_code code = ctc_read(m->snap, c, err);
    if (code == HANGAR_OK) code = hg_load_onnx_media(m, NULL, job, err);
    if (code == HANGAR_OK) m->data = c;
    else ctc_free(c);
    return code;
}

static void unload(hangar_model *m)
{
    ctc_free(m->data);
}

/* The fewest samples that give a few frames. */
static hangar_code probe(const hangar_model *m, char **out_call_json, hangar_err *err)
{
    const hg_ctc *c = m->data;
    hg_time_shape shape = {.graph = "model",
                           .rows = 1,
                           .samples = (int64_t)(c->least + PROBE_FRAMES * c->ratio)};
    return hg_probe_graph(m, &shape, out_call_json, err);
}

const hg_loader hg_loader_ctc = {
    .name = "ctc",
    .task = "speech recognition",
    .verb = "transcribe",
    .takes = takes,
    .load = load,
    .unload = unload,
    .probe = probe,
};
