/* SPDX-License-Identifier: Apache-2.0 */
/* The driver: what comes out, where the weights are found, what is refused, and that nothing half made is ever left. */
#include "kit.h"

#include <fcntl.h>
#include <sys/stat.h>

static hg_store *store;

static int open_store(void **state)
{
    (void)state;
    store = kit_store();
    return 0;
}

static int close_store(void **state)
{
    (void)state;
    hg_store_close(store);
    assert_int_equal(hg_rm_tree(at("cache"), NULL), HANGAR_OK);
    assert_int_equal(hg_rm_tree(at("home"), NULL), HANGAR_OK);
    assert_int_equal(hg_rm_tree(at("src"), NULL), HANGAR_OK);
    return hg_rm_tree(at("out"), NULL);
}

static hg_json *convert(const hg_snapshot *snap, const char *out, hangar_place place)
{
    hg_json *doc = NULL;
    hangar_err err = {0};
    if (kit_convert(store, snap, out, place, &doc, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return doc;
}

/* The members of a LOAD frame of the snapshot's artifact. */
static hg_json *load_members(const hg_snapshot *snap)
{
    hg_artifact *a = NULL;
    hangar_err err = {0};
    hg_json *doc = NULL;
    if (hg_artifact_open(store, snap, NULL, &a, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *text = NULL;
    hg_jw_obj(w, NULL);
    hg_artifact_load_members(a, w);
    assert_int_equal(hg_jw_finish(w, false, &text, NULL), HANGAR_OK);
    assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &doc, NULL), HANGAR_OK);
    hg_artifact_free(a);
    return doc;
}

/* Every initializer's bytes, read where the LOAD frame says, are those of the fixture's tensor of that name. Gives how many there were. */
static size_t same_bytes(const hg_snapshot *snap, const char *fixture)
{
    hg_json *doc = load_members(snap);
    const hg_jval *root = hg_json_root(doc), *files = hg_json_get(root, "files");
    HG_AUTO(hg_auto_free)
    char *original = hg_format("%s/tests/fixtures/arch/%s/model.safetensors", getenv("HANGAR_TOP"), fixture);
    hg_safetensors *st = NULL;
    hg_map want, have[4] = {{0}};
    size_t count = 0;
    assert_int_equal(hg_safetensors_open(original, &st, NULL), HANGAR_OK);
    assert_int_equal(hg_map_open(original, &want, NULL), HANGAR_OK);
    for (hg_json_iter it = hg_json_iter_of(files); hg_json_next(&it);) {
        assert_int_equal(hg_map_open(hg_json_text(it.val), &have[it.index], NULL), HANGAR_OK);
    }
    for (hg_json_iter g = hg_json_iter_of(hg_json_get(root, "graphs")); hg_json_next(&g);) {
        assert_true(hg_is_file(hg_json_text(hg_json_get(g.val, "path"))));
        for (hg_json_iter it = hg_json_iter_of(hg_json_get(g.val, "initializers")); hg_json_next(&it);
             count++) {
            const char *name = hg_json_text(hg_json_get(it.val, "name"));
            const hg_tensor *t = hg_safetensors_get(st, name);
            size_t file = (size_t)hg_json_i64_or(hg_json_get(it.val, "file"), -1);
            uint64_t offset = (uint64_t)hg_json_i64_or(hg_json_get(it.val, "offset"), -1);
            assert_non_null(t);
            assert_true(file < hg_json_len(files));
            assert_int_equal(hg_json_i64_or(hg_json_get(it.val, "bytes"), 0), t->bytes);
            assert_true(offset + t->bytes <= have[file].len);
            assert_memory_equal(have[file].data + offset, want.data + t->offset, t->bytes);
        }
    }
    for (size_t i = 0; i < 4; i++) hg_map_close(&have[i]);
    hg_map_close(&want);
    hg_safetensors_free(st);
    hg_json_free(doc);
    return count;
}

static void test_artifact(void **state)
{
    (void)state;
    static const struct {
        const char *fixture;
        size_t weights;
    } known[] = {{"bert", 37}, {"bert-cls", 41}, {"bert-mlm", 42}, {"whisper", 37 + 52}};
    for (size_t i = 0; i < HG_LEN(known); i++) {
        hg_snapshot *snap = kit_repo(store, known[i].fixture, NULL, NULL, NULL, NULL);
        hg_artifact *a = NULL;
        hangar_err err = {0};
        assert_int_equal(hg_artifact_open(store, snap, NULL, &a, &err), HANGAR_E_NOT_FOUND);
        assert_non_null(strstr(err.msg, "hangar convert"));
        hg_json *doc = convert(snap, NULL, HANGAR_PLACE_AUTO);
        assert_string_equal(kit_text(doc, "architecture"), i == 3 ? "whisper" : "bert");
        assert_true(hg_json_is_null(hg_json_path(hg_json_root(doc), "weights", "placed", NULL)));
        assert_true(hg_json_i64_or(hg_json_get(hg_json_root(doc), "bytes_written"), 0) < 60000);
        assert_int_equal(kit_entries(kit_text(doc, "path")),
                         i == 3 ? 3 : 2); /* graphs and manifest, no weights */
        assert_int_equal(same_bytes(snap, known[i].fixture), known[i].weights);
        hg_json_free(doc);
        hg_snapshot_free(snap);
    }
}

static void test_again(void **state)
{
    (void)state;
    hg_snapshot *snap = kit_repo(store, "bert", NULL, NULL, NULL, NULL);
    hg_json *doc = convert(snap, NULL, HANGAR_PLACE_AUTO);
    HG_AUTO(hg_auto_free) char *stale = hg_format("%s/report.json", kit_text(doc, "path"));
    assert_int_equal(hg_write_file(stale, "{}", 2, 0644, NULL), HANGAR_OK);
    hg_json_free(doc);
    doc = convert(snap, NULL, HANGAR_PLACE_AUTO);
    assert_false(hg_is_file(stale));
    HG_AUTO(hg_auto_free) char *parent = hg_path_dir(kit_text(doc, "path"));
    assert_int_equal(kit_entries(parent), 1); /* no temporary folder, no old one */
    assert_int_equal(same_bytes(snap, "bert"), 37);
    hg_json_free(doc);
    hg_snapshot_free(snap);
}

/* Tensors dealt out to two files, with their index. */
static void write_shards(const char *map_from, const char *map_to)
{
    hg_buf file, headers[2], data[2], index;
    hg_safetensors *st = NULL;
    kit_fixture("bert", "model.safetensors", &file);
    assert_int_equal(hg_safetensors_parse((uint8_t *)file.data, file.len, file.len, &st, NULL), HANGAR_OK);
    hg_buf_init(&index, HG_MIB);
    hg_buf_puts(&index, "{\"weight_map\":{");
    for (int i = 0; i < 2; i++) {
        hg_buf_init(&headers[i], HG_MIB);
        hg_buf_init(&data[i], 64 * HG_MIB);
    }
    for (size_t i = 0; i < hg_safetensors_count(st); i++) {
        const hg_tensor *t = hg_safetensors_at(st, i);
        hg_buf *h = &headers[i % 2], *d = &data[i % 2];
        hg_buf_printf(h, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", h->len ? "," : "{", t->name);
        for (uint32_t j = 0; j < t->rank; j++)
            hg_buf_printf(h, "%s%llu", j ? "," : "", (unsigned long long)t->shape[j]);
        hg_buf_printf(h, "],\"data_offsets\":[%zu,%zu]}", d->len, d->len + (size_t)t->bytes);
        hg_buf_add(d, file.data + t->offset, t->bytes);
        hg_buf_printf(&index, "%s\"%s\":\"model-0000%zu-of-00002.safetensors\"", i ? "," : "", t->name,
                      i % 2 + 1);
    }
    hg_buf_puts(&index, "}}");
    kit_replace(&index, map_from, map_to);
    for (int i = 0; i < 2; i++) {
        char name[64];
        hg_buf out;
        hg_buf_init(&out, 64 * HG_MIB);
        hg_buf_putc(&headers[i], '}');
        for (int j = 0; j < 8; j++) hg_buf_putc(&out, (char)(headers[i].len >> 8 * j));
        hg_buf_add(&out, headers[i].data, headers[i].len);
        hg_buf_add(&out, data[i].data, data[i].len);
        snprintf(name, sizeof name, "src/model-0000%d-of-00002.safetensors", i + 1);
        kit_write(name, out.data, out.len);
        hg_buf_deinit(&out);
        hg_buf_deinit(&headers[i]);
        hg_buf_deinit(&data[i]);
    }
    kit_write("src/model.safetensors.index.json", index.data, index.len);
    kit_config("bert", NULL, NULL, "src/config.json");
    hg_buf_deinit(&index);
    hg_buf_deinit(&file);
    hg_safetensors_free(st);
}

static void test_sharded(void **state)
{
    (void)state;
    write_shards(NULL, NULL);
    hg_snapshot *snap = kit_take(store, "sharded");
    hg_json_free(convert(snap, NULL, HANGAR_PLACE_AUTO));
    assert_int_equal(same_bytes(snap, "bert"), 37);
    hg_json *doc = convert(snap, at("out"), HANGAR_PLACE_COPY);
    assert_true(hg_is_file(at("out/onnx/model-00001-of-00002.safetensors")));
    assert_true(hg_is_file(at("out/onnx/model-00002-of-00002.safetensors")));
    hg_json_free(doc);
    hg_snapshot_free(snap);
}

static void refuse_shards(const char *from, const char *to, hangar_code want, const char *words)
{
    hangar_err err = {0};
    write_shards(from, to);
    hg_snapshot *snap = kit_take(store, "lies");
    hangar_code code = kit_convert(store, snap, NULL, HANGAR_PLACE_AUTO, NULL, &err);
    if (code != want || !strstr(err.msg, words)) fail_msg("%s for %s", err.msg, to);
    hg_snapshot_free(snap);
}

static void test_index_lies(void **state)
{
    (void)state;
    refuse_shards("model-00002-of-00002.safetensors", "model-00003-of-00003.safetensors", HANGAR_E_INVALID,
                  "no file of this revision");
    refuse_shards("model-00002-of-00002.safetensors", "../x.safetensors", HANGAR_E_INVALID, "weight_map");
    refuse_shards("\"pooler.dense.bias\":\"model-00002", "\"pooler.dense.bias\":\"model-00001",
                  HANGAR_E_INVALID, "pooler.dense.bias");
    refuse_shards("\"pooler.dense.bias\"", "\"nothing\"", HANGAR_E_INVALID,
                  "nothing is in none of the files");
}

/* The weights of a fixture cut to their upper 16 bits: BF16. */
static void write_bf16(const char *fixture)
{
    hg_buf file, header, data;
    hg_safetensors *st = NULL;
    kit_fixture(fixture, "model.safetensors", &file);
    assert_int_equal(hg_safetensors_parse((uint8_t *)file.data, file.len, file.len, &st, NULL), HANGAR_OK);
    hg_buf_init(&header, HG_MIB);
    hg_buf_init(&data, 64 * HG_MIB);
    hg_buf_puts(&header, "        ");
    for (size_t i = 0; i < hg_safetensors_count(st); i++) {
        const hg_tensor *t = hg_safetensors_at(st, i);
        hg_buf_printf(&header, "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[", i ? "," : "{", t->name);
        for (uint32_t j = 0; j < t->rank; j++)
            hg_buf_printf(&header, "%s%llu", j ? "," : "", (unsigned long long)t->shape[j]);
        hg_buf_printf(&header, "],\"data_offsets\":[%zu,%zu]}", data.len, data.len + (size_t)t->bytes / 2);
        for (uint64_t j = 0; j < t->bytes; j += 4) hg_buf_add(&data, file.data + t->offset + j + 2, 2);
    }
    hg_buf_putc(&header, '}');
    for (int j = 0; j < 8; j++) header.data[j] = (char)((header.len - 8) >> 8 * j);
    hg_buf_add(&header, data.data, data.len);
    kit_write("src/model.safetensors", header.data, header.len);
    kit_config(fixture, NULL, NULL, "src/config.json");
    hg_buf_deinit(&header);
    hg_buf_deinit(&data);
    hg_buf_deinit(&file);
    hg_safetensors_free(st);
}

static void test_half(void **state)
{
    (void)state;
    static const char *const fixtures[] = {"bert-mlm", "whisper"};
    for (size_t i = 0; i < 2; i++) {
        write_bf16(fixtures[i]);
        hg_snapshot *snap = kit_take(store, fixtures[i]);
        hg_json *doc = convert(snap, NULL, HANGAR_PLACE_AUTO);
        assert_non_null(hg_json_text(hg_json_path(hg_json_root(doc), "weights", "placed", NULL)));
        HG_AUTO(hg_auto_free) char *weights = hg_format("%s/model.safetensors", kit_text(doc, "path"));
        assert_true(hg_is_file(weights));
        hg_json *members = load_members(snap);
        assert_int_equal(hg_json_len(hg_json_get(hg_json_root(members), "files")), 0);
        assert_int_equal(hg_json_len(hg_json_get(hg_json_at(hg_json_get(hg_json_root(members), "graphs"), 0),
                                                 "initializers")),
                         0);
        hg_json_free(members);
        hg_json_free(doc);
        hg_snapshot_free(snap);
    }
}

static void test_out(void **state)
{
    (void)state;
    kit_write("src/tokenizer.json", "{\"t\":1}", 7);
    kit_write("src/1_Pooling/config.json", "{}", 2);
    kit_write("src/secret.txt", "x", 1);
    hg_snapshot *snap =
        kit_repo(store, "bert", "\"use_cache\"",
                 "\"transformers.js_config\": {\"dtype\": \"q8\", \"own\": 1}, \"use_cache\"", NULL, NULL);
    hg_json *doc = convert(snap, at("out/deep/er///"), HANGAR_PLACE_AUTO);
    assert_string_equal(kit_text(doc, "path"), at("out/deep/er"));
    assert_true(hg_is_file(at("out/deep/er/onnx/model.onnx")));
    assert_true(hg_is_file(at("out/deep/er/onnx/model.safetensors")));
    assert_true(hg_is_file(at("out/deep/er/tokenizer.json")));
    assert_true(hg_is_file(at("out/deep/er/1_Pooling/config.json")));
    assert_false(hg_is_file(at("out/deep/er/secret.txt")));
    assert_int_equal(kit_entries(at("out/deep")), 1);
    hg_json_free(doc);
    hg_buf text;
    kit_read(at("out/deep/er/config.json"), &text);
    assert_int_equal(hg_json_parse(hg_buf_view(&text), NULL, &doc, NULL), HANGAR_OK);
    const hg_jval *root = hg_json_root(doc);
    assert_string_equal(hg_json_text(hg_json_path(root, "transformers.js_config", "dtype", NULL)), "fp32");
    assert_int_equal(hg_json_i64_or(hg_json_path(root, "transformers.js_config", "own", NULL), 0), 1);
    assert_int_equal(hg_json_i64_or(hg_json_get(root, "hidden_size"), 0), 64);
    assert_true(hg_json_f64_or(hg_json_get(root, "layer_norm_eps"), 0) == 1e-12);
    hg_json_free(doc);
    hg_buf_deinit(&text);
    hg_snapshot_free(snap);
}

static void test_out_taken(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_snapshot *snap = kit_repo(store, "bert", NULL, NULL, NULL, NULL);
    kit_write("out/mine", "x", 1);
    assert_int_equal(kit_convert(store, snap, at("out"), HANGAR_PLACE_AUTO, NULL, &err), HANGAR_E_USAGE);
    assert_non_null(strstr(err.msg, "not empty"));
    assert_int_equal(kit_entries(at("out")), 1);
    assert_int_equal(kit_convert(store, snap, at("out/mine"), HANGAR_PLACE_AUTO, NULL, &err), HANGAR_E_USAGE);
    assert_int_equal(kit_convert(store, snap, "", HANGAR_PLACE_AUTO, NULL, &err), HANGAR_E_USAGE);
    assert_int_equal(unlink(at("out/mine")), 0);
    hg_json_free(convert(snap, at("out"), HANGAR_PLACE_AUTO)); /* an empty folder is fine */
    assert_true(hg_is_file(at("out/onnx/model.onnx")));
    hg_snapshot_free(snap);
}

static nlink_t links(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_nlink;
}

static void test_place(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_snapshot *snap = kit_repo(store, "bert", NULL, NULL, NULL, NULL);
    hg_json *doc = convert(snap, at("out/link"), HANGAR_PLACE_LINK);
    assert_string_equal(hg_json_text(hg_json_path(hg_json_root(doc), "weights", "placed", NULL)), "link");
    assert_int_equal(links(at("out/link/onnx/model.safetensors")), 2);
    hg_json_free(doc);
    doc = convert(snap, at("out/copy"), HANGAR_PLACE_COPY);
    assert_string_equal(hg_json_text(hg_json_path(hg_json_root(doc), "weights", "placed", NULL)), "copy");
    assert_int_equal(links(at("out/copy/onnx/model.safetensors")), 1);
    hg_buf copy, original;
    kit_read(at("out/copy/onnx/model.safetensors"), &copy);
    kit_fixture("bert", "model.safetensors", &original);
    assert_int_equal(copy.len, original.len);
    assert_memory_equal(copy.data, original.data, copy.len);
    hg_buf_deinit(&copy);
    hg_buf_deinit(&original);
    hg_json_free(doc);
    hangar_code code = kit_convert(store, snap, at("out/reflink"), HANGAR_PLACE_REFLINK, NULL, &err);
    if (code == HANGAR_OK) assert_int_equal(links(at("out/reflink/onnx/model.safetensors")), 1);
    else assert_int_equal(kit_entries(at("out")), 2); /* a file system without: nothing is left */
    hg_snapshot_free(snap);
}

static void test_cancel(void **state)
{
    (void)state;
    hg_snapshot *snap = kit_repo(store, "whisper", NULL, NULL, NULL, NULL);
    hangar_job *job = hangar_job_new(NULL, NULL);
    hangar_convert_options options = {.size = sizeof options, .out = at("out/x")};
    hangar_err err = {0};
    hangar_job_cancel(job);
    assert_int_equal(kit_run(store, snap, &options, job, NULL, &err), HANGAR_E_CANCELLED);
    assert_int_equal(kit_entries(at("out")), 0);
    hangar_job_free(job);
    hg_snapshot_free(snap);
}

static void test_damage(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_artifact *a = NULL;
    hg_snapshot *snap = kit_repo(store, "bert", NULL, NULL, NULL, NULL);
    hg_json *doc = convert(snap, NULL, HANGAR_PLACE_AUTO);
    HG_AUTO(hg_auto_free) char *manifest = hg_format("%s/hangar.json", kit_text(doc, "path"));
    HG_AUTO(hg_auto_free) char *graph = hg_format("%s/model.onnx", kit_text(doc, "path"));
    HG_AUTO(hg_auto_free) char *weights = hg_snapshot_file_path(snap, "model.safetensors");
    HG_AUTO(hg_auto_free) char *real = realpath(weights, NULL);
    hg_json_free(doc);
    hg_buf good, bad;
    kit_read(graph, &good);
    hg_buf_init(&bad, HG_MIB);
    for (size_t n = 0; n < good.len; n += 211) { /* a graph that was cut: refused, whatever is left of it */
        assert_int_equal(hg_write_file(graph, good.data, n, 0644, NULL), HANGAR_OK);
        hangar_code code = hg_artifact_open(store, snap, NULL, &a, &err);
        if (code == HANGAR_OK) hg_artifact_free(a);
        else assert_int_equal(code, HANGAR_E_INVALID);
    }
    assert_int_equal(hg_write_file(graph, good.data, good.len, 0644, NULL), HANGAR_OK);
    assert_int_equal(hg_artifact_open(store, snap, NULL, &a, &err), HANGAR_OK);
    hg_artifact_free(a);
    static const char *const broken[] = {
        "",
        "[]",
        "{}",
        "{\"format\":1}",
        "{\"format\":2}",
        "{\"format\":2,\"graphs\":[{\"name\":\"m\",\"file\":\"../x\"}]}",
        "{\"format\":2,\"graphs\":[{\"name\":\"model\",\"file\":\"model.onnx\"}],\"weights\":[]}",
        ("{\"format\":2,\"graphs\":[{\"name\":\"model\",\"file\":\"model.onnx\"}],"
         "\"weights\":[{\"path\":\"model.safetensors\",\"bytes\":1,\"placed\":null}]}")};
    hg_buf keep;
    kit_read(manifest, &keep);
    for (size_t i = 0; i < HG_LEN(broken); i++) {
        assert_int_equal(hg_write_file(manifest, broken[i], strlen(broken[i]), 0644, NULL), HANGAR_OK);
        if (hg_artifact_open(store, snap, NULL, &a, &err) != HANGAR_E_INVALID)
            fail_msg("%s: %s", broken[i], err.msg);
    }
    assert_int_equal(hg_write_file(manifest, keep.data, keep.len, 0644, NULL), HANGAR_OK);
    assert_int_equal(truncate(real, 1000), 0); /* the blob was cut behind our back */
    assert_int_equal(hg_artifact_open(store, snap, NULL, &a, &err), HANGAR_E_INVALID);
    assert_non_null(strstr(err.msg, "1000 bytes"));
    assert_int_equal(unlink(manifest), 0);
    assert_int_equal(hg_artifact_open(store, snap, NULL, &a, &err), HANGAR_E_NOT_FOUND);
    hg_buf_deinit(&keep);
    hg_buf_deinit(&good);
    hg_buf_deinit(&bad);
    hg_snapshot_free(snap);
}

/* A stage that was left a day ago goes; a young one, a file, and a folder of another name stay. */
static void test_stale_stage(void **state)
{
    (void)state;
    hg_snapshot *snap = kit_repo(store, "bert", NULL, NULL, NULL, NULL);
    kit_write("out/" HG_TMP_PREFIX "old/onnx/x", "x", 1);
    kit_write("out/" HG_TMP_PREFIX "new/onnx/x", "x", 1);
    kit_write("out/other/x", "x", 1);
    const struct timespec long_ago[2] = {{1000000000, 0}, {1000000000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, at("out/" HG_TMP_PREFIX "old"), long_ago, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, at("out/other"), long_ago, 0), 0);
    hg_json_free(convert(snap, at("out/bert"), HANGAR_PLACE_AUTO));
    assert_false(hg_is_dir(at("out/" HG_TMP_PREFIX "old")));
    assert_true(hg_is_dir(at("out/" HG_TMP_PREFIX "new")));
    assert_true(hg_is_dir(at("out/other")));
    hg_snapshot_free(snap);
}

static void test_opset(void **state)
{
    (void)state;
    hg_snapshot *snap = kit_repo(store, "bert", NULL, NULL, NULL, NULL);
    hangar_convert_options options = {.size = sizeof options};
    hangar_err err = {0};
    for (options.opset = 15; options.opset < 24; options.opset++) {
        hangar_code code = kit_run(store, snap, &options, NULL, NULL, &err);
        assert_int_equal(code, options.opset >= 17 && options.opset <= 21 ? HANGAR_OK : HANGAR_E_USAGE);
    }
    hg_snapshot_free(snap);
}

static void test_nothing_there(void **state)
{
    (void)state;
    hangar_err err = {0};
    kit_config("bert", NULL, NULL, "src/config.json");
    kit_write("src/pytorch_model.bin", "x", 1);
    hg_snapshot *snap = kit_take(store, "bin");
    assert_int_equal(kit_convert(store, snap, NULL, HANGAR_PLACE_AUTO, NULL, &err), HANGAR_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "pytorch_model.bin"));
    hg_snapshot_free(snap);
    kit_weights("bert", NULL, NULL, "src/model.safetensors");
    snap = kit_take(store, "bare");
    assert_int_equal(kit_convert(store, snap, NULL, HANGAR_PLACE_AUTO, NULL, &err), HANGAR_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "no config.json"));
    hg_snapshot_free(snap);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_artifact),      TEST(test_again),  TEST(test_sharded),     TEST(test_index_lies),
        TEST(test_half),          TEST(test_out),    TEST(test_out_taken),   TEST(test_place),
        TEST(test_cancel),        TEST(test_damage), TEST(test_stale_stage), TEST(test_opset),
        TEST(test_nothing_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
