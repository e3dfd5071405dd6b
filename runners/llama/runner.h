/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The llama runner: one GGUF model held by llama.cpp, answering generate calls (engine/llama_ops.h).
 * One thread speaks to hangar; llama.cpp has its own. The model is mapped from the store, so several runners
 * share one copy.
 */
#ifndef HG_RUNNER_LLAMA_H
#define HG_RUNNER_LLAMA_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "engine/llama_ops.h"
#include "format/conversation.h"
#include "format/reader.h"

#include <llama.h>
#include <stdbool.h>
#include <stdint.h>

/* The loaded model, and the context of the last call, kept so that a conversation reads its earlier turns
 * only once. */
typedef struct hg_llama {
    int fd; /* the socket to hangar */
    struct llama_model *model;
    const struct llama_vocab *vocab;
    struct llama_context *ctx;
    uint32_t n_ctx;
    int32_t threads;
    llama_token *seen; /* what the context holds, seen_len tokens */
    size_t seen_len, seen_cap;
    hg_templates templates;
    double looked; /* when the socket was looked at last in the midst of a decode */
    double spoke;  /* when a sign of life went out */
} hg_llama;

/* model.c: loads the engine's backends (one library per kind of processor or device), which lie beside its own library. Once, first. */
void hg_llama_backends(void);
/* LOAD. Sends TICK while it loads. */
hangar_code hg_llama_load(hg_llama *l, const hg_jval *load, hangar_err *err);
void hg_llama_unload(hg_llama *l);
/* The answer to LOAD; NULL when out of memory. */
hg_jw *hg_llama_ready(const hg_llama *l);
/* A context of at least the asked length (0 = the default); keeps the one there is when it is just as long.
 */
hangar_code hg_llama_context(hg_llama *l, int64_t asked, hangar_err *err);
/* A TICK; total 0 = only a sign of life. */
hangar_code hg_llama_alive(hg_llama *l, size_t done, size_t total, hangar_err *err);

/* prompt.c: the model's chat templates, as they stand in its file: read once, at the load. */
hangar_code hg_llama_templates(hg_llama *l, hangar_err *err);
/* How the model's tokenizer reads and writes; l must outlive it. */
hg_reader hg_llama_reader(const hg_llama *l);
/* The conversation as token ids, by the model's own chat template; text of a person never becomes a
 * control token. */
hangar_code hg_llama_prompt(const hg_llama *l, const hg_generate_call *call, hg_ids64 *out, hangar_err *err);

/* sample.c: the chain of samplers (free with llama_sampler_free). */
hangar_code hg_llama_sampler(const hg_llama *l, const hg_generate_call *call, struct llama_sampler **out,
                             hangar_err *err);
/* What the answer is held to, as a sampler of its own; *out NULL when that is nothing. No constraint is ever dropped in silence. */
hangar_code hg_llama_grammar(const hg_llama *l, const hg_generate_call *call, struct llama_sampler **out,
                             hangar_err *err);

/* guard.c: from `on` to off, the runner ends by FAIL LIMIT on fd when HG_GRAMMAR_SECONDS pass. */
void hg_llama_guard(int fd, bool on);

/* schema.c: a JSON Schema as a GBNF grammar. UNSUPPORTED names a keyword that it cannot hold to: never a
 * looser grammar. */
hangar_code hg_schema_grammar(const char *schema, hg_buf *out, hangar_err *err);
/*
 * Calls of the tools of a CALL, or of the one called `name` (NULL = any), as a grammar: {"name":...,"arguments":...}, with `list` in brackets.
 * The arguments keep to the shape of the tool's parameters. What a grammar cannot say of single values (pattern, format, minimum, ...) is
 * passed over, unless the tool says "strict": true: then it is refused by name.
 */
hangar_code hg_tools_grammar(const hg_jval *tools, const char *name, bool list, hg_buf *out, hangar_err *err);
/* A grammar of a caller's is looked at before the engine sees it, which recurses: LIMIT. */
hangar_code hg_grammar_check(const char *grammar, hangar_err *err);

/* probe.c: one real token, after which the context is as it was. */
hangar_code hg_llama_probe(hg_llama *l, hg_jw **out_done, hangar_err *err);

/* generate.c: one call from prompt to DONE. */
hangar_code hg_llama_generate(hg_llama *l, const hg_jval *doc, hg_jw **out_done, hangar_err *err);

#endif
