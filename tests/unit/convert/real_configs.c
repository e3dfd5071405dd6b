/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The config.json of models that people use most (tests/fixtures/configs/real.jsonl: one a line, long lists cut short): no builder refuses one of
 * them for a key. Weights are not needed: a builder goes on to the end when one is missing, and config.json is judged by itself.
 */
#include "kit.h"

#include "convert/arch.h"

/* A weight file that has these tensors, of one number each; for a builder that asks whether one is there. */
static void fake_weights(const hg_jval *names, hg_checkpoint_file *out)
{
    hg_buf header, file;
    hangar_err err = {0};
    hg_buf_init(&header, 1 << 20);
    hg_buf_init(&file, 1 << 20);
    hg_buf_puts(&header, "{");
    for (hg_json_iter it = hg_json_iter_of(names); hg_json_next(&it);)
        hg_buf_printf(&header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                      it.index ? "," : "", hg_json_text(it.val), 4 * it.index, 4 * it.index + 4);
    hg_buf_puts(&header, "}");
    for (int i = 0; i < 8; i++) hg_buf_putc(&file, (char)(header.len >> 8 * i));
    hg_buf_add(&file, header.data, header.len);
    for (size_t i = 0; i < 4 * hg_json_len(names); i++) hg_buf_putc(&file, 0);
    kit_write("fake.safetensors", file.data, file.len);
    hg_buf_deinit(&header);
    hg_buf_deinit(&file);
    *out = (hg_checkpoint_file){0};
    if (hg_safetensors_open(at("fake.safetensors"), &out->st, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

/* What a builder has to say on a configuration. */
static hangar_code judge(hg_str config, const hg_jval *weights, hangar_err *err)
{
    hg_hfconfig c;
    hg_checkpoint_file file = {0};
    if (weights) fake_weights(weights, &file);
    hg_checkpoint ck = {.files = &file, .count = weights ? 1 : 0};
    hangar_code code = hg_hfconfig_parse(config, &c, err);
    if (code != HANGAR_OK) return code;
    const hg_arch *arch = hg_arch_get(hg_hfconfig_text(&c, "model_type", NULL));
    if (!arch) fail_msg("no architecture");
    hg_build b = {.ck = &ck, .config = &c, .opset = HG_ONNX_OPSET, .form = hg_form_at(0)};
    code = arch->build(&b, err);
    if (code == HANGAR_OK) hg_hfconfig_all_known(&c);
    if (code == HANGAR_OK) code = hg_hfconfig_check(&c, err);
    hg_build_deinit(&b);
    hg_hfconfig_deinit(&c);
    hg_safetensors_free(file.st);
    return code;
}

static void real(void **state)
{
    (void)state;
    hg_buf text;
    hg_json *doc = NULL;
    size_t count = 0, refused = 0;
    HG_AUTO(hg_auto_free)
    char *path = hg_format("%s/tests/fixtures/configs/real.jsonl", getenv("HANGAR_TOP"));
    kit_read(path, &text);
    for (const char *line = hg_buf_text(&text), *end; (end = strchr(line, '\n')); line = end + 1) {
        hangar_err err = {0};
        if (hg_json_parse((hg_str){line, (size_t)(end - line)}, NULL, &doc, &err) != HANGAR_OK)
            fail_msg("line %zu: %s", count + 1, err.msg);
        const hg_jval *root = hg_json_root(doc);
        HG_AUTO(hg_auto_free) char *config = hg_json_print(hg_json_get(root, "config"), false);
        count++;
        if (judge(hg_str_of(config), hg_json_get(root, "weights"), &err) != HANGAR_OK) {
            print_error("%s: %s\n", hg_json_text(hg_json_get(root, "model")), err.msg);
            refused++;
        }
        hg_json_free(doc);
    }
    hg_buf_deinit(&text);
    assert_true(count >= 60);
    assert_int_equal(refused, 0);
}

/* And what they leave alone is not left alone in general. */
static void unreal(void **state)
{
    (void)state;
    static const char bert[] =
        "{\"model_type\":\"bert\",\"vocab_size\":9,\"hidden_size\":8,\"num_hidden_layers\":1,"
        "\"num_attention_heads\":2,\"intermediate_size\":8,\"%s\":%s}";
    static const char *const keys[][2] = {{"rotary", "true"},
                                          {"is_decoder", "true"},
                                          {"add_cross_attention", "true"},
                                          {"quantization_config", "{\"bits\":4}"},
                                          {"auto_map", "{\"AutoModel\":\"own.Model\"}"},
                                          {"pruned_heads", "{\"0\":[1]}"}};
    for (size_t i = 0; i < HG_LEN(keys); i++) {
        hangar_err err = {0};
        HG_AUTO(hg_auto_free) char *config = hg_format(bert, keys[i][0], keys[i][1]);
        if (judge(hg_str_of(config), NULL, &err) != HANGAR_E_UNSUPPORTED) fail_msg("%s is taken", config);
        if (!strstr(err.msg, keys[i][0])) fail_msg("%s: %s", keys[i][0], err.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(real), cmocka_unit_test(unreal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
