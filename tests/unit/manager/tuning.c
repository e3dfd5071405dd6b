/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles, what is made when nobody names one, the file that keeps the choice, and the arithmetic of measurements. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "at.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "hangar/onnx.h"
#include "manager/onnx_time.h"
#include "manager/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_profiles(void **state)
{
    (void)state;
    const hg_form *form;
    const hg_profile *p;
    for (size_t i = 0; (p = hg_profile_at(i)); i++) {
        assert_ptr_equal(hg_profile_get(p->name), p);
        assert_true(!p->form || hg_form_get(p->form));
        assert_true(p->form || p->tried == 0);
        assert_true(strlen(p->words) > 10);
    }
    assert_null(hg_profile_get("tpu"));
    assert_null(hg_profile_get(NULL));
    /* Each form has a profile, and each kind of folder a form. */
    for (size_t i = 0; (form = hg_form_at(i)); i++) {
        bool found = false;
        char kind[HG_ARTIFACT_KIND_MAX];
        for (size_t k = 0; (p = hg_profile_at(k)); k++) found = found || hg_streq(p->form, form->name);
        assert_true(found);
        hg_artifact_kind(form->name, kind);
        assert_ptr_equal(hg_artifact_kind_form(kind), form);
    }
    assert_null(hg_artifact_kind_form("onnx-int3"));
    assert_null(hg_artifact_kind_form("../onnx"));
    assert_null(hg_artifact_kind_form(NULL));
    /* What the first form is measured against is measured first. */
    for (size_t i = 0; (p = hg_profile_at(i)) && p->tried != 1; i++) continue;
    assert_non_null(p);
    assert_string_equal(p->name, "cpu");
}

static void test_levels(void **state)
{
    (void)state;
    static const char *const names[] = {"O0", "O1", "O2"};
    hg_level level = HG_LEVEL_O2;
    for (size_t i = 0; i < HG_LEN(names); i++) {
        assert_true(hg_level_get(names[i], &level));
        assert_string_equal(hg_level_name(level), names[i]);
    }
    assert_false(hg_level_get("O3", &level));
    assert_false(hg_level_get("", &level));
    assert_false(hg_level_get(NULL, &level));
}

/* By memory, task and settings. */
static void test_default(void **state)
{
    (void)state;
    char why[HG_PROFILE_WHY_MAX];
    char automatic[] = "auto", gpu[] = "gpu";
    hg_settings settings = {.target_platform = automatic};
    hg_facts facts = {.task = "text-generation", .dtype = "F32", .memory_needed = 1000, .weight_bytes = 900};
    assert_string_equal(hg_profile_default(&settings, &facts, 1000, why)->name, "cpu");
    assert_string_equal(why, "");
    assert_string_equal(hg_profile_default(&settings, &facts, 0, why)->name, "cpu");
    assert_string_equal(hg_profile_default(&settings, &facts, 999, why)->name, "cpu-int4");
    assert_string_equal(why, "in 32 bits it needs 1.0 kB of memory and 999 B are free: int4 is made instead");
    /* 16 bits become 32. */
    snprintf(facts.dtype, sizeof facts.dtype, "BF16");
    assert_int_equal(hg_profile_memory(&facts), 1900);
    assert_string_equal(hg_profile_default(&settings, &facts, 1899, why)->name, "cpu-int4");
    assert_string_equal(hg_profile_default(&settings, &facts, 1900, why)->name, "cpu");
    facts.weight_bytes = UINT64_MAX;
    assert_true(hg_profile_memory(&facts) == UINT64_MAX);
    facts.memory_needed = 0; /* not known: no reason for anything else */
    assert_string_equal(hg_profile_default(&settings, &facts, 1, why)->name, "cpu");
    snprintf(facts.task, sizeof facts.task, "fill-mask");
    facts.memory_needed = 10;
    assert_string_equal(hg_profile_default(&settings, &facts, 1, why)->name, "cpu-int8");
    settings.enable_quantization = true;
    assert_string_equal(hg_profile_default(&settings, &facts, 0, why)->name, "cpu-int8");
    assert_string_equal(why, "models.conversion.enable_quantization is on");
    settings.target_platform = gpu;
    assert_string_equal(hg_profile_default(&settings, &facts, 0, why)->name, "gpu-fp16");
}

static void test_median(void **state)
{
    (void)state;
    double odd[] = {5, 1, 9}, even[] = {4, 1, 3, 100}, one[] = {7};
    assert_true(hg_median(odd, 3) == 5);
    assert_true(hg_median(even, 4) == 3.5);
    assert_true(hg_median(one, 1) == 7);
    assert_true(hg_median(NULL, 0) == 0);
    hg_times decoder = {.prefill = 2, .step = 0.5, .steps = 64}, encoder = {.prefill = 2, .batch = 3};
    assert_true(hg_times_score(&decoder) == 34);
    assert_true(hg_times_score(&encoder) == 5);
}

/* What choice.json says, and what it may not say. */
static void test_choice(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "{}",
                                      "{\"kind\":1}",
                                      "{\"kind\":\"onnx-int3\"}",
                                      "{\"kind\":\"../../secret\"}",
                                      "{\"kind\":\"onnx-int8/../onnx\"}"};
    hangar_err err = {0};
    hg_store *store = NULL;
    hg_snapshot snap = {.commit = "0123456789abcdef0123456789abcdef01234567"};
    snprintf(snap.ref.repo, sizeof snap.ref.repo, "a/b");
    assert_int_equal(hg_store_open(at("cache"), at("home"), &store, &err), HANGAR_OK);
    struct hangar h = {.store = store};
    hg_artifact_choice c;
    hg_artifact_chosen(store, &snap, &c);
    assert_string_equal(c.kind, "onnx");
    assert_false(c.found || c.damaged || c.pack_said);
    assert_null(hg_choice_read(&h, &snap));
    assert_int_equal(hg_choice_write(&h, &snap, hg_profile_get("cpu-packed"), "because", NULL, &err),
                     HANGAR_OK);
    hg_artifact_chosen(store, &snap, &c);
    assert_string_equal(c.kind, "onnx");
    assert_true(c.found && c.pack && c.pack_said && !c.damaged);
    assert_int_equal(hg_choice_write(&h, &snap, hg_profile_get("cpu-int4"), "", NULL, &err), HANGAR_OK);
    hg_artifact_chosen(store, &snap, &c);
    assert_string_equal(c.kind, "onnx-int4");
    assert_true(c.found && !c.pack_said);
    HG_AUTO(hg_json_auto_free) hg_json *doc = hg_choice_read(&h, &snap);
    assert_string_equal(hg_json_text_or(hg_json_get(hg_json_root(doc), "profile"), ""), "cpu-int4");
    assert_null(hg_json_get(hg_json_root(doc), "why"));
    HG_AUTO(hg_auto_free) char *path = hg_artifact_choice_path(store, &snap);
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        assert_int_equal(hg_write_file(path, bad[i], strlen(bad[i]), 0644, &err), HANGAR_OK);
        hg_artifact_chosen(store, &snap, &c);
        assert_true(c.damaged && !c.found);
        assert_string_equal(c.kind, "onnx");
        assert_null(hg_choice_read(&h, &snap));
    }
    hg_store_close(store);
    (void)!hg_rm_tree(at("home"), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_profiles), cmocka_unit_test(test_levels), cmocka_unit_test(test_default),
        cmocka_unit_test(test_median),   cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
