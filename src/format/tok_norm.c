/* SPDX-License-Identifier: Apache-2.0 */
/* The normalizers: each makes a new text of the one before. */
#include "format/tokenizer_inner.h"

static bool is_chinese(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) ||
           (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

/* Cleaned, and spaces around CJK characters. */
static void bert_clean(const hg_tok_step *s, hg_str text, hg_buf *out)
{
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(text, &c)) > 0; text.ptr += n, text.len -= n) {
        bool line = c == '\t' || c == '\n' || c == '\r';
        if (s->a && (c == 0 || c == 0xfffd || (!line && hg_uni_control(c)))) continue;
        if (s->a && hg_uni_space(c)) c = ' ';
        bool apart = s->b && is_chinese(c);
        if (apart) hg_buf_putc(out, ' ');
        hg_uni_put(out, c);
        if (apart) hg_buf_putc(out, ' ');
    }
}

/* The text without the characters that `drop` names. */
static void without(hg_str text, bool (*drop)(uint32_t), hg_buf *out)
{
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(text, &c)) > 0; text.ptr += n, text.len -= n)
        if (!drop(c)) hg_buf_add(out, text.ptr, n);
}

/* BERT's four steps, each by its switch. */
static hangar_code bert(const hg_tok_step *s, hg_str text, hg_buf *out, hangar_err *err)
{
    hg_buf cleaned, apart;
    hg_buf_init(&cleaned, HG_TOK_WORK_MAX);
    hg_buf_init(&apart, HG_TOK_WORK_MAX);
    bert_clean(s, text, &cleaned);
    hangar_code code = hg_buf_check(&cleaned, err);
    if (code == HANGAR_OK && s->c) {
        code = hg_uni_normalize(hg_buf_view(&cleaned), HG_NFD, &apart, err);
        hg_buf_reset(&cleaned);
        if (code == HANGAR_OK) without(hg_buf_view(&apart), hg_uni_mn, &cleaned);
        if (code == HANGAR_OK) code = hg_buf_check(&cleaned, err);
    }
    if (code == HANGAR_OK && s->d) hg_uni_lower(hg_buf_view(&cleaned), out);
    else if (code == HANGAR_OK) hg_buf_str(out, hg_buf_view(&cleaned));
    hg_buf_deinit(&cleaned);
    hg_buf_deinit(&apart);
    return code;
}

/* The control characters that SentencePiece's NMT rules take out. */
static bool nmt_drops(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
}

static bool nmt_blanks(uint32_t c)
{
    return c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
}

static void nmt(hg_str text, hg_buf *out)
{
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(text, &c)) > 0; text.ptr += n, text.len -= n)
        if (!nmt_drops(c)) hg_uni_put(out, nmt_blanks(c) ? ' ' : c);
}

/* White space at the ends. */
static hg_str strip(hg_str text, bool left, bool right)
{
    uint32_t c;
    for (size_t n; left && (n = hg_utf8_next(text, &c)) > 0 && hg_uni_space(c);) {
        text.ptr += n;
        text.len -= n;
    }
    while (right && text.len > 0) {
        size_t at = text.len - 1;
        while (at > 0 && ((unsigned char)text.ptr[at] & 0xc0) == 0x80) at--;
        if (hg_utf8_next((hg_str){text.ptr + at, text.len - at}, &c) == 0 || !hg_uni_space(c)) break;
        text.len = at;
    }
    return text;
}

static hangar_code apply(const hg_tok_step *s, hg_str text, hg_buf *out, hangar_err *err)
{
    hg_str with = {s->text, s->text_len};
    switch (s->kind) {
    case HG_NORM_NFC: return hg_uni_normalize(text, HG_NFC, out, err);
    case HG_NORM_NFD: return hg_uni_normalize(text, HG_NFD, out, err);
    case HG_NORM_NFKC: return hg_uni_normalize(text, HG_NFKC, out, err);
    case HG_NORM_NFKD: return hg_uni_normalize(text, HG_NFKD, out, err);
    case HG_NORM_LOWER: hg_uni_lower(text, out); break;
    case HG_NORM_STRIP: hg_buf_str(out, strip(text, s->a, s->b)); break;
    case HG_NORM_STRIP_ACCENTS: without(text, hg_uni_mark, out); break;
    case HG_NORM_REPLACE: return hg_tok_regex_replace(s->regex, text, with, out, err);
    case HG_NORM_PREPEND:
        if (text.len > 0) hg_buf_str(out, with);
        hg_buf_str(out, text);
        break;
    case HG_NORM_CHARSMAP: hg_tok_charsmap_apply(s->map, text, out); break;
    case HG_NORM_BERT: return bert(s, text, out, err);
    case HG_NORM_NMT: nmt(text, out); break;
    case HG_NORM_BYTES: hg_bpe_to_chars(text, out); break;
    default: break;
    }
    return HANGAR_OK;
}

hangar_code hg_tok_normalize(const hg_tokenizer *t, hg_str text, hg_buf *out, hangar_err *err)
{
    hg_buf next;
    hg_buf_init(&next, HG_TOK_WORK_MAX);
    if (t->lower) hg_uni_lower(text, out);
    else hg_buf_str(out, text);
    hangar_code code = hg_buf_check(out, err);
    for (size_t i = 0; i < t->norm.count && code == HANGAR_OK; i++) {
        hg_buf_reset(&next);
        code = apply(&t->norm.items[i], hg_buf_view(out), &next, err);
        if (code == HANGAR_OK) code = hg_buf_check(&next, err);
        hg_buf swap = *out;
        *out = next;
        next = swap;
    }
    hg_buf_deinit(&next);
    return code;
}
