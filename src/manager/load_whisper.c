/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loader for Whisper in safetensors. Which token means what comes from generation_config.json where it says
 * so, else from the names of the tokens themselves (<|en|>, <|transcribe|>, ...), so that checkpoints with and
 * without that file work. A setting of the sound features that is not the one Whisper was published with is
 * refused by name.
 */
#include "manager/load_whisper.h"

#include "base/mem.h"
#include "engine/onnx_ops.h"
#include "manager/load_onnx.h"

#include <stdlib.h>

#define LANGUAGES_MAX 1000

static bool takes(const hg_snapshot *snap, const hg_facts *facts)
{
    return !snap->ref.file[0] && hg_streq(facts->format, "safetensors") &&
           hg_streq(facts->architecture, "whisper");
}

const char *hg_whisper_language_code(const hg_whisper *w, int64_t id)
{
    for (size_t i = 0; i < w->language_count; i++)
        if (w->languages[i].id == id) return w->languages[i].code;
    return NULL;
}

int64_t hg_whisper_language_id(const hg_whisper *w, const char *code)
{
    for (size_t i = 0; i < w->language_count; i++)
        if (strcmp(w->languages[i].code, code) == 0) return w->languages[i].id;
    return -1;
}

/* A whole number of config.json; on failure the key is named. */
static hangar_code config_int(const hg_whisper *w, const char *key, int64_t def, int64_t min, int64_t max,
                              int64_t *out, hangar_err *err)
{
    const hg_jval *v = hg_json_get(hg_json_root(w->config), key);
    *out = def;
    if (!hg_json_is_null(v) && !hg_json_i64(v, out)) *out = min - 1;
    if (*out >= min && *out <= max) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "config.json: %s is missing or not from %lld to %lld", key,
                   (long long)min, (long long)max);
}

/* An id: of generation_config.json, else of config.json, else of the token with that name, else -1. */
static int64_t token_id(const hg_whisper *w, const char *key, const char *name)
{
    int64_t id = -1;
    if (key && hg_json_i64(hg_json_get(hg_json_root(w->generation), key), &id)) return id;
    if (key && hg_json_i64(hg_json_get(hg_json_root(w->config), key), &id)) return id;
    return name ? hg_tokenizer_id(w->tokenizer, name) : -1;
}

/* ---- languages ---- */

static int by_code(const void *a, const void *b)
{
    const hg_whisper_language *x = a, *y = b;
    return strcmp(x->code, y->code);
}

/* "<|en|>" or "en" -> a language with that id; anything else is passed over. */
static hangar_code add_language(hg_whisper *w, size_t *cap, hg_str name, int64_t id, hangar_err *err)
{
    if (hg_str_starts(name, HG_STR("<|")) && hg_str_ends(name, HG_STR("|>")) && name.len > 4) {
        name.ptr += 2;
        name.len -= 4;
    }
    if (name.len == 0 || name.len >= sizeof w->languages->code || id < 0) return HANGAR_OK;
    if (w->language_count >= LANGUAGES_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "generation_config.json: more than %d languages", LANGUAGES_MAX);
    if (!hg_grow((void **)&w->languages, cap, w->language_count + 1, sizeof *w->languages))
        return hg_fail_memory(err);
    hg_whisper_language *l = &w->languages[w->language_count++];
    memset(l, 0, sizeof *l);
    memcpy(l->code, name.ptr, name.len);
    l->id = id;
    return HANGAR_OK;
}

/*
 * lang_to_id, else the tokens between <|startoftranscript|> and <|translate|>: so all published vocabularies
 * are laid out.
 */
static hangar_code read_languages(hg_whisper *w, hangar_err *err)
{
    size_t cap = 0;
    hangar_code code = HANGAR_OK;
    const hg_jval *generation = hg_json_root(w->generation), *map = hg_json_get(generation, "lang_to_id");
    if (!hg_json_bool_or(hg_json_get(generation, "is_multilingual"), true)) return HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(map); code == HANGAR_OK && hg_json_next(&it);)
        code = add_language(w, &cap, it.key, hg_json_i64_or(it.val, -1), err);
    int64_t end = hg_tokenizer_id(w->tokenizer, "<|translate|>");
    for (int64_t id = w->start + 1; !map && id < end && code == HANGAR_OK; id++)
        code = add_language(w, &cap, hg_str_of(hg_tokenizer_text(w->tokenizer, id)), id, err);
    if (w->language_count > 0) qsort(w->languages, w->language_count, sizeof *w->languages, by_code);
    return code;
}

/* ---- the files ---- */

/* The sound features are the ones that are known. */
static hangar_code check_features(const hg_snapshot *snap, const hg_whisper *w, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_load_json(snap, "preprocessor_config.json", &doc, err);
    if (code != HANGAR_OK) return code;
    const struct {
        const char *key;
        int64_t want;
    } keys[] = {{"sampling_rate", 16000},
                {"hop_length", 160},
                {"n_fft", 400},
                {"feature_size", w->mels},
                {"nb_max_frames", w->frames}};
    for (size_t i = 0; i < HG_LEN(keys); i++) {
        int64_t got = hg_json_i64_or(hg_json_get(hg_json_root(doc), keys[i].key), keys[i].want);
        if (got != keys[i].want)
            return hg_fail(err, HANGAR_E_UNSUPPORTED,
                           "preprocessor_config.json: %s is %lld, only %lld is known", keys[i].key,
                           (long long)got, (long long)keys[i].want);
    }
    return HANGAR_OK;
}

static hangar_code read_config(hg_whisper *w, hangar_err *err)
{
    int64_t positions = 0;
    hangar_code code = config_int(w, "num_mel_bins", 80, 1, HG_ONNX_MELS_MAX, &w->mels, err);
    if (code == HANGAR_OK)
        code = config_int(w, "max_source_positions", 1500, 1, HG_ONNX_WINDOW_FRAMES / 2, &positions, err);
    if (code == HANGAR_OK) code = config_int(w, "max_target_positions", 448, 8, 65536, &w->max_tokens, err);
    w->frames = 2 * positions; /* the encoder's second convolution halves them */
    return code;
}

static hangar_code read_tokens(hg_whisper *w, hangar_err *err)
{
    const hg_jval *tasks = hg_json_get(hg_json_root(w->generation), "task_to_id");
    w->start = token_id(w, "decoder_start_token_id", "<|startoftranscript|>");
    w->eos = token_id(w, "eos_token_id", "<|endoftext|>");
    w->no_timestamps = token_id(w, "no_timestamps_token_id", "<|notimestamps|>");
    w->no_speech = token_id(w, NULL, "<|nospeech|>");
    if (w->no_speech < 0) w->no_speech = token_id(w, NULL, "<|nocaptions|>");
    w->max_initial = token_id(w, "max_initial_timestamp_index", NULL);
    w->transcribe = hg_json_i64_or(hg_json_get(tasks, "transcribe"), token_id(w, NULL, "<|transcribe|>"));
    w->translate = hg_json_i64_or(hg_json_get(tasks, "translate"), token_id(w, NULL, "<|translate|>"));
    if (w->start >= (int64_t)HG_TOKENIZER_IDS_MAX || w->eos >= (int64_t)HG_TOKENIZER_IDS_MAX)
        return hg_fail(err, HANGAR_E_INVALID,
                       "the configuration names a start or end token over the limit of %zu",
                       HG_TOKENIZER_IDS_MAX);
    if (w->start < 0 || w->eos < 0)
        return hg_fail(err, HANGAR_E_INVALID,
                       "neither the configuration nor the tokenizer names the start and end tokens");
    hangar_code code = read_languages(w, err);
    if (w->language_count == 0) w->transcribe = w->translate = -1;
    return code;
}

static void whisper_free(hg_whisper *w)
{
    if (!w) return;
    hg_tokenizer_free(w->tokenizer);
    hg_json_free(w->config);
    hg_json_free(w->generation);
    free(w->languages);
    free(w);
}

static hangar_code whisper_read(const hg_snapshot *snap, hg_whisper **out, hangar_err *err)
{
    hg_whisper *w = hg_calloc(1, sizeof *w);
    if (!w) return hg_fail_memory(err);
    hangar_code code = hg_load_json(snap, "config.json", &w->config, err);
    if (code == HANGAR_OK) code = hg_load_json(snap, "generation_config.json", &w->generation, err);
    if (code == HANGAR_OK) code = hg_load_tokenizer(snap, &w->tokenizer, err);
    if (code == HANGAR_OK) code = read_config(w, err);
    if (code == HANGAR_OK) code = check_features(snap, w, err);
    if (code == HANGAR_OK) code = read_tokens(w, err);
    if (code == HANGAR_OK) *out = w;
    else whisper_free(w);
    return code;
}

static hangar_code load(hangar_model *m, hangar_job *job, hangar_err *err)
{
    hg_whisper *w = NULL;
    hangar_code code = whisper_read(m->snap, &w, err);
    if (code == HANGAR_OK) code = hg_load_onnx_media(m, NULL, job, err);
    if (code == HANGAR_OK) m->data = w;
    else whisper_free(w);
    return code;
}

static void unload(hangar_model *m)
{
    whisper_free(m->data);
}

/* One window through the encoder. */
static hangar_code probe(const hangar_model *m, char **out_call_json, hangar_err *err)
{
    return hg_probe_whole(m, "encoder_model", out_call_json, err);
}

const hg_loader hg_loader_whisper = {
    .name = "whisper",
    .task = "speech recognition",
    .verb = "transcribe",
    .takes = takes,
    .load = load,
    .unload = unload,
    .probe = probe,
};
