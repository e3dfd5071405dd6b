/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The llama runner's words (frames: engine/wire.h). Nothing to link: names and shapes only. Limits: format/generate.h.
 *
 * LOAD  {"model": absolute path of the (first) GGUF file, "threads": 0 = all usable, one for a tiny model}
 * READY {"description", "parameters", "bytes", "context_trained", "vocabulary", "has_template"}
 * CALL  {"op":"generate", "messages":[{"role","content"}...] or "prompt": text as it is,
 *        "temperature","top_p","min_p","top_k","repeat_penalty","max_tokens","seed" (negative = random),
 *        "stop":[...], "grammar": GBNF, "json_schema": schema as text, "context": tokens, 0 = as trained but at most HG_GENERATE_CONTEXT}
 * PIECE {"text"}          whole UTF-8 characters, in order, nothing of a stop string
 * TICK  {"done","total"}  of the load (per mille) or of the prompt (tokens)
 * DONE  {"text","tokens":[every id, the end token included],"finish":"stop"|"length","prompt_tokens","prompt_reused","generated_tokens",
 *        "prompt_seconds","generate_seconds"}
 */
#ifndef HG_ENGINE_LLAMA_OPS_H
#define HG_ENGINE_LLAMA_OPS_H

#endif
