/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that were written anew against those of the checkpoint, on some rows of each. A form's drift says how much its rounding costs, and
 * would hide a small error in it: a scale that is a hundredth too large, a middle that is one off. Here every number must lie as near as its
 * rounding allows. Data are read as the engine's documents have them (ONNX Runtime, contrib operators), apart from the code
 * that wrote them; what a tensor was made from is told by its name:
 *
 *   NAME, NAME.rows_A_B           F32 or F16
 *   NAME.q8 (INT8 [in, out])      one scale per output in NAME.scales
 *   NAME.q4, .q8 (UINT8)          blocks of a row, the low half of a byte first; NAME.scales: one per block
 *   NAME.table_q4, .table_q8      the same for a table; NAME.table_scales
 */
#include "base/fsx.h"
#include "base/mem.h"
#include "convert/checkpoint.h"
#include "manager/onnx_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS     ((uint64_t)32)   /* looked at of each tensor */
#define COLUMNS  ((uint64_t)1024) /* of a row that does not lie in one piece */
#define HALF_MAX 65504.0

typedef struct codes {
    hg_report *r;
    hg_checkpoint ck;
    hg_map *maps; /* of the checkpoint's files */
    hg_map data;  /* of the graph's data file */
    const hg_artifact_graph *graph;
    double worst; /* of an error, over what is allowed */
    char name[HG_ONNX_NAME_MAX];
    size_t tensors;
} codes;

/* A tensor that was made, and what from. */
typedef struct made {
    hg_onnx_weight w, scales;
    const uint8_t *at, *scales_at, *from;
    const hg_tensor *tensor;
    uint64_t outputs, inputs, blocks, block, first;
    unsigned bits;
    bool turned; /* the source is [inputs, outputs] */
} made;

/* ---- numbers ---- */

static double half(const uint8_t *p)
{
    unsigned h = (unsigned)(p[0] | p[1] << 8), exponent = h >> 10 & 31, fraction = h & 1023;
    double size = exponent == 31  ? (double)INFINITY
                  : exponent == 0 ? ldexp(fraction, -24)
                                  : ldexp(1024 + fraction, (int)exponent - 25);
    return h >> 15 ? -size : size;
}

static double real(hg_dtype dtype, const uint8_t *p)
{
    float f;
    double d;
    const uint8_t wide[4] = {0, 0, p[0], p[1]};
    switch (dtype) {
    case HG_DTYPE_F16: return half(p);
    case HG_DTYPE_F64: memcpy(&d, p, sizeof d); return d;
    case HG_DTYPE_BF16: memcpy(&f, wide, sizeof f); return (double)f;
    default: memcpy(&f, p, sizeof f); return (double)f;
    }
}

static double made_real(int32_t type, const uint8_t *p, uint64_t index)
{
    return type == HG_ONNX_FLOAT16 ? half(p + 2 * index) : real(HG_DTYPE_F32, p + 4 * index);
}

/* Number (o, i) of the source. */
static double source_of(const made *m, uint64_t o, uint64_t i)
{
    uint64_t at = m->turned ? i * m->tensor->shape[1] + m->first + o : (m->first + o) * m->inputs + i;
    return real(m->tensor->dtype, m->from + at * (hg_dtype_bits(m->tensor->dtype) / 8));
}

/* The error of number (o, i) over what its rounding allows: at most 1 where all is well. */
static double error_of(const made *m, uint64_t o, uint64_t i)
{
    double want = source_of(m, o, i), have = 0, allowed = 0;
    if (m->bits == 0) {
        bool narrow = m->w.type == HG_ONNX_FLOAT16;
        have = made_real(m->w.type, m->at, o * m->inputs + i);
        if (narrow && fabs(want) > HALF_MAX) want = copysign(HALF_MAX, want);
        allowed = fabs(want) * ldexp(1, narrow ? -11 : -24) + ldexp(1, narrow ? -25 : -150);
    } else if (m->w.type == HG_ONNX_INT8) {
        double scale = made_real(m->scales.type, m->scales_at, o);
        have = (double)(int8_t)m->at[i * m->outputs + o] * scale;
        allowed = 0.501 * fabs(scale);
    } else {
        const uint8_t *row = m->at + o * (m->w.length / m->outputs);
        unsigned code = m->bits == 8 ? row[i] : i % 2 ? row[i / 2] >> 4 : row[i / 2] & 15u;
        unsigned top = (1u << m->bits) - 1, middle = 1u << (m->bits - 1);
        double scale = made_real(m->scales.type, m->scales_at, o * m->blocks + i / m->block);
        double steps = (double)code - (double)middle;
        have = steps * scale;
        allowed =
            (code == top ? 1.001 : 0.501) * fabs(scale); /* a block's other end may lie one step beyond */
        if (m->scales.type == HG_ONNX_FLOAT16)
            allowed += (fabs(steps) + 1) * fmax(fabs(scale) * ldexp(1, -11), ldexp(1, -25));
    }
    double error = fabs(have - want) / (allowed + 1e-36);
    return isfinite(error) ? error : (double)INFINITY;
}

static double worst_of(const made *m)
{
    double worst = 0;
    bool scattered = m->turned || m->w.type == HG_ONNX_INT8;
    uint64_t rows = m->outputs < ROWS ? m->outputs : ROWS;
    uint64_t columns = scattered && m->inputs > COLUMNS ? COLUMNS : m->inputs;
    for (uint64_t r = 0; r < rows; r++) {
        uint64_t o = rows > 1 ? r * (m->outputs - 1) / (rows - 1) : 0;
        for (uint64_t c = 0; c < columns; c++) {
            uint64_t i = columns > 1 ? c * (m->inputs - 1) / (columns - 1) : 0;
            worst = fmax(worst, error_of(m, o, i));
        }
    }
    return worst;
}

/* ---- what a tensor was made from ---- */

static bool ends(const char *text, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len > n && memcmp(text + len - n, end, n) == 0;
}

/* The tensor that is called so, or of which this is a part: *first is its first row. */
static const hg_tensor *find_source(const codes *c, const char *name, size_t len, uint64_t *first,
                                    uint32_t *file)
{
    HG_AUTO(hg_auto_free) char *base = hg_strndup(name, len);
    if (!base) return NULL;
    *first = 0;
    const hg_tensor *t = hg_checkpoint_get(&c->ck, base, file);
    for (char *p = base; !t && (p = strstr(p, ".rows_")); p++) {
        char *end = NULL;
        *first = strtoull(p + 6, &end, 10);
        if (*end == '_') (void)strtoull(end + 1, &end, 10);
        if (*end) continue; /* scales of a part, or a name of its own */
        *p = 0;
        t = hg_checkpoint_get(&c->ck, base, file);
        *p = '.';
    }
    return t;
}

/* The bytes of a tensor of the data file; NULL when they are not all there. */
static const uint8_t *bytes_of(const codes *c, const hg_onnx_weight *w)
{
    if (w->offset > c->data.len || w->length > c->data.len - w->offset) return NULL;
    return (const uint8_t *)c->data.data + w->offset;
}

/* The scales that belong to codes: next to them, or anywhere. */
static bool find_scales(const codes *c, const char *name, size_t len, const char *end, size_t at,
                        hg_onnx_weight *out)
{
    for (int round = 0; round < 2; round++) {
        for (size_t i = round ? 0 : at; hg_onnx_weight_next(c->graph->model, &i, out);) {
            if (strncmp(out->name, name, len) == 0 && strcmp(out->name + len, end) == 0) return true;
            if (round == 0) break;
        }
    }
    return false;
}

/* Sizes of plain numbers: rows of the first axis; a list is one row. */
static bool plain_sizes(made *m)
{
    uint64_t size = m->w.type == HG_ONNX_FLOAT16 ? 2 : 4, count = m->w.length / size;
    bool list = m->w.rank < 2;
    m->outputs = list ? 1 : (uint64_t)m->w.dims[0];
    if (m->outputs == 0 || count % m->outputs != 0) return false;
    m->inputs = count / m->outputs;
    if (!list)
        return m->tensor->rank == m->w.rank && m->first <= m->tensor->shape[0] &&
               m->outputs <= m->tensor->shape[0] - m->first &&
               m->tensor->elements / m->tensor->shape[0] == m->inputs;
    uint64_t first = m->first; /* of a part of a list: a number, not a row */
    m->first = 0;
    m->from += first * (hg_dtype_bits(m->tensor->dtype) / 8);
    return first <= m->tensor->elements && m->inputs <= m->tensor->elements - first;
}

/* Sizes of codes; the source lies straight or turned. */
static bool code_sizes(made *m, bool turned)
{
    if (m->tensor->rank != 2 || m->w.rank < 2) return false;
    bool dynamic = m->w.type == HG_ONNX_INT8;
    uint64_t scale = m->scales.type == HG_ONNX_FLOAT16 ? 2 : 4;
    m->outputs = (uint64_t)m->w.dims[dynamic ? 1 : 0];
    m->inputs = m->tensor->shape[turned ? 0 : 1];
    m->turned = turned;
    uint64_t all = m->tensor->shape[turned ? 1 : 0], scales = m->scales.length / scale;
    if (m->outputs == 0 || m->inputs == 0 || m->first > all || m->outputs > all - m->first) return false;
    if (dynamic) return scales == m->outputs && m->w.length / m->outputs == m->inputs;
    m->blocks = scales / m->outputs;
    m->block = m->blocks ? m->w.length / m->outputs / m->blocks * 8 / m->bits : 0;
    return m->block && (m->inputs + m->block - 1) / m->block == m->blocks &&
           m->w.length == m->outputs * m->blocks * m->block * m->bits / 8 && scales == m->outputs * m->blocks;
}

/* ---- the check ---- */

static hangar_code map_source(codes *c, made *m, uint32_t file, hangar_err *err)
{
    hg_map *map = &c->maps[file];
    hangar_code code = map->data ? HANGAR_OK : hg_map_open(c->ck.files[file].real, map, err);
    if (code != HANGAR_OK) return code;
    if (m->tensor->offset > map->len || m->tensor->bytes > map->len - m->tensor->offset)
        return hg_fail(err, HANGAR_E_INVALID, "%s is shorter than its header says", c->ck.files[file].path);
    m->from = (const uint8_t *)map->data + m->tensor->offset;
    return HANGAR_OK;
}

static void note(codes *c, const made *m, double worst)
{
    c->tensors++;
    if (!(worst > c->worst)) return;
    c->worst = worst;
    snprintf(c->name, sizeof c->name, "%s", m->w.name);
}

/* One tensor of the data file; `at` is behind it in the list. */
static hangar_code check_one(codes *c, made *m, size_t at, hangar_err *err)
{
    static const struct {
        const char *end, *scales;
        unsigned bits;
    } kinds[] = {{".q4", ".scales", 4},
                 {".q8", ".scales", 8},
                 {".table_q4", ".table_scales", 4},
                 {".table_q8", ".table_scales", 8}};
    size_t len = strlen(m->w.name);
    uint32_t file = 0;
    bool whole = m->w.type == HG_ONNX_INT8 || m->w.type == HG_ONNX_UINT8, fits = false;
    for (size_t i = 0; whole && i < HG_LEN(kinds); i++) {
        if (!ends(m->w.name, len, kinds[i].end)) continue;
        len -= strlen(kinds[i].end);
        m->bits = kinds[i].bits;
        fits = find_scales(c, m->w.name, len, kinds[i].scales, at, &m->scales);
        break;
    }
    m->tensor = find_source(c, m->w.name, len, &m->first, &file);
    if (!whole && !m->tensor) return HANGAR_OK; /* scales, which are looked at with their codes */
    m->at = bytes_of(c, &m->w);
    m->scales_at = m->bits ? bytes_of(c, &m->scales) : m->at;
    if (!m->tensor || !m->at || !m->scales_at || (whole && !fits)) {
        note(c, m, (double)INFINITY);
        return HANGAR_OK;
    }
    hangar_code code = map_source(c, m, file, err);
    if (code != HANGAR_OK) return code;
    double best = INFINITY;
    if (!m->bits) best = plain_sizes(m) ? worst_of(m) : best;
    for (int turned = 0; m->bits && turned < 2; turned++)
        if (code_sizes(m, turned)) best = fmin(best, worst_of(m));
    note(c, m, best);
    hg_map_forget(&c->maps[file], m->tensor->offset,
                  m->tensor->bytes); /* rows of all weights together are much */
    hg_map_forget(&c->data, m->w.offset, m->w.length);
    return HANGAR_OK;
}

static hangar_code check_graph(codes *c, hangar_err *err)
{
    const hg_artifact_graph *g = c->graph;
    HG_AUTO(hg_auto_free) char *path = hg_path_join(c->r->artifact->dir, g->data);
    if (!path) return hg_fail_memory(err);
    hangar_code code = hg_map_open(path, &c->data, err);
    made m = {0};
    for (size_t at = 0; code == HANGAR_OK && hg_onnx_weight_next(g->model, &at, &m.w);) {
        bool own = m.w.location && strcmp(m.w.location, g->data) == 0 && m.w.length;
        if (own) code = check_one(c, &m, at, err);
        if (code == HANGAR_OK) code = hg_job_check(c->r->job, err);
        m = (made){0};
    }
    hg_map_close(&c->data);
    return code;
}

/* The line. */
hangar_code hg_report_weights(hg_report *r, hangar_err *err)
{
    codes c = {.r = r};
    hangar_code code = hg_checkpoint_open(r->snap, &c.ck, err);
    if (code == HANGAR_OK) {
        c.maps = hg_calloc(c.ck.count, sizeof *c.maps);
        if (!c.maps) code = hg_fail_memory(err);
    }
    for (size_t i = 0; code == HANGAR_OK && i < r->artifact->graph_count; i++) {
        c.graph = &r->artifact->graphs[i];
        if (c.graph->data) code = check_graph(&c, err);
    }
    if (code == HANGAR_OK && c.tensors)
        hg_report_limit(r, "weights", isfinite(c.worst) ? c.worst : 1e9, 1,
                        "%zu tensors written anew, errors over those of their rounding; the largest in %s",
                        c.tensors, c.name[0] ? c.name : "none");
    for (size_t i = 0; c.maps && i < c.ck.count; i++)
        if (c.maps[i].data) hg_map_close(&c.maps[i]);
    free(c.maps);
    hg_checkpoint_deinit(&c.ck);
    return code;
}
