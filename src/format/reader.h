/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the tokenizer of a loaded model reads and writes, whichever engine it belongs to: what the code that is the same for all engines
 * needs of it.
 */
#ifndef HG_FORMAT_READER_H
#define HG_FORMAT_READER_H

#include "format/tokenizer.h"

typedef enum hg_reading {
    HG_READ_TEMPLATE, /* what is written like a control token is one; the beginning of a list gets what the model wants there */
    HG_READ_MARKS,  /* the same without a beginning */
    HG_READ_PERSON, /* no id is a control token */
} hg_reading;

/* A growing list of ids. Zero-initialise; hg_ids64_deinit. */
typedef struct hg_ids64 {
    int64_t *ids;
    size_t count, cap;
} hg_ids64;
hangar_code hg_ids64_add(hg_ids64 *list, int64_t id, hangar_err *err);
void hg_ids64_deinit(hg_ids64 *list);

typedef struct hg_reader {
    const void *ctx;
    /* Appends the ids of a text, which may be empty. */
    hangar_code (*read)(const void *ctx, hg_str text, hg_reading how, hg_ids64 *out, hangar_err *err);
    /* Whether an id is control and not text. */
    bool (*control)(const void *ctx, int64_t id);
    /* Appends the bytes that an id stands for in the midst of a text: none for control. May be half a character. */
    hangar_code (*piece)(const void *ctx, int64_t id, hg_buf *out, hangar_err *err);
} hg_reader;

#endif
