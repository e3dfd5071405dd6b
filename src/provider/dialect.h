/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a provider is: one constant `hg_provider_<name>` in <name>.c and one line in providers.def. It turns a question into a path and a body
 * (pure functions of the question), and each event of the service's stream into calls of hg_cloud_answer_*. Connections, keys, limits of time
 * and the reading of events are the same for all (cloud.c, call.c).
 */
#ifndef HG_PROVIDER_DIALECT_H
#define HG_PROVIDER_DIALECT_H

#include "provider/provider.h"

#define HG_ANSWER_TEXT_MAX  (64 * HG_MIB) /* bytes of text of one answer */
#define HG_ANSWER_TOOLS_MAX 128           /* tool calls of one answer */
#define HG_ANSWER_ARGS_MAX  HG_MIB        /* bytes of one tool call's arguments */

/* ---- the question ---- */

typedef struct hg_question {
    const hg_cloud_target *target;
    const hg_jval *ask;
    hg_str begun; /* "" = none */
    bool own;     /* at the provider's own address, not at one that was configured */
} hg_question;

/* Text of a message's "content" into out: a string, null (nothing), or an array of {"type":"text","text"}. USAGE for anything else. */
hangar_code hg_question_text(const hg_jval *content, hg_buf *out, hangar_err *err);
/* The messages, checked to be objects of a known role; a "prompt" gives NULL. USAGE. */
hangar_code hg_question_messages(const hg_question *q, const hg_jval **out, hangar_err *err);
/* USAGE, naming the member and the provider, when the question has it (null, false and "" count as not). */
hangar_code hg_question_lacks(const hg_question *q, const char *member, hangar_err *err);
/* The function that the call `id` was of, as the messages before say; NULL = none is called so. */
const char *hg_question_called(const hg_jval *messages, const char *id);
/* All system messages' text, joined by an empty line, into out. */
hangar_code hg_question_system(const hg_jval *messages, hg_buf *out, hangar_err *err);
/* The schema of "json_schema", parsed; NULL without. USAGE when it is no JSON object. */
hangar_code hg_question_schema(const hg_question *q, hg_json **out, hangar_err *err);
/* The first `name` when it is a number, written as `as`; nothing otherwise. */
void hg_question_number(const hg_question *q, hg_jw *w, const char *name, const char *as);
/* The arguments of a tool call in "messages" as an object under `key`; they may also be its text. USAGE when it is none. */
hangar_code hg_question_arguments(const hg_jval *tool_call, hg_jw *w, const char *key, hangar_err *err);
/* max_tokens when there is a limit, else `def`. */
int64_t hg_question_most(const hg_question *q, int64_t def);

typedef enum hg_tool_choice {
    HG_TOOLS_UNSAID,
    HG_TOOLS_AUTO,
    HG_TOOLS_NONE,
    HG_TOOLS_REQUIRED,
    HG_TOOLS_ONE
} hg_tool_choice;
/* How "tool_choice" reads; the name of ONE is borrowed. USAGE. */
hangar_code hg_question_choice(const hg_question *q, hg_tool_choice *out, const char **out_name,
                               hangar_err *err);

/* ---- the answer ---- */

typedef struct hg_cloud_answer_tool {
    int64_t index; /* the service's own number of it */
    char *id, *name;
    hg_buf arguments;
    bool told;
} hg_cloud_answer_tool;

/* An answer on its way: what the events of one stream say. Its fns are called at once; after `deaf` none is. */
typedef struct hg_cloud_answer {
    const hg_cloud_fns *fns;
    void *ctx;
    bool deaf;  /* the asker has cancelled */
    bool alive; /* text, a thought or a tool call has come: the wait for the first is over */
    bool done;  /* the service has said that the stream is whole */
    char finish[16];
    int64_t prompt_tokens, generated_tokens;
    hg_cloud_fault fault; /* NONE = all is well so far */
    double retry_after;
    hangar_err err; /* why, when fault is set */
    hg_buf literal; /* of the piece of text that goes out */
    uint64_t text_bytes;
    char *skip; /* owned: bytes that the answer may begin with and that are out already; NULL = none */
    size_t skipped;
    hg_cloud_answer_tool *tools;
    size_t tool_count, tool_cap;
} hg_cloud_answer;

void hg_cloud_answer_init(hg_cloud_answer *a, const hg_cloud_fns *fns, void *ctx);
void hg_cloud_answer_deinit(hg_cloud_answer *a);
void hg_cloud_answer_text(hg_cloud_answer *a, hg_str text);
/* A sign of life without text: a thought. */
void hg_cloud_answer_thought(hg_cloud_answer *a);
/* The tool call with the service's number `index`, begun when it is new; id and name (NULL = not told now) are noted once. NULL when that failed. */
hg_cloud_answer_tool *hg_cloud_answer_tool_at(hg_cloud_answer *a, int64_t index, const char *id,
                                              const char *name);
void hg_cloud_answer_tool_add(hg_cloud_answer *a, hg_cloud_answer_tool *t, hg_str arguments);
/* The call is whole: it is told. Empty arguments are "{}"; such that are no JSON object are a fault. */
void hg_cloud_answer_tool_end(hg_cloud_answer *a, hg_cloud_answer_tool *t);
/* Tells all calls that were not yet told, in order. */
void hg_cloud_answer_tools_end(hg_cloud_answer *a);
/* "stop", "length", "tool_calls", "content_filter" */
void hg_cloud_answer_finish(hg_cloud_answer *a, const char *finish);
/* Negative = not told now. */
void hg_cloud_answer_usage(hg_cloud_answer *a, int64_t prompt, int64_t generated);
/* The service reports an error within the stream; the first one counts. `words` may be NULL. */
void hg_cloud_answer_error(hg_cloud_answer *a, hg_cloud_fault fault, const char *words);
/* The text that a service puts into an error, whatever its shape; NULL when there is none. Borrowed. */
const char *hg_cloud_answer_words(const hg_jval *doc);

/* ---- the provider ---- */

typedef struct hg_provider {
    const char *name;
    const char *key_header;      /* what stands before the key: "x-api-key: " */
    const char *const *headers;  /* further ones, NULL-terminated; NULL = none */
    const char *const *reserved; /* members of the body that "extra" may not set, NULL-terminated */
    const char *const (
        *renames)[2]; /* how "extra" may spell members otherwise, ends with {NULL}; NULL = none */
    /* The address: base or the configured one, with the path. NULL when out of memory. The caller's. */
    char *(*url)(const hg_question *q);
    /* The members of the body, into the object that is open. USAGE when the question holds what cannot be asked here. */
    hangar_code (*body)(const hg_question *q, hg_jw *w, hangar_err *err);
    /* Before the first event; may be NULL. */
    hangar_code (*begin)(const hg_question *q, hg_cloud_answer *a, hangar_err *err);
    void (*event)(hg_cloud_answer *a, const char *name, const hg_jval *doc);
    /* What an error answer means beyond its status; may be NULL. */
    void (*fault)(const hg_jval *doc, unsigned status, hg_cloud_fault *fault, double *retry_after);
    bool (*continues)(const char *model); /* NULL = never */
} hg_provider;

#define HG_PROVIDER(name) extern const hg_provider hg_provider_##name;
#include "provider/providers.def"
#undef HG_PROVIDER
/* NULL when there is none of that name. */
const hg_provider *hg_provider_get(const char *name);

/*
 * The whole request of a question: address and body, the caller's to free. `extra` of the target is laid under what the question says: its members
 * that the question does not set are added, objects member by member. USAGE: the question; INVALID: the configuration (address, extra).
 */
hangar_code hg_provider_request(const hg_provider *p, const hg_question *q, char **out_url, char **out_body,
                                hangar_err *err);
/* base + path, where a base without a path gets `version` ("/v1") in between. The caller's; NULL when out of memory. */
char *hg_provider_join(const char *base, const char *version, const char *path);

#endif
