/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to token ids and back, from the files that come with a model.
 *
 * What is known: WordPiece with BertNormalizer and BertPreTokenizer (encode), byte-level BPE (decode only: the
 * vocabulary of Whisper). What a tokenizer.json asks beyond that is UNSUPPORTED, named, never ignored. Ids
 * come out as `tokenizers` and `transformers` give them.
 */
#ifndef HG_FORMAT_TOKENIZER_H
#define HG_FORMAT_TOKENIZER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

#include <stdint.h>

#define HG_TOKENIZER_IDS_MAX   ((size_t)1 << 20)  /* highest id + 1 of a vocabulary */
#define HG_TOKENIZER_ADDED_MAX ((size_t)100000)   /* added tokens */
#define HG_TOKENIZER_TOKEN_MAX ((size_t)65536)    /* bytes of one token */
#define HG_TOKENIZER_TEXT_MAX  ((size_t)16 << 20) /* bytes of a text to encode */

typedef struct hg_tokenizer hg_tokenizer;

/* tokenizer.json. */
hangar_code hg_tokenizer_parse(const hg_jval *root, hg_tokenizer **out, hangar_err *err);
/*
 * vocab.txt, one token per line; config is tokenizer_config.json (do_lower_case, strip_accents,
 * tokenize_chinese_chars, *_token) or NULL.
 */
hangar_code hg_tokenizer_from_lines(hg_str vocab, const hg_jval *config, hg_tokenizer **out, hangar_err *err);
/* vocab.json and added_tokens.json (NULL = none), both {"token": id}: byte-level BPE, decode only. */
hangar_code hg_tokenizer_from_vocab(const hg_jval *vocab, const hg_jval *added, hg_tokenizer **out,
                                    hangar_err *err);
void hg_tokenizer_free(hg_tokenizer *t);

/* WordPiece: lower the case whatever the files said. */
void hg_tokenizer_set_lower(hg_tokenizer *t);
/* One more than the highest id. */
size_t hg_tokenizer_size(const hg_tokenizer *t);
/* A token's text as it stands in the file, borrowed; NULL when no token has that id. */
const char *hg_tokenizer_text(const hg_tokenizer *t, int64_t id);
/* -1 when there is no such token. */
int64_t hg_tokenizer_id(const hg_tokenizer *t, const char *text);

typedef struct hg_token_ids {
    int64_t *ids; /* the caller's, free() */
    size_t count;
    bool truncated;
} hg_token_ids;
/*
 * A text with the tokens that the model wants around it ([CLS] ... [SEP]), cut to max_tokens (0 = no limit).
 * UNSUPPORTED for BPE.
 */
hangar_code hg_tokenizer_encode(const hg_tokenizer *t, hg_str text, size_t max_tokens, hg_token_ids *out,
                                hangar_err *err);
/*
 * Ids to UTF-8 text, appended to `out`; malformed bytes become U+FFFD. Added tokens (<|en|>, [SEP]) and ids
 * that are none are left out. UNSUPPORTED for WordPiece.
 */
hangar_code hg_tokenizer_decode(const hg_tokenizer *t, const int64_t *ids, size_t count, hg_buf *out,
                                hangar_err *err);

#endif
