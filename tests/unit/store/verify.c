/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing again: damage of every kind is found and named exactly, and nothing else is. */
#include "kit.h"

#define R   "org/name"
#define DIR "cache/models--org--name"

static hg_json *verify(hg_store *s, const char *ref, hangar_code want, hangar_err *err)
{
    char *json = NULL;
    hg_ref r;
    hangar_err own = {0};
    if (!err) err = &own;
    if (ref) r = kit_ref(ref);
    hangar_code code = hg_store_verify(s, ref ? &r : NULL, NULL, &json, err);
    if (code != want) fail_msg("%s: %s", hangar_code_name(code), err->msg);
    return kit_json(json);
}

static void damage_is(const hg_json *doc, size_t i, const char *ref, const char *path, const char *problem)
{
    const hg_jval *d = hg_json_at(hg_json_get(hg_json_root(doc), "damaged"), i);
    assert_string_equal(hg_json_text_or(hg_json_get(d, "ref"), "?"), ref);
    assert_string_equal(hg_json_text_or(hg_json_get(d, "path"), "?"), path);
    assert_string_equal(hg_json_text_or(hg_json_get(d, "problem"), "?"), problem);
}

static size_t count_of(const hg_json *doc, const char *key)
{
    return hg_json_len(hg_json_get(hg_json_root(doc), key));
}

static void flip(const char *relative, long offset)
{
    FILE *f = fopen(at(relative), "r+b");
    assert_non_null(f);
    fseek(f, offset, SEEK_SET);
    int c = fgetc(f);
    fseek(f, offset, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

static hg_store *fill(void)
{
    hg_store *s = kit_fresh();
    ok(hg_store_prepare(s, R, e_));
    kit_file(s, R, C1, "a", "alpha");
    kit_file(s, R, C1, "sub/b", "beta");
    kit_file(s, R, C1, "copy of a", "alpha");
    hg_oid big = kit_blob(s, R, HG_HASH_SHA256, "weights");
    ok(hg_snapshot_link(s, R, C1, "model.bin", &big, e_));
    ok(hg_revision_write(s, R, "main", C1, e_));
    ok(hg_store_prepare(s, "other", e_));
    kit_file(s, "other", C2, "f", "other");
    return s;
}

static void test_sound(void **state)
{
    (void)state;
    hg_store *s = fill();
    hg_json *doc = verify(s, NULL, HANGAR_OK, NULL);
    const hg_jval *root = hg_json_root(doc);
    assert_int_equal(hg_json_i64_or(hg_json_get(root, "ok"), 0), 5);
    assert_int_equal(hg_json_i64_or(hg_json_get(root, "models"), 0), 2);
    assert_int_equal(hg_json_i64_or(hg_json_get(root, "files"), 0), 5);
    assert_int_equal(hg_json_i64_or(hg_json_get(root, "bytes"), 0), 5 + 4 + 7 + 5); /* alpha once */
    hg_json_free(doc);
    doc = verify(s, R ":sub/b", HANGAR_OK, NULL);
    assert_int_equal(hg_json_i64_or(hg_json_get(hg_json_root(doc), "files"), 0), 1);
    hg_json_free(doc);
    hg_ref none = kit_ref(R ":none");
    char *json = NULL;
    assert_int_equal(hg_store_verify(s, &none, NULL, &json, NULL), HANGAR_E_NOT_FOUND);
    none = kit_ref("no/such");
    assert_int_equal(hg_store_verify(s, &none, NULL, &json, NULL), HANGAR_E_NOT_FOUND);
    assert_null(json);
    hg_store_close(s);
}

static void test_flipped_bit(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_store *s = fill();
    flip(DIR "/snapshots/" C1 "/model.bin", 3);
    hg_json *doc = verify(s, NULL, HANGAR_E_INTEGRITY, &err);
    assert_int_equal(count_of(doc, "damaged"), 1);
    damage_is(doc, 0, R, "model.bin", "hash");
    const hg_jval *d = hg_json_at(hg_json_get(hg_json_root(doc), "damaged"), 0);
    assert_string_equal(hg_json_text(hg_json_get(d, "expected")), kit_oid(HG_HASH_SHA256, "weights").hex);
    assert_string_equal(hg_json_text(hg_json_get(d, "actual")), kit_oid(HG_HASH_SHA256, "weifhts").hex);
    assert_non_null(strstr(err.msg, "model.bin"));
    hg_json_free(doc);
    hg_json_free(verify(s, "other@" C2, HANGAR_OK, NULL)); /* the others are sound */
    /* A blob that two paths share: both are named. */
    flip(DIR "/snapshots/" C1 "/a", 0);
    doc = verify(s, R, HANGAR_E_INTEGRITY, &err);
    assert_int_equal(count_of(doc, "damaged"), 3);
    damage_is(doc, 0, R, "a", "hash");
    damage_is(doc, 1, R, "copy of a", "hash");
    assert_non_null(strstr(err.msg, "2 more"));
    hg_json_free(doc);
    hg_store_close(s);
}

/* Found damage makes a store ask for the blob again, and a proved one takes its place; a sound one is not asked for. */
static void test_repair(void **state)
{
    (void)state;
    hg_store *s = fill();
    hg_oid big = kit_oid(HG_HASH_SHA256, "weights"), beta = kit_oid(HG_HASH_GIT_SHA1, "beta");
    assert_true(hg_blob_have(s, R, &big, 7));
    flip(DIR "/snapshots/" C1 "/model.bin", 3);
    assert_true(hg_blob_have(s, R, &big, 7)); /* not known yet */
    hg_json_free(verify(s, R, HANGAR_E_INTEGRITY, NULL));
    assert_false(hg_blob_have(s, R, &big, 7));
    assert_true(hg_blob_have(s, R, &beta, 4));
    kit_blob(s, R, HG_HASH_SHA256, "weights");
    assert_true(hg_blob_have(s, R, &big, 7));
    hg_json_free(verify(s, R, HANGAR_OK, NULL));
    /* Repaired by somebody else: the next verification sees it. */
    flip(DIR "/snapshots/" C1 "/model.bin", 3);
    hg_json_free(verify(s, R, HANGAR_E_INTEGRITY, NULL));
    flip(DIR "/snapshots/" C1 "/model.bin", 3);
    hg_json_free(verify(s, R, HANGAR_OK, NULL));
    assert_true(hg_blob_have(s, R, &big, 7));
    hg_store_close(s);
}

static void test_short_missing_swapped(void **state)
{
    (void)state;
    hg_store *s = fill();
    assert_int_equal(truncate(at(DIR "/snapshots/" C1 "/model.bin"), 3), 0);
    hg_oid beta = kit_oid(HG_HASH_GIT_SHA1, "beta");
    char *blob = hg_blob_path(s, R, &beta);
    unlink(blob);
    free(blob);
    hg_json *doc = verify(s, NULL, HANGAR_E_INTEGRITY, NULL);
    assert_int_equal(count_of(doc, "damaged"), 2);
    damage_is(doc, 0, R, "model.bin", "hash");
    damage_is(doc, 1, R, "sub/b", "missing");
    hg_json_free(doc);
    hg_store_close(s);
    /* Two sound blobs of one size under each other's names. */
    s = kit_fresh();
    ok(hg_store_prepare(s, R, e_));
    hg_oid x = kit_file(s, R, C1, "x", "1111"), y = kit_file(s, R, C1, "y", "2222");
    char *px = hg_blob_path(s, R, &x), *py = hg_blob_path(s, R, &y);
    ok(hg_write_file(px, "2222", 4, 0644, e_));
    ok(hg_write_file(py, "1111", 4, 0644, e_));
    doc = verify(s, NULL, HANGAR_E_INTEGRITY, NULL);
    assert_int_equal(count_of(doc, "damaged"), 2);
    hg_json_free(doc);
    free(px);
    free(py);
    hg_store_close(s);
}

static void test_plain_files(void **state)
{
    (void)state;
    hg_store *s = fill();
    hg_oid known = kit_oid(HG_HASH_GIT_SHA1, "hinted");
    char tree[256];
    kit_put(DIR "/snapshots/" C1 "/copied", "beta");       /* its blob is there by name: proved */
    kit_put(DIR "/snapshots/" C1 "/foreign", "who knows"); /* nothing names it */
    kit_put(DIR "/snapshots/" C1 "/hinted", "hinted");
    kit_put(DIR "/snapshots/" C1 "/wrong", "damaged");
    snprintf(
        tree, sizeof tree,
        "{\"format_version\":1,\"files\":{\"hinted\":{\"blob_id\":\"%s\"},\"wrong\":{\"blob_id\":\"%s\"}}}",
        known.hex, known.hex);
    kit_put(DIR "/trees/" C1 ".json", tree);
    hg_json *doc = verify(s, R, HANGAR_E_INTEGRITY, NULL);
    assert_int_equal(count_of(doc, "damaged"), 1);
    damage_is(doc, 0, R, "wrong", "hash");
    assert_int_equal(count_of(doc, "unverifiable"), 1);
    const hg_jval *u = hg_json_at(hg_json_get(hg_json_root(doc), "unverifiable"), 0);
    assert_string_equal(hg_json_text(hg_json_get(u, "path")), "foreign");
    hg_json_free(doc);
    unlink(at(DIR "/snapshots/" C1 "/wrong"));
    hg_json_free(verify(s, R, HANGAR_OK, NULL)); /* unverifiable is not damaged */
    hg_store_close(s);
}

static void test_unreadable(void **state)
{
    (void)state;
    hg_store *s = fill();
    hg_oid beta = kit_oid(HG_HASH_GIT_SHA1, "beta");
    char *blob = hg_blob_path(s, R, &beta);
    unlink(blob);
    assert_int_equal(mkfifo(blob, 0600), 0); /* must not hang */
    hg_json *doc = verify(s, R, HANGAR_OK, NULL);
    assert_int_equal(count_of(doc, "unverifiable"), 1);
    hg_json_free(doc);
    free(blob);
    hg_store_close(s);
}

static void count_events(void *ctx, const hangar_event *e)
{
    if (e->kind == HANGAR_EVENT_TOTAL) ++*(int *)ctx;
}

static void test_cancel(void **state)
{
    (void)state;
    int events = 0;
    hg_store *s = fill();
    hangar_job *job = hangar_job_new(count_events, &events);
    char *json = NULL;
    ok(hg_store_verify(s, NULL, job, &json, e_));
    free(json);
    assert_true(events >= 2);
    hangar_job_cancel(job);
    json = NULL;
    assert_int_equal(hg_store_verify(s, NULL, job, &json, NULL), HANGAR_E_CANCELLED);
    assert_null(json);
    hangar_job_free(job);
    hg_store_close(s);
}

/* One bit anywhere in any blob, many times: always found, always the right file. */
static void test_any_bit(void **state)
{
    (void)state;
    static const char *const paths[] = {"a", "model.bin", "sub/b"};
    hg_store *s = fill();
    for (unsigned i = 0; i < 200; i++) {
        char relative[128];
        const char *path = paths[i % 3];
        snprintf(relative, sizeof relative, DIR "/snapshots/" C1 "/%s", path);
        flip(relative, (long)(i / 3 % 4));
        hg_json *doc = verify(s, R, HANGAR_E_INTEGRITY, NULL);
        damage_is(doc, 0, R, path, "hash");
        hg_json_free(doc);
        flip(relative, (long)(i / 3 % 4));
    }
    hg_json_free(verify(s, R, HANGAR_OK, NULL));
    hg_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),       cmocka_unit_test(test_flipped_bit),
        cmocka_unit_test(test_repair),      cmocka_unit_test(test_short_missing_swapped),
        cmocka_unit_test(test_plain_files), cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_cancel),      cmocka_unit_test(test_any_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
