/* SPDX-License-Identifier: Apache-2.0 */
/* Normalizers, pre-tokenizers, models, added tokens and decoders one by one, with what the Rust library gives. */
#include "format/tokenizer_inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* A tokenizer of parts: "'" stands for a quotation mark, to keep the cases readable. */
static hg_tokenizer *make(const char *parts, const char *model)
{
    hg_json *doc = NULL;
    hg_tokenizer *t = NULL;
    hangar_err err = {0};
    HG_AUTO(hg_auto_free) char *text = hg_format("{%s%s\"model\":%s}", parts, *parts ? "," : "", model);
    assert_non_null(text);
    for (char *p = text; *p; p++)
        if (*p == '\'') *p = '"';
    if (hg_json_parse(hg_str_of(text), NULL, &doc, &err) != HANGAR_OK) fail_msg("%s: %s", err.msg, text);
    if (hg_tokenizer_parse(hg_json_root(doc), &t, &err) != HANGAR_OK) fail_msg("%s: %s", err.msg, text);
    hg_json_free(doc);
    return t;
}

#define ONE_WORD "{'type':'WordLevel','unk_token':'?','vocab':{'?':0}}"
#define U        "\xe2\x96\x81" /* SentencePiece's space */

static void normalizers(void **state)
{
    (void)state;
    static const struct {
        const char *json, *text, *want;
    } cases[] = {
        {"{'type':'NFC'}", "e\xcc\x81", "\xc3\xa9"},
        {"{'type':'NFD'}", "\xc3\xa9", "e\xcc\x81"},
        {"{'type':'NFKC'}", "\xef\xac\x81\xef\xbc\xa1", "fiA"},
        {"{'type':'NFKD'}", "\xef\xac\x81\xc3\xa9", "fie\xcc\x81"},
        {"{'type':'NFD'}", "a\xcc\x81\xcc\xa3", "a\xcc\xa3\xcc\x81"}, /* marks in canonical order */
        {"{'type':'Lowercase'}", "\xce\xa3\xce\x91\xce\xa3 \xc4\xb0",
         "\xcf\x83\xce\xb1\xcf\x83 i\xcc\x87"}, /* no final sigma */
        {"{'type':'Strip','strip_left':true,'strip_right':false}",
         " \xe3\x80\x80"
         "a ",
         "a "},
        {"{'type':'Strip','strip_left':false,'strip_right':true}", " a \xc2\xa0", " a"},
        {"{'type':'StripAccents'}", "e\xcc\x81\xc3\xa9", "e\xc3\xa9"}, /* what stands apart */
        {"{'type':'Replace','pattern':{'String':'a.'},'content':'$0'}", "a.ab", "$0ab"},
        {"{'type':'Replace','pattern':{'Regex':' {2,}'},'content':' '}", "a   b  c d", "a b c d"},
        {"{'type':'Replace','pattern':{'Regex':'x*'},'content':'-'}", "axb", "-a-b-"},
        {"{'type':'Prepend','prepend':'" U "'}", "a", U "a"},
        {"{'type':'Prepend','prepend':'" U "'}", "", ""},
        {"{'type':'Nmt'}",
         "a\x01\tb\xe2\x80\x8b"
         "c\x7f\xef\xbb\xbf",
         "a b c "},
        {"{'type':'ByteLevel'}", " \xc3\xa9\n", "\xc4\xa0\xc3\x83\xc2\xa9\xc4\x8a"},
        {"{'type':'BertNormalizer'}", "A\x07\t\xc3\x89\xe4\xb8\xad", "a e \xe4\xb8\xad "},
        {"{'type':'BertNormalizer','lowercase':false,'strip_accents':true}", "\xc3\x89", "E"},
        {"{'type':'Sequence','normalizers':[{'type':'NFD'},{'type':'StripAccents'},{'type':'Sequence','"
         "normalizers':[{"
         "'type':'Lowercase'}]}]}",
         "\xc3\x89", "e"},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hg_buf out;
        hangar_err err = {0};
        HG_AUTO(hg_auto_free) char *part = hg_format("'normalizer':%s", cases[i].json);
        hg_tokenizer *t = make(part, ONE_WORD);
        hg_buf_init(&out, HG_MIB);
        assert_int_equal(hg_tok_normalize(t, hg_str_of(cases[i].text), &out, &err), HANGAR_OK);
        const char *want = cases[i].want;
        if (!hg_streq(hg_buf_text(&out), want))
            fail_msg("%s: \"%s\", not \"%s\"", cases[i].json, hg_buf_text(&out), want);
        hg_buf_deinit(&out);
        hg_tokenizer_free(t);
    }
}

#define SPLIT(pattern, behavior, invert) \
    "{'type':'Split','pattern':{'String':'" pattern "'},'behavior':'" behavior "','invert':" invert "}"

static void pre_tokenizers(void **state)
{
    (void)state;
    static const struct {
        const char *json, *text, *want;
    } cases[] = {
        {SPLIT("-", "Removed", "false"), "the-final--countdown", "the|final|countdown"},
        {SPLIT("-", "Isolated", "false"), "the-final--countdown", "the|-|final|-|-|countdown"},
        {SPLIT("-", "MergedWithPrevious", "false"), "the-final--countdown", "the-|final-|-|countdown"},
        {SPLIT("-", "MergedWithNext", "false"), "the-final--countdown", "the|-final|-|-countdown"},
        {SPLIT("-", "Contiguous", "false"), "the-final--countdown", "the|-|final|--|countdown"},
        {SPLIT("-", "Removed", "true"), "the-final--countdown", "-|-|-"},
        {SPLIT("-", "MergedWithPrevious", "true"), "-a-b", "-a|-b"},
        {"{'type':'CharDelimiterSplit','delimiter':'_'}", "a__b_", "a|b"},
        {"{'type':'Metaspace','replacement':'" U "','prepend_scheme':'always'}", "Hey  you",
         U "Hey|" U "|" U "you"},
        {"{'type':'Metaspace','replacement':'" U "','prepend_scheme':'never','split':false}", "Hey you",
         "Hey" U "you"},
        {"{'type':'Metaspace','replacement':'" U "','prepend_scheme':'first'}", " Hey", U "Hey"},
        {"{'type':'Metaspace','replacement':'_','add_prefix_space':false}", "Hey you", "Hey|_you"},
        {"{'type':'Sequence','pretokenizers':[{'type':'WhitespaceSplit'},{'type':'Metaspace','prepend_scheme'"
         ":'first'}]}",
         "a b", U "a|b"},
        {"{'type':'BertPreTokenizer'}", "Hey, friend!\xe3\x80\x82\xe3\x80\x82",
         "Hey|,|friend|!|\xe3\x80\x82|\xe3\x80\x82"},
        {"{'type':'Whitespace'}", "Hey man!? caf\xc3\xa9_1", "Hey|man|!?|caf\xc3\xa9_1"},
        {"{'type':'WhitespaceSplit'}", " Hey,\tman! ", "Hey,|man!"},
        {"{'type':'Digits','individual_digits':false}", "Call 911!\xc2\xbd", "Call |911|!|\xc2\xbd"},
        {"{'type':'Digits','individual_digits':true}", "a12", "a|1|2"},
        {"{'type':'Punctuation'}", "a!?b", "a|!|?|b"},
        {"{'type':'Punctuation','behavior':'Contiguous'}", "a!?b", "a|!?|b"},
        {"{'type':'FixedLength','length':2}", "h\xc3\xa9llo", "h\xc3\xa9|ll|o"},
        {"{'type':'ByteLevel','add_prefix_space':true}", "a  b\n",
         "\xc4\xa0"
         "a|\xc4\xa0|\xc4\xa0"
         "b|\xc4\x8a"},
        {"{'type':'ByteLevel','add_prefix_space':false,'use_regex':false}", "a b",
         "a\xc4\xa0"
         "b"},
        {"null", "a b", "a b"},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hg_tok_pieces p = {0};
        hangar_err err = {0};
        char got[512] = "";
        size_t n = 0;
        HG_AUTO(hg_auto_free) char *part = hg_format("'pre_tokenizer':%s", cases[i].json);
        hg_tokenizer *t = make(part, ONE_WORD);
        hg_buf_init(&p.text, HG_MIB);
        assert_int_equal(hg_tok_pre_split(t, hg_str_of(cases[i].text), true, &p, &err), HANGAR_OK);
        for (size_t k = 0; k < p.spans.count; k++)
            n += (size_t)snprintf(got + n, sizeof got - n, "%s%.*s", k ? "|" : "",
                                  (int)(p.spans.items[k].end - p.spans.items[k].start),
                                  p.text.data + p.spans.items[k].start);
        if (!hg_streq(got, cases[i].want))
            fail_msg("%s: \"%s\", not \"%s\"", cases[i].json, got, cases[i].want);
        hg_buf_deinit(&p.text);
        free(p.spans.items);
        hg_tokenizer_free(t);
    }
}

/* The ids of a text, as text. */
static const char *ids_of(const hg_tokenizer *t, const char *text, char buf[512])
{
    hg_token_ids ids;
    hangar_err err = {0};
    size_t n = 0;
    if (hg_tokenizer_encode(t, hg_str_of(text), 0, &ids, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    buf[0] = '\0';
    for (size_t i = 0; i < ids.count; i++)
        n += (size_t)snprintf(buf + n, 512 - n, "%s%lld", i ? " " : "", (long long)ids.ids[i]);
    hg_token_ids_deinit(&ids);
    return buf;
}

#define BPE(more)    \
    "{'type':'BPE'," \
    "'vocab':{'a':0,'b':1,'ab':2,'abb':3,'<u>':4,'<0xC3>':5,'<0xA9>':6,'c':7,'bc':8}," more "}"
#define UNI(more)                                                                                            \
    "{'type':'Unigram','unk_id':0,'vocab':[['<u>',0],['a',-1],['b',-2],['ab',-4],['abc',-0.5],['<0xC3>',-9]" \
    ",['<0xA9>',-9]]" more "}"

static void models(void **state)
{
    (void)state;
    static const struct {
        const char *parts, *model, *text, *want;
    } cases[] = {
        {"", BPE("'merges':['a b','ab b']"), "abbab", "3 2"},
        {"", BPE("'merges':[['b','c'],['a','b']]"), "abc", "0 8"}, /* the lower rank first */
        {"", BPE("'merges':['a b']"), "axxb", "2"}, /* the unknown goes, and its neighbours meet */
        {"", BPE("'merges':['a b'],'unk_token':'<u>'"), "axxb", "0 4 4 1"},
        {"", BPE("'merges':['a b'],'unk_token':'<u>','fuse_unk':true"), "axxb", "0 4 1"},
        {"", BPE("'merges':['a b'],'unk_token':'<u>','byte_fallback':true"),
         "a\xc3\xa9"
         "b\xc3\xaa",
         "0 5 6 1 4"},
        {"", BPE("'merges':[]"), "abb", "0 1 1"},
        {"", BPE("'merges':[],'ignore_merges':true"), "abb", "3"},
        {"",
         "{'type':'BPE','vocab':{'a':0,'##b':1,'ab':2},'continuing_subword_prefix':'##','merges':['a ##b']}",
         "ab", "2"},
        {"",
         "{'type':'BPE','vocab':{'a':0,'b</w>':1,'ab</w>':2,'a</w>':3},'end_of_word_suffix':'</"
         "w>','merges':['a b</w>']}",
         "ab", "2"},
        {"", UNI(""), "ab", "1 2"}, /* -3 against -4 */
        {"", UNI(""), "abc", "4"},
        {"", UNI(""), "axxb\xc3\xa9", "1 0 2 0"},                /* unknown neighbours are one */
        {"", UNI(",'byte_fallback':true"), "a\xc3\xa9x", "1 0"}, /* ... whose bytes are not all there */
        {"", UNI(",'byte_fallback':true"),
         "a\xc3\xa9"
         "b",
         "1 5 6 2"},
        {"'pre_tokenizer':{'type':'WhitespaceSplit'}",
         "{'type':'WordLevel','unk_token':'?','vocab':{'?':0,'hi':1}}", "hi you hi", "1 0 1"},
        {"", "{'vocab':{'a':0,'[UNK]':1},'unk_token':'[UNK]','continuing_subword_prefix':'##'}", "b",
         "1"}, /* no type */
    };
    char buf[512];
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hg_tokenizer *t = make(cases[i].parts, cases[i].model);
        if (!hg_streq(ids_of(t, cases[i].text, buf), cases[i].want))
            fail_msg("%s %s: %s, not %s", cases[i].model, cases[i].text, buf, cases[i].want);
        hg_tokenizer_free(t);
    }
    hg_token_ids none;
    hangar_err err = {0};
    hg_tokenizer *t =
        make("", BPE("'merges':[],'unk_token':''")); /* named, not there, and missed when it is needed */
    assert_string_equal(ids_of(t, "ab", buf), "0 1");
    assert_int_equal(hg_tokenizer_encode(t, HG_STR("x"), 0, &none, &err), HANGAR_E_INVALID);
    hg_tokenizer_free(t);
    t = make("", "{'type':'WordLevel','vocab':{'a':0}}");
    assert_int_equal(hg_tokenizer_encode(t, HG_STR("b"), 0, &none, &err), HANGAR_E_INVALID);
    assert_int_equal(hg_tokenizer_encode_with(t, HG_STR("a"), NULL, &none, &err), HANGAR_OK);
    hg_token_ids_deinit(&none);
    hg_tokenizer_free(t);
}

static void added_tokens(void **state)
{
    (void)state;
    hg_tokenizer *t =
        make("'normalizer':{'type':'Lowercase'},'pre_tokenizer':{'type':'WhitespaceSplit'},'added_tokens':["
             "{'id':10,'content':'<S>','special':true,'normalized':false},"
             "{'id':11,'content':'<SS>','normalized':false,'lstrip':true,'rstrip':true},"
             "{'id':12,'content':'<SSS>','normalized':false,'single_word':true},"
             "{'id':13,'content':'Yes','normalized':true}]",
             "{'type':'WordLevel','unk_token':'?','vocab':{'?':0,'a':1,'b':2,'<s>':3}}");
    char buf[512];
    assert_string_equal(ids_of(t, "a<S>b", buf), "1 10 2");
    assert_string_equal(ids_of(t, "<s>", buf), "3"); /* found as it is written alone */
    assert_string_equal(ids_of(t,
                               "a \t<SS>\xe3\x80\x80"
                               "b",
                               buf),
                        "1 11 2");
    assert_string_equal(ids_of(t, "a <SSS> b", buf), "1 12 2");
    assert_string_equal(ids_of(t, "a<SSS>", buf), "0"); /* not a word of its own, and no <SS> in it */
    assert_string_equal(ids_of(t, "a yes b YES", buf), "1 13 2 13");
    assert_true(hg_tokenizer_special(t, 10));
    assert_false(hg_tokenizer_special(t, 13));
    hg_tokenizer_free(t);
}

/* Ids of a text of which none may be a control token. */
static const char *harmless_of(const hg_tokenizer *t, const char *text, bool plain, char out[512])
{
    hg_token_ids ids;
    hangar_err err;
    const hg_encode_options o = {.harmless = true, .plain = plain};
    size_t at = 0;
    out[0] = '\0';
    if (hg_tokenizer_encode_with(t, hg_str_of(text), &o, &ids, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    for (size_t i = 0; i < ids.count; i++)
        at += (size_t)snprintf(out + at, 512 - at, "%s%lld", i ? " " : "", (long long)ids.ids[i]);
    hg_token_ids_deinit(&ids);
    return out;
}

/* What a person writes gives no control token: not as an added token, nor as a piece of the vocabulary, nor after normalizing. */
static void harmless(void **state)
{
    (void)state;
    char buf[512];
    hg_tokenizer *t =
        make("'normalizer':{'type':'NFKC'},'added_tokens':[{'id':0,'content':'?','special':true,'normalized':"
             "false},"
             "{'id':1,'content':'<s>','special':true,'normalized':false},"
             "{'id':6,'content':'<n>','special':true,'normalized':true},"
             "{'id':7,'content':'<t>','normalized':false}],'post_processor':{'type':'TemplateProcessing',"
             "'single':[{'SpecialToken':{'id':'<s>','type_id':0}},{'Sequence':{'id':'A','type_id':0}}],"
             "'pair':[],'special_tokens':{'<s>':{'id':'<s>','ids':[1],'tokens':['<s>']}}}",
             "{'type':'Unigram','unk_id':0,'vocab':[['?',0],['<s>',-1],['<',-2],['s',-2],['>',-2],['n',-2],['"
             "<n>',-1],"
             "['<t>',-1]]}");
    assert_string_equal(ids_of(t, "<s>", buf), "1 1");
    assert_string_equal(harmless_of(t, "<s>", true, buf), "2 3 4");
    assert_string_equal(harmless_of(t, "<s>", false, buf), "1 2 3 4"); /* what the model wants is no harm */
    assert_string_equal(harmless_of(t, "s<s>n", true, buf), "3 2 3 4 5");
    assert_string_equal(harmless_of(t, "<n><t>", true, buf), "2 5 4 7"); /* text, as the file says */
    /* written wide, NFKC makes the piece of it, and the added token that is looked for afterwards */
    assert_string_equal(harmless_of(t, "\xef\xbc\x9cs\xef\xbc\x9e", true, buf), "2 3 4");
    assert_string_equal(harmless_of(t, "\xef\xbc\x9cn\xef\xbc\x9e", true, buf), "2 5 4");
    assert_string_equal(harmless_of(t, "s\xe2\x98\x83n", true, buf), "3 0 5"); /* the unknown is kept */
    assert_true(hg_tokenizer_special(t, 0) && !hg_tokenizer_control(t, 0) && hg_tokenizer_control(t, 1));
    hg_tokenizer_free(t);
}

/* tokenizer_config.json knows of more special tokens than tokenizer.json. */
static void configured(void **state)
{
    (void)state;
    char buf[512];
    hangar_err err;
    hg_json *doc = NULL;
    hg_tokenizer *t =
        make("'added_tokens':[{'id':3,'content':'<x>'},{'id':4,'content':'<y>'},{'id':5,'content':'<z>'},"
             "{'id':6,'content':'<w>'}]",
             "{'type':'BPE','vocab':{'<':0,'>':1,'x':2,'y':7,'z':8,'w':9},'merges':[]}");
    static const char config[] =
        "{\"added_tokens_decoder\":{\"3\":{\"content\":\"<x>\",\"special\":true},"
        "\"6\":{\"content\":\"<w>\",\"special\":false},\"7\":1},\"additional_special_tokens\":[\"<y>\",5],"
        "\"eos_token\":{\"content\":\"<z>\"},\"add_bos_token\":true,\"word_delimiter_token\":\"w\"}";
    assert_string_equal(harmless_of(t, "<x><y><z>", true, buf), "3 4 5");
    assert_int_equal(hg_json_parse(HG_STR(config), NULL, &doc, &err), HANGAR_OK);
    hg_tokenizer_configure(t, hg_json_root(doc));
    assert_string_equal(harmless_of(t, "<x><y><z><w>", true, buf), "0 2 1 0 7 1 0 8 1 6");
    assert_false(hg_tokenizer_special(t, 9)); /* what stands between words is text */
    hg_json_free(doc);
    hg_tokenizer_free(t);
}

static void decoders(void **state)
{
    (void)state;
    static const struct {
        const char *decoder, *tokens, *want;
    } cases[] = {
        {"null", "a|b", "a b"},
        {"{'type':'Fuse'}", "a|b", "ab"},
        {"{'type':'ByteFallback'}", "<0xE5>|<0x8f>|<0xab>|a",
         "\xe5\x8f\xab"
         "a"},
        {"{'type':'ByteFallback'}", "a|<0xE5>|<0x41>|b",
         "a\xef\xbf\xbd\xef\xbf\xbd"
         "b"}, /* one for each byte */
        {"{'type':'ByteFallback'}", "<0xGG>|<0x4>", "<0xGG><0x4>"},
        {"{'type':'ByteLevel'}", "\xc3\xa3\xc4\xa3|\xc4\xa4|\xe4\xb8\xad", "\xe3\x81\x82\xe4\xb8\xad"},
        {"{'type':'ByteLevel'}", "\xc3\xa3\xc4\xa3|a|\xc3\xa3",
         "\xef\xbf\xbd"
         "a\xef\xbf\xbd"}, /* a part is one U+FFFD */
        {"{'type':'Metaspace'}", U U "a|" U "b", "a b"},
        {"{'type':'Metaspace','prepend_scheme':'never'}", U "a|" U "b", " a b"},
        {"{'type':'WordPiece'}", "##a|b|##c|.|!", "##a bc.!"},
        {"{'type':'WordPiece','cleanup':false,'prefix':'@'}", "a|@b|.", "ab ."},
        {"{'type':'BPEDecoder'}", "a</w>|b|c</w>", "a bc"},
        {"{'type':'CTC'}", "<pad>|h|h|e|l|<pad>|l|o|<pad>|<pad>|,|!", "hello,!"},
        {"{'type':'CTC','word_delimiter_token':'_'}", "h|i|_|_|y|o", "hi yo"},
        {"{'type':'Strip','content':'H','start':1,'stop':2}", "Hey|HHH|aHHH", "eyaH"},
        {"{'type':'Replace','pattern':{'Regex':'[ab]'},'content':'-'}", "abc|a", "--c-"},
        {"{'type':'Sequence','decoders':[{'type':'Replace','pattern':{'String':'" U
         "'},'content':' '},{'type':'ByteFallback'},{"
         "'type':'Fuse'},{'type':'Strip','content':' ','start':1,'stop':0}]}",
         U "|" U "a|<0xC3>|<0xA9>|" U "b", " a\xc3\xa9 b"},
        {"{'type':'Sequence','decoders':[{'type':'Fuse'},{'type':'Strip','content':'x','start':1,'stop':1},{'"
         "type':'Replace',"
         "'pattern':{'String':'ab'},'content':'c'}]}",
         "x|a|b|x|x", "cx"},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hg_buf vocab, out, stream;
        hg_str rest = hg_str_of(cases[i].tokens), token;
        int64_t ids[32], size = 0;
        size_t count = 0;
        hangar_err err = {0};
        hg_tokenizer *t = NULL;
        hg_token_stream *s = NULL;
        hg_buf_init(&vocab, HG_MIB);
        for (bool more = true; more;) {
            more = hg_str_cut(&rest, '|', &token);
            hg_buf_printf(&vocab, "%s['%.*s',0]", size ? "," : "", HG_STR_ARG(token));
            ids[count++] = size++;
        }
        /* a Unigram vocabulary may have a text twice */
        HG_AUTO(hg_auto_free) char *model = hg_format("{'type':'Unigram','vocab':[%s]}", hg_buf_text(&vocab));
        HG_AUTO(hg_auto_free) char *part = hg_format("'decoder':%s", cases[i].decoder);
        t = make(part, model);
        hg_buf_init(&out, HG_MIB);
        hg_buf_init(&stream, HG_MIB);
        assert_int_equal(hg_tokenizer_decode_with(t, ids, count, HG_DECODE_ALL, &out, &err), HANGAR_OK);
        const char *want = cases[i].want;
        if (!hg_streq(hg_buf_text(&out), want))
            fail_msg("%s: \"%s\", not \"%s\"", cases[i].decoder, hg_buf_text(&out), want);
        assert_int_equal(hg_token_stream_new(t, HG_DECODE_ALL, &s, &err), HANGAR_OK);
        for (int twice = 0; twice < 2; twice++) { /* a stream can be used again */
            hg_buf_reset(&stream);
            for (size_t k = 0; k < count; k++)
                assert_int_equal(hg_token_stream_push(s, ids[k], &stream, &err), HANGAR_OK);
            assert_int_equal(hg_token_stream_end(s, &stream, &err), HANGAR_OK);
            assert_string_equal(hg_buf_text(&stream), want);
        }
        hg_token_stream_free(s);
        hg_buf_deinit(&out);
        hg_buf_deinit(&stream);
        hg_buf_deinit(&vocab);
        hg_tokenizer_free(t);
    }
}

/* Nothing comes before it is sure: half a character waits, and so does what cleaning up may still change. */
static void streaming(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_token_stream *s = NULL;
    hg_buf out;
    hg_tokenizer *t = make(
        "'decoder':{'type':'ByteLevel'},'added_tokens':[{'id':5,'content':'<e>','special':true}]",
        "{'type':'WordLevel','vocab':{'\xc3\xb0\xc5\x81':0,'\xc4\xba':1,'\xc4\xa2':2,'\xc4\xa0.':3,'a':4}}");
    hg_buf_init(&out, HG_MIB);
    assert_int_equal(hg_token_stream_new(t, HG_DECODE_SPECIAL, &s, &err), HANGAR_OK);
    static const char *const after[] = {"", "", "\xf0\x9f\x98\x80",
                                        "\xf0\x9f\x98\x80"
                                        "a",
                                        "\xf0\x9f\x98\x80"
                                        "a"};
    const int64_t ids[] = {0, 1, 2, 4, 5};
    for (size_t i = 0; i < HG_LEN(ids); i++) {
        assert_int_equal(hg_token_stream_push(s, ids[i], &out, &err), HANGAR_OK);
        assert_string_equal(hg_buf_text(&out), after[i]);
    }
    assert_int_equal(hg_token_stream_push(s, 0, &out, &err), HANGAR_OK);
    assert_int_equal(hg_token_stream_end(s, &out, &err), HANGAR_OK);
    assert_string_equal(hg_buf_text(&out), "\xf0\x9f\x98\x80"
                                           "a\xef\xbf\xbd");
    hg_token_stream_free(s);
    hg_json *config = NULL;
    assert_int_equal(hg_json_parse(HG_STR("{\"clean_up_tokenization_spaces\":true}"), NULL, &config, &err),
                     HANGAR_OK);
    hg_tokenizer_configure(t, hg_json_root(config));
    hg_buf_reset(&out);
    const int64_t dots[] = {4, 3, 4};
    assert_int_equal(hg_tokenizer_decode_with(t, dots, 3, HG_DECODE_ALL, &out, &err), HANGAR_OK);
    assert_string_equal(hg_buf_text(&out), "a.a");
    hg_json_free(config);
    hg_buf_deinit(&out);
    hg_tokenizer_free(t);
}

/* vocab.json and merges.txt. */
static void older_files(void **state)
{
    (void)state;
    static const char vocab[] = "{\"a\":0,\"b\":1,\"ab\":2,\"\xc4\xa0\":3,\"\xc4\xa0"
                                "a\":4,\"<s>\":5,\"</s>\":6,\"<mask>\":7}";
    static const char merges[] = "#version: 0.2\na b\r\n\xc4\xa0 a\n\n";
    hg_json *doc = NULL, *config = NULL;
    hg_tokenizer *t = NULL;
    hangar_err err = {0};
    char buf[512];
    assert_int_equal(hg_json_parse(hg_str_of(vocab), NULL, &doc, &err), HANGAR_OK);
    assert_int_equal(hg_tokenizer_from_merges(hg_json_root(doc), HG_STR(merges), NULL, NULL, &t, &err),
                     HANGAR_OK);
    assert_string_equal(ids_of(t, "ab a b", buf), "2 4 3 1");
    hg_tokenizer_free(t);
    assert_int_equal(
        hg_json_parse(HG_STR("{\"tokenizer_class\":\"RobertaTokenizer\",\"cls_token\":\"<s>\",\"sep_token\":{"
                             "\"content\":\"</s>\"},\"add_prefix_space\":true}"),
                      NULL, &config, &err),
        HANGAR_OK);
    assert_int_equal(hg_tokenizer_from_merges(hg_json_root(doc), HG_STR(merges), NULL, hg_json_root(config),
                                              &t, &err),
                     HANGAR_OK);
    assert_string_equal(ids_of(t, "a<s>", buf), "5 4 5 6");
    hg_tokenizer_free(t);
    hg_json_free(config);
    assert_int_equal(hg_json_parse(HG_STR("{\"tokenizer_class\":\"CLIPTokenizer\"}"), NULL, &config, &err),
                     HANGAR_OK);
    t = NULL;
    assert_int_equal(hg_tokenizer_from_merges(hg_json_root(doc), HG_STR(merges), NULL, hg_json_root(config),
                                              &t, &err),
                     HANGAR_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "CLIPTokenizer"));
    assert_null(t);
    assert_int_equal(hg_tokenizer_from_merges(hg_json_root(doc), HG_STR("a c\n"), NULL, NULL, &t, &err),
                     HANGAR_E_INVALID);
    assert_int_equal(hg_tokenizer_from_merges(hg_json_root(doc), HG_STR("ab\n"), NULL, NULL, &t, &err),
                     HANGAR_E_INVALID);
    assert_null(t);
    hg_json_free(config);
    hg_json_free(doc);
}

/* Runs of marks, which a sort by neighbours would take the square of. */
static void hostile_marks(void **state)
{
    (void)state;
    hg_buf text, out;
    hangar_err err = {0};
    hg_buf_init(&text, 8 * HG_MIB);
    hg_buf_init(&out, 16 * HG_MIB);
    for (size_t i = 0; i < 500000; i++) hg_buf_puts(&text, i < 250000 ? "\xcc\x81" : "\xcc\xa3");
    assert_int_equal(hg_uni_normalize(hg_buf_view(&text), HG_NFC, &out, &err), HANGAR_OK);
    assert_int_equal(out.len, text.len);
    assert_memory_equal(out.data, "\xcc\xa3\xcc\xa3", 4);
    hg_buf_deinit(&text);
    hg_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(normalizers), cmocka_unit_test(pre_tokenizers),
                                       cmocka_unit_test(models),      cmocka_unit_test(added_tokens),
                                       cmocka_unit_test(harmless),    cmocka_unit_test(configured),
                                       cmocka_unit_test(decoders),    cmocka_unit_test(streaming),
                                       cmocka_unit_test(older_files), cmocka_unit_test(hostile_marks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
