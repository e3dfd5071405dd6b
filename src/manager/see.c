/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/see.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "engine/onnx_ops.h"
#include "manager/load_onnx.h"

#include <stdlib.h>

/* ---- preprocessor_config.json ---- */

/* What a class of image processors does when the file does not say. */
typedef struct custom {
    const char *type, *stem; /* model_type, and what the class begins with */
    bool by_short;           /* a size that is one number is that of the shorter side */
    bool crop;
    int resample;
    double mean[3], std[3];
} custom;

static const custom customs[] = {{"vit", "ViT", false, false, 2, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}},
                                 {"clip",
                                  "CLIP",
                                  true,
                                  true,
                                  3,
                                  {0.48145466, 0.4578275, 0.40821073},
                                  {0.26862954, 0.26130258, 0.27577711}},
                                 {"siglip", "Siglip", false, false, 3, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}}};

static const custom *custom_of(const hg_jval *root, const char *type, hangar_err *err)
{
    static const char *const kinds[] = {"ImageProcessor", "ImageProcessorFast", "FeatureExtractor",
                                        "ImageProcessorPil"};
    const char *class = hg_json_text(hg_json_get(root, "image_processor_type"));
    if (!class) class = hg_json_text(hg_json_get(root, "feature_extractor_type"));
    for (size_t i = 0; i < HG_LEN(customs); i++) {
        if (!class && hg_streq(type, customs[i].type)) return &customs[i];
        size_t stem = strlen(customs[i].stem);
        for (size_t k = 0; class && k < HG_LEN(kinds); k++)
            if (strncmp(class, customs[i].stem, stem) == 0 && strcmp(class + stem, kinds[k]) == 0)
                return &customs[i];
    }
    hg_fail(err, HANGAR_E_UNSUPPORTED, "image_processor_type \"%s\"", class ? class : type);
    return NULL;
}

static hangar_code write_side(hg_jw *w, const char *key, const hg_jval *v, hangar_err *err)
{
    uint64_t n = 0;
    if (!hg_json_u64(v, &n) || n < 1 || n > HG_ONNX_PICTURE_PREPARED_MAX)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s is not from 1 to %d", key,
                       HG_ONNX_PICTURE_PREPARED_MAX);
    hg_jw_u64(w, key, n);
    return HANGAR_OK;
}

/* Two sides: a number for both, or an object. */
static hangar_code write_sides(hg_jw *w, const char *height, const char *width, const hg_jval *v,
                               hangar_err *err)
{
    bool object = hg_json_is_object(v);
    hangar_code code = write_side(w, height, object ? hg_json_get(v, "height") : v, err);
    return code == HANGAR_OK ? write_side(w, width, object ? hg_json_get(v, "width") : v, err) : code;
}

static hangar_code write_size(hg_jw *w, const hg_jval *root, const custom *c, hangar_err *err)
{
    const hg_jval *size = hg_json_get(root, "size"), *longest = hg_json_get(size, "longest_edge");
    if (!hg_json_bool_or(hg_json_get(root, "do_resize"), true)) return HANGAR_OK;
    int64_t resample = hg_json_i64_or(hg_json_get(root, "resample"), c->resample);
    if (resample < 1 || resample > 3)
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "resample %lld: only 1 (Lanczos), 2 (bilinear) and 3 (bicubic)", (long long)resample);
    hg_jw_i64(w, "resample", resample);
    const hg_jval *shortest = hg_json_is_object(size) ? hg_json_get(size, "shortest_edge")
                              : c->by_short           ? size
                                                      : NULL;
    if (!shortest) return write_sides(w, "height", "width", size, err);
    hangar_code code = write_side(w, "shortest", shortest, err);
    return code == HANGAR_OK && !hg_json_is_null(longest) ? write_side(w, "longest", longest, err) : code;
}

/* Three numbers, or the same one for all colours. */
static void write_three(hg_jw *w, const char *key, const hg_jval *v, const double def[3])
{
    hg_jw_arr(w, key);
    for (size_t i = 0; i < 3; i++)
        hg_jw_f64(w, NULL, hg_json_f64_or(hg_json_is_array(v) ? hg_json_at(v, i) : v, def[i]));
    hg_jw_end(w);
}

static hangar_code write_prepare(hg_jw *w, const hg_jval *root, const char *type, hangar_err *err)
{
    static const double zeros[3] = {0, 0, 0}, ones[3] = {1, 1, 1};
    const custom *c = custom_of(root, type, err);
    if (!c) return HANGAR_E_UNSUPPORTED;
    hangar_code code = write_size(w, root, c, err);
    if (code == HANGAR_OK && hg_json_bool_or(hg_json_get(root, "do_center_crop"), c->crop))
        code = write_sides(w, "crop_height", "crop_width", hg_json_get(root, "crop_size"), err);
    bool rescale = hg_json_bool_or(hg_json_get(root, "do_rescale"), true);
    bool normalize = hg_json_bool_or(hg_json_get(root, "do_normalize"), true);
    hg_jw_f64(w, "scale", rescale ? hg_json_f64_or(hg_json_get(root, "rescale_factor"), 1.0 / 255) : 1);
    write_three(w, "mean", normalize ? hg_json_get(root, "image_mean") : NULL, normalize ? c->mean : zeros);
    write_three(w, "std", normalize ? hg_json_get(root, "image_std") : NULL, normalize ? c->std : ones);
    return code;
}

hangar_code hg_sight_read(const hg_snapshot *snap, const char *type, hg_sight *out, hangar_err *err)
{
    static const char name[] = "preprocessor_config.json";
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_load_json(snap, name, &doc, err);
    if (code == HANGAR_OK && !doc)
        code = hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no %s", snap->ref.repo, name);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    code = hg_wrap(err, write_prepare(w, hg_json_root(doc), type, err), "%s", name);
    return code == HANGAR_OK ? hg_jw_finish(w, false, &out->prepare, err) : code;
}

void hg_sight_deinit(hg_sight *s)
{
    free(s->prepare);
    s->prepare = NULL;
}

/* ---- one picture ---- */

/* The numbers of the answer. */
static hangar_code read_answer(const hg_frame *done, float **out, size_t *width, hangar_err *err)
{
    const hg_jval *t = hg_json_at(hg_json_get(hg_json_root(done->doc), "outputs"), 0);
    uint64_t offset = 0, bytes = 0, end = 0;
    bool ok = hg_streq(hg_json_text(hg_json_get(t, "dtype")), "F32") &&
              hg_json_u64(hg_json_get(t, "offset"), &offset) &&
              hg_json_u64(hg_json_get(t, "bytes"), &bytes) && bytes > 0 && bytes % sizeof(float) == 0 &&
              bytes / sizeof(float) <= HG_SEE_WIDTH_MAX && hg_add(offset, bytes, &end) &&
              end <= done->bin_len;
    if (!ok) return hg_fail(err, HANGAR_E_ENGINE, "the runner's answer is not one of a picture");
    *out = hg_calloc((size_t)bytes, 1);
    if (!*out) return hg_fail_memory(err);
    memcpy(*out, done->bin + offset, (size_t)bytes);
    *width = (size_t)bytes / sizeof(float);
    return HANGAR_OK;
}

static hangar_code call_frame(const hg_sight *sight, const char *graph, const char *output, char **out,
                              hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *prepare = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hangar_code code =
        w ? hg_json_parse(hg_str_of(sight->prepare), NULL, &prepare, err) : hg_fail_memory(err);
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "op", "picture");
    hg_jw_text(w, "graph", graph);
    hg_jw_text(w, "output", output);
    hg_jw_val(w, "prepare", hg_json_root(prepare));
    return hg_jw_finish(w, false, out, err);
}

hangar_code hg_see(hangar_model *m, const hg_sight *sight, const char *graph, const char *output,
                   const char *file, hangar_job *job, float **out, size_t *width, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *call = NULL;
    HG_AUTO(hg_auto_close) int fd = -1;
    hg_frame done = {0};
    if (!file) return hg_fail(err, HANGAR_E_USAGE, "no file was named");
    hangar_code code = call_frame(sight, graph, output, &call, err);
    if (code == HANGAR_OK) code = hg_open_regular_high(file, &fd, err);
    if (code != HANGAR_OK) return code;
    const hg_parcel parcel = {.json = hg_str_of(call), .fd = fd};
    code = hg_runner_call_parcel(m->runner, &parcel, NULL, NULL, job, &done, err);
    if (code == HANGAR_OK) code = read_answer(&done, out, width, err);
    hg_frame_deinit(&done);
    return hg_wrap(err, code, "%s", file);
}
