/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A proof is in the queue, or a thread is at it (busy), or it has ended, or nothing is to be done for it. While it is
 * busy the thread works without the mutex; `ready` is the only thing the owner changes then. Whoever wants to set a
 * proof back waits until it is not busy.
 */
#include "hub/digest.h"

#include "base/buf.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK   (256 * HG_KIB) /* read at once */
#define PIECE   (16 * HG_MIB)  /* hashed before another file gets its turn */
#define FLUSH   (8 * HG_MIB)   /* handed to the disk at once, ahead of the fsync */
#define STACK   (256 * HG_KIB)
#define THREADS 8

/* One thread and the memory it reads into. */
typedef struct worker {
    hg_prover *p;
    pthread_t thread;
    char *block;
} worker;

struct hg_prover {
    pthread_mutex_t mutex;
    pthread_cond_t work; /* something in the queue, or the end */
    pthread_cond_t idle; /* a proof is no longer busy, or flushed */
    pthread_cond_t flush_work;
    pthread_t flusher;
    bool flushes;    /* there is a flusher */
    hg_proof *flush; /* what it is at, from .. to */
    uint64_t flush_from, flush_to;
    worker workers[THREADS];
    unsigned count;
    atomic_bool stop;
    hg_proof *first, *last;  /* the queue */
    hg_proof *ended;         /* a list of those that were not handed out */
    hg_block *spare;         /* blocks that nobody has */
    size_t room, made, most; /* of the blocks */
    hg_store *store;
    const char *repo;
    void (*wake)(void *);
    void *ctx;
};

/* Puts a proof at the end of the queue. */
static void enqueue(hg_prover *p, hg_proof *proof)
{
    if (proof->queued || proof->busy || proof->ended) return;
    proof->queued = true;
    proof->next = NULL;
    if (p->last) p->last->next = proof;
    else p->first = proof;
    p->last = proof;
    pthread_cond_signal(&p->work);
}

static hg_proof *dequeue(hg_prover *p)
{
    hg_proof *proof = p->first;
    p->first = proof->next;
    if (!p->first) p->last = NULL;
    proof->queued = false;
    return proof;
}

/*
 * Lets the flusher ask the disk to begin with what has been hashed, so that the fsync at the end finds little to do. It
 * takes one request at a time: while it is busy the next one grows.
 */
static void flush_ahead(hg_prover *p, hg_proof *proof)
{
    if (proof->hashed - proof->flushed < FLUSH) return;
    pthread_mutex_lock(&p->mutex);
    if (!p->flush) {
        p->flush = proof;
        p->flush_from = proof->flushed;
        p->flush_to = proof->hashed;
        proof->flushed = proof->hashed;
        pthread_cond_signal(&p->flush_work);
    }
    pthread_mutex_unlock(&p->mutex);
}

static void *flusher_main(void *arg)
{
    hg_prover *p = arg;
    pthread_mutex_lock(&p->mutex);
    for (;;) {
        while (!p->flush && !atomic_load(&p->stop)) pthread_cond_wait(&p->flush_work, &p->mutex);
        if (!p->flush) break;
        int fd = p->flush->fd;
        off_t from = (off_t)p->flush_from, len = (off_t)(p->flush_to - p->flush_from);
        pthread_mutex_unlock(&p->mutex);
        sync_file_range(fd, from, len, SYNC_FILE_RANGE_WRITE);
        pthread_mutex_lock(&p->mutex);
        p->flush = NULL;
        pthread_cond_broadcast(&p->idle);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* Puts a block back; under the mutex. */
static void put_back(hg_prover *p, hg_block *block)
{
    block->next = p->spare;
    p->spare = block;
}

/*
 * The block that was handed over for the next bytes to hash, or NULL; then *limit is how far they must be read from the
 * file. Blocks that come too late are put back.
 */
static hg_block *next_block(hg_prover *p, hg_proof *proof, uint64_t ready, uint64_t *limit)
{
    *limit = ready;
    pthread_mutex_lock(&p->mutex);
    hg_block *b = proof->first;
    while (b && b->at + b->len <= proof->hashed) {
        proof->first = b->next;
        put_back(p, b);
        b = proof->first;
    }
    if (b && b->at > proof->hashed && b->at < ready) *limit = b->at;
    bool take = b && b->at <= proof->hashed && b->at + b->len <= ready;
    if (take) proof->first = b->next;
    if (!proof->first) proof->last = NULL;
    pthread_mutex_unlock(&p->mutex);
    return take ? b : NULL;
}

/* Hashes the next bytes from memory or from the file. */
static hangar_code hash_some(hg_prover *p, hg_proof *proof, uint64_t ready, char *scratch, hangar_err *err)
{
    uint64_t limit;
    hg_block *b = next_block(p, proof, ready, &limit);
    if (b) {
        size_t skip = (size_t)(proof->hashed - b->at);
        hg_hash_add(proof->hash, b->bytes + skip, b->len - skip);
        proof->hashed = b->at + b->len;
        hg_prover_give(p, b);
        return HANGAR_OK;
    }
    uint64_t left = limit - proof->hashed;
    size_t len = left < BLOCK ? (size_t)left : BLOCK;
    hangar_code code = hg_pread_all(proof->fd, scratch, len, proof->hashed, err);
    if (code != HANGAR_OK) return code;
    hg_hash_add(proof->hash, scratch, len);
    proof->hashed += len;
    return HANGAR_OK;
}

/* Hashes up to a PIECE of what is ready. */
static hangar_code hash_piece(hg_prover *p, hg_proof *proof, char *scratch, hangar_err *err)
{
    uint64_t stop = proof->hashed + PIECE;
    if (!proof->hash) proof->hash = hg_hash_new(proof->oid.kind, proof->size);
    if (!proof->hash) return hg_fail_memory(err);
    for (;;) {
        uint64_t ready = atomic_load_explicit(&proof->ready, memory_order_acquire);
        if (ready <= proof->hashed || proof->hashed >= stop || atomic_load(&p->stop)) return HANGAR_OK;
        hangar_code code = hash_some(p, proof, ready, scratch, err);
        if (code != HANGAR_OK) return code;
        flush_ahead(p, proof);
    }
}

/* All bytes are hashed: compares, and publishes. */
static void conclude(hg_prover *p, hg_proof *proof)
{
    struct stat st;
    hangar_code code = hg_hash_finish(proof->hash, proof->actual, &proof->err);
    proof->end = HG_PROOF_FAILED;
    if (code != HANGAR_OK) return;
    if (!hg_streq(proof->actual, proof->oid.hex)) {
        proof->end = HG_PROOF_WRONG;
        return;
    }
    if (fstat(proof->fd, &st) == 0 && st.st_nlink == 0) {
        proof->end = HG_PROOF_LOST;
        return;
    }
    code = hg_blob_publish(p->store, p->repo, &proof->oid, proof->partial, &proof->err);
    proof->end = code == HANGAR_OK            ? HG_PROOF_PUBLISHED
                 : code == HANGAR_E_NOT_FOUND ? HG_PROOF_LOST
                                              : HG_PROOF_FAILED;
}

/* One turn for a proof, outside the mutex. True when it has ended. */
static bool work_on(hg_prover *p, hg_proof *proof, char *block)
{
    if (hash_piece(p, proof, block, &proof->err) != HANGAR_OK) {
        proof->end = HG_PROOF_FAILED;
        return true;
    }
    if (proof->hashed < proof->size || atomic_load(&p->stop)) return false;
    conclude(p, proof);
    return true;
}

static void *prover_main(void *arg)
{
    worker *w = arg;
    hg_prover *p = w->p;
    pthread_mutex_lock(&p->mutex);
    while (!atomic_load(&p->stop)) {
        if (!p->first) {
            pthread_cond_wait(&p->work, &p->mutex);
            continue;
        }
        hg_proof *proof = dequeue(p);
        proof->busy = true;
        pthread_mutex_unlock(&p->mutex);
        bool ended = work_on(p, proof, w->block);
        pthread_mutex_lock(&p->mutex);
        proof->busy = false;
        proof->ended = ended;
        if (ended) {
            proof->next = p->ended;
            p->ended = proof;
            p->wake(p->ctx);
        } else if (atomic_load_explicit(&proof->ready, memory_order_acquire) > proof->hashed) {
            enqueue(p, proof);
        }
        pthread_cond_broadcast(&p->idle);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

hangar_code hg_prover_open(unsigned threads, size_t room, size_t blocks, hg_store *store, const char *repo,
                           void (*wake)(void *), void *ctx, hg_prover **out, hangar_err *err)
{
    hg_prover *p = hg_calloc(1, sizeof *p);
    pthread_attr_t attr;
    if (!p) return hg_fail_memory(err);
    p->room = room;
    p->most = blocks;
    p->store = store;
    p->repo = repo;
    p->wake = wake;
    p->ctx = ctx;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->idle, NULL);
    pthread_cond_init(&p->flush_work, NULL);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    if (threads > THREADS) threads = THREADS;
    for (; p->count < threads; p->count++) {
        worker *w = &p->workers[p->count];
        w->p = p;
        w->block = malloc(BLOCK);
        if (!w->block || pthread_create(&w->thread, &attr, prover_main, w) != 0) {
            free(w->block);
            break;
        }
    }
    p->flushes = pthread_create(&p->flusher, &attr, flusher_main, p) == 0;
    pthread_attr_destroy(&attr);
    if (p->count == 0 || !p->flushes) {
        hg_prover_close(p);
        return hg_fail(err, HANGAR_E_NO_MEMORY, "no thread could be started");
    }
    *out = p;
    return HANGAR_OK;
}

void hg_prover_stop(hg_prover *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->work);
    pthread_cond_broadcast(&p->flush_work);
    pthread_mutex_unlock(&p->mutex);
    for (unsigned i = 0; i < p->count; i++) {
        pthread_join(p->workers[i].thread, NULL);
        free(p->workers[i].block);
    }
    p->count = 0;
    if (p->flushes) pthread_join(p->flusher, NULL);
    p->flushes = false;
}

void hg_prover_close(hg_prover *p)
{
    if (!p) return;
    hg_prover_stop(p);
    pthread_cond_destroy(&p->flush_work);
    pthread_cond_destroy(&p->idle);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->mutex);
    while (p->spare) {
        hg_block *block = p->spare;
        p->spare = block->next;
        free(block);
    }
    free(p);
}

hg_block *hg_prover_block(hg_prover *p)
{
    pthread_mutex_lock(&p->mutex);
    hg_block *block = p->spare;
    if (block) {
        p->spare = block->next;
    } else if (p->made < p->most) {
        block = malloc(sizeof *block + p->room);
        if (block) p->made++;
    }
    pthread_mutex_unlock(&p->mutex);
    return block;
}

void hg_prover_give(hg_prover *p, hg_block *block)
{
    if (!block) return;
    pthread_mutex_lock(&p->mutex);
    put_back(p, block);
    pthread_mutex_unlock(&p->mutex);
}

void hg_prover_hand(hg_prover *p, hg_proof *proof, hg_block *block, uint64_t at, size_t len)
{
    block->at = at;
    block->len = len;
    block->next = NULL;
    pthread_mutex_lock(&p->mutex);
    if (proof->last) proof->last->next = block;
    else proof->first = block;
    proof->last = block;
    pthread_mutex_unlock(&p->mutex);
}

void hg_prover_nudge(hg_prover *p, hg_proof *proof)
{
    pthread_mutex_lock(&p->mutex);
    enqueue(p, proof);
    pthread_mutex_unlock(&p->mutex);
}

/* Takes a proof out of a list that ends with NULL. */
static void unlink_proof(hg_proof **list, hg_proof *proof)
{
    for (; *list; list = &(*list)->next) {
        if (*list != proof) continue;
        *list = proof->next;
        return;
    }
}

bool hg_prover_reset(hg_prover *p, hg_proof *proof)
{
    pthread_mutex_lock(&p->mutex);
    while (proof->busy || p->flush == proof) pthread_cond_wait(&p->idle, &p->mutex);
    bool published = proof->ended && proof->end == HG_PROOF_PUBLISHED;
    if (proof->queued) {
        unlink_proof(&p->first, proof);
        p->last = p->first;
        while (p->last && p->last->next) p->last = p->last->next;
    }
    if (proof->ended) unlink_proof(&p->ended, proof);
    while (proof->first) {
        hg_block *block = proof->first;
        proof->first = block->next;
        put_back(p, block);
    }
    proof->last = NULL;
    proof->queued = false;
    proof->ended = published;
    proof->hashed = proof->flushed = 0;
    hg_hash_free(proof->hash);
    proof->hash = NULL;
    proof->err = (hangar_err){0};
    pthread_mutex_unlock(&p->mutex);
    return published;
}

hg_proof *hg_prover_poll(hg_prover *p)
{
    pthread_mutex_lock(&p->mutex);
    hg_proof *proof = p->ended;
    if (proof) p->ended = proof->next;
    pthread_mutex_unlock(&p->mutex);
    return proof;
}
