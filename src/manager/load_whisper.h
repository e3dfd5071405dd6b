/* SPDX-License-Identifier: Apache-2.0 */
/* A loaded Whisper: what its files say about tokens. Made by load_whisper.c, used by transcribe.c. */
#ifndef HG_MANAGER_LOAD_WHISPER_H
#define HG_MANAGER_LOAD_WHISPER_H

#include "format/tokenizer.h"
#include "manager/loaded.h"

typedef struct hg_whisper_language {
    char code[16]; /* "en", "haw" */
    int64_t id;
} hg_whisper_language;

typedef struct hg_whisper {
    hg_tokenizer *tokenizer;
    hg_json *config, *generation; /* config.json; generation_config.json or NULL */
    int64_t mels, frames, max_tokens;
    int64_t start, eos, no_timestamps, no_speech, max_initial; /* -1 = none */
    int64_t transcribe, translate;  /* task tokens; -1 = none (English-only models) */
    hg_whisper_language *languages; /* sorted by code; none for English-only models */
    size_t language_count;
} hg_whisper;

/* The code of a language token, or NULL. */
const char *hg_whisper_language_code(const hg_whisper *w, int64_t id);
/* -1 when the model does not know it. */
int64_t hg_whisper_language_id(const hg_whisper *w, const char *code);

#endif
