/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making the data file. An item is cut into tiles of outputs; a few threads take tiles, one after the other, over all items: read a tile as
 * F32, make its codes, put them where they belong in the mapped output file. Invariants: a tile's bytes are written by one thread alone;
 * a thread holds one tile (TILE_NUMBERS numbers, or one output if that is longer) and gives the pages of source and output that it
 * has done back to the kernel, so that memory stays bounded whatever the size of the model. The first error stops all.
 */
#include "convert/make.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "convert/quant/codes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TILE_NUMBERS ((uint64_t)1 << 18) /* wished numbers of one tile: 1 MiB as F32 */
#define INPUTS_MAX   ((uint64_t)1 << 24) /* numbers of one output */
#define THREADS_MAX  64

/* ---- planning ---- */

/* Frees a plan. */
void hg_make_plan_deinit(hg_make_plan *plan)
{
    free(plan->items);
    *plan = (hg_make_plan){0};
}

static bool same(const hg_make *a, const hg_make *b)
{
    return a->kind == b->kind && a->source.tensor == b->source.tensor && a->source.file == b->source.file &&
           a->source.outputs == b->source.outputs && a->source.inputs == b->source.inputs &&
           a->source.first == b->source.first && a->source.turned == b->source.turned && a->bits == b->bits &&
           a->block == b->block && a->half == b->half;
}

/* Bytes of both tensors; false when that overflows. */
static bool sizes(hg_make *m)
{
    uint64_t n = 0, blocks = m->block ? (m->source.inputs + m->block - 1) / m->block : 0;
    if (!hg_mul(m->source.outputs, m->source.inputs, &n)) return false;
    switch (m->kind) {
    case HG_MAKE_F32: return hg_mul(n, 4, &m->bytes[0]);
    case HG_MAKE_F16: return hg_mul(n, 2, &m->bytes[0]);
    case HG_MAKE_INT8: m->bytes[0] = n; return hg_mul(m->source.outputs, 4, &m->bytes[1]);
    case HG_MAKE_BLOCKS: break;
    }
    return hg_mul(m->source.outputs, blocks, &n) && hg_mul(n, m->block * m->bits / 8, &m->bytes[0]) &&
           hg_mul(n, m->half ? 2 : 4, &m->bytes[1]);
}

static bool place(hg_make_plan *plan, uint64_t bytes, uint64_t *offset)
{
    uint64_t at = 0;
    if (!hg_add(plan->bytes, HG_MAKE_ALIGN - 1, &at)) return false;
    *offset = at / HG_MAKE_ALIGN * HG_MAKE_ALIGN;
    return hg_add(*offset, bytes, &plan->bytes) && plan->bytes <= INT64_MAX;
}

/* Plans a tensor. */
hangar_code hg_make_add(hg_make_plan *plan, const hg_make *want, const hg_make **out, hangar_err *err)
{
    for (size_t i = 0; i < plan->count; i++) {
        *out = &plan->items[i];
        if (same(*out, want)) return HANGAR_OK;
    }
    bool blocks = want->kind == HG_MAKE_BLOCKS;
    if (blocks && ((want->bits != 4 && want->bits != 8) || want->block < 16 || want->block > 4096 ||
                   (want->block & (want->block - 1))))
        return hg_fail(err, HANGAR_E_INTERNAL, "blocks of %u numbers of %u bits", want->block, want->bits);
    if (!hg_grow((void **)&plan->items, &plan->cap, plan->count + 1, sizeof *plan->items))
        return hg_fail_memory(err);
    hg_make *m = &plan->items[plan->count];
    *m = *want;
    m->bytes[1] = 0;
    bool fits = want->source.inputs <= INPUTS_MAX && sizes(m) && place(plan, m->bytes[0], &m->offset[0]) &&
                (m->bytes[1] == 0 || place(plan, m->bytes[1], &m->offset[1]));
    if (!fits)
        return hg_fail(err, HANGAR_E_LIMIT, "%s is too large to be written anew", want->source.tensor->name);
    plan->count++;
    *out = m;
    return HANGAR_OK;
}

/* ---- making ---- */

typedef struct work {
    const hg_make_plan *plan;
    hg_map *maps; /* the checkpoint's files */
    uint8_t *out; /* the mapped data file */
    int fd;
    hangar_job *job;
    uint64_t source_bytes, page;
    pthread_mutex_t lock; /* of what follows */
    size_t item;          /* the next tile */
    uint64_t output, done;
    hangar_code code;
    hangar_err why;
} work;

typedef struct tile {
    const hg_make *m;
    uint64_t first, count; /* outputs */
} tile;

static uint64_t tile_outputs(const hg_make *m)
{
    uint64_t n = m->source.inputs ? TILE_NUMBERS / m->source.inputs : TILE_NUMBERS;
    /* int8 goes to a strip of [inputs, outputs]: narrow strips would touch each line of the cache again and again. */
    if (m->kind == HG_MAKE_INT8 && n < 64) n = 16 * TILE_NUMBERS / (m->source.inputs + 1) < 64 ? n : 64;
    return n ? n : 1;
}

/* Takes the next tile; false when there is none, or when somebody failed. */
static bool take(work *w, tile *t)
{
    pthread_mutex_lock(&w->lock);
    while (w->item < w->plan->count && w->output >= w->plan->items[w->item].source.outputs) {
        w->item++;
        w->output = 0;
    }
    bool have = w->code == HANGAR_OK && w->item < w->plan->count;
    if (have) {
        t->m = &w->plan->items[w->item];
        t->first = w->output;
        t->count = tile_outputs(t->m);
        if (t->count > t->m->source.outputs - t->first) t->count = t->m->source.outputs - t->first;
        w->output += t->count;
    }
    pthread_mutex_unlock(&w->lock);
    return have;
}

/* Tells of a tile that is done; a cancel becomes an error. */
static void finish(work *w, uint64_t bytes)
{
    pthread_mutex_lock(&w->lock);
    w->done += bytes;
    hg_job_total(w->job, w->done, w->source_bytes, 0);
    if (w->code == HANGAR_OK) w->code = hg_job_check(w->job, &w->why);
    pthread_mutex_unlock(&w->lock);
}

static void fail(work *w, hangar_code code, const char *words, const char *name)
{
    pthread_mutex_lock(&w->lock);
    if (w->code == HANGAR_OK) w->code = hg_fail(&w->why, code, "%s: %s", name, words);
    pthread_mutex_unlock(&w->lock);
}

/* Gives whole pages between two addresses back; what they hold stays in the file. */
static void forget(const work *w, const uint8_t *from, uint64_t bytes)
{
    uintptr_t a = ((uintptr_t)from + w->page - 1) / w->page * w->page,
              b = ((uintptr_t)from + bytes) / w->page * w->page;
    if (b > a) (void)madvise((void *)a, b - a, MADV_DONTNEED); /* NOLINT: an address of the mapping */
}

/* The tile's outputs as F32, one behind the other. */
static bool read_tile(const work *w, const tile *t, float *to, float *line)
{
    const hg_make_source *s = &t->m->source;
    size_t size = hg_dtype_bits(s->tensor->dtype) / 8;
    const uint8_t *base = (const uint8_t *)w->maps[s->file].data + s->tensor->offset;
    if (!s->turned) {
        const uint8_t *from = base + (s->first + t->first) * s->inputs * size;
        bool ok = hg_codes_read(s->tensor->dtype, from, (size_t)(t->count * s->inputs), to);
        forget(w, from, t->count * s->inputs * size);
        return ok;
    }
    for (uint64_t i = 0; i < s->inputs; i++) {
        if (!hg_codes_read(s->tensor->dtype, base + (i * s->outputs + t->first) * size, (size_t)t->count,
                           line))
            return false;
        for (uint64_t j = 0; j < t->count; j++) to[j * s->inputs + i] = line[j];
    }
    return true;
}

/* Codes of the tile [count][inputs], put into the strip of [inputs][outputs]. */
static void write_int8(const work *w, const tile *t, const float *numbers, int8_t *codes)
{
    const hg_make *m = t->m;
    uint64_t inputs = m->source.inputs, outputs = m->source.outputs;
    int8_t *to = (int8_t *)w->out + m->offset[0] + t->first;
    for (uint64_t j = 0; j < t->count; j++) {
        float scale = hg_codes_int8(numbers + j * inputs, (size_t)inputs, codes + j * inputs);
        memcpy(w->out + m->offset[1] + (t->first + j) * 4, &scale, 4);
    }
    for (uint64_t i = 0; i < inputs; i += 64) { /* squares that fit the nearest cache */
        uint64_t end = i + 64 < inputs ? i + 64 : inputs;
        for (uint64_t k = i; k < end; k++)
            for (uint64_t j = 0; j < t->count; j++) to[k * outputs + j] = codes[j * inputs + k];
    }
    forget(w, w->out + m->offset[0], m->bytes[0]);
}

static void write_blocks(const work *w, const tile *t, const float *numbers, float *scales)
{
    const hg_make *m = t->m;
    uint64_t inputs = m->source.inputs, blocks = (inputs + m->block - 1) / m->block;
    uint64_t line = blocks * m->block * m->bits / 8, size = m->half ? 2 : 4;
    uint8_t *to = w->out + m->offset[0] + t->first * line,
            *at = w->out + m->offset[1] + t->first * blocks * size;
    for (uint64_t j = 0; j < t->count; j++, at += blocks * size) {
        hg_codes_blocks(numbers + j * inputs, (size_t)inputs, m->bits, m->block, to + j * line, scales);
        if (m->half) hg_codes_half(scales, (size_t)blocks, (uint16_t *)(void *)at);
        else memcpy(at, scales, (size_t)blocks * 4);
    }
    forget(w, to, t->count * line);
}

static void write_plain(const work *w, const tile *t, const float *numbers)
{
    const hg_make *m = t->m;
    uint64_t n = t->count * m->source.inputs, size = m->kind == HG_MAKE_F16 ? 2 : 4;
    uint8_t *to = w->out + m->offset[0] + t->first * m->source.inputs * size;
    if (m->kind == HG_MAKE_F16) hg_codes_half(numbers, (size_t)n, (uint16_t *)(void *)to);
    else memcpy(to, numbers, (size_t)n * 4);
    forget(w, to, n * size);
}

/* One thread: tile after tile. */
static void *run(void *arg)
{
    work *w = arg;
    tile t;
    size_t room = 0;
    float *numbers = NULL;
    int8_t *more = NULL; /* codes, or scales, or a line of a turned source */
    while (take(w, &t)) {
        uint64_t n = t.count * t.m->source.inputs,
                 line = t.count > t.m->source.inputs ? t.count : t.m->source.inputs;
        size_t want = (size_t)(n > line * 4 ? n : line * 4);
        if (want > room) {
            free(numbers);
            free(more);
            numbers = hg_calloc(want, sizeof *numbers);
            more = hg_calloc(want, 1);
            room = want;
        }
        if (!numbers || !more) {
            fail(w, HANGAR_E_NO_MEMORY, "out of memory", t.m->source.tensor->name);
            break;
        }
        if (!read_tile(w, &t, numbers, (float *)(void *)more)) {
            fail(w, HANGAR_E_INVALID, "holds numbers that are not finite", t.m->source.tensor->name);
            break;
        }
        if (t.m->kind == HG_MAKE_INT8) write_int8(w, &t, numbers, more);
        else if (t.m->kind == HG_MAKE_BLOCKS) write_blocks(w, &t, numbers, (float *)(void *)more);
        else write_plain(w, &t, numbers);
        finish(w, n * hg_dtype_bits(t.m->source.tensor->dtype) / 8);
    }
    free(numbers);
    free(more);
    return NULL;
}

static void run_threads(work *w)
{
    pthread_t threads[THREADS_MAX];
    cpu_set_t set;
    int wanted = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1, started = 0;
    if (wanted > THREADS_MAX) wanted = THREADS_MAX;
    while (started < wanted - 1 && pthread_create(&threads[started], NULL, run, w) == 0) started++;
    (void)run(w);
    while (started > 0) pthread_join(threads[--started], NULL);
}

/* The output file at its full length, mapped. */
static hangar_code open_output(work *w, const char *path, hangar_err *err)
{
    w->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (w->fd < 0) return hg_fail_errno(err, errno, "%s", path);
    int why = posix_fallocate(w->fd, 0, (off_t)w->plan->bytes);
    if (why != 0) return hg_fail_errno(err, why, "%s", path);
    void *p = mmap(NULL, (size_t)w->plan->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
    if (p == MAP_FAILED) return hg_fail_errno(err, errno, "%s", path);
    w->out = p;
    return HANGAR_OK;
}

static hangar_code open_sources(work *w, const hg_checkpoint *ck, hangar_err *err)
{
    w->maps = hg_calloc(ck->count, sizeof *w->maps);
    if (!w->maps) return hg_fail_memory(err);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < w->plan->count && code == HANGAR_OK; i++) {
        const hg_make_source *s = &w->plan->items[i].source;
        uint64_t n = 0, first = 0, end = 0, size = hg_dtype_bits(s->tensor->dtype) / 8;
        hg_map *map = &w->maps[s->file];
        if (!map->data) code = hg_map_open(ck->files[s->file].real, map, err);
        if (code != HANGAR_OK) return code;
        bool fits = hg_mul(s->outputs, s->inputs, &n) && hg_mul(s->first, s->inputs, &first) &&
                    hg_add(n, first, &n) && hg_mul(n, size, &n) && n <= s->tensor->bytes &&
                    hg_add(s->tensor->offset, s->tensor->bytes, &end) && end <= map->len;
        if (!fits) return hg_fail(err, HANGAR_E_INVALID, "%s does not lie in its file", s->tensor->name);
        w->source_bytes += s->outputs * s->inputs * size;
    }
    return code;
}

/* Writes the data file. */
hangar_code hg_make_run(const hg_make_plan *plan, const hg_checkpoint *ck, const char *path, hangar_job *job,
                        hangar_err *err)
{
    work w = {.plan = plan, .fd = -1, .job = job, .page = (uint64_t)sysconf(_SC_PAGESIZE)};
    hangar_code code = open_sources(&w, ck, err);
    if (code == HANGAR_OK) code = open_output(&w, path, err);
    if (code == HANGAR_OK) {
        pthread_mutex_init(&w.lock, NULL);
        run_threads(&w);
        pthread_mutex_destroy(&w.lock);
        code = w.code;
        if (code != HANGAR_OK && err) *err = w.why;
    }
    if (w.out) munmap(w.out, (size_t)plan->bytes);
    if (w.fd >= 0) close(w.fd);
    for (size_t i = 0; w.maps && i < ck->count; i++)
        if (w.maps[i].data) hg_map_close(&w.maps[i]);
    free(w.maps);
    return code;
}
