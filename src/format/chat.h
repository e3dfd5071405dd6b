/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a conversation to the prompt that a model was trained on: the chat template of a repository and what it is given.
 *
 * The template is the text of chat_template.jinja, or else chat_template of tokenizer_config.json: a text, or a list of
 * {"name", "template"} of which "tool_use" is for conversations with tools and "default" for the others. Beside the
 * conversation a template sees the special tokens of tokenizer_config.json (bos_token, eos_token, ...).
 */
#ifndef HG_FORMAT_CHAT_H
#define HG_FORMAT_CHAT_H

#include "format/jinja.h"

typedef struct hg_chat hg_chat;

/*
 * config: tokenizer_config.json or NULL; file: chat_template.jinja, its ptr NULL when there is none; tools: whether the
 * conversations will have some. NOT_FOUND when neither has a template (or the list none that fits), INVALID, LIMIT and
 * UNSUPPORTED as hg_jinja_parse. Nothing is borrowed.
 */
hangar_code hg_chat_open(const hg_jval *config, hg_str file, bool tools, hg_chat **out, hangar_err *err);
void hg_chat_free(hg_chat *chat);
void hg_chat_auto_free(hg_chat **chat); /* for HG_AUTO */

/* Whether the template makes anything of tools: found out once, by giving it one. */
bool hg_chat_takes_tools(hg_chat *chat);
/* The source has this text. */
bool hg_chat_mentions(const hg_chat *chat, hg_str text);

/*
 * Appends the prompt to `out`. input: {"messages": [{"role", "content", ...}], "tools", "documents",
 * "add_generation_prompt", ...}; its members are the template's variables and win over the special tokens. Missing:
 * tools and documents are none, add_generation_prompt is true. INVALID when there are no messages, or the template
 * refuses them (its own words); LIMIT. limits, now: as hg_jinja_render.
 */
hangar_code hg_chat_render(const hg_chat *chat, const hg_jval *input, const hg_jinja_limits *limits,
                           int64_t now, hg_buf *out, hangar_err *err);

#endif
