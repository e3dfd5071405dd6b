/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making the data file. An item is cut into tiles of outputs; a few threads take tiles, one after the other, over all items: read some outputs
 * of a tile as F32, make their codes, put them where they belong in the mapped output file. Invariants: a tile's bytes are written by one
 * thread alone; a thread works in one piece of memory (BATCH_NUMBERS numbers, or one output if that is longer; the codes of a tile that has
 * to be turned, or the numbers of one that lies turned) and gives the pages of source and output that it has done back to the kernel, so that
 * memory stays bounded whatever the size of the model. The first error stops all.
 */
#include "convert/make.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "base/spread.h"
#include "convert/quant/codes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TILE_NUMBERS  ((uint64_t)1 << 19)  /* wished numbers of one tile */
#define BATCH_NUMBERS ((uint64_t)1 << 14)  /* ... of those that are F32 at a time */
#define TURN_BYTES    ((uint64_t)12 << 20) /* codes that wait to be turned, of all threads */
#define TURN_LEAST    ((uint64_t)1 << 20)  /* ... of one, however many there are */
#define TURN_ROWS     128                  /* rows written between two returns of pages */
#define SQUARE        16                   /* lines of a turned source read at a time */
#define INPUTS_MAX    ((uint64_t)1 << 24)  /* numbers of one output */

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
    uint64_t turn_bytes;  /* one thread's part of TURN_BYTES */
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

/* One thread's memory. */
typedef struct desk {
    float *numbers, *line; /* outputs as F32; a line of a turned source, or scales */
    int8_t *codes;         /* int8 of a tile */
    size_t numbers_room, line_room, codes_room;
} desk;

static uint64_t at_least_one(uint64_t n)
{
    return n ? n : 1;
}

/* int8 goes to a strip of [inputs, outputs], which is touched in every row: the wider, the fewer pages are touched twice. */
static uint64_t tile_outputs(const work *w, const hg_make *m)
{
    uint64_t inputs = at_least_one(m->source.inputs);
    if (m->source.turned) return at_least_one(w->turn_bytes / sizeof(float) / inputs);
    if (m->kind == HG_MAKE_INT8) return at_least_one(w->turn_bytes / inputs);
    return at_least_one(TILE_NUMBERS / inputs);
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
        t->count = tile_outputs(w, t->m);
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

/* The memory for a tile; false when there is none. */
static bool room(float **p, size_t *have, uint64_t want)
{
    if (want <= *have) return true;
    free(*p);
    *p = hg_calloc((size_t)want, sizeof **p);
    *have = *p ? (size_t)want : 0;
    return *p != NULL;
}

static bool desk_fit(desk *d, const tile *t)
{
    uint64_t inputs = t->m->source.inputs, batch = at_least_one(BATCH_NUMBERS / at_least_one(inputs));
    uint64_t n = t->m->source.turned || batch > t->count ? t->count : batch;
    if (!room(&d->numbers, &d->numbers_room, n * inputs)) return false;
    if (!room(&d->line, &d->line_room, (inputs > t->count ? inputs : t->count) * SQUARE)) return false;
    if (t->m->kind != HG_MAKE_INT8 || t->count * inputs <= d->codes_room) return true;
    free(d->codes);
    d->codes = hg_calloc((size_t)(t->count * inputs), 1);
    d->codes_room = d->codes ? (size_t)(t->count * inputs) : 0;
    return d->codes != NULL;
}

static const uint8_t *source_of(const work *w, const hg_make *m)
{
    return (const uint8_t *)w->maps[m->source.file].data + m->source.tensor->offset;
}

/* Outputs [first, first + count) as F32, one behind the other. */
static bool read_lines(const work *w, const hg_make *m, uint64_t first, uint64_t count, float *to)
{
    const hg_make_source *s = &m->source;
    const uint8_t *from =
        source_of(w, m) + (s->first + first) * s->inputs * (hg_dtype_bits(s->tensor->dtype) / 8);
    return hg_codes_read(s->tensor->dtype, from, (size_t)(count * s->inputs), to);
}

/* The same of a tile that lies [inputs, outputs]: a few lines at a time, so that what is put together is. */
static bool read_turned(const work *w, const tile *t, float *to, float *lines)
{
    const hg_make_source *s = &t->m->source;
    size_t size = hg_dtype_bits(s->tensor->dtype) / 8, count = (size_t)t->count;
    const uint8_t *base = source_of(w, t->m);
    for (uint64_t i = 0; i < s->inputs; i += SQUARE) {
        uint64_t n = i + SQUARE < s->inputs ? SQUARE : s->inputs - i;
        for (uint64_t k = 0; k < n; k++) {
            const uint8_t *from = base + ((i + k) * s->outputs + t->first) * size;
            if (!hg_codes_read(s->tensor->dtype, from, count, lines + k * count)) return false;
        }
        for (uint64_t j = 0; j < count; j++)
            for (uint64_t k = 0; k < n; k++) to[j * s->inputs + i + k] = lines[k * count + j];
    }
    forget(w, base, s->tensor->bytes);
    return true;
}

static void write_blocks(const work *w, const hg_make *m, uint64_t first, uint64_t count,
                         const float *numbers, float *scales)
{
    uint64_t inputs = m->source.inputs, blocks = (inputs + m->block - 1) / m->block;
    uint64_t line = blocks * m->block * m->bits / 8, size = m->half ? 2 : 4;
    uint8_t *to = w->out + m->offset[0] + first * line, *at = w->out + m->offset[1] + first * blocks * size;
    for (uint64_t j = 0; j < count; j++, at += blocks * size) {
        hg_codes_blocks(numbers + j * inputs, (size_t)inputs, m->bits, m->block, to + j * line, scales);
        if (m->half) hg_codes_half(scales, (size_t)blocks, (uint16_t *)(void *)at);
        else memcpy(at, scales, (size_t)blocks * 4);
    }
}

static void write_plain(const work *w, const hg_make *m, uint64_t first, uint64_t count, const float *numbers)
{
    uint64_t n = count * m->source.inputs, size = m->kind == HG_MAKE_F16 ? 2 : 4;
    uint8_t *to = w->out + m->offset[0] + first * m->source.inputs * size;
    if (m->kind == HG_MAKE_F16) hg_codes_half(numbers, (size_t)n, (uint16_t *)(void *)to);
    else memcpy(to, numbers, (size_t)n * 4);
}

/* Codes of outputs of tile t, which wait in the desk; their scales are written. */
static void write_int8(const work *w, const tile *t, uint64_t first, uint64_t count, const float *numbers,
                       int8_t *codes)
{
    const hg_make *m = t->m;
    size_t inputs = (size_t)m->source.inputs;
    for (uint64_t j = 0; j < count; j++) {
        float scale = hg_codes_int8(numbers + j * inputs, inputs, codes + (first - t->first + j) * inputs);
        memcpy(w->out + m->offset[1] + (first + j) * 4, &scale, 4);
    }
}

/* Codes of a tile [count][inputs], put into the strip of [inputs][outputs]. */
static void turn_int8(const work *w, const tile *t, const int8_t *codes)
{
    const hg_make *m = t->m;
    size_t inputs = (size_t)m->source.inputs, outputs = (size_t)m->source.outputs, count = (size_t)t->count;
    uint8_t *strip = w->out + m->offset[0] + t->first;
    for (size_t i = 0; i < inputs; i += TURN_ROWS) {
        size_t n = inputs - i < TURN_ROWS ? inputs - i : TURN_ROWS;
        uint8_t *to = strip + i * outputs;
        hg_codes_turn(codes + i, count, n, inputs, (int8_t *)to, outputs);
        forget(w, to, (n - 1) * outputs + count);
    }
}

/* Gives back what outputs [first, end) have been read from. */
static void leave_source(const work *w, const hg_make *m, uint64_t first, uint64_t end)
{
    uint64_t line = m->source.inputs * (hg_dtype_bits(m->source.tensor->dtype) / 8);
    forget(w, source_of(w, m) + (m->source.first + first) * line, (end - first) * line);
}

/* Gives back what a tile has been written to, but for what turn_int8 has. */
static void leave_output(const work *w, const tile *t)
{
    const hg_make *m = t->m;
    for (int i = 0; i < 2 && (m->kind != HG_MAKE_INT8 || i == 1); i++) {
        uint64_t line = m->bytes[i] / m->source.outputs;
        forget(w, w->out + m->offset[i] + t->first * line, t->count * line);
    }
}

/* One tile; false when it has a number that is not finite. */
static bool make_tile(const work *w, const tile *t, desk *d)
{
    const hg_make *m = t->m;
    uint64_t inputs = m->source.inputs, batch = at_least_one(BATCH_NUMBERS / at_least_one(inputs));
    if (m->source.turned && !read_turned(w, t, d->numbers, d->line)) return false;
    uint64_t left = 0; /* outputs whose source is given back */
    for (uint64_t done = 0, n; done < t->count; done += n) {
        n = t->count - done < batch ? t->count - done : batch;
        uint64_t first = t->first + done;
        const float *numbers = m->source.turned ? d->numbers + done * inputs : d->numbers;
        if (!m->source.turned && !read_lines(w, m, first, n, d->numbers)) return false;
        if (m->kind == HG_MAKE_INT8) write_int8(w, t, first, n, numbers, d->codes);
        else if (m->kind == HG_MAKE_BLOCKS) write_blocks(w, m, first, n, numbers, d->line);
        else write_plain(w, m, first, n, numbers);
        bool last = done + n == t->count;
        if (m->source.turned || (!last && (done + n - left) * inputs < TILE_NUMBERS)) continue;
        leave_source(w, m, t->first + left, first + n);
        left = done + n;
    }
    if (m->kind == HG_MAKE_INT8) turn_int8(w, t, d->codes);
    leave_output(w, t);
    return true;
}

/* One thread: tile after tile. */
static void run(void *ctx, size_t item, unsigned who)
{
    work *w = ctx;
    (void)item, (void)who;
    tile t;
    desk d = {0};
    while (take(w, &t)) {
        if (!desk_fit(&d, &t)) {
            fail(w, HANGAR_E_NO_MEMORY, "out of memory", t.m->source.tensor->name);
            break;
        }
        if (!make_tile(w, &t, &d)) {
            fail(w, HANGAR_E_INVALID, "holds numbers that are not finite", t.m->source.tensor->name);
            break;
        }
        finish(w, t.count * t.m->source.inputs * (hg_dtype_bits(t.m->source.tensor->dtype) / 8));
    }
    free(d.numbers);
    free(d.line);
    free(d.codes);
}

static void run_threads(work *w)
{
    unsigned threads = hg_spread_threads(0);
    w->turn_bytes = TURN_BYTES / threads;
    if (w->turn_bytes < TURN_LEAST) w->turn_bytes = TURN_LEAST;
    hg_spread(threads, threads, run, w);
}

/* The output file at its full length, mapped. */
static hangar_code open_output(work *w, const char *path, hangar_err *err)
{
    w->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (w->fd < 0) return hg_fail_errno(err, errno, "%s", path);
    int why = posix_fallocate(w->fd, 0, (off_t)w->plan->bytes);
    if (why != 0) {
        char need[16];
        return hg_fail_errno(err, why, "%s needs %s", hg_path_base(path),
                             hg_size_format(w->plan->bytes, need));
    }
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
