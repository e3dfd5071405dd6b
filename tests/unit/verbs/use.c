/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that use a model: what they ask of the library, the conversation, and what they show. */
#include "fake.h"

#include "base/fsx.h"

#define PLAIN " | t 0.8 p 0.95 minp 0.05 k 40 rep 1 max 512 seed -1 ctx 0 raw 0"

static void test_run_defaults(void **state)
{
    (void)state;
    give.json = "{\"text\":\"Hi\",\"finish\":\"stop\"}";
    give.stream = "Hi";
    outcome o = CALL("run", "m", "Hello");
    assert_int_equal(o.code, HANGAR_OK);
    assert_seen("load m\ngenerate user:Hello" PLAIN "\nunload\n");
    assert_string_equal(hg_buf_text(&o.text), "Hi");
    assert_string_equal(o.page, "Hi\n");
    assert_told("");
    drop(&o);
}

/* The daemon has the model in its memory; a model in the cloud cannot be loaded at all. */
static void test_run_elsewhere(void **state)
{
    (void)state;
    give.json = "{\"text\":\"Hi\",\"finish\":\"stop\"}";
    give.stream = "Hi";
    give.where = HANGAR_WHERE_DAEMON;
    outcome o = CALL("run", "m", "Hello");
    assert_int_equal(o.code, HANGAR_OK);
    assert_seen("daemon m user:Hello\n");
    assert_string_equal(hg_buf_text(&o.text), "Hi");
    drop(&o);
    give.where = HANGAR_WHERE_CHAIN;
    o = CALL("run", "m", "Hello");
    assert_int_equal(o.code, HANGAR_OK);
    assert_seen("ask m user:Hello\n");
    drop(&o);
}

static void test_run_options(void **state)
{
    (void)state;
    give.json = "{\"text\":\"a\\nb\",\"finish\":\"length\",\"generated_tokens\":7}";
    assert_int_equal(hg_write_file("g.gbnf", "root ::= x", 10, 0644, NULL), HANGAR_OK);
    outcome o = CALL("run", "m", "Hello", "--system", "Be brief", "--temperature", "0", "--top-p", "0.5",
                     "--min-p", "0", "--top-k", "0", "--repeat-penalty", "1.1", "-n", "7", "--seed", "-5",
                     "--context-length", "1024", "--stop", "a", "--stop", "b", "--grammar", "g.gbnf");
    assert_seen("load m\ngenerate system:Be brief user:Hello | t 0 p 0.5 minp 0 k 0 rep 1.1 max 7 seed -5 "
                "ctx 1024 raw 0 "
                "stop,a,b grammar root ::= x\nunload\n");
    assert_string_equal(o.page, "a\nb\n");
    assert_told("the answer was cut after 7 tokens (--max-tokens)\n");
    drop(&o);
    want_json = true; /* a program reads "finish" */
    o = CALL("run", "m", "Hello");
    assert_told("");
    drop(&o);
}

static void test_run_files(void **state)
{
    (void)state;
    give.json = "{}";
    assert_int_equal(hg_write_file("s.json", "{}", 2, 0644, NULL), HANGAR_OK);
    assert_int_equal(hg_write_file("empty", "", 0, 0644, NULL), HANGAR_OK);
    assert_int_equal(hg_write_file("bytes", "a\xff", 2, 0644, NULL), HANGAR_OK);
    outcome o = CALL("run", "m", "x", "--json-schema", "s.json");
    assert_seen("load m\ngenerate user:x" PLAIN " schema {}\nunload\n");
    drop(&o);
    o = CALL("run", "m", "x", "--grammar", "none");
    assert_int_equal(o.code, HANGAR_E_NOT_FOUND);
    assert_seen("");
    drop(&o);
    o = CALL("run", "m", "x", "--grammar", "empty");
    assert_int_equal(o.code, HANGAR_E_INVALID);
    drop(&o);
    o = CALL("run", "m", "x", "--json-schema", "bytes");
    assert_int_equal(o.code, HANGAR_E_INVALID);
    drop(&o);
    o = CALL("run", "m", "x", "--json-schema", "s.json", "--grammar", "s.json");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    drop(&o);
}

static void test_run_input(void **state)
{
    (void)state;
    const char *const lines[] = {"one", "", "two", NULL};
    give.json = "{}";
    typed = lines;
    outcome o = CALL("run", "m");
    assert_seen("load m\ngenerate user:one\n\ntwo" PLAIN "\nunload\n");
    drop(&o);
    typed = NULL;
    o = CALL("run", "m");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    assert_seen("");
    drop(&o);
    const char *const bytes[] = {"\xc3\x28", NULL};
    typed = bytes;
    o = CALL("run", "m");
    assert_int_equal(o.code, HANGAR_E_INVALID);
    drop(&o);
}

static void test_chat(void **state)
{
    (void)state;
    const char *const lines[] = {"Hello",  "",      "/help", "/nonsense", "  More  ",
                                 "/clear", "Again", "/bye",  "not read",  NULL};
    give.json = "{\"text\":\"Hi\"}";
    give.stream = "Hi";
    person = true;
    typed = lines;
    outcome o = CALL("run", "m", "--system", "S");
    assert_int_equal(o.code, HANGAR_OK);
    assert_null(o.json);
    assert_seen("load m\n"
                "generate system:S user:Hello" PLAIN "\n"
                "generate system:S user:Hello assistant:Hi user:More" PLAIN "\n"
                "generate system:S user:Again" PLAIN "\n"
                "unload\n");
    assert_non_null(strstr(hg_buf_text(&told), "there is no such command"));
    assert_string_equal(*typed, "not read");
    drop(&o);
}

/* Why an answer was cut, and what to do about a conversation that has become too long. */
static void test_chat_full(void **state)
{
    (void)state;
    const char *const lines[] = {"Hello", "More", NULL};
    person = true;
    typed = lines;
    give.json = "{\"text\":\"Hi\",\"finish\":\"length\",\"generated_tokens\":3,\"prompt_tokens\":9}";
    give.fails_after = 1;
    outcome o = CALL("run", "m", "-n", "4");
    assert_non_null(
        strstr(hg_buf_text(&told), "cut after 3 tokens: with the 9 of the prompt the context is full"));
    assert_non_null(strstr(hg_buf_text(&told), "as the test wants\n/clear forgets what was said before\n"));
    drop(&o);
}

/* --raw is for one prompt. */
static void test_run_raw(void **state)
{
    (void)state;
    give.json = "{\"text\":\"b\",\"finish\":\"stop\"}";
    outcome o = CALL("run", "m", "Hello", "--raw");
    assert_non_null(strstr(hg_buf_text(&seen), "raw 1"));
    drop(&o);
    o = CALL("run", "m", "Hello", "--raw", "--system", "S");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    drop(&o);
    person = true;
    o = CALL("run", "m", "--raw");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    drop(&o);
}

static void test_chat_stopped_turn(void **state)
{
    (void)state;
    const char *const lines[] = {"Hello", "More", NULL};
    give.cancel_turn = true;
    person = true;
    typed = lines;
    outcome o = CALL("run", "m");
    assert_int_equal(o.code, HANGAR_OK); /* what was said until then is remembered */
    assert_seen("load m\ngenerate user:Hello" PLAIN "\ngenerate user:Hello assistant:half user:More" PLAIN
                "\nunload\n");
    drop(&o);
}

static void test_chat_errors(void **state)
{
    (void)state;
    const char *const lines[] = {"Hello", "More", NULL};
    person = true;
    typed = lines;
    give.code = HANGAR_E_LIMIT; /* told, forgotten, and on it goes */
    outcome o = CALL("run", "m");
    assert_int_equal(o.code, HANGAR_OK);
    assert_seen("load m\ngenerate user:Hello" PLAIN "\ngenerate user:More" PLAIN "\nunload\n");
    assert_non_null(strstr(hg_buf_text(&told), "as the test wants\n"));
    drop(&o);
    typed = lines;
    assert_null(strstr(hg_buf_text(&told), "/clear")); /* nothing was said before */
    give.code = HANGAR_E_ENGINE;                       /* nobody is there to answer the next one */
    o = CALL("run", "m");
    assert_int_equal(o.code, HANGAR_E_ENGINE);
    assert_seen("load m\ngenerate user:Hello" PLAIN "\nunload\n");
    drop(&o);
    want_json = true;
    o = CALL("run", "m");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    drop(&o);
}

static void test_transcribe(void **state)
{
    (void)state;
    give.json = "{\"file\":\"a.wav\",\"text\":\" one "
                "two\",\"segments\":[{\"start\":0,\"end\":61.25,\"text\":\" one two\"}]}";
    outcome o = CALL("transcribe", "m", "a.wav");
    assert_int_equal(o.code, HANGAR_E_NOT_FOUND); /* told before a model is loaded */
    assert_string_equal(o.err.msg, "a.wav: No such file or directory");
    assert_seen("");
    drop(&o);
    assert_int_equal(hg_write_file("a.wav", "RIFF", 4, 0644, NULL), HANGAR_OK);
    o = CALL("transcribe", "m", "a.wav");
    assert_seen("load m\ntranscribe a.wav lang - task transcribe beams 1 times 0\nunload\n");
    assert_string_equal(o.json, give.json);
    assert_string_equal(o.page, "one two\n");
    drop(&o);
    o = CALL("transcribe", "m", "a.wav", "-l", "pt", "--task", "translate", "--beams", "4", "--timestamps");
    assert_seen("load m\ntranscribe a.wav lang pt task translate beams 4 times 1\nunload\n");
    assert_string_equal(o.page, "[0:00.0 - 1:01.3] one two\n");
    drop(&o);
}

static void test_transcribe_many(void **state)
{
    (void)state;
    give.json = "{\"file\":\"?\",\"text\":\" one\"}";
    give.bad_file = "b";
    outcome o = CALL("transcribe", "m", "a", "b", "c");
    assert_int_equal(o.code, HANGAR_E_NOT_FOUND);
    assert_string_equal(o.err.msg, "1 of 3 files failed: b: nothing there");
    assert_string_equal(
        o.json,
        "{\"results\":[{\"file\":\"?\",\"text\":\" one\"},{\"file\":\"b\",\"error\":{\"code\":\"NOT_FOUND\","
        "\"message\":\"b: nothing there\"}},{\"file\":\"?\",\"text\":\" one\"}]}");
    assert_string_equal(o.page, "?\none\n✗ b: nothing there\n?\none\n");
    drop(&o);
    give.code = HANGAR_E_ENGINE; /* nothing more can come from it */
    give.bad_file = NULL;
    o = CALL("transcribe", "m", "a", "b", "c");
    assert_int_equal(o.code, HANGAR_E_ENGINE);
    assert_seen("load m\ntranscribe a lang - task transcribe beams 1 times 0\nunload\n");
    drop(&o);
    give.load = HANGAR_E_NOT_FOUND;
    o = CALL("transcribe", "m", "/dev/null");
    assert_int_equal(o.code, HANGAR_E_NOT_FOUND);
    assert_null(o.json);
    drop(&o);
}

static void test_embed(void **state)
{
    (void)state;
    const char *const lines[] = {"a b", "  ", "c", NULL};
    give.json = "{\"embeddings\":[[0.123456789,-1],[1e-9,2]]}";
    outcome o = CALL("embed", "m", "x", "-", "y");
    assert_seen("load m\nembed [x] [-] [y]\nunload\n");
    assert_string_equal(o.page, "0.123457 -1\n1e-09 2\n");
    drop(&o);
    typed = lines;
    o = CALL("embed", "m");
    assert_seen("load m\nembed [a b] [c]\nunload\n");
    drop(&o);
    typed = lines;
    o = CALL("embed", "m", "-");
    assert_seen("load m\nembed [a b] [c]\nunload\n");
    drop(&o);
    typed = NULL;
    o = CALL("embed", "m");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    assert_seen("");
    drop(&o);
    const char *const bytes[] = {"fine", "\xff", NULL};
    typed = bytes;
    o = CALL("embed", "m");
    assert_int_equal(o.code, HANGAR_E_INVALID);
    assert_string_equal(o.err.msg, "the standard input, text 2: not UTF-8 text");
    drop(&o);
}

static void test_images(void **state)
{
    (void)state;
    give.json = "{\"embeddings\":[[0.5,1]]}";
    outcome o = CALL("embed", "m", "--image", "a.png", "--image", "b.jpg");
    assert_seen("load m\nembed images [a.png] [b.jpg]\nunload\n");
    assert_string_equal(o.page, "0.5 1\n");
    drop(&o);
    o = CALL("embed", "m", "x", "--image", "a.png");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    drop(&o);
    give.json = "{\"task\":\"zero-shot-image-classification\",\"results\":[{\"file\":\"a.png\",\"labels\":["
                "{\"label\":\"cat\",\"score\":0.75},{\"label\":\"dog\",\"score\":0.25}]}]}";
    o = CALL("classify", "m", "--image", "a.png", "--label", "cat", "--label", "dog", "--template", "a {}");
    assert_seen("load m\nclassify images top 5 labels,cat,dog template a {} [a.png]\nunload\n");
    assert_non_null(strstr(o.page, "a.png"));
    assert_non_null(strstr(o.page, "0.7500"));
    drop(&o);
    o = CALL("classify", "m", "x", "--label", "cat");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    drop(&o);
}

static void test_classify(void **state)
{
    (void)state;
    const char *const lines[] = {"a b", "", "c", NULL};
    give.json =
        "{\"task\":\"text-classification\",\"results\":[{\"text\":\"x\",\"labels\":[{\"label\":\"good\","
        "\"score\":0.75},"
        "{\"label\":\"bad\",\"score\":0.25}]},{\"text\":\"y\",\"labels\":[{\"label\":\"bad\",\"score\":1}]}],"
        "\"truncated\":[1]}";
    outcome o = CALL("classify", "m", "x", "y");
    assert_seen("load m\nclassify top 5 [x] [y]\nunload\n");
    assert_string_equal(
        o.page, "text  label   score\nx     good   0.7500\n      bad    0.2500\ny     bad    1.0000\n");
    assert_told("1 text was cut: longer than the model can read; --json tells which\n");
    drop(&o);
    give.json = "{\"task\":\"token-classification\",\"results\":[{\"text\":\"x\",\"tokens\":[{\"id\":1,"
                "\"token\":\"x\","
                "\"label\":\"O\",\"score\":0.5}]}]}";
    typed = lines;
    o = CALL("classify", "m", "--top", "0");
    assert_seen("load m\nclassify top 0 [a b] [c]\nunload\n");
    assert_string_equal(o.page, "token  label   score\nx      O      0.5000\n");
    drop(&o);
    typed = NULL;
    o = CALL("classify", "m");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    assert_seen("");
    drop(&o);
    give.load = HANGAR_E_NOT_FOUND;
    o = CALL("classify", "m", "x");
    assert_int_equal(o.code, HANGAR_E_NOT_FOUND);
    assert_seen("load m\n");
    drop(&o);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, reset, clean)
    const struct CMUnitTest tests[] = {
        TEST(test_run_defaults),
        TEST(test_run_elsewhere),
        TEST(test_run_options),
        TEST(test_run_files),
        TEST(test_run_input),
        TEST(test_chat),
        TEST(test_chat_stopped_turn),
        TEST(test_chat_errors),
        TEST(test_chat_full),
        TEST(test_run_raw),
        TEST(test_transcribe),
        TEST(test_transcribe_many),
        TEST(test_embed),
        TEST(test_classify),
        TEST(test_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
