/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The llama runner's words (frames: engine/wire.h). Nothing to link: names and shapes only. Limits: format/generate.h.
 *
 * LOAD  {"model": absolute path of the (first) GGUF file, "threads": 0 = all usable, one for a tiny model}
 * READY {"description", "parameters", "bytes", "context_trained", "vocabulary", "has_template"}
 * CALL  {"op":"generate", "messages":[{"role","content"}...] or "prompt": text as it is,
 *        "temperature","top_p","min_p","top_k","repeat_penalty","presence_penalty","frequency_penalty" (-2..2),
 *        "max_tokens","seed" (negative = random), "stop":[...],
 *        "grammar": GBNF, or "json_schema": schema as text, or "json": true = any JSON object,
 *        "context": tokens, 0 = as trained but at most HG_GENERATE_CONTEXT,
 *        "logprobs": n = 0..HG_GENERATE_LOGPROBS_MAX: tell how likely each token was, and the n likeliest at its place,
 *        "begun": text of the answer that is out already, "begun_tokens": how many of max_tokens that took (0)}
 *        A member that is null is as good as missing.
 *
 *        Messages: roles are words ("system", "user", "assistant", "tool", ...); content is text. An assistant that calls has
 *        "tool_calls":[{"id","function":{"name","arguments": an object or its text}}] and may have no content; a tool's answer has what
 *        its template wants ("tool_call_id", "name"). They go through the chat template of the model's file, by our own Jinja
 *        (format/conversation.h), or, where that does not read it, through what llama.cpp takes it for.
 *        "tools":[{"type":"function","function":{"name","description","parameters": JSON Schema, "strict"}}...],
 *        "tool_choice":"auto" | "none" (the model is told of none) | "required" | {"name"}. "auto" is UNSUPPORTED where the template has
 *        no place for tools. The latter two hold the answer to a grammar made of the tools' parameters, whatever the template: one call
 *        and nothing else. What a grammar cannot say of single values (pattern, minimum, ...) is passed over unless the tool is strict;
 *        then, and in "json_schema", it is UNSUPPORTED by name. A grammar that cannot be made or read, or is too large, is an error,
 *        never no grammar; one that keeps the engine busy for HG_GRAMMAR_SECONDS at once is LIMIT, and the runner ends.
 *
 *        The begun text stands behind the prompt with its generation prompt, as it is and without control tokens, and the answer goes
 *        on from it: only what follows comes as PIECEs. A stop string that begins in it and ends behind it is met. At temperature 0 what
 *        follows is what would have followed had nobody cut the answer there, wherever that was (format/begun.h). Not with a grammar.
 * PIECE {"text"}          whole UTF-8 characters, in order, nothing of a stop string. Without "logprobs" the frame is exactly
 *        {"text":"..."}, byte for byte: no space, no other member. Who passes it on may take the literal out of it unparsed.
 *       {"text","logprobs":[{"token","bytes","logprob","top":[{"token","bytes","logprob"}...]}...]}: the tokens whose text begins in
 *        this piece; natural logarithms of the softmax of the raw scores (HG_LOGPROB_NEVER for none), `top` the likeliest first.
 *        "bytes" is there only when the token is no whole UTF-8; then "token" has U+FFFD. The end token is not told;
 *        among the others control tokens have an empty text.
 *       {"tool_call":{"id","name","arguments": text of a JSON object}}: a call (its forms: format/toolcall.h), when there are tools, they
 *        may be used, and no other form is asked for. Text that may become one is held back, at most HG_TOOLCALL_BYTES_MAX.
 * TICK  {"done","total"}  of the load (per mille) or of the prompt (tokens); total 0: a sign of life, at least once a second while nothing
 *        else goes out
 * DONE  {"text","tokens":[every id, the end token included],"finish":"stop"|"length"|"tool_calls","prompt_tokens","prompt_reused","begun_tokens" (with
 *        "begun"), "generated_tokens","prompt_seconds","generate_seconds"}: text and tokens are the new ones, the text without calls. A token that runs beyond the
 *        end of the begun text is new.
 *
 * CALL  {"op":"probe"}: one token goes through the model, behind what the context holds, and is taken out again. The next call finds the context as it
 *        was (but that of a model which cannot forget one token: it begins anew). The first makes a context of the default length.
 * DONE  {"seconds"}; FAIL ENGINE also when the scores are no numbers
 */
#ifndef HG_ENGINE_LLAMA_OPS_H
#define HG_ENGINE_LLAMA_OPS_H

#define HG_GRAMMAR_SECONDS \
    10 /* that the engine may be busy with a grammar at once: then FAIL LIMIT, and the runner ends */

#endif
