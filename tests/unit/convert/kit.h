/* SPDX-License-Identifier: Apache-2.0 */
/* A store in the present folder, and repositories made from the fixtures with one thing changed. */
#ifndef HG_TEST_CONVERT_KIT_H
#define HG_TEST_CONVERT_KIT_H

#include "at.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "convert/artifact.h"
#include "convert/convert.h"
#include "convert/place.h"
#include "format/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static inline hg_store *kit_store(void)
{
    hg_store *s = NULL;
    hangar_err err = {0};
    if (hg_store_open(at("cache"), at("home"), &s, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return s;
}

static inline void kit_read(const char *path, hg_buf *out)
{
    hangar_err err = {0};
    hg_buf_init(out, 64 * HG_MIB);
    if (hg_read_file(path, out, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

/* The file of a fixture into `out`. */
static inline void kit_fixture(const char *name, const char *file, hg_buf *out)
{
    HG_AUTO(hg_auto_free)
    char *path = hg_format("%s/tests/fixtures/arch/%s/%s", getenv("HANGAR_TOP"), name, file);
    kit_read(path, out);
}

static inline void kit_write(const char *relative, const void *bytes, size_t len)
{
    hangar_err err = {0};
    if (hg_write_file(at(relative), bytes, len, 0644, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

/* Replaces every `from` in the text by `to`; at least one must be there (from NULL: nothing to do). */
static inline void kit_replace(hg_buf *text, const char *from, const char *to)
{
    hg_buf out;
    size_t found = 0;
    if (!from) return;
    hg_buf_init(&out, 64 * HG_MIB);
    for (const char *p = hg_buf_text(text); *p;) {
        if (strncmp(p, from, strlen(from)) == 0) {
            hg_buf_puts(&out, to);
            p += strlen(from);
            found++;
        } else {
            hg_buf_putc(&out, *p++);
        }
    }
    if (!found) fail_msg("the fixture has no %s", from);
    hg_buf_deinit(text);
    *text = out;
}

/* The weights of a fixture with `from` replaced by `to` in the header; the data as they were. */
static inline void kit_weights(const char *fixture, const char *from, const char *to, const char *target)
{
    hg_buf file, header, out;
    kit_fixture(fixture, "model.safetensors", &file);
    uint64_t len = 0;
    for (int i = 7; i >= 0; i--) len = len << 8 | (uint8_t)file.data[i];
    hg_buf_init(&header, 64 * HG_MIB);
    hg_buf_init(&out, 64 * HG_MIB);
    hg_buf_add(&header, file.data + 8, len);
    kit_replace(&header, from, to);
    for (int i = 0; i < 8; i++) hg_buf_putc(&out, (char)(header.len >> 8 * i));
    hg_buf_add(&out, header.data, header.len);
    hg_buf_add(&out, file.data + 8 + len, file.len - 8 - len);
    kit_write(target, out.data, out.len);
    hg_buf_deinit(&file);
    hg_buf_deinit(&header);
    hg_buf_deinit(&out);
}

static inline void kit_config(const char *fixture, const char *from, const char *to, const char *target)
{
    hg_buf text;
    kit_fixture(fixture, "config.json", &text);
    kit_replace(&text, from, to);
    kit_write(target, text.data, text.len);
    hg_buf_deinit(&text);
}

/* Takes the folder src/ into the store as t/NAME and away; opens it. */
static inline hg_snapshot *kit_take(hg_store *s, const char *name)
{
    char ref_text[128];
    hg_ref ref;
    hg_snapshot *snap = NULL;
    hangar_err err = {0};
    snprintf(ref_text, sizeof ref_text, "t/%s", name);
    if (hg_store_add(s, at("src"), ref_text, NULL, NULL, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    assert_int_equal(hg_rm_tree(at("src"), NULL), HANGAR_OK);
    assert_int_equal(hg_ref_parse(ref_text, &ref, &err), HANGAR_OK);
    if (hg_snapshot_open(s, &ref, &snap, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return snap;
}

/* A fixture as a repository, with one thing changed in config.json and one in the header (NULL = nothing). */
static inline hg_snapshot *kit_repo(hg_store *s, const char *fixture, const char *c_from, const char *c_to,
                                    const char *w_from, const char *w_to)
{
    kit_config(fixture, c_from, c_to, "src/config.json");
    kit_weights(fixture, w_from, w_to, "src/model.safetensors");
    return kit_take(s, fixture);
}

/* What the program does with child processes, in this one and without a proof. The document: path, architecture, weights.placed, weights.bytes, manifest. */
static inline hangar_code kit_run(hg_store *s, const hg_snapshot *snap, const hangar_convert_options *o,
                                  hangar_job *job, hg_json **doc, hangar_err *err)
{
    hg_convert_spec spec = {.snap = snap,
                            .form = o->form ? hg_form_get(o->form) : hg_form_at(0),
                            .style = (hg_style)o->style,
                            .opset = o->opset,
                            .for_others = o->out != NULL};
    hg_convert_finished done = {0};
    HG_AUTO(hg_auto_free) char *target = NULL;
    HG_AUTO(hg_auto_free) char *stage = NULL;
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *manifest = NULL;
    hangar_code code = hg_convert_target(s, &spec, o->out, &target, err);
    if (code == HANGAR_OK) code = hg_stage_begin(target, &stage, err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_auto_free) char *folder = hg_format("%s%s", stage, o->out ? "/onnx" : "");
    code = hg_mkdirs(folder, 0777, err);
    if (code == HANGAR_OK) code = hg_convert_build(&spec, stage, job, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(text), NULL, &manifest, err);
    const hg_jval *root = manifest ? hg_json_root(manifest) : NULL;
    if (code == HANGAR_OK) code = hg_convert_finish(&spec, stage, root, o->place, job, &done, err);
    if (code == HANGAR_OK) code = hg_stage_commit(stage, target, !o->out, err);
    if (code != HANGAR_OK) (void)hg_rm_tree(stage, NULL);
    if (code != HANGAR_OK || !doc) return code;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *json = NULL;
    hg_jw_obj(w, NULL);
    hg_jw_members(w, root, (const char *const[]){"weights", NULL});
    hg_jw_text(w, "path", target);
    hg_jw_obj(w, "weights");
    hg_jw_text(w, "placed", done.way);
    hg_jw_u64(w, "bytes", done.weight_bytes);
    hg_jw_end(w);
    assert_int_equal(hg_jw_finish(w, false, &json, NULL), HANGAR_OK);
    return hg_json_parse(hg_str_of(json), NULL, doc, err);
}

static inline hangar_code kit_convert(hg_store *s, const hg_snapshot *snap, const char *out,
                                      hangar_place place, hg_json **doc, hangar_err *err)
{
    hangar_convert_options options = {.size = sizeof options, .out = out, .place = place};
    if (doc) *doc = NULL;
    return kit_run(s, snap, &options, NULL, doc, err);
}

static inline const char *kit_text(const hg_json *doc, const char *key)
{
    return hg_json_text_or(hg_json_get(hg_json_root(doc), key), "?");
}

static inline hangar_code kit_count(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    (void)dir;
    (void)name;
    (void)err;
    ++*(size_t *)ctx;
    return HANGAR_OK;
}

/* Entries of a folder; 0 when it is missing. */
static inline size_t kit_entries(const char *dir)
{
    size_t n = 0;
    (void)hg_list_dir(dir, kit_count, &n, NULL);
    return n;
}

#endif
