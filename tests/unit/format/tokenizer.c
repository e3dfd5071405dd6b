/* SPDX-License-Identifier: Apache-2.0 */
/* Text to ids and back: the reference ids of the shipped models, and the rules one by one on a small vocabulary. */
#include "format/tokenizer.h"

#include "clip.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static hg_tokenizer *open_json(const char *name, hg_json **doc)
{
    *doc = hg_test_json(name);
    hg_tokenizer *t = NULL;
    hangar_err err = {0};
    if (hg_tokenizer_parse(hg_json_root(*doc), &t, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return t;
}

/* The tokens of a text, joined by spaces, into buf. */
static const char *pieces(const hg_tokenizer *t, const char *text, size_t max, char buf[512])
{
    hg_token_ids ids;
    hangar_err err = {0};
    if (hg_tokenizer_encode(t, hg_str_of(text), max, &ids, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    buf[0] = '\0';
    for (size_t i = 0; i < ids.count; i++) {
        const char *token = hg_tokenizer_text(t, ids.ids[i]);
        assert_non_null(token);
        if (i) strcat(buf, " ");
        strcat(buf, token);
    }
    free(ids.ids);
    return buf;
}

static void reference_sentences(void **state)
{
    (void)state;
    hg_json *doc, *ref = hg_test_json("hangar-labs/tiny-embed/reference.json");
    hg_tokenizer *t = open_json("hangar-labs/tiny-embed/tokenizer.json", &doc), *lines = NULL;
    hg_buf vocab;
    hg_test_read("hangar-labs/tiny-embed/vocab.txt", &vocab);
    hg_json *config = hg_test_json("hangar-labs/tiny-embed/tokenizer_config.json");
    assert_int_equal(hg_tokenizer_from_lines(hg_buf_view(&vocab), hg_json_root(config), &lines, NULL),
                     HANGAR_OK);
    const hg_tokenizer *both[] = {t, lines};
    const hg_jval *sentences = hg_json_get(hg_json_root(ref), "sentences");
    assert_true(hg_json_len(sentences) >= 6);
    for (int k = 0; k < 2; k++)
        for (hg_json_iter it = hg_json_iter_of(sentences); hg_json_next(&it);) {
            hg_token_ids ids;
            hg_str text;
            const hg_jval *want = hg_json_get(it.val, "input_ids");
            assert_true(hg_json_str(hg_json_get(it.val, "text"), &text));
            assert_int_equal(hg_tokenizer_encode(both[k], text, 64, &ids, NULL), HANGAR_OK);
            assert_int_equal(ids.count, hg_json_len(want));
            assert_false(ids.truncated);
            for (size_t i = 0; i < ids.count; i++)
                assert_int_equal(ids.ids[i], hg_json_i64_or(hg_json_at(want, i), -1));
            free(ids.ids);
        }
    assert_non_null(hg_tokenizer_text(t, 799));
    assert_null(hg_tokenizer_text(t, 800));
    hg_tokenizer_free(t);
    hg_tokenizer_free(lines);
    hg_json_free(doc);
    hg_json_free(ref);
    hg_json_free(config);
    hg_buf_deinit(&vocab);
}

/* A vocabulary for the rules. */
static hg_tokenizer *small(const char *normalizer)
{
    HG_AUTO(hg_auto_free)
    char *text = hg_format(
        "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
        "\"max_input_chars_per_word\":8,"
        "\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##b\":4,\"ab\":5,\"##c\":6,\"cafe\":7,"
        "\"\xe4\xb8\xad\":8,"
        "\"\xe5\x9b\xbd\":9,\"!\":10,\"-\":11,\"A\":12,\"caf\xc3\xa9\":13,\"i\":14,\"##\xcc\x87\":15,"
        "\"\xe2\x80\x94\":16,\"$\":17}},"
        "\"added_tokens\":[{\"id\":1,\"content\":\"[CLS]\"},{\"id\":2,\"content\":\"[SEP]\"},"
        "{\"id\":20,\"content\":\"[M]\",\"lstrip\":true},{\"id\":21,\"content\":\"[M]x\",\"single_word\":"
        "true}],"
        "\"normalizer\":%s,\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
        "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",2],\"cls\":[\"[CLS]\",1]}}",
        normalizer);
    hg_json *doc = NULL;
    hg_tokenizer *t = NULL;
    hangar_err err = {0};
    assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &doc, NULL), HANGAR_OK);
    if (hg_tokenizer_parse(hg_json_root(doc), &t, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    hg_json_free(doc);
    return t;
}

static void the_rules(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "[CLS] [SEP]"},
        {"  \t\n ", "[CLS] [SEP]"},
        {"ab abc abcb", "[CLS] ab ab ##c ab ##c ##b [SEP]"}, /* longest first */
        {"abx", "[CLS] [UNK] [SEP]"},                        /* unknown as a whole */
        {"aaaaaaaaa", "[CLS] [UNK] [SEP]"},                  /* nine characters, eight allowed */
        {"CAF\xc3\x89 cafe\xcc\x81", "[CLS] cafe cafe [SEP]"},
        {"\xe4\xb8\xad\xe5\x9b\xbd"
         "a",
         "[CLS] \xe4\xb8\xad \xe5\x9b\xbd a [SEP]"},
        {"a-ab!!", "[CLS] a - ab ! ! [SEP]"},
        {"a\xe2\x80\x94"
         "a$a",
         "[CLS] a \xe2\x80\x94 a $ a [SEP]"},
        {"a\xc2\xa0\xe3\x80\x80"
         "a",
         "[CLS] a a [SEP]"}, /* white space of other scripts */
        {"a\xe2\x80\x8b"
         "b\x07 \xef\xbf\xbd",
         "[CLS] ab [SEP]"},            /* format, control and replacement characters are gone */
        {"\xc4\xb0", "[CLS] i [SEP]"}, /* capital I with dot */
        {"a [M] ab", "[CLS] a [M] ab [SEP]"},
        {"ab[M]xa", "[CLS] ab [UNK] [UNK] [UNK] [UNK] [SEP]"}, /* [M]x only as a word, and nothing shorter */
        {"ab [M]x a", "[CLS] ab [M]x a [SEP]"},
        {"[SEP]", "[CLS] [SEP] [SEP]"},
    };
    char buf[512];
    hg_tokenizer *t = small("{\"type\":\"BertNormalizer\",\"strip_accents\":null,\"lowercase\":true}");
    for (size_t i = 0; i < HG_LEN(cases); i++)
        assert_string_equal(pieces(t, cases[i].text, 0, buf), cases[i].want);
    hg_tokenizer_free(t);
    t = small("{\"type\":\"BertNormalizer\",\"strip_accents\":null,\"lowercase\":false}");
    assert_string_equal(pieces(t, "A caf\xc3\xa9 CAFE", 0, buf), "[CLS] A caf\xc3\xa9 [UNK] [SEP]");
    hg_tokenizer_free(t);
    t = small("{\"type\":\"BertNormalizer\",\"strip_accents\":false,\"lowercase\":true}");
    assert_string_equal(pieces(t, "\xc4\xb0", 0, buf), "[CLS] i ##\xcc\x87 [SEP]");
    hg_tokenizer_free(t);
}

static void cut_to_length(void **state)
{
    (void)state;
    char buf[512];
    hg_token_ids ids;
    hangar_err err = {0};
    hg_tokenizer *t = small("null");
    assert_string_equal(pieces(t, "a a a", 5, buf), "[CLS] a a a [SEP]");
    assert_string_equal(pieces(t, "a a a a", 5, buf), "[CLS] a a a [SEP]");
    assert_int_equal(hg_tokenizer_encode(t, HG_STR("a a a a"), 5, &ids, &err), HANGAR_OK);
    assert_true(ids.truncated);
    free(ids.ids);
    assert_int_equal(hg_tokenizer_encode(t, HG_STR("a"), 2, &ids, &err), HANGAR_E_LIMIT);
    assert_null(ids.ids);
    /* what is no UTF-8 is U+FFFD, which the normalizer "null" leaves and the vocabulary does not have */
    assert_string_equal(pieces(t, "a \xff", 0, buf), "[CLS] a [UNK] [SEP]");
    hg_tokenizer_free(t);
}

static void decodes_bytes(void **state)
{
    (void)state;
    hg_json *doc, *vocab = hg_test_json("hangar-labs/whisper-digits/vocab.json"),
                  *added = hg_test_json("hangar-labs/whisper-digits/added_tokens.json");
    hg_tokenizer *t = open_json("hangar-labs/whisper-digits/tokenizer.json", &doc), *older = NULL;
    assert_int_equal(hg_tokenizer_from_vocab(hg_json_root(vocab), hg_json_root(added), &older, NULL),
                     HANGAR_OK);
    const hg_tokenizer *both[] = {t, older};
    for (int k = 0; k < 2; k++) {
        const int64_t ids[] = {513, 514, 614, 618, 332, 301, 321, 303, 624, 99999, -1, 512};
        hg_buf out;
        hg_buf_init(&out, HG_MIB);
        assert_int_equal(hg_tokenizer_decode(both[k], ids, HG_LEN(ids), &out, NULL), HANGAR_OK);
        hg_str text = hg_str_trim(hg_buf_view(&out));
        assert_true(hg_str_eq(text, HG_STR("five seven one four")));
        /*
         * half a character is replaced; the halves of one in two tokens are joined. C3 is written U+00C3, A9 U+00A9
         */
        int64_t c3 = hg_tokenizer_id(both[k], "\xc3\x83"), a9 = hg_tokenizer_id(both[k], "\xc2\xa9");
        assert_true(c3 >= 0 && a9 >= 0);
        const int64_t halves[] = {c3, a9, c3};
        hg_buf_reset(&out);
        assert_int_equal(hg_tokenizer_decode(both[k], halves, 3, &out, NULL), HANGAR_OK);
        assert_string_equal(hg_buf_text(&out), "\xc3\xa9\xef\xbf\xbd");
        hg_buf_deinit(&out);
        assert_int_equal(hg_tokenizer_id(both[k], "<|en|>"), 514);
        hg_token_ids none;
        assert_int_equal(hg_tokenizer_encode(both[k], HG_STR("a"), 0, &none, NULL),
                         k == 0 ? HANGAR_OK : HANGAR_E_UNSUPPORTED);
        hg_token_ids_deinit(&none);
    }
    hg_tokenizer_free(t);
    hg_tokenizer_free(older);
    hg_json_free(doc);
    hg_json_free(vocab);
    hg_json_free(added);
}

#define WORDS "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}}"

/* What is not known is refused by name. */
static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        hangar_code code;
        const char *words;
    } cases[] = {
        {"{\"model\":{\"type\":\"Neural\",\"vocab\":{\"a\":0}}}", HANGAR_E_UNSUPPORTED, "Neural"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":{\"a\":0}}}", HANGAR_E_INVALID, "pieces"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", HANGAR_E_INVALID, "piece 0"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1]],\"unk_id\":7}}", HANGAR_E_INVALID,
         "unk_id"},
        {"{" WORDS ",\"normalizer\":{\"type\":\"Rot13\"}}", HANGAR_E_UNSUPPORTED, "Rot13"},
        {"{" WORDS ",\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}}", HANGAR_E_UNSUPPORTED,
         "UnicodeScripts"},
        {"{" WORDS ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Morse\"}]}}",
         HANGAR_E_UNSUPPORTED, "Morse"},
        {"{" WORDS ",\"decoder\":{\"type\":\"Sequence\"}}", HANGAR_E_INVALID, "decoders"},
        {"{" WORDS ",\"post_processor\":{\"type\":\"Lambda\"}}", HANGAR_E_UNSUPPORTED, "Lambda"},
        {"{" WORDS
         ",\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Shredded\",\"pattern\":{\"String\":\" \"}}}",
         HANGAR_E_UNSUPPORTED, "Shredded"},
        {"{" WORDS ",\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":"
         "\"(a)\\\\1\"}}}",
         HANGAR_E_UNSUPPORTED, "unknown escape"},
        {"{" WORDS ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAA\"}}",
         HANGAR_E_INVALID, "precompiled_charsmap"},
        {"{" WORDS ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"a\",0],\"sep\":[\"b\",9]}}",
         HANGAR_E_INVALID, "9"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", HANGAR_E_INVALID, "[UNK]"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0,\"b\":0}}}", HANGAR_E_INVALID, "two tokens"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":99999999}}}", HANGAR_E_LIMIT, "over the limit"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":-1}}}", HANGAR_E_LIMIT, "over the limit"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", HANGAR_E_INVALID, "empty"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", HANGAR_E_INVALID, "merges"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", HANGAR_E_INVALID,
         "no tokens"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", HANGAR_E_INVALID,
         "no token"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"aa\"]}}", HANGAR_E_INVALID,
         "two texts"},
        {"[]", HANGAR_E_INVALID, "model"},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hg_json *doc = NULL;
        hg_tokenizer *t = NULL;
        hangar_err err = {0};
        assert_int_equal(hg_json_parse(hg_str_of(cases[i].json), NULL, &doc, NULL), HANGAR_OK);
        assert_int_equal(hg_tokenizer_parse(hg_json_root(doc), &t, &err), cases[i].code);
        assert_null(t);
        if (!strstr(err.msg, cases[i].words)) fail_msg("\"%s\" does not say \"%s\"", err.msg, cases[i].words);
        hg_json_free(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reference_sentences), cmocka_unit_test(the_rules),
                                       cmocka_unit_test(cut_to_length), cmocka_unit_test(decodes_bytes),
                                       cmocka_unit_test(refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
