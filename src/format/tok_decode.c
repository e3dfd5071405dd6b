/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids to text, id by id. Each decoder is a stage that is pushed tokens and pushes tokens to the next; what it cannot say
 * yet (half a character, bytes that may not become one, the last token of BPE's words) it holds back. Behind Fuse and
 * ByteLevel there is one token, the whole text, which comes in fragments: Strip at its beginning works on those, any
 * other stage there waits for the end. Decoding a list at once is the same with all ids pushed and the stream ended, so
 * both give the same text.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>

typedef struct stage {
    hg_buf hold, work;
    size_t index; /* tokens so far; of Strip on fragments, characters cut */
    bool has;     /* `hold` is a token; of Strip on fragments, the beginning is over */
    bool whole;   /* fragments of one token come in */
} stage;

struct hg_token_stream {
    const hg_tokenizer *t;
    hg_decode_skip skip;
    size_t count;
    stage *stages;
    hg_buf tail;  /* text that cleaning up may still change */
    hg_buf *sink; /* of the call under way */
    hangar_err *err;
};

/* ---- cleaning up ---- */

static void replace_all(hg_str text, const char *from, const char *to, hg_buf *out)
{
    size_t len = strlen(from);
    for (const char *hit;
         len > 0 && text.len >= len && (hit = memmem(text.ptr, text.len, from, len)) != NULL;) {
        size_t n = (size_t)(hit - text.ptr);
        hg_buf_add(out, text.ptr, n);
        hg_buf_puts(out, to);
        text.ptr += n + len;
        text.len -= n + len;
    }
    hg_buf_str(out, text);
}

void hg_tok_clean_up(hg_str text, bool extra, hg_buf *out)
{
    static const struct {
        const char *from, *to;
        bool extra; /* the WordPiece and CTC decoders alone */
    } rules[] = {{" .", ".", false},     {" ?", "?", false},          {" !", "!", false},
                 {" ,", ",", false},     {" ' ", "'", false},         {" n't", "n't", false},
                 {" 'm", "'m", false},   {" do not", " don't", true}, {" 's", "'s", false},
                 {" 've", "'ve", false}, {" 're", "'re", false}};
    if (text.len == 0) return;
    if (!memchr(text.ptr, ' ', text.len)) {
        hg_buf_str(out, text);
        return;
    }
    hg_buf a, b;
    hg_buf_init(&a, HG_TOKENIZER_TEXT_MAX);
    hg_buf_init(&b, HG_TOKENIZER_TEXT_MAX);
    hg_buf_str(&a, text);
    for (size_t i = 0; i < HG_LEN(rules); i++) {
        if (rules[i].extra && !extra) continue;
        hg_buf_reset(&b);
        replace_all(hg_buf_view(&a), rules[i].from, rules[i].to, &b);
        hg_buf swap = a;
        a = b;
        b = swap;
    }
    if (a.state != HANGAR_OK || b.state != HANGAR_OK) out->state = a.state != HANGAR_OK ? a.state : b.state;
    else hg_buf_str(out, hg_buf_view(&a));
    hg_buf_deinit(&a);
    hg_buf_deinit(&b);
}

/*
 * How much of a text the clean-up can be done on, whatever follows. Each rule begins at a space and is at most four
 * characters long. So all is settled when enough follows the last space, or what follows begins no rule; else what stands
 * before a space is, but for "'" and "n", which rules join to what comes.
 */
static size_t settled(hg_str text)
{
    size_t last = text.len;
    while (last > 0 && text.ptr[last - 1] != ' ') last--;
    if (last == 0) return text.len;
    size_t behind = text.len - last;
    if (behind >= 3 || (behind > 0 && !memchr(".?!,'nmsvr", text.ptr[last], 10))) return text.len;
    for (size_t p = last - 1; p > 0; p--)
        if (text.ptr[p] == ' ' && !memchr(" 'n", text.ptr[p - 1], 3)) return p;
    return 0;
}

/* Text that is out of the last decoder. */
static void deliver(hg_token_stream *s, hg_str text)
{
    if (s->t->end_suffix || s->t->clean_up) hg_buf_str(&s->tail, text);
    else hg_buf_str(s->sink, text);
    if (s->t->end_suffix || !s->t->clean_up) return;
    size_t n = settled(hg_buf_view(&s->tail));
    hg_tok_clean_up((hg_str){hg_buf_text(&s->tail), n}, false, s->sink);
    hg_buf_drop(&s->tail, n);
}

/* The rest, at the end. */
static void deliver_rest(hg_token_stream *s)
{
    hg_str text = hg_buf_view(&s->tail);
    hg_buf words;
    hg_buf_init(&words, HG_TOKENIZER_TEXT_MAX);
    if (s->t->end_suffix) {
        replace_all(text, s->t->end_suffix, " ", &words);
        text = hg_buf_view(&words);
        if (s->skip != HG_DECODE_ALL) text = hg_str_trim(text);
    }
    if (s->t->clean_up) hg_tok_clean_up(text, false, s->sink);
    else hg_buf_str(s->sink, text);
    if (words.state != HANGAR_OK) s->sink->state = words.state;
    hg_buf_deinit(&words);
    hg_buf_reset(&s->tail);
}

/* ---- stages ---- */

static hangar_code emit(hg_token_stream *s, size_t k, hg_str text);

/* The byte of a token "<0x41>", or -1. */
static int byte_token(hg_str token)
{
    uint8_t byte;
    if (token.len != 6 || memcmp(token.ptr, "<0x", 3) != 0 || token.ptr[5] != '>') return -1;
    return hg_hex_decode((hg_str){token.ptr + 3, 2}, &byte, 1) ? byte : -1;
}

/* The bytes held back, as a token when they are text; else one U+FFFD for each (the JavaScript port joins some). */
static hangar_code flush_bytes(hg_token_stream *s, size_t k)
{
    stage *g = &s->stages[k];
    hg_str bytes = hg_buf_view(&g->hold);
    hangar_code code = HANGAR_OK;
    if (bytes.len == 0) return HANGAR_OK;
    if (hg_utf8_valid(bytes)) code = emit(s, k + 1, bytes);
    else
        for (size_t i = 0; i < bytes.len && code == HANGAR_OK; i++)
            code = emit(s, k + 1, HG_STR("\xef\xbf\xbd"));
    hg_buf_reset(&g->hold);
    return code;
}

static hangar_code fall_back(hg_token_stream *s, size_t k, hg_str token)
{
    int byte = byte_token(token);
    if (byte >= 0) {
        hg_buf_putc(&s->stages[k].hold, (char)byte);
        return HANGAR_OK;
    }
    hangar_code code = flush_bytes(s, k);
    return code == HANGAR_OK ? emit(s, k + 1, token) : code;
}

/* A token's bytes; whole characters go on. */
static hangar_code byte_level(hg_token_stream *s, size_t k, hg_str token)
{
    stage *g = &s->stages[k];
    hg_bpe_bytes(token, &g->hold);
    size_t n = hg_utf8_whole(hg_buf_view(&g->hold));
    hg_buf_reset(&g->work);
    hg_uni_repair(&g->work, (hg_str){hg_buf_text(&g->hold), n});
    hg_buf_drop(&g->hold, n);
    return g->work.len > 0 ? emit(s, k + 1, hg_buf_view(&g->work)) : HANGAR_OK;
}

/* The first token loses every replacement character, unlike in the JavaScript port, which takes one. */
static void metaspace(const hg_tok_step *step, hg_str token, bool first, hg_buf *out)
{
    replace_all(token, step->text, first && step->a ? "" : " ", out);
}

static void wordpiece(const hg_tok_step *step, hg_str token, bool first, stage *g)
{
    hg_str prefix = {step->text, step->text_len};
    hg_buf word;
    hg_buf_init(&word, HG_TOKENIZER_TEXT_MAX);
    if (first) hg_buf_str(&word, token);
    else if (hg_str_starts(token, prefix)) hg_buf_add(&word, token.ptr + prefix.len, token.len - prefix.len);
    else hg_buf_printf(&word, " %.*s", HG_STR_ARG(token));
    if (step->a) hg_tok_clean_up(hg_buf_view(&word), true, &g->work);
    else hg_buf_str(&g->work, hg_buf_view(&word));
    hg_buf_deinit(&word);
}

/* Repeated tokens count once; a token of which nothing is left is none. */
static hangar_code ctc(hg_token_stream *s, size_t k, hg_str token)
{
    const hg_tok_step *step = &s->t->dec.items[k];
    stage *g = &s->stages[k];
    if (g->has && hg_str_eq(hg_buf_view(&g->hold), token)) return HANGAR_OK;
    hg_buf_reset(&g->hold);
    hg_buf_str(&g->hold, token);
    g->has = true;
    hg_buf text, clean;
    hg_buf_init(&text, HG_TOKENIZER_TEXT_MAX);
    hg_buf_init(&clean, HG_TOKENIZER_TEXT_MAX);
    hg_buf_reset(&g->work);
    replace_all(token, step->text, "", &text);
    if (step->a) {
        hg_tok_clean_up(hg_buf_view(&text), true, &clean);
        replace_all(hg_buf_view(&clean), step->more, " ", &g->work);
    } else {
        hg_buf_str(&g->work, hg_buf_view(&text));
    }
    hg_buf_deinit(&text);
    hg_buf_deinit(&clean);
    return g->work.len > 0 ? emit(s, k + 1, hg_buf_view(&g->work)) : HANGAR_OK;
}

/* BPE's words: the suffix is a space, but not in the last token, so one is held back. */
static hangar_code bpe_words(hg_token_stream *s, size_t k, const hg_str *token)
{
    stage *g = &s->stages[k];
    hangar_code code = HANGAR_OK;
    if (g->has) {
        hg_buf_reset(&g->work);
        replace_all(hg_buf_view(&g->hold), s->t->dec.items[k].text, token ? " " : "", &g->work);
        code = emit(s, k + 1, hg_buf_view(&g->work));
    }
    hg_buf_reset(&g->hold);
    g->has = token != NULL;
    if (token) hg_buf_str(&g->hold, *token);
    return code;
}

/* The same character, taken from both ends of a token. */
static hg_str strip(const hg_tok_step *step, hg_str token)
{
    hg_str mark = {step->text, step->text_len};
    for (size_t i = 0; i < step->n && hg_str_starts(token, mark); i++) {
        token.ptr += mark.len;
        token.len -= mark.len;
    }
    for (size_t i = 0; i < step->m && hg_str_ends(token, mark); i++) token.len -= mark.len;
    return token;
}

/* Strip at the beginning of a text that comes in fragments, each of whole characters. */
static hangar_code strip_start(hg_token_stream *s, size_t k, hg_str text)
{
    const hg_tok_step *step = &s->t->dec.items[k];
    stage *g = &s->stages[k];
    hg_str mark = {step->text, step->text_len};
    while (!g->has && text.len > 0) {
        g->has = g->index >= step->n || !hg_str_starts(text, mark);
        if (g->has) break;
        g->index++;
        text.ptr += mark.len;
        text.len -= mark.len;
    }
    return text.len > 0 ? emit(s, k + 1, text) : HANGAR_OK;
}

/* One token through a stage. */
static hangar_code token_in(hg_token_stream *s, size_t k, hg_str token)
{
    const hg_tok_step *step = &s->t->dec.items[k];
    stage *g = &s->stages[k];
    bool first = g->index++ == 0;
    hangar_code code = HANGAR_OK;
    hg_buf_reset(&g->work);
    switch (step->kind) {
    case HG_DEC_BYTES: return byte_level(s, k, token);
    case HG_DEC_FALLBACK: return fall_back(s, k, token);
    case HG_DEC_FUSE: return emit(s, k + 1, token);
    case HG_DEC_STRIP: return emit(s, k + 1, strip(step, token));
    case HG_DEC_BPE: return bpe_words(s, k, &token);
    case HG_DEC_CTC: return ctc(s, k, token);
    case HG_DEC_WORDPIECE: wordpiece(step, token, first, g); break;
    case HG_DEC_METASPACE: metaspace(step, token, first, &g->work); break;
    case HG_DEC_REPLACE:
        code =
            hg_tok_regex_replace(step->regex, token, (hg_str){step->text, step->text_len}, &g->work, s->err);
        break;
    default: /* HG_DEC_JOIN */
        if (!first) hg_buf_putc(&g->work, ' ');
        hg_buf_str(&g->work, token);
        break;
    }
    return code == HANGAR_OK ? emit(s, k + 1, hg_buf_view(&g->work)) : code;
}

/* To the stage k, or out. */
static hangar_code emit(hg_token_stream *s, size_t k, hg_str text)
{
    if (k == s->count) {
        deliver(s, text);
        return HANGAR_OK;
    }
    const hg_tok_step *step = &s->t->dec.items[k];
    if (!s->stages[k].whole) return token_in(s, k, text);
    if (step->kind == HG_DEC_FUSE) return emit(s, k + 1, text);
    if (step->kind == HG_DEC_STRIP && step->m == 0) return strip_start(s, k, text);
    hg_buf_str(&s->stages[k].hold, text);
    return HANGAR_OK;
}

/* What a stage held back. */
static hangar_code end_stage(hg_token_stream *s, size_t k)
{
    const hg_tok_step *step = &s->t->dec.items[k];
    stage *g = &s->stages[k];
    hangar_code code = HANGAR_OK;
    if (g->whole && g->hold.len > 0) {
        hg_buf text = g->hold; /* the text is one token now, and the stage's memory its own */
        hg_buf_init(&g->hold, HG_TOKENIZER_TEXT_MAX);
        code = token_in(s, k, hg_buf_view(&text));
        hg_buf_deinit(&text);
    }
    if (code == HANGAR_OK && step->kind == HG_DEC_FALLBACK) code = flush_bytes(s, k);
    if (code == HANGAR_OK && step->kind == HG_DEC_BPE) code = bpe_words(s, k, NULL);
    if (code == HANGAR_OK && step->kind == HG_DEC_BYTES && g->hold.len > 0) {
        hg_buf_reset(&g->work);
        hg_uni_repair(&g->work, hg_buf_view(&g->hold));
        code = emit(s, k + 1, hg_buf_view(&g->work));
    }
    return code;
}

/* ---- streams ---- */

/* Back to the beginning. */
static void reset(hg_token_stream *s)
{
    for (size_t i = 0; i < s->count; i++) {
        hg_buf_reset(&s->stages[i].hold);
        hg_buf_reset(&s->stages[i].work);
        s->stages[i].index = 0;
        s->stages[i].has = false;
    }
    hg_buf_reset(&s->tail);
}

/* The first error that a buffer of the stream keeps. */
static hangar_code check(hg_token_stream *s, hangar_code code, hangar_err *err)
{
    for (size_t i = 0; i < s->count && code == HANGAR_OK; i++) {
        code = hg_buf_check(&s->stages[i].hold, err);
        if (code == HANGAR_OK) code = hg_buf_check(&s->stages[i].work, err);
    }
    if (code == HANGAR_OK) code = hg_buf_check(&s->tail, err);
    return code == HANGAR_OK ? hg_buf_check(s->sink, err) : code;
}

hangar_code hg_token_stream_new(const hg_tokenizer *t, hg_decode_skip skip, hg_token_stream **out,
                                hangar_err *err)
{
    *out = NULL;
    hg_token_stream *s = hg_calloc(1, sizeof *s);
    if (!s) return hg_fail_memory(err);
    s->stages = hg_calloc(t->dec.count, sizeof *s->stages);
    if (!s->stages) {
        free(s);
        return hg_fail_memory(err);
    }
    s->t = t;
    s->skip = skip;
    s->count = t->dec.count;
    bool whole = false;
    for (size_t i = 0; i < s->count; i++) {
        hg_buf_init(&s->stages[i].hold, HG_TOKENIZER_TEXT_MAX);
        hg_buf_init(&s->stages[i].work, HG_TOKENIZER_TEXT_MAX);
        s->stages[i].whole = whole;
        whole = whole || t->dec.items[i].kind == HG_DEC_FUSE || t->dec.items[i].kind == HG_DEC_BYTES;
    }
    hg_buf_init(&s->tail, HG_TOKENIZER_TEXT_MAX);
    *out = s;
    return HANGAR_OK;
}

void hg_token_stream_free(hg_token_stream *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->count; i++) {
        hg_buf_deinit(&s->stages[i].hold);
        hg_buf_deinit(&s->stages[i].work);
    }
    hg_buf_deinit(&s->tail);
    free(s->stages);
    free(s);
}

hangar_code hg_token_stream_push(hg_token_stream *s, int64_t id, hg_buf *out, hangar_err *err)
{
    if (id < 0 || (uint64_t)id >= s->t->size) return HANGAR_OK;
    const hg_tok_entry *e = &s->t->by_id[id];
    if (!e->text || (s->skip == HG_DECODE_ADDED && e->added) || (s->skip == HG_DECODE_SPECIAL && e->special))
        return HANGAR_OK;
    s->sink = out;
    s->err = err;
    return check(s, emit(s, 0, (hg_str){e->text, e->len}), err);
}

hangar_code hg_token_stream_end(hg_token_stream *s, hg_buf *out, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    s->sink = out;
    s->err = err;
    for (size_t k = 0; k < s->count && code == HANGAR_OK; k++) code = end_stage(s, k);
    if (code == HANGAR_OK) deliver_rest(s);
    code = check(s, code, err);
    reset(s);
    return code;
}

hangar_code hg_tokenizer_decode_with(const hg_tokenizer *t, const int64_t *ids, size_t count,
                                     hg_decode_skip skip, hg_buf *out, hangar_err *err)
{
    hg_token_stream *s = NULL;
    hangar_code code = hg_token_stream_new(t, skip, &s, err);
    for (size_t i = 0; i < count && code == HANGAR_OK; i++) code = hg_token_stream_push(s, ids[i], out, err);
    if (code == HANGAR_OK) code = hg_token_stream_end(s, out, err);
    hg_token_stream_free(s);
    return code;
}

hangar_code hg_tokenizer_piece(const hg_tokenizer *t, int64_t id, hg_buf *out, hangar_err *err)
{
    const hg_tok_entry *e = id >= 0 && (uint64_t)id < t->size ? &t->by_id[id] : NULL;
    if (!e || !e->text || e->special) return HANGAR_OK;
    const hg_str text = {e->text, e->len};
    int byte = -1;
    for (size_t i = 0; i < t->dec.count; i++)
        if (t->dec.items[i].kind == HG_DEC_FALLBACK) byte = byte_token(text);
    if (t->dec.count == 1 && t->dec.items[0].kind == HG_DEC_BYTES) hg_bpe_bytes(text, out);
    else if (byte >= 0) hg_buf_putc(out, (char)byte);
    if (byte >= 0 || (t->dec.count == 1 && t->dec.items[0].kind == HG_DEC_BYTES))
        return hg_buf_check(out, err);
    /* What it adds to itself: at the beginning of a text many decoders leave a space out. */
    hg_buf once, twice;
    hg_buf_init(&once, HG_TOKENIZER_TEXT_MAX);
    hg_buf_init(&twice, HG_TOKENIZER_TEXT_MAX);
    const int64_t ids[2] = {id, id};
    hangar_code code = hg_tokenizer_decode_with(t, ids, 1, HG_DECODE_SPECIAL, &once, err);
    if (code == HANGAR_OK) code = hg_tokenizer_decode_with(t, ids, 2, HG_DECODE_SPECIAL, &twice, err);
    hg_str piece = hg_buf_view(&twice), head = hg_buf_view(&once);
    if (hg_str_starts(piece, head)) piece = (hg_str){piece.ptr + head.len, piece.len - head.len};
    else piece = head;
    if (code == HANGAR_OK) hg_buf_str(out, piece);
    hg_buf_deinit(&once);
    hg_buf_deinit(&twice);
    return code == HANGAR_OK ? hg_buf_check(out, err) : code;
}

hangar_code hg_tokenizer_decode(const hg_tokenizer *t, const int64_t *ids, size_t count, hg_buf *out,
                                hangar_err *err)
{
    return hg_tokenizer_decode_with(t, ids, count, HG_DECODE_ADDED, out, err);
}
