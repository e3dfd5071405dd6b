/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Using a model: text generation, transcription, embeddings, labels. The engines run in child processes; a crash
 * there is an error here (HANGAR_E_ENGINE) and nothing more.
 *
 * A hangar_model is one model held in memory by one child. Life: hangar_model_load -> any number of
 * calls, one at a time -> hangar_model_unload. The calls below that take a REF load, use and unload.
 */
#ifndef HANGAR_ENGINE_H
#define HANGAR_ENGINE_H

#include "hangar/hangar.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hangar_model hangar_model;

/* Loads a model into a child of its own. Converts it first when only safetensors are there. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_model_load(hangar *h, const char *ref, hangar_job *job,
                                                           hangar_model **out, hangar_err *err);
HANGAR_API void hangar_model_unload(hangar_model *model);

/* One turn of a conversation. role: "system", "user" or "assistant". */
typedef struct hangar_message {
    const char *role;
    const char *content;
} hangar_message;

/* Sampling and limits. HANGAR_GENERATE_OPTIONS_INIT holds the defaults; ranges are checked. */
typedef struct hangar_generate_options {
    size_t size;
    double temperature;      /* 0 (greedy) .. 5; default 0.8                                        */
    double top_p;            /* (0, 1]; default 0.95                                                */
    double min_p;            /* [0, 1]; default 0.05                                                */
    int top_k;               /* 0 = off; default 40                                                 */
    double repeat_penalty;   /* [0.001, 10]; 1 = off, the default                                   */
    int max_tokens;          /* 1 ..; default 512                                                   */
    int64_t seed;            /* negative = random, the default                                      */
    const char *const *stop; /* NULL-terminated; generation ends before any of these; NULL = none   */
    const char *grammar;     /* GBNF; NULL = none; for GGUF models alone                            */
    const char *json_schema; /* JSON Schema as text; NULL = none; not with grammar; as that           */
    int context_length;      /* tokens; 0 = what the model was trained with, at most 8192           */
    bool raw;                /* the prompt as it is, without the model's chat template              */
} hangar_generate_options;
#define HANGAR_GENERATE_OPTIONS_INIT                                                               \
    {                                                                                              \
        .size = sizeof(hangar_generate_options), .temperature = 0.8, .top_p = 0.95, .min_p = 0.05, \
        .top_k = 40, .repeat_penalty = 1.0, .max_tokens = 512, .seed = -1                          \
    }

/*
 * Answers a conversation (count messages). The pieces arrive as TEXT events of `job`. out_json (may be
 * NULL): {"model","text","tokens":[ids],"finish":"stop"|"length"|"cancelled","prompt_tokens",
 * "generated_tokens","load_seconds","prompt_seconds","generate_seconds"}.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_generate(hangar_model *model, const hangar_message *messages,
                                                         size_t count, const hangar_generate_options *options,
                                                         hangar_job *job, char **out_json, hangar_err *err);

/*
 * Asks a model by the name that the catalogue has for it (docs/formats/config.md: models.list), local or in the cloud, or by its REF. It is
 * loaded when it is not, and the next of its chain answers when it fails (docs/formats/fallback.md). The pieces arrive as TEXT events of `job`,
 * a NOTE tells of each switch. out_json (may be NULL): {"model": who answered, "fell_back","text","finish","prompt_tokens","generated_tokens",
 * "load_seconds","prompt_seconds","generate_seconds"}; -1 = not known. The model is let go afterwards: who asks often runs the daemon (serve.h).
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_ask(hangar *h, const char *model,
                                                    const hangar_message *messages, size_t count,
                                                    const hangar_generate_options *options, hangar_job *job,
                                                    char **out_json, hangar_err *err);

/* Where a question to a model goes from here. */
typedef enum hangar_where {
    HANGAR_WHERE_HERE,   /* a process of this one's own: hangar_model_load, hangar_generate */
    HANGAR_WHERE_DAEMON, /* a daemon runs: hangar_daemon_generate */
    HANGAR_WHERE_CHAIN, /* none runs, and the model is in the cloud or has others that stand in for it: hangar_ask */
} hangar_where;
HANGAR_API hangar_where hangar_model_where(hangar *h, const char *model);

/*
 * hangar_ask by way of the daemon, which keeps the model for the next question. Events and document as there; a NOTE tells when another model
 * answers. CANCELLED gives the document of what came, "finish":"cancelled".
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_daemon_generate(hangar *h, const char *model,
                                                                const hangar_message *messages, size_t count,
                                                                const hangar_generate_options *options,
                                                                hangar_job *job, char **out_json,
                                                                hangar_err *err);

typedef struct hangar_transcribe_options {
    size_t size;
    const char *language; /* "en", "pt", ...; NULL = the model finds out       */
    const char *task;     /* "transcribe" (default) or "translate" (to English) */
    int beams;            /* 1 (default, greedy) .. 16                          */
    bool timestamps;      /* ask the model for the times of its segments        */
} hangar_transcribe_options;
#define HANGAR_TRANSCRIBE_OPTIONS_INIT                        \
    {                                                         \
        .size = sizeof(hangar_transcribe_options), .beams = 1 \
    }

/*
 * Transcribes one audio file of any format that libav reads, any length. Events: TOTAL in milliseconds of
 * audio, TEXT per window. out_json: {"model","file","text","language","duration","segments":[{"start",
 * "end","text","tokens"}],"tokens":[ids],"seconds"}; times in seconds.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_transcribe(hangar_model *model, const char *file,
                                                           const hangar_transcribe_options *options,
                                                           hangar_job *job, char **out_json, hangar_err *err);

/*
 * Embeds `count` texts, each cut at the model's limit. out_json: {"model","dimensions","embeddings":
 * [[...]],"tokens":[counts],"truncated":[indices]}.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_embed(hangar_model *model, const char *const *texts,
                                                      size_t count, hangar_job *job, char **out_json,
                                                      hangar_err *err);

/*
 * Embeds pictures (JPEG, PNG, WebP) by the picture side of CLIP or SigLIP; hangar_embed has its text side. out_json: {"model","dimensions",
 * "embeddings":[[...]],"files":[names]}.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_embed_images(hangar_model *model, const char *const *files,
                                                             size_t count, hangar_job *job, char **out_json,
                                                             hangar_err *err);

typedef struct hangar_classify_options {
    size_t size;
    int top;                   /* labels told of each text, the likeliest first; 0 = all; default 5 */
    const char *const *labels; /* of pictures, for models that know none: NULL-terminated; NULL = none */
    const char *
        sentence; /* the sentence around such a label, with {} in its place; NULL = "This is a photo of {}." */
} hangar_classify_options;
#define HANGAR_CLASSIFY_OPTIONS_INIT                      \
    {                                                     \
        .size = sizeof(hangar_classify_options), .top = 5 \
    }

/*
 * Gives each of `count` texts, or each of its tokens, a label; a text is cut at the model's limit. What the model is made for decides.
 * out_json: {"model","task":"text-classification"|"token-classification","function":"softmax"|"sigmoid"|"none","results":[{"text",
 * "labels":[{"label","score"}]} or {"text","tokens":[{"id","token","label","score"}]}],"truncated":[indices]}. Scores are shares of 1
 * (softmax), each by itself from 0 to 1 (sigmoid), or the model's own numbers (none: a regression).
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_classify(hangar_model *model, const char *const *texts,
                                                         size_t count, const hangar_classify_options *options,
                                                         hangar_job *job, char **out_json, hangar_err *err);

/*
 * The same for pictures (JPEG, PNG, WebP): by the labels that the model was made with, or, for CLIP and SigLIP, by those of the options.
 * out_json: {"model","task":"image-classification"|"zero-shot-image-classification","function","results":[{"file","labels":[{"label",
 * "score"}]}]}.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_classify_images(hangar_model *model, const char *const *files,
                                                                size_t count,
                                                                const hangar_classify_options *options,
                                                                hangar_job *job, char **out_json,
                                                                hangar_err *err);

#ifdef __cplusplus
}
#endif
#endif
