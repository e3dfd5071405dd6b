/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates that turn a conversation into a prompt: the dialect of Jinja that chat templates are written in.
 *
 * A template is parsed once and rendered often; a parsed template is never changed, so threads may share it. What is
 * meant by the source is what Jinja 3 means by it in the environment that `transformers` makes (trim_blocks,
 * lstrip_blocks, loop controls, its own `tojson`, `raise_exception`, `strftime_now`, the `generation` tag); the page
 * docs/formats/chat-templates.md lists all of it.
 *
 * A template is a stranger's program and has no power: it reads the context, writes text, and nothing else. There are
 * no files, no other templates, no objects behind the data, no format strings. It is held by the limits below; whoever
 * breaks one ends in HANGAR_E_LIMIT in well under a second.
 */
#ifndef HG_FORMAT_JINJA_H
#define HG_FORMAT_JINJA_H

#include "base/buf.h"
#include "base/json.h"

#define HG_JINJA_SOURCE_MAX   ((size_t)1 << 20)  /* bytes of a template */
#define HG_JINJA_TREE_MAX     ((size_t)64 << 20) /* bytes of a parsed template */
#define HG_JINJA_SYNTAX_DEPTH 150                /* brackets, blocks and operators inside one another */
#define HG_JINJA_VALUE_DEPTH  100                /* lists and dicts inside one another */
#define HG_JINJA_RANGE_MAX    100000             /* items of one range(), as in Jinja's sandbox */

/* What one rendering may use; 0 = the default in brackets. */
typedef struct hg_jinja_limits {
    uint64_t steps; /* expressions and statements, and the bytes and items that they work on [2,000,000] */
    size_t output;  /* bytes of the text [16 MiB] */
    size_t memory;  /* bytes of all values that are made on the way [64 MiB] */
    unsigned depth; /* evaluation inside evaluation, macros included [500; more is cut to 2,000] */
} hg_jinja_limits;

typedef struct hg_jinja hg_jinja;

/*
 * INVALID for what is not the language, UNSUPPORTED for what Jinja has and chat templates must not (include, import,
 * extends, block ...), LIMIT; each with the line. Filters and tests that do not exist fail when they are reached.
 */
hangar_code hg_jinja_parse(hg_str source, hg_jinja **out, hangar_err *err);
void hg_jinja_free(hg_jinja *t);
void hg_jinja_auto_free(hg_jinja **t); /* for HG_AUTO */

/*
 * Appends the text to `out`. context: an object whose members are the template's variables (NULL = none); it must
 * outlive the call only. now: seconds since 1970, which strftime_now() shows as UTC. limits may be NULL.
 * INVALID when the template goes wrong, with its line; when the template itself says so by raise_exception(text), the
 * message is that text alone. On an error `out` is as it was.
 */
hangar_code hg_jinja_render(const hg_jinja *t, const hg_jval *context, const hg_jinja_limits *limits,
                            int64_t now, hg_buf *out, hangar_err *err);

#endif
