/* SPDX-License-Identifier: Apache-2.0 */
/* What the tokenizer's files share; nobody else includes it. */
#ifndef HG_FORMAT_TOKENIZER_INNER_H
#define HG_FORMAT_TOKENIZER_INNER_H

#include "base/mem.h"
#include "format/tokenizer.h"

typedef struct hg_tok_entry {
    char *text;
    size_t len;
    bool added; /* an added token: not part of the model's own vocabulary of pieces */
    bool single_word, lstrip, rstrip;
} hg_tok_entry;

typedef enum hg_tok_kind { HG_TOK_WORDPIECE, HG_TOK_BPE } hg_tok_kind;

struct hg_tokenizer {
    hg_tok_kind kind;
    hg_tok_entry *by_id; /* text NULL: no token has that id */
    size_t size, cap;
    int64_t *sorted; /* ids by text, for bisection */
    size_t sorted_count;
    int64_t *added; /* ids of added tokens, longest first */
    size_t added_count, added_cap;
    bool added_first[256]; /* bytes that an added token begins with */
    /* WordPiece */
    char *prefix; /* "##" */
    int64_t unk;
    size_t max_word; /* characters; a longer word is unknown */
    bool clean, chinese, strip, lower;
    int64_t before[8], after[8]; /* the template around the text */
    size_t before_count, after_count;
};

/* A growing list of ids with a ceiling of its own (HG_TOKENIZER_TEXT_MAX). */
typedef struct hg_tok_list {
    int64_t *ids;
    size_t len, cap;
} hg_tok_list;
hangar_code hg_tok_push(hg_tok_list *list, int64_t id, hangar_err *err);
/* Lookup of a text that is not NUL-terminated. */
int64_t hg_tok_find(const hg_tokenizer *t, hg_str text);

/* wordpiece.c: the pieces of a text between added tokens. */
hangar_code hg_wordpiece_encode(const hg_tokenizer *t, hg_str text, hg_tok_list *out, hangar_err *err);
/* bpe.c: the bytes of one token of a byte-level vocabulary. */
void hg_bpe_bytes(hg_str token, hg_buf *out);

#endif
