/* SPDX-License-Identifier: Apache-2.0 */
/* Taking files of one's own: the layout is that of a download, the source stays, what is odd is refused whole. */
#include "kit.h"

#include <sys/socket.h>
#include <sys/un.h>

static hangar_code add(hg_store *s, const char *source, const char *name, hg_json **out, hangar_err *err)
{
    char *json = NULL;
    hangar_code code = hg_store_add(s, at(source), name, NULL, &json, err);
    if (out) *out = code == HANGAR_OK ? kit_json(json) : NULL;
    else free(json);
    return code;
}

static const char *text_of(const hg_json *doc, const char *key)
{
    return hg_json_text_or(hg_json_get(hg_json_root(doc), key), "?");
}

static void link_is(const char *relative, const char *want)
{
    char target[512] = {0};
    if (readlink(at(relative), target, sizeof target - 1) < 0) fail_msg("%s: no link", relative);
    assert_string_equal(target, want);
}

static void test_folder(void **state)
{
    (void)state;
    hg_json *doc;
    hg_store *s = kit_fresh();
    kit_put("src/config.json", "{}");
    kit_put("src/onnx/model.onnx", "graph");
    kit_put("src/.gitattributes", "x");
    kit_put("src/.git/HEAD", "no part of the model");
    kit_put("src/.cache/huggingface/x", "no part either");
    assert_int_equal(symlink("config.json", at("src/same.json")), 0);
    ok(add(s, "src/", "org/name", &doc, e_));
    assert_string_equal(text_of(doc, "ref"), "org/name");
    char commit[41];
    snprintf(commit, sizeof commit, "%s", text_of(doc, "commit"));
    assert_true(hg_commit_is(hg_str_of(commit)));
    assert_int_equal(hg_json_i64_or(hg_json_get(hg_json_root(doc), "files"), 0), 4);
    assert_int_equal(hg_json_i64_or(hg_json_get(hg_json_root(doc), "size"), 0), 2 + 5 + 1);
    hg_json_free(doc);
    char path[256], want[256];
    snprintf(path, sizeof path, "cache/models--org--name/snapshots/%s/config.json", commit);
    snprintf(want, sizeof want, "../../blobs/%s", kit_oid(HG_HASH_GIT_SHA1, "{}").hex);
    link_is(path, want);
    snprintf(path, sizeof path, "cache/models--org--name/snapshots/%s/onnx/model.onnx", commit);
    snprintf(want, sizeof want, "../../../blobs/%s",
             kit_oid(HG_HASH_SHA256, "graph").hex); /* weights: SHA-256 */
    link_is(path, want);
    char *ref = kit_read("cache/models--org--name/refs/main");
    assert_string_equal(ref, commit);
    free(ref);
    char *source = kit_read("src/config.json");
    assert_string_equal(source, "{}");
    free(source);
    /* The same again gives the same; a change gives another commit, and the old one stays. */
    ok(add(s, "src", "org/name", &doc, e_));
    assert_string_equal(text_of(doc, "commit"), commit);
    hg_json_free(doc);
    kit_put("src/config.json", "{ }");
    ok(add(s, "src", "org/name", &doc, e_));
    assert_string_not_equal(text_of(doc, "commit"), commit);
    hg_json_free(doc);
    char *json = NULL;
    ok(hg_store_verify(s, NULL, NULL, &json, e_));
    doc = kit_json(json);
    assert_int_equal(hg_json_i64_or(hg_json_get(hg_json_root(doc), "models"), 0), 2);
    hg_json_free(doc);
    ok(hg_rm_tree(at("src"), e_));
    hg_store_close(s);
}

static void test_one_file_and_names(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"My Model (v2).gguf", "local/My-Model-v2"},
        {"tiny-chat-Q8_0.gguf", "local/tiny-chat-Q8_0"},
        {"--x..y--.gguf", "local/x.y"},
        {"\xc3\xa9\xc3\xa8.gguf", "local/model"},
        {"net.git.gguf", "local/model"},
    };
    hg_store *s = kit_fresh();
    for (size_t i = 0; i < HG_LEN(names); i++) {
        hg_json *doc;
        char path[128];
        snprintf(path, sizeof path, "one/%s", names[i][0]);
        kit_put(path, "GGUF");
        ok(add(s, path, NULL, &doc, e_));
        assert_string_equal(text_of(doc, "ref"), names[i][1]);
        hg_json_free(doc);
    }
    /* An ONNX file brings its external data along. */
    hg_json *doc;
    kit_put("one/m.onnx", "graph");
    kit_put("one/m.onnx_data", "weights");
    kit_put("one/unrelated.txt", "x");
    ok(add(s, "one/m.onnx", "a/onnx", &doc, e_));
    assert_int_equal(hg_json_i64_or(hg_json_get(hg_json_root(doc), "files"), 0), 2);
    hg_json_free(doc);
    assert_int_equal(add(s, "one/unrelated.txt", NULL, NULL, NULL), HANGAR_E_UNSUPPORTED);
    assert_int_equal(add(s, "one/none.gguf", NULL, NULL, NULL), HANGAR_E_NOT_FOUND);
    assert_int_equal(add(s, "one/m.onnx", "../x", NULL, NULL), HANGAR_E_USAGE);
    assert_int_equal(add(s, "one/m.onnx", "a/b/c", NULL, NULL), HANGAR_E_USAGE);
    ok(hg_rm_tree(at("one"), e_));
    hg_store_close(s);
}

/* What is not a plain folder of plain files is refused before anything is copied. */
static void test_refused(void **state)
{
    (void)state;
    hg_store *s = kit_fresh();
    struct {
        const char *what, *words;
    } const cases[] = {{"out", "leads out"}, {"dead", "leads nowhere"}, {"fifo", "neither"},
                       {"sock", "neither"},  {"name", "colon"},         {"dir", "no file"}};
    kit_put("secret", "x");
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hangar_err err = {0};
        ok(hg_rm_tree(at("src"), e_));
        kit_put("src/good.txt", "x");
        ok(hg_mkdirs(at("src/sub"), 0755, e_));
        if (i == 0) assert_int_equal(symlink("../secret", at("src/link")), 0);
        if (i == 1) assert_int_equal(symlink("nothing", at("src/link")), 0);
        if (i == 2) assert_int_equal(mkfifo(at("src/fifo"), 0644), 0);
        if (i == 3) {
            struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "src/sock"};
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
            close(fd);
        }
        if (i == 4) kit_put("src/a:b", "x");
        if (i == 5) assert_int_equal(symlink("sub", at("src/link")), 0);
        assert_int_equal(add(s, "src", "a/b", NULL, &err), HANGAR_E_INVALID);
        if (!strstr(err.msg, cases[i].words)) fail_msg("%s: %s", cases[i].what, err.msg);
        assert_false(kit_there("cache/models--a--b"));
    }
    ok(hg_rm_tree(at("src"), e_));
    ok(hg_mkdirs(at("src"), 0755, e_));
    assert_int_equal(add(s, "src", "a/b", NULL, NULL), HANGAR_E_INVALID); /* empty */
    hangar_err err = {0};
    assert_int_not_equal(hg_store_add(s, "/dev/zero", "a/b", NULL, NULL, &err), HANGAR_OK);
    assert_int_equal(mkfifo(at("x.gguf"), 0644), 0);
    assert_int_equal(add(s, "x.gguf", "a/b", NULL, NULL), HANGAR_E_INVALID);
    unlink(at("x.gguf"));
    hg_store_close(s);
}

static void cancel_soon(void *ctx, const hangar_event *e)
{
    if (e->kind == HANGAR_EVENT_ITEM) hangar_job_cancel(*(hangar_job **)ctx);
}

static hangar_code no_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    (void)ctx, (void)dir;
    return hg_fail(err, HANGAR_E_FAILED, "left behind: %s", name);
}

static void test_cancel(void **state)
{
    (void)state;
    hangar_job *job = NULL;
    hg_store *s = kit_fresh();
    kit_put("src/a.bin", "one");
    kit_put("src/b.bin", "two");
    job = hangar_job_new(cancel_soon, &job);
    assert_int_equal(hg_store_add(s, at("src"), "a/b", job, NULL, NULL), HANGAR_E_CANCELLED);
    hangar_job_free(job);
    ok(hg_list_dir(at("cache/models--a--b/snapshots"), no_entry, NULL, e_));
    ok(hg_list_dir(at("cache/models--a--b/refs"), no_entry, NULL, e_));
    ok(add(s, "src", "a/b", NULL, e_));
    ok(hg_rm_tree(at("src"), e_));
    hg_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_one_file_and_names),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
