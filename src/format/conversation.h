/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversation, and the tools that it may use, as the ids of a prompt: by the model's own template, the same for all engines.
 *
 * What a caller writes never becomes a control token, whatever the template does with it. Messages: the prompt must have the control tokens
 * that it has with the messages left out, and no others; otherwise each message is read by itself. All other texts (tools, calls, names):
 * one that would be read as a control token is carried through the template between two signs, and what is between them is read as letters.
 */
#ifndef HG_FORMAT_CONVERSATION_H
#define HG_FORMAT_CONVERSATION_H

#include "format/chat.h"
#include "format/generate.h"
#include "format/reader.h"

#define HG_CONVERSATION_BYTES_MAX ((size_t)16 << 20) /* of the text that a template makes */

/* The templates of a loaded model. */
typedef struct hg_templates {
    hg_chat *
        plain; /* NULL = there is none that can be used: `wrong` says why, or is OK when the model has none */
    hg_chat *tools; /* for conversations with tools; NULL = `plain` is, too */
    hangar_err wrong;
    /* What an engine can do where `plain` is NULL; NULL = nothing. The input is hg_chat_render's, without tools. */
    hangar_code (*builtin)(const void *ctx, const hg_jval *input, hg_buf *out, hangar_err *err);
    const void *builtin_ctx;
} hg_templates;

/* config and file: as hg_chat_open. A template that cannot be read is told of when it is needed; the code is NO_MEMORY or OK. */
hangar_code hg_templates_open(const hg_jval *config, hg_str file, hg_templates *out, hangar_err *err);
void hg_templates_deinit(hg_templates *t);
bool hg_templates_any(const hg_templates *t);

/*
 * Appends the prompt with its generation prompt to out, which is empty. USAGE names the message that is none; UNSUPPORTED when the model
 * has no template, or one without a place for tools while the call may choose to use them; else as hg_chat_render.
 */
hangar_code hg_conversation_prompt(const hg_templates *t, const hg_reader *reader,
                                   const hg_generate_call *call, hg_ids64 *out, hangar_err *err);
/* What the model begins a call with, to stand behind the prompt of an answer that is forced to be one; "" when it is not known. */
hg_str hg_templates_call_mark(const hg_templates *t);
/* Each message has a role of letters, and text or, of an assistant, calls. */
hangar_code hg_conversation_check(const hg_jval *messages, hangar_err *err);

#endif
