/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to token ids and back, from the files that come with a model.
 *
 * tokenizer.json is read whole: normalizer, pre_tokenizer, model (BPE, WordPiece, Unigram, WordLevel), added tokens,
 * post_processor and decoder, each with the types that the library `tokenizers` knows; the older files vocab.txt, and
 * vocab.json with merges.txt, are read as what they stand for. Ids come out as `tokenizers` gives them (where the
 * JavaScript port differs, the Rust library is right). What a file asks beyond that is UNSUPPORTED, named, never
 * ignored: UnicodeScripts, SentencePiece's own .model files, BPE dropout (which is for training) alone is passed over,
 * as are "truncation" and "padding", which are the caller's business.
 *
 * A tokenizer is not changed by encoding or decoding: several threads may use one at the same time.
 */
#ifndef HG_FORMAT_TOKENIZER_H
#define HG_FORMAT_TOKENIZER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

#include <stdint.h>

#define HG_TOKENIZER_IDS_MAX   ((size_t)1 << 20) /* highest id + 1 of a vocabulary */
#define HG_TOKENIZER_ADDED_MAX ((size_t)100000)  /* added tokens */
#define HG_TOKENIZER_TOKEN_MAX ((size_t)65536)   /* bytes of one token */
#define HG_TOKENIZER_PIECE_MAX \
    ((size_t)1024) /* bytes of an added token, and of one of WordPiece or Unigram */
#define HG_TOKENIZER_MERGES_MAX ((size_t)4 << 20) /* merges of BPE */
#define HG_TOKENIZER_STEPS_MAX  ((size_t)64) /* normalizers, pre-tokenizers or decoders, nested ones counted */
#define HG_TOKENIZER_NEST_MAX   8u           /* Sequence inside Sequence */
#define HG_TOKENIZER_TEXT_MAX   ((size_t)16 << 20) /* bytes of a text to encode, of a decoded one, and tokens */

typedef struct hg_tokenizer hg_tokenizer;

/* tokenizer.json. INVALID, LIMIT or UNSUPPORTED, naming the part. */
hangar_code hg_tokenizer_parse(const hg_jval *root, hg_tokenizer **out, hangar_err *err);
/*
 * vocab.txt, one token per line; config is tokenizer_config.json (do_lower_case, strip_accents,
 * tokenize_chinese_chars, *_token) or NULL.
 */
hangar_code hg_tokenizer_from_lines(hg_str vocab, const hg_jval *config, hg_tokenizer **out, hangar_err *err);
/* vocab.json and added_tokens.json (NULL = none), both {"token": id}: byte-level BPE, decode only. */
hangar_code hg_tokenizer_from_vocab(const hg_jval *vocab, const hg_jval *added, hg_tokenizer **out,
                                    hangar_err *err);
/*
 * The same with merges.txt ("a b" per line, a line that begins with "#version" is a comment) and tokenizer_config.json
 * (NULL = none): byte-level BPE as GPT-2 has it, and with <s> and </s> around the text when tokenizer_class says
 * Roberta, Bart or the like. UNSUPPORTED, named, for a class that is neither.
 */
hangar_code hg_tokenizer_from_merges(const hg_jval *vocab, hg_str merges, const hg_jval *added,
                                     const hg_jval *config, hg_tokenizer **out, hangar_err *err);
void hg_tokenizer_free(hg_tokenizer *t);

/* Lower the case whatever the files said. */
void hg_tokenizer_set_lower(hg_tokenizer *t);
/*
 * What tokenizer_config.json adds: clean_up_tokenization_spaces, and which tokens are special (added_tokens_decoder,
 * additional_special_tokens, bos_token and its like), also where tokenizer.json does not call them so. config may be NULL.
 */
void hg_tokenizer_configure(hg_tokenizer *t, const hg_jval *config);
/* A token's text as it stands in the file, borrowed; NULL when no token has that id. */
const char *hg_tokenizer_text(const hg_tokenizer *t, int64_t id);
/* -1 when there is no such token. */
int64_t hg_tokenizer_id(const hg_tokenizer *t, const char *text);
/* Whether the files call the token special: control, not text. */
bool hg_tokenizer_special(const hg_tokenizer *t, int64_t id);
/* The same but for the token that stands for what is unknown: that one is text. */
bool hg_tokenizer_control(const hg_tokenizer *t, int64_t id);

typedef struct hg_token_ids {
    int64_t *ids;   /* the caller's, free() */
    uint8_t *types; /* the caller's, free(): which text each belongs to; NULL unless it was asked for */
    size_t count;
    bool truncated;
} hg_token_ids;
void hg_token_ids_deinit(hg_token_ids *ids);

typedef struct hg_encode_options {
    hg_str pair;       /* the second text; ptr NULL = none */
    size_t max_tokens; /* 0 = no limit; a pair loses from the longer text first */
    bool plain;        /* without the tokens that the model wants around a text */
    bool harmless; /* what is written like a control token is read as its letters: no id of the text is one */
    bool types;    /* also token type ids */
} hg_encode_options;
/*
 * A text as ids, cut to max_tokens. Malformed bytes count as U+FFFD. LIMIT when a text is too long, when max_tokens
 * leaves no room for a text, or when a pattern of the file takes too many steps; INVALID when a character has no token
 * and the vocabulary has none for the unknown. options may be NULL.
 */
hangar_code hg_tokenizer_encode_with(const hg_tokenizer *t, hg_str text, const hg_encode_options *options,
                                     hg_token_ids *out, hangar_err *err);
/* A text with the tokens that the model wants around it ([CLS] ... [SEP]), cut to max_tokens (0 = no limit). */
hangar_code hg_tokenizer_encode(const hg_tokenizer *t, hg_str text, size_t max_tokens, hg_token_ids *out,
                                hangar_err *err);

/* What is left out of a decoded text; ids that no token has always are. */
typedef enum hg_decode_skip {
    HG_DECODE_ALL,     /* nothing */
    HG_DECODE_SPECIAL, /* special tokens (what chat wants) */
    HG_DECODE_ADDED    /* all added tokens, special or not (what transcription wants) */
} hg_decode_skip;
/* Ids to UTF-8 text, appended to `out`; malformed bytes become U+FFFD. */
hangar_code hg_tokenizer_decode_with(const hg_tokenizer *t, const int64_t *ids, size_t count,
                                     hg_decode_skip skip, hg_buf *out, hangar_err *err);
/* The same with HG_DECODE_ADDED. */
hangar_code hg_tokenizer_decode(const hg_tokenizer *t, const int64_t *ids, size_t count, hg_buf *out,
                                hangar_err *err);

/*
 * Appends the bytes that one id stands for in the midst of a text, which may be half a character; nothing for a special token and for an id
 * that is none.
 */
hangar_code hg_tokenizer_piece(const hg_tokenizer *t, int64_t id, hg_buf *out, hangar_err *err);

/*
 * The same id by id: each call appends what is sure, which is whole characters that no later id can change; the end
 * appends the rest. What comes out is, put together, what hg_tokenizer_decode_with gives. The tokenizer must outlive it.
 */
typedef struct hg_token_stream hg_token_stream;
hangar_code hg_token_stream_new(const hg_tokenizer *t, hg_decode_skip skip, hg_token_stream **out,
                                hangar_err *err);
hangar_code hg_token_stream_push(hg_token_stream *s, int64_t id, hg_buf *out, hangar_err *err);
/* The stream is at its beginning again afterwards. */
hangar_code hg_token_stream_end(hg_token_stream *s, hg_buf *out, hangar_err *err);
void hg_token_stream_free(hg_token_stream *s);

#endif
