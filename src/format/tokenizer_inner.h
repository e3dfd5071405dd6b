/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tokenizer's files share; nobody else includes it.
 *
 *   tokenizer.c    encoding: added tokens, normalizers, pre-tokenizers, the model, what goes around
 *   tok_load.c     tokenizer.json; tok_older.c the files before it
 *   tok_vocab.c    texts and ids, and the tree of pieces; tok_added.c added tokens in a text
 *   tok_step.c     the tables of normalizers, pre-tokenizers and decoders, read into lists of steps
 *   tok_norm.c, tok_charsmap.c, tok_pre.c, tok_post.c, tok_decode.c    what those do
 *   tok_regex.c    patterns, by PCRE2; tok_pattern.c turns Oniguruma's into PCRE2's
 *   bpe.c, wordpiece.c, tok_unigram.c    the models
 *   tok_uni.c      properties of characters
 */
#ifndef HG_FORMAT_TOKENIZER_INNER_H
#define HG_FORMAT_TOKENIZER_INNER_H

#include "base/mem.h"
#include "format/tokenizer.h"
#include "format/uni.h"

/* A text under work: normalizing and mapping bytes to characters make it longer. */
#define HG_TOK_WORK_MAX (32 * HG_TOKENIZER_TEXT_MAX)

/* ---- characters (tok_uni.c) ---- */
bool hg_uni_space(uint32_t c);   /* White_Space */
bool hg_uni_punct(uint32_t c);   /* ASCII punctuation and category P */
bool hg_uni_numeric(uint32_t c); /* category N */
bool hg_uni_mark(uint32_t c);    /* category M */
bool hg_uni_mn(uint32_t c);      /* category Mn */
bool hg_uni_word(uint32_t c);    /* \w of Rust's regex: Alphabetic, M, Nd, Pc, joiners */
bool hg_uni_control(uint32_t c); /* categories Cc, Cf, Co */
void hg_uni_put(hg_buf *out, uint32_t c);
/* UTF-8 from bytes that may be none: each longest malformed part becomes one U+FFFD, as the Encoding standard has it. */
void hg_uni_repair(hg_buf *out, hg_str bytes);
/* The bytes of the character that s begins with; s is well-formed and not empty. */
static inline size_t hg_uni_len(const char *s)
{
    unsigned char c = (unsigned char)*s;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}
typedef enum hg_uni_form { HG_NFC, HG_NFD, HG_NFKC, HG_NFKD } hg_uni_form;
hangar_code hg_uni_normalize(hg_str text, hg_uni_form form, hg_buf *out, hangar_err *err);

/* ---- texts and ids (tok_vocab.c) ---- */
typedef struct hg_tok_name {
    const char *text;
    uint32_t len;
    int32_t id;
} hg_tok_name;

/* Names by text: open addressing, hashed with a key of its own so that no file can make names collide. */
typedef struct hg_tok_map {
    hg_tok_name *slots; /* text NULL = free */
    size_t mask, count;
    uint64_t key;
} hg_tok_map;
hangar_code hg_tok_map_init(hg_tok_map *m, size_t expect, hangar_err *err);
/* A text that is there gets the new id. The text is borrowed. */
hangar_code hg_tok_map_put(hg_tok_map *m, hg_str text, int32_t id, hangar_err *err);
int32_t hg_tok_map_get(const hg_tok_map *m, hg_str text); /* -1 = none */
/* A hash table's random key, and a number's hash by it. */
uint64_t hg_tok_key(const void *self);
uint64_t hg_tok_mix(uint64_t value, uint64_t key);

/* Texts by their bytes, for walks along a text. Node 0 is the root. */
typedef struct hg_tok_node {
    uint32_t first; /* of its children, which stand together in order of their bytes */
    int32_t id;     /* -1: no text ends here */
    uint16_t count;
    uint8_t byte;
} hg_tok_node;
typedef struct hg_tok_trie {
    hg_tok_node *nodes; /* NULL: no texts */
    size_t count;
    uint32_t root[256];
} hg_tok_trie;
/* names are sorted in place; of equal texts the last wins. LIMIT when all texts together are too long. */
hangar_code hg_tok_trie_build(hg_tok_trie *trie, hg_tok_name *names, size_t count, hangar_err *err);
/* The child of `node` for a byte; 0 when there is none. */
uint32_t hg_tok_trie_next(const hg_tok_trie *trie, uint32_t node, uint8_t byte);

typedef struct hg_tok_entry {
    const char *text; /* NULL: no token has that id */
    uint32_t len;
    bool added, special, single_word, lstrip, rstrip, normalized;
} hg_tok_entry;

typedef struct hg_tok_list {
    int64_t *ids;
    size_t len, cap;
} hg_tok_list;
/* LIMIT beyond HG_TOKENIZER_TEXT_MAX. */
hangar_code hg_tok_push(hg_tok_list *list, int64_t id, hangar_err *err);

/* ---- patterns (tok_regex.c, tok_pattern.c) ---- */
typedef struct hg_tok_span {
    size_t start, end;
    bool match; /* or what lies between two matches */
} hg_tok_span;
typedef struct hg_tok_spans {
    hg_tok_span *items;
    size_t count, cap;
} hg_tok_spans;
hangar_code hg_tok_spans_add(hg_tok_spans *s, size_t start, size_t end, bool match, hangar_err *err);

typedef struct hg_tok_regex hg_tok_regex;
/* A text to be found as it is (literal), or a pattern as Oniguruma reads it. UNSUPPORTED, quoting the pattern. */
hangar_code hg_tok_regex_new(hg_str pattern, bool literal, hg_tok_regex **out, hangar_err *err);
void hg_tok_regex_free(hg_tok_regex *re);
/* One search through the pieces of a text: what it may cost depends on the text's whole length. */
typedef struct hg_tok_search {
    const hg_tok_regex *re;
    void *data, *context;
    uint64_t steps, last;
} hg_tok_search;
hangar_code hg_tok_search_init(hg_tok_search *s, const hg_tok_regex *re, size_t text_len, hangar_err *err);
void hg_tok_search_deinit(hg_tok_search *s);
/* The matches and what lies between them, which together are the text. */
hangar_code hg_tok_search_run(hg_tok_search *s, hg_str text, hg_tok_spans *out, hangar_err *err);
/* Every match replaced. */
hangar_code hg_tok_regex_replace(const hg_tok_regex *re, hg_str text, hg_str with, hg_buf *out,
                                 hangar_err *err);
/* The pattern as PCRE2 reads it, for UTF and UCP. */
hangar_code hg_tok_pattern_translate(hg_str pattern, hg_buf *out, hangar_err *err);

/* ---- SentencePiece's compiled map of characters (tok_charsmap.c) ---- */
typedef struct hg_tok_charsmap hg_tok_charsmap;
hangar_code hg_tok_charsmap_new(hg_str base64, hg_tok_charsmap **out, hangar_err *err);
void hg_tok_charsmap_free(hg_tok_charsmap *map);
void hg_tok_charsmap_apply(const hg_tok_charsmap *map, hg_str text, hg_buf *out);

/* ---- steps (tok_step.c) ---- */
typedef enum hg_tok_behavior {
    HG_TOK_REMOVED,
    HG_TOK_ISOLATED,
    HG_TOK_WITH_PREVIOUS,
    HG_TOK_WITH_NEXT,
    HG_TOK_CONTIGUOUS
} hg_tok_behavior;
typedef enum hg_tok_kind {
    /* normalizers */
    HG_NORM_NFC,
    HG_NORM_NFD,
    HG_NORM_NFKC,
    HG_NORM_NFKD,
    HG_NORM_LOWER,
    HG_NORM_STRIP, /* a = left, b = right */
    HG_NORM_STRIP_ACCENTS,
    HG_NORM_REPLACE, /* regex, text */
    HG_NORM_PREPEND, /* text */
    HG_NORM_CHARSMAP,
    HG_NORM_BERT, /* a = clean, b = chinese, c = strip accents, d = lower */
    HG_NORM_NMT,
    HG_NORM_BYTES,
    /* pre-tokenizers */
    HG_PRE_BYTES,     /* a = add_prefix_space; regex or NULL */
    HG_PRE_SPLIT,     /* regex, behavior, a = invert */
    HG_PRE_METASPACE, /* text = replacement, n = scheme, a = split */
    HG_PRE_BERT,
    HG_PRE_SPACE,  /* WhitespaceSplit */
    HG_PRE_WORDS,  /* Whitespace */
    HG_PRE_DIGITS, /* behavior */
    HG_PRE_PUNCT,  /* behavior */
    HG_PRE_LENGTH, /* n */
    /* decoders */
    HG_DEC_BYTES,
    HG_DEC_WORDPIECE, /* text = prefix, a = cleanup */
    HG_DEC_METASPACE, /* text = replacement, a = drop it in the first token */
    HG_DEC_FALLBACK,
    HG_DEC_FUSE,
    HG_DEC_STRIP,   /* text = one character, n = start, m = stop */
    HG_DEC_REPLACE, /* regex, text */
    HG_DEC_BPE,     /* text = suffix */
    HG_DEC_CTC,     /* text = pad, more = word delimiter, a = cleanup */
    HG_DEC_JOIN     /* no decoder: spaces between the tokens */
} hg_tok_kind;
enum { HG_TOK_ALWAYS, HG_TOK_FIRST, HG_TOK_NEVER }; /* Metaspace's scheme */

typedef struct hg_tok_step {
    hg_tok_kind kind;
    hg_tok_behavior behavior;
    bool a, b, c, d;
    size_t n, m;
    char *text, *more;
    size_t text_len;
    hg_tok_regex *regex;
    hg_tok_charsmap *map;
} hg_tok_step;
typedef struct hg_tok_steps {
    hg_tok_step *items;
    size_t count, cap;
} hg_tok_steps;
void hg_tok_steps_deinit(hg_tok_steps *s);
/* An empty step at the end; NULL when there is no room or no memory. */
hg_tok_step *hg_tok_steps_add(hg_tok_steps *s, hg_tok_kind kind, hangar_err *err);
/* The parts of a tokenizer.json; null gives no step. */
hangar_code hg_tok_read_normalizer(const hg_jval *v, hg_tok_steps *out, hangar_err *err);
hangar_code hg_tok_read_pre(const hg_jval *v, hg_tok_steps *out, hangar_err *err);
hangar_code hg_tok_read_decoder(const hg_jval *v, hg_tok_steps *out, hangar_err *err);
/* What ByteLevel splits by. */
hangar_code hg_tok_gpt2_regex(hg_tok_regex **out, hangar_err *err);

/* ---- the models ---- */
typedef enum hg_tok_model { HG_TOK_BPE, HG_TOK_WORDPIECE, HG_TOK_UNIGRAM, HG_TOK_WORDLEVEL } hg_tok_model;

/* Which pair of ids becomes which id, and how soon. */
typedef struct hg_bpe_merge {
    uint64_t pair; /* left << 32 | right; UINT64_MAX = free */
    uint32_t rank;
    int32_t id;
} hg_bpe_merge;
typedef struct hg_bpe {
    bool known; /* merges were there: it can encode */
    hg_bpe_merge *merges;
    size_t mask;
    uint64_t key;
    char *prefix, *suffix; /* of every symbol but the first, of the last; "" = none */
    bool fallback, fuse_unk, ignore_merges;
    bool no_unk; /* the file names a token for the unknown that is not there: an error when it is needed */
    int32_t bytes[256]; /* the tokens <0x00> ... <0xFF>; -1 = none */
    int32_t *
        by_char; /* the symbol of each character below HG_BPE_CHARS; -1 = none; NULL with a prefix or suffix */
} hg_bpe;
#define HG_BPE_CHARS 0x10000u

#define HG_TOK_AROUND_MAX 16
/* What goes around a text: items of a template. */
typedef struct hg_tok_item {
    int32_t what; /* an id, or HG_TOK_A, HG_TOK_B */
    uint8_t type;
} hg_tok_item;
enum { HG_TOK_A = -1, HG_TOK_B = -2 };
typedef struct hg_tok_template {
    hg_tok_item items[HG_TOK_AROUND_MAX];
    size_t count;
} hg_tok_template;

struct hg_tokenizer {
    /* texts and ids */
    hg_tok_entry *by_id;
    size_t size, cap;
    hg_tok_map map;
    char **blocks; /* the texts' memory */
    size_t block_count, block_cap, block_used, block_size;
    /* added tokens */
    int32_t *added; /* their ids */
    size_t added_count, added_cap;
    hg_tok_trie raw, normalized; /* to be found before and after normalizing */
    hg_buf texts;                /* of the normalized ones */
    /* the way in */
    bool lower; /* by hg_tokenizer_set_lower */
    hg_tok_steps norm, pre;
    hg_tok_template single, pair;
    /* the model */
    hg_tok_model model;
    int32_t unk; /* -1 = none */
    hg_bpe bpe;
    hg_tok_trie trie; /* of WordPiece's and Unigram's pieces */
    hg_tok_trie rest; /* of WordPiece's pieces after the first, without their prefix */
    size_t max_word;  /* characters; a longer word is unknown */
    double *scores;   /* Unigram, by id */
    double unk_score;
    bool fallback; /* Unigram: unknown text as bytes */
    /* the way out */
    hg_tok_steps dec;
    bool clean_up;
    char *end_suffix; /* of BPE's words, which the decoder does not know; NULL = none */
};

int32_t hg_tok_find(const hg_tokenizer *t, hg_str text); /* -1 = none */
/* Gives an id its text; the same text twice for one id is fine. */
hangar_code hg_tok_set(hg_tokenizer *t, hg_str text, int64_t id, hangar_err *err);
/* The same for an added token with its flags (doc NULL: special, no others); its text may replace the vocabulary's. */
hangar_code hg_tok_set_added(hg_tokenizer *t, hg_str text, int64_t id, const hg_jval *doc, hangar_err *err);
/* {"token": id, ...} */
hangar_code hg_tok_read_vocab(hg_tokenizer *t, const hg_jval *vocab, bool added, hangar_err *err);
/* Finds "<0x00>" and the like. */
void hg_tok_find_bytes(const hg_tokenizer *t, int32_t bytes[256]);

/* tok_added.c: makes the trees, when all tokens and the normalizers are in. */
hangar_code hg_tok_added_seal(hg_tokenizer *t, hangar_err *err);
typedef struct hg_tok_hit {
    int32_t id;
    size_t start, end;
} hg_tok_hit;
/* The next added token at or after `at`, with the white space that it takes, but none before `from`; false: none. */
bool hg_tok_added_next(const hg_tokenizer *t, const hg_tok_trie *trie, hg_str text, size_t from, size_t at,
                       hg_tok_hit *hit);

/* tok_norm.c */
hangar_code hg_tok_normalize(const hg_tokenizer *t, hg_str text, hg_buf *out, hangar_err *err);
/* tok_pre.c: the text (maybe changed) and its pieces, all spans in order; first: the text begins where the whole did. */
typedef struct hg_tok_pieces {
    hg_buf text;
    hg_tok_spans spans; /* match: this piece begins where the whole text did */
} hg_tok_pieces;
hangar_code hg_tok_pre_split(const hg_tokenizer *t, hg_str text, bool first, hg_tok_pieces *out,
                             hangar_err *err);
/* tok_post.c */
hangar_code hg_tok_read_post(hg_tokenizer *t, const hg_jval *post, hangar_err *err);
hangar_code hg_tok_around(hg_tok_template *into, int64_t what, int64_t type, const hg_tokenizer *t,
                          hangar_err *err);
/* No tokens around. */
void hg_tok_bare(hg_tok_template *single, hg_tok_template *pair);
hangar_code hg_tok_cls_sep(hg_tokenizer *t, int64_t cls, int64_t sep, bool roberta, hangar_err *err);
hangar_code hg_tok_post(const hg_tokenizer *t, hg_tok_list *a, hg_tok_list *b, const hg_encode_options *o,
                        hg_token_ids *out, hangar_err *err);

/* bpe.c */
void hg_bpe_to_chars(hg_str bytes, hg_buf *out); /* each byte as its character */
void hg_bpe_bytes(hg_str token, hg_buf *out); /* a token's bytes; a token with a foreign character as it is */
hangar_code hg_bpe_init(hg_bpe *b, size_t merges, hangar_err *err);
void hg_bpe_deinit(hg_bpe *b);
hangar_code hg_bpe_add(hg_tokenizer *t, hg_str left, hg_str right, uint32_t rank, hangar_err *err);
hangar_code hg_bpe_seal(hg_tokenizer *t, hangar_err *err);
typedef struct hg_bpe_work hg_bpe_work; /* memory that words take turns in */
void hg_bpe_work_free(hg_bpe_work *w);
hangar_code hg_bpe_encode(const hg_tokenizer *t, hg_str word, hg_bpe_work **work, hg_tok_list *out,
                          hangar_err *err);
/* wordpiece.c */
hangar_code hg_wordpiece_seal(hg_tokenizer *t, hg_str prefix, hangar_err *err);
hangar_code hg_wordpiece_encode(const hg_tokenizer *t, hg_str word, hg_tok_list *out, hangar_err *err);
/* tok_unigram.c */
hangar_code hg_unigram_read(hg_tokenizer *t, const hg_jval *model, hangar_err *err);
hangar_code hg_unigram_encode(const hg_tokenizer *t, hg_str word, hg_tok_list *out, hangar_err *err);

/* tok_decode.c: "a ." to "a." and the like; extra: the rule for "do not" too. */
void hg_tok_clean_up(hg_str text, bool extra, hg_buf *out);
/* tok_load.c */
hangar_code hg_tok_new(hg_tokenizer **out, size_t expect, hangar_err *err);

#endif
