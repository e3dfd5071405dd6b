/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which revisions are known, who waits for one, and the threads that walk and hash.
 *
 * One lock guards the table of revisions, their waiters, the queue and the reference counts. A task (one revision being read) is
 * either in the queue or in the hands of one thread; a thread gives it a slice of work and puts it back at the end.
 * A revision has at most one task. When it ends, all waiters are woken; those for whom the walk began too early ask
 * again. Lock order: this lock, then libmicrohttpd's own (suspend, resume); the other way round never happens, since libmicrohttpd
 * calls us without its locks.
 */
#include "api/mirror.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <unistd.h>

#define SCRATCH HG_MIB
/* A file that is written to while it is hashed is begun again; after so many times the revision is given up for now. */
#define MAX_RESTARTS 64

typedef struct hg_mirror_task {
    struct hg_mirror_task *next;
    hg_mirror_rev *rev;
    hg_mirror_snap *snap; /* under construction; NULL before the walk */
    hg_mirror_snap *old;  /* held: digests are taken over from it */
    size_t at;            /* the file whose turn it is */
    unsigned restarts;
    hg_file_hash hash;
} hg_mirror_task;

/* Gives back a reference; the lock is held. */
static void drop_locked(hg_mirror_snap *s)
{
    if (s && --s->refs == 0) hg_snap_free(s);
}

void hg_snap_drop(hg_mirror_work *w, hg_mirror_snap *snap)
{
    if (!snap) return;
    pthread_mutex_lock(&w->lock);
    drop_locked(snap);
    pthread_mutex_unlock(&w->lock);
}

/* Appends to the queue; the lock is held. */
static void enqueue(hg_mirror_work *w, hg_mirror_task *t)
{
    t->next = NULL;
    if (w->tail) {
        w->tail->next = t;
    } else {
        w->head = t;
    }
    w->tail = t;
    pthread_cond_signal(&w->more);
}

static void task_free(hg_mirror_task *t)
{
    hg_file_hash_deinit(&t->hash);
    hg_snap_free(t->snap);
    free(t);
}

/* Wakes everybody in a list. */
static void wake(hg_request *list)
{
    while (list) {
        hg_request *r = list;
        list = r->next_waiter;
        r->next_waiter = NULL;
        MHD_resume_connection(r->connection);
    }
}

/* The walk: fast, so it is done in one go. */
static hangar_code task_walk(hg_mirror_work *w, hg_mirror_task *t, hangar_err *err)
{
    hangar_code code = hg_snap_walk(w->root, t->rev->folder, &t->snap, err);
    if (code == HANGAR_OK && t->old) hg_snap_inherit(t->snap, t->old);
    return code;
}

/* Hashes on until the slice is used up; *out_done when all digests are there. */
static hangar_code task_hash(hg_mirror_work *w, hg_mirror_task *t, uint8_t *scratch, bool *out_done,
                             hangar_err *err)
{
    uint64_t budget = HG_MIRROR_SLICE;
    while (budget > 0 && t->at < t->snap->count) {
        hg_mirror_file *f = &t->snap->files[t->at];
        bool done = f->known;
        if (!done) {
            hangar_code code = hg_file_hash_step(w->root, t->rev->folder, f, &t->hash, &budget, scratch,
                                                 SCRATCH, &done, err);
            if (code == HANGAR_E_NOT_FOUND &&
                t->restarts++ < MAX_RESTARTS) { /* removed meanwhile: what is there now? */
                hg_snap_free(t->snap);
                t->snap = NULL;
                t->at = 0;
                return HANGAR_OK;
            }
            if (code != HANGAR_OK) return code;
            if (!done && t->hash.fd < 0 && ++t->restarts > MAX_RESTARTS)
                return hg_fail(err, HANGAR_E_BUSY, "%s/%s keeps changing", t->rev->folder, f->path);
        }
        if (done) t->at++;
    }
    *out_done = t->at == t->snap->count;
    return *out_done ? hg_snap_seal(t->snap, err) : HANGAR_OK;
}

/* Publishes the outcome; the lock is held. Returns who is to be woken. */
static hg_request *task_end(hg_mirror_task *t, hangar_code code, const hangar_err *err)
{
    hg_mirror_rev *rev = t->rev;
    hg_request *waiters = rev->waiters;
    if (code == HANGAR_OK) {
        drop_locked(rev->snap);
        rev->snap = t->snap;
        rev->failed = 0;
        t->snap = NULL;
    } else {
        rev->failure = *err;
        rev->failed = hg_now();
    }
    drop_locked(t->old);
    rev->waiters = NULL;
    rev->task = NULL;
    return waiters;
}

/* One work thread. */
static void *work_main(void *arg)
{
    hg_mirror_work *w = arg;
    uint8_t *scratch = malloc(SCRATCH);
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        hg_mirror_task *t = w->head;
        if (!t) {
            pthread_cond_wait(&w->more, &w->lock);
            continue;
        }
        w->head = t->next;
        if (!w->head) w->tail = NULL;
        if (!t->old && t->rev->snap) {
            t->old = t->rev->snap;
            t->old->refs++;
        }
        pthread_mutex_unlock(&w->lock);
        hangar_err err = {0};
        bool done = false;
        hangar_code code = scratch ? HANGAR_OK : hg_fail_memory(&err);
        if (code == HANGAR_OK && !t->snap) code = task_walk(w, t, &err);
        if (code == HANGAR_OK) code = task_hash(w, t, scratch, &done, &err);
        pthread_mutex_lock(&w->lock);
        if (code == HANGAR_OK && !done) {
            enqueue(w, t);
            continue;
        }
        hg_log(HG_LOG_DEBUG, "mirror", "read %s: %s", t->rev->folder,
               code == HANGAR_OK ? t->snap->commit : err.msg);
        hg_request *waiters = task_end(t, code, &err);
        pthread_mutex_unlock(&w->lock);
        task_free(t);
        wake(waiters);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    free(scratch);
    return NULL;
}

hangar_code hg_work_start(hg_mirror_work *w, int root, hangar_err *err)
{
    memset(w, 0, sizeof *w);
    w->root = root;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    for (; w->running < HG_MIRROR_WORKERS; w->running++) {
        int sys = pthread_create(&w->threads[w->running], NULL, work_main, w);
        if (sys == 0) continue;
        hg_work_stop(w);
        hg_work_deinit(w);
        return hg_fail_errno(err, sys, "starting a thread");
    }
    return HANGAR_OK;
}

void hg_work_stop(hg_mirror_work *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->running; i++) pthread_join(w->threads[i], NULL);
    w->running = 0;
    hg_request *waiters = NULL;
    pthread_mutex_lock(&w->lock);
    while (w->head) {
        hg_mirror_task *t = w->head;
        w->head = t->next;
        drop_locked(t->old);
        t->rev->task = NULL;
        task_free(t);
    }
    w->tail = NULL;
    for (hg_mirror_rev *rev = w->revs; rev; rev = rev->next) {
        while (rev->waiters) {
            hg_request *r = rev->waiters;
            rev->waiters = r->next_waiter;
            r->next_waiter = waiters;
            waiters = r;
        }
    }
    pthread_mutex_unlock(&w->lock);
    wake(waiters);
}

void hg_work_deinit(hg_mirror_work *w)
{
    while (w->revs) {
        hg_mirror_rev *rev = w->revs;
        w->revs = rev->next;
        drop_locked(rev->snap);
        free(rev->folder);
        free(rev);
    }
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
}

/* Forgets the revision that nobody used for the longest time; the lock is held. */
static void forget_one(hg_mirror_work *w)
{
    hg_mirror_rev **oldest = NULL;
    for (hg_mirror_rev **at = &w->revs; *at; at = &(*at)->next)
        if (!(*at)->task && !(*at)->waiters && (!oldest || (*at)->used < (*oldest)->used)) oldest = at;
    if (!oldest) return;
    hg_mirror_rev *rev = *oldest;
    *oldest = rev->next;
    w->rev_count--;
    drop_locked(rev->snap);
    free(rev->folder);
    free(rev);
}

/* The entry for a folder, moved to the front; NULL when it is not there. The lock is held. */
static hg_mirror_rev *find_rev(hg_mirror_work *w, const char *folder)
{
    for (hg_mirror_rev **at = &w->revs; *at; at = &(*at)->next) {
        hg_mirror_rev *rev = *at;
        if (strcmp(rev->folder, folder) != 0) continue;
        *at = rev->next;
        rev->next = w->revs;
        w->revs = rev;
        rev->used = hg_now();
        return rev;
    }
    return NULL;
}

/* A new entry; the lock is held. */
static hg_mirror_rev *add_rev(hg_mirror_work *w, const char *folder)
{
    if (w->rev_count >= HG_MIRROR_REVISIONS) forget_one(w);
    hg_mirror_rev *rev = hg_calloc(1, sizeof *rev);
    char *copy = hg_strdup(folder);
    if (!rev || !copy) {
        free(rev);
        free(copy);
        return NULL;
    }
    rev->folder = copy;
    rev->used = hg_now();
    rev->next = w->revs;
    w->revs = rev;
    w->rev_count++;
    return rev;
}

/* Puts the request to sleep until the revision was read once more; the lock is held. */
static hg_taken wait_for(hg_mirror_work *w, hg_mirror_rev *rev, hg_request *r, hangar_err *err)
{
    if (!rev->task) {
        hg_mirror_task *t = hg_calloc(1, sizeof *t);
        if (!t) {
            hg_fail_memory(err);
            return HG_TAKEN_FAILED;
        }
        t->rev = rev;
        t->hash.fd = -1;
        rev->task = t;
        enqueue(w, t);
    }
    MHD_suspend_connection(r->connection);
    r->next_waiter = rev->waiters;
    rev->waiters = r;
    r->rounds++;
    return HG_TAKEN_WAIT;
}

/* hg_snap_take with the lock held. */
static hg_taken take_locked(hg_mirror_work *w, const char *folder, double since, hg_request *r,
                            hg_mirror_snap **out, hangar_err *err)
{
    if (w->stopping) {
        hg_fail(err, HANGAR_E_CANCELLED, "the mirror is ending");
        return HG_TAKEN_FAILED;
    }
    hg_mirror_rev *rev = find_rev(w, folder);
    if (rev && rev->snap && rev->snap->walked >= since) {
        rev->snap->refs++;
        *out = rev->snap;
        return HG_TAKEN;
    }
    if (rev && rev->failed > 0 && rev->failed >= since) {
        if (err) *err = rev->failure;
        return HG_TAKEN_FAILED;
    }
    if (r->rounds >= 16) {
        hg_fail(err, HANGAR_E_BUSY, "%s keeps changing", folder);
        return HG_TAKEN_FAILED;
    }
    if (!rev) {
        struct stat st;
        int fd = -1;
        if (hg_below_open(w->root, folder, O_RDONLY | O_DIRECTORY, &fd, &st, err) != HANGAR_OK)
            return HG_TAKEN_FAILED;
        close(fd);
        rev = add_rev(w, folder);
    }
    if (!rev) {
        hg_fail_memory(err);
        return HG_TAKEN_FAILED;
    }
    return wait_for(w, rev, r, err);
}

hg_taken hg_snap_take(hg_mirror_work *w, const char *folder, double since, hg_request *r,
                      hg_mirror_snap **out, hangar_err *err)
{
    pthread_mutex_lock(&w->lock);
    hg_taken taken = take_locked(w, folder, since, r, out, err);
    pthread_mutex_unlock(&w->lock);
    return taken;
}

hg_mirror_snap *hg_snap_peek(hg_mirror_work *w, const char *folder)
{
    pthread_mutex_lock(&w->lock);
    hg_mirror_rev *rev = find_rev(w, folder);
    hg_mirror_snap *snap = rev ? rev->snap : NULL;
    if (snap) snap->refs++;
    pthread_mutex_unlock(&w->lock);
    return snap;
}

hg_mirror_snap *hg_snap_by_commit(hg_mirror_work *w, hg_str org, hg_str name, hg_str commit, double since,
                                  char *folder, size_t folder_len)
{
    hg_mirror_snap *found = NULL;
    pthread_mutex_lock(&w->lock);
    for (hg_mirror_rev *rev = w->revs; rev && !found; rev = rev->next) {
        hg_str repo, rest = hg_str_of(rev->folder);
        if (!rev->snap || rev->snap->walked < since || !hg_str_eq(hg_str_of(rev->snap->commit), commit))
            continue;
        if (!hg_str_cut(&rest, '/', &repo) || !hg_str_eq(repo, org)) continue;
        hg_str_cut(&rest, '@', &repo);
        if (!hg_str_eq(repo, name) || strlen(rev->folder) >= folder_len) continue;
        strcpy(folder, rev->folder);
        found = rev->snap;
        found->refs++;
        rev->used = hg_now();
    }
    pthread_mutex_unlock(&w->lock);
    return found;
}
