/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that were there before tokenizer.json: vocab.txt (BERT), and vocab.json with merges.txt (GPT-2). What they
 * do not say, tokenizer_config.json or the custom of their time does.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>

/* The text of a token of tokenizer_config.json: a string, or an object with "content". */
static const char *config_token(const hg_jval *config, const char *key, const char *def)
{
    const hg_jval *v = hg_json_get(config, key);
    const char *text = hg_json_text(v);
    return text ? text : hg_json_text_or(hg_json_get(v, "content"), def);
}

static hg_tok_step *add_step(hg_tok_steps *steps, hg_tok_kind kind, hangar_code *code, hangar_err *err)
{
    hg_tok_step *s = *code == HANGAR_OK ? hg_tok_steps_add(steps, kind, err) : NULL;
    if (!s && *code == HANGAR_OK) *code = HANGAR_E_NO_MEMORY;
    return s;
}

/* ---- vocab.txt ---- */

static hangar_code read_lines(hg_tokenizer *t, hg_str vocab, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (int64_t id = 0; vocab.len > 0 && code == HANGAR_OK; id++) {
        hg_str line;
        hg_str_cut(&vocab, '\n', &line);
        if (line.len > 0 && line.ptr[line.len - 1] == '\r') line.len--;
        code = hg_tok_set(t, line, id, err);
    }
    if (code == HANGAR_OK && t->size == 0) code = hg_fail(err, HANGAR_E_INVALID, "the vocabulary is empty");
    return code;
}

/* Special tokens by name; [CLS] and [SEP] also go around the text. */
static hangar_code read_specials(hg_tokenizer *t, const hg_jval *config, hangar_err *err)
{
    static const char *const keys[][2] = {{"unk_token", "[UNK]"},
                                          {"cls_token", "[CLS]"},
                                          {"sep_token", "[SEP]"},
                                          {"pad_token", "[PAD]"},
                                          {"mask_token", "[MASK]"}};
    int64_t ids[HG_LEN(keys)];
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < HG_LEN(keys) && code == HANGAR_OK; i++) {
        const char *text = config_token(config, keys[i][0], keys[i][1]);
        ids[i] = hg_tokenizer_id(t, text);
        if (ids[i] < 0 && i > 2) continue;
        if (ids[i] < 0) return hg_fail(err, HANGAR_E_INVALID, "vocab.txt has no token \"%s\"", text);
        code = hg_tok_set_added(t, hg_str_of(text), ids[i], NULL, err);
    }
    t->unk = (int32_t)ids[0];
    return code == HANGAR_OK ? hg_tok_cls_sep(t, ids[1], ids[2], false, err) : code;
}

/* BERT's normalizer, pre-tokenizer and decoder. */
static hangar_code bert_steps(hg_tokenizer *t, const hg_jval *config, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    hg_tok_step *norm = add_step(&t->norm, HG_NORM_BERT, &code, err);
    hg_tok_step *dec = norm ? add_step(&t->dec, HG_DEC_WORDPIECE, &code, err) : NULL;
    add_step(&t->pre, HG_PRE_BERT, &code, err);
    if (code != HANGAR_OK || !norm || !dec) return code;
    norm->a = hg_json_bool_or(hg_json_get(config, "clean_text"), true);
    norm->b = hg_json_bool_or(hg_json_get(config, "tokenize_chinese_chars"), true);
    norm->d = hg_json_bool_or(hg_json_get(config, "do_lower_case"), true);
    norm->c = hg_json_bool_or(hg_json_get(config, "strip_accents"), norm->d);
    dec->a = true;
    dec->text = hg_strdup("##");
    dec->text_len = 2;
    return dec->text ? HANGAR_OK : hg_fail_memory(err);
}

hangar_code hg_tokenizer_from_lines(hg_str vocab, const hg_jval *config, hg_tokenizer **out, hangar_err *err)
{
    *out = NULL;
    hg_tokenizer *t = NULL;
    hangar_code code = hg_tok_new(&t, vocab.len / 8, err);
    if (code != HANGAR_OK) return code;
    t->model = HG_TOK_WORDPIECE;
    t->max_word = 100;
    code = read_lines(t, vocab, err);
    if (code == HANGAR_OK) code = read_specials(t, config, err);
    if (code == HANGAR_OK) code = bert_steps(t, config, err);
    if (code == HANGAR_OK) code = hg_wordpiece_seal(t, HG_STR("##"), err);
    if (code == HANGAR_OK) code = hg_tok_added_seal(t, err);
    if (code == HANGAR_OK) hg_tokenizer_configure(t, config);
    if (code != HANGAR_OK) hg_tokenizer_free(t);
    else *out = t;
    return code;
}

/* ---- vocab.json and merges.txt ---- */

static hangar_code read_merge_lines(hg_tokenizer *t, hg_str text, hangar_err *err)
{
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++) lines += text.ptr[i] == '\n';
    hangar_code code = hg_bpe_init(&t->bpe, lines + 1, err);
    uint32_t rank = 0;
    for (size_t number = 1; text.len > 0 && code == HANGAR_OK; number++) {
        hg_str line, left;
        hg_str_cut(&text, '\n', &line);
        if (line.len > 0 && line.ptr[line.len - 1] == '\r') line.len--;
        if (line.len == 0 || hg_str_starts(line, HG_STR("#version"))) continue;
        if (!hg_str_cut(&line, ' ', &left))
            return hg_fail(err, HANGAR_E_INVALID, "merges.txt: line %zu is not two texts", number);
        code = hg_bpe_add(t, left, line, rank++, err);
    }
    return code;
}

/* Byte-level, in and out. */
static hangar_code byte_steps(hg_tokenizer *t, const hg_jval *config, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    hg_tok_step *pre = add_step(&t->pre, HG_PRE_BYTES, &code, err);
    add_step(&t->dec, HG_DEC_BYTES, &code, err);
    if (code != HANGAR_OK || !pre) return code;
    pre->a = hg_json_bool_or(hg_json_get(config, "add_prefix_space"), false);
    return hg_tok_gpt2_regex(&pre->regex, err);
}

/* The vocabulary, and the ways in and out that do not hang on merges. */
static hangar_code open_vocab(const hg_jval *vocab, const hg_jval *added, const hg_jval *config,
                              hg_tokenizer **out, hangar_err *err)
{
    *out = NULL;
    hg_tokenizer *t = NULL;
    hangar_code code = hg_tok_new(&t, hg_json_len(vocab), err);
    if (code != HANGAR_OK) return code;
    t->model = HG_TOK_BPE;
    t->bpe.prefix = hg_strdup("");
    t->bpe.suffix = hg_strdup("");
    if (!t->bpe.prefix || !t->bpe.suffix) code = hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_tok_read_vocab(t, vocab, false, err);
    if (code == HANGAR_OK && t->size == 0) code = hg_fail(err, HANGAR_E_INVALID, "the vocabulary is empty");
    if (code == HANGAR_OK && added) code = hg_tok_read_vocab(t, added, true, err);
    if (code == HANGAR_OK) code = byte_steps(t, config, err);
    if (code != HANGAR_OK) hg_tokenizer_free(t);
    else *out = t;
    return code;
}

hangar_code hg_tokenizer_from_vocab(const hg_jval *vocab, const hg_jval *added, hg_tokenizer **out,
                                    hangar_err *err)
{
    hangar_code code = open_vocab(vocab, added, NULL, out, err);
    if (code == HANGAR_OK) code = hg_tok_added_seal(*out, err);
    if (code != HANGAR_OK && *out) {
        hg_tokenizer_free(*out);
        *out = NULL;
    }
    return code;
}

/* The special tokens that the configuration names, and what goes around: nothing, or RoBERTa's. */
static hangar_code class_specials(hg_tokenizer *t, const hg_jval *config, hangar_err *err)
{
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                       "cls_token", "sep_token", "mask_token"};
    static const char *const plain[] = {
        "", "GPT2Tokenizer", "GPT2TokenizerFast", "WhisperTokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer"};
    static const char *const around[] = {"RobertaTokenizer", "BartTokenizer",        "LongformerTokenizer",
                                         "LEDTokenizer",     "RobertaTokenizerFast", "BartTokenizerFast"};
    const char *name = hg_json_text_or(hg_json_get(config, "tokenizer_class"), "");
    bool known = false, roberta = false;
    for (size_t i = 0; i < HG_LEN(plain); i++) known = known || hg_streq(name, plain[i]);
    for (size_t i = 0; i < HG_LEN(around); i++) roberta = roberta || hg_streq(name, around[i]);
    if (!known && !roberta)
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "vocab.json and merges.txt of the class \"%s\": it needs a tokenizer.json", name);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < HG_LEN(keys) && code == HANGAR_OK; i++) {
        const char *text = config_token(config, keys[i], NULL);
        int64_t id = hg_tokenizer_id(t, text);
        if (id >= 0) code = hg_tok_set_added(t, hg_str_of(text), id, NULL, err);
    }
    if (code != HANGAR_OK || !roberta) return code;
    return hg_tok_cls_sep(t, hg_tokenizer_id(t, config_token(config, "cls_token", "<s>")),
                          hg_tokenizer_id(t, config_token(config, "sep_token", "</s>")), true, err);
}

hangar_code hg_tokenizer_from_merges(const hg_jval *vocab, hg_str merges, const hg_jval *added,
                                     const hg_jval *config, hg_tokenizer **out, hangar_err *err)
{
    hangar_code code = open_vocab(vocab, added, config, out, err);
    hg_tokenizer *t = *out;
    if (code == HANGAR_OK) code = read_merge_lines(t, merges, err);
    if (code == HANGAR_OK) code = hg_bpe_seal(t, err);
    if (code == HANGAR_OK) code = class_specials(t, config, err);
    if (code == HANGAR_OK) code = hg_tok_added_seal(t, err);
    if (code == HANGAR_OK) hg_tokenizer_configure(t, config);
    if (code != HANGAR_OK && t) {
        hg_tokenizer_free(t);
        *out = NULL;
    }
    return code;
}
