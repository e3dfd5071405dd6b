/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/fetch.h"

#include "base/log.h"
#include "base/mem.h"
#include "hub/partial.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS       100    /* the loop looks around at least this often, in milliseconds */
#define POLL_PACED_MS 20     /* the same when a rate limit is set */
#define TELL_SECONDS  0.1    /* between progress events */
#define LOCK_SECONDS  0.2    /* between looks at a lock that somebody else holds */
#define NUDGE_BYTES   HG_MIB /* new bytes before the provers hear of them */
#define NOTE_BYTES    HG_MIB /* new bytes of a chunk before the journal hears of them */
#define OPEN_MORE     16     /* open files beyond the number of streams (being proved) */
#define FAST_STREAM \
    (200e6)                /* bytes per second of one stream, from which more streams of a file do not help */
#define WINDOW_SECONDS 0.1 /* over which that is measured */
#define BARREN_FACTOR  10  /* tries without a byte of its own that a chunk has, times (retries + 1) */
#define SPARE          8   /* blocks on their way from the streams to the provers */
#define PROVERS        4
#define BUFFER         (512 * HG_KIB) /* receive buffer of a stream */
#define ROOM           HG_MIB         /* written at once; a power of two */
#define BUFFERS_MAX    (8 * HG_MIB)   /* of all streams together, for each of the two */

/* ---- failures ---- */

void hg_fetch_fail(hg_fetch *f, hangar_code code, const hangar_err *why)
{
    if (f->err.code != HANGAR_OK) return;
    f->err = *why;
    f->err.code = code;
}

/* Takes all streams off a file. */
static void drop_streams(hg_fetch *f, hg_file *file)
{
    for (size_t i = 0; i < f->stream_count; i++)
        if (f->streams[i].file == file) hg_stream_drop(&f->streams[i]);
}

/* The file needs nothing more. */
static void finish_file(hg_fetch *f, hg_file *file)
{
    for (size_t i = 0; i < f->open_count; i++) {
        if (f->open[i] != file) continue;
        memmove(&f->open[i], &f->open[i + 1], (f->open_count - i - 1) * sizeof(f->open[0]));
        f->open_count--;
        break;
    }
    file->state = HG_FILE_DONE;
    f->finished++;
    hg_partial_close(file, false);
    hg_url_deinit(&file->direct);
    hg_prover_reset(f->prover, &file->proof);
    hg_job_item(f->net->job, file->want->path, file->want->size, file->want->size, "done");
}

void hg_fetch_restart(hg_fetch *f, hg_file *file, bool whole)
{
    hangar_err err = {0};
    drop_streams(f, file);
    f->done -= file->covered;
    atomic_store(&file->proof.ready, 0);
    if (hg_prover_reset(f->prover, &file->proof)) {
        f->done += file->covered;
        file->want->fetched = true;
        finish_file(f, file);
        return;
    }
    file->nudged = 0;
    file->probed = false;
    hangar_code code = hg_partial_restart(file, f->net->settings->range_size, whole || file->whole, &err);
    if (code != HANGAR_OK) hg_fetch_fail(f, code, &err);
    hg_job_item(f->net->job, file->want->path, 0, file->want->size, "retry");
}

void hg_fetch_bad(hg_fetch *f, hg_file *file, const char *words)
{
    char reason[256]; /* the words may be those of a stream that is used again below */
    snprintf(reason, sizeof reason, "%s", words);
    if (++file->bad < 2) {
        hg_job_note(f->net->job, "%s: %s; fetching it again from its start", file->want->path, reason);
        hg_url_deinit(&file->direct);
        hg_fetch_restart(f, file, false);
        return;
    }
    hangar_err why = {0};
    file->discard = true;
    hg_fail(&why, HANGAR_E_INTEGRITY, "%s: %s", file->want->path, reason);
    hg_fetch_fail(f, why.code, &why);
}

/* Counts a failed try; the number of those since the last progress. */
static int64_t count_try(hg_fetch *f, hg_file *file, hg_chunk *chunk, bool *own_progress)
{
    *own_progress = file->best > chunk->seen_best;
    if (f->received > chunk->seen) chunk->tries = 0;
    if (*own_progress) chunk->barren = 0;
    chunk->seen = f->received;
    chunk->seen_best = file->best;
    chunk->barren++;
    return ++chunk->tries;
}

void hg_fetch_again(hg_fetch *f, hg_file *file, hg_chunk *chunk, const hangar_err *why, const hg_reply *reply,
                    bool brief)
{
    bool own_progress;
    int64_t retries = f->net->settings->retries, nth = count_try(f, file, chunk, &own_progress);
    hangar_err err = *why;
    double wait = 0;
    if (nth > retries || chunk->barren > (retries + 1) * BARREN_FACTOR) {
        hg_fetch_fail(f, hg_wrap(&err, why->code, "%s", file->want->path), &err);
        return;
    }
    hangar_code code = hg_wait_choose(reply, nth, brief, &wait, &err);
    if (code != HANGAR_OK) {
        hg_fetch_fail(f, hg_wrap(&err, code, "%s", file->want->path), &err);
        return;
    }
    if (own_progress && !reply) wait = 0.05; /* a line that breaks often but moves */
    chunk->not_before = hg_now() + wait;
    if (reply && reply->status == 429) f->hold_until = chunk->not_before; /* it counts us, not the file */
    hg_log(HG_LOG_INFO, "hub", "%s at %" PRIu64 ": %s", file->want->path, chunk->start + chunk->done,
           why->msg);
    hg_job_item(f->net->job, file->want->path, file->covered, file->want->size, "retry");
    if (wait >= 0.1)
        hg_job_note(f->net->job, "%s: %s; trying again in %.1f s (%" PRId64 " of %" PRId64 ")",
                    file->want->path, why->msg, wait, nth, retries);
    if (!file->whole) return;
    hg_chunk before = *chunk; /* the restart makes new chunks */
    hg_fetch_restart(f, file, true);
    if (file->chunk_count == 0) return;
    file->chunks[0].tries = before.tries;
    file->chunks[0].barren = before.barren;
    file->chunks[0].seen = before.seen;
    file->chunks[0].not_before = before.not_before;
}

/* ---- progress ---- */

void hg_fetch_advance(hg_fetch *f, hg_file *file, hg_chunk *chunk, uint64_t len)
{
    uint64_t size = file->want->size;
    chunk->done += len;
    file->covered += len;
    f->done += len;
    f->body_bytes += len;
    if (file->covered > file->best) {
        f->received += file->covered - file->best;
        file->best = file->covered;
    }
    uint64_t step = size >> 16 > NOTE_BYTES ? size >> 16 : NOTE_BYTES;
    if (chunk->done - chunk->noted >= step) hg_partial_note(file, chunk);
    if (chunk != &file->chunks[file->front]) return;
    while (file->front < file->chunk_count &&
           file->chunks[file->front].done == file->chunks[file->front].end - file->chunks[file->front].start)
        file->front++;
    uint64_t ready = size;
    if (file->front < file->chunk_count)
        ready = file->chunks[file->front].start + file->chunks[file->front].done;
    atomic_store_explicit(&file->proof.ready, ready, memory_order_release);
    if (ready - file->nudged < NUDGE_BYTES && ready < size) return;
    file->nudged = ready;
    hg_prover_nudge(f->prover, &file->proof);
}

bool hg_fetch_may_take(hg_fetch *f, size_t len)
{
    if (!f->rate_limit) return true;
    if (f->tokens <= 0) return false;
    f->tokens -= (double)len;
    return true;
}

/* Fills the token bucket and lets the paused streams go on. */
static void refill(hg_fetch *f, double now)
{
    if (!f->rate_limit) return;
    double rate = (double)f->rate_limit, most = rate * 0.1;
    f->tokens += (now - f->tokens_time) * rate;
    f->tokens_time = now;
    if (f->tokens > most) f->tokens = most;
    for (size_t i = 0; i < f->stream_count && f->tokens > 0; i++) {
        hg_stream *s = &f->streams[(i + (size_t)(now * 50)) % f->stream_count];
        if (!s->req.running || !s->req.paused) continue;
        s->req.paused = false;
        curl_easy_pause(s->req.easy, CURLPAUSE_CONT);
    }
}

/* Tells where the work is, ten times a second at most. */
static void tell(hg_fetch *f, double now, bool force)
{
    if (!force && now - f->told_time < TELL_SECONDS) return;
    f->told_time = now;
    for (size_t i = 0; i < f->open_count; i++) {
        hg_file *file = f->open[i];
        if (file->covered == file->told) continue;
        file->told = file->covered;
        hg_job_item(f->net->job, file->want->path, file->covered, file->want->size, "");
    }
    hg_rate_note(&f->rate, now, f->received);
    hg_job_total(f->net->job, f->done, f->total, hg_rate_get(&f->rate));
}

/* ---- files ---- */

/* Tries to get a file's lock, and opens what there is of it. */
static void open_file(hg_fetch *f, hg_file *file, double now)
{
    hangar_err err = {0};
    hg_want *want = file->want;
    HG_AUTO(hg_auto_free) char *path = hg_blob_lock_path(f->store, f->ref->repo, &want->oid);
    hangar_code code = path ? hg_lock_take(path, 0, NULL, NULL, &file->lock, &err) : hg_fail_memory(&err);
    if (code == HANGAR_E_BUSY) {
        if (!file->lock_told)
            hg_job_note(f->net->job, "%s: another process is fetching it, waiting", want->path);
        file->lock_told = true;
        file->lock_next = now + LOCK_SECONDS;
        file->state = HG_FILE_WAITING;
        return;
    }
    file->state = HG_FILE_OPEN;
    if (code == HANGAR_OK && hg_blob_have(f->store, f->ref->repo, &want->oid, want->size)) {
        want->have = true;
        f->total -= want->size;
        finish_file(f, file);
        return;
    }
    if (code == HANGAR_OK)
        code = hg_partial_open(file, f->store, f->ref->repo, f->net->settings->range_size, &err);
    if (code != HANGAR_OK) {
        hg_fetch_fail(f, hg_wrap(&err, code, "%s", want->path), &err);
        return;
    }
    f->done += file->covered;
    file->run = f->net->settings->range_size;
    file->told = file->covered;
    hg_job_item(f->net->job, want->path, file->covered, want->size, "");
    if (file->resumed)
        hg_log(HG_LOG_INFO, "hub", "%s: %" PRIu64 " bytes are there", want->path, file->covered);
    if (want->size == 0 || file->covered) hg_prover_nudge(f->prover, &file->proof);
}

/* Looks again at locks that somebody else held. */
static void retry_locks(hg_fetch *f, double now)
{
    for (size_t i = 0; i < f->open_count; i++) {
        hg_file *file = f->open[i];
        if (file->state != HG_FILE_WAITING || now < file->lock_next) continue;
        size_t count = f->open_count;
        open_file(f, file, now);
        if (f->open_count < count) i--;
    }
}

static hg_file *file_of(hg_proof *proof)
{
    return (hg_file *)(void *)((char *)proof - offsetof(hg_file, proof));
}

/* A proof has ended. */
static void proved(hg_fetch *f, hg_file *file)
{
    char words[200];
    hangar_err why = file->proof.err;
    switch (file->proof.end) {
    case HG_PROOF_PUBLISHED:
        file->want->fetched = true;
        finish_file(f, file);
        break;
    case HG_PROOF_WRONG:
        if (file->resumed) {
            hg_job_note(f->net->job,
                        "%s: what an earlier run left is not right, fetching it again from its start",
                        file->want->path);
            hg_fetch_restart(f, file, false);
            break;
        }
        snprintf(words, sizeof words, "its digest is %s, it should be %s", file->proof.actual,
                 file->proof.oid.hex);
        hg_fetch_bad(f, file, words);
        break;
    case HG_PROOF_LOST: hg_fetch_bad(f, file, "its partial file was removed"); break;
    case HG_PROOF_FAILED: hg_fetch_fail(f, hg_wrap(&why, why.code, "%s", file->want->path), &why); break;
    }
}

/* ---- who fetches what ---- */

/* How many streams a file may have now: one, until an answer was good; all, unless one is so fast that the machine, not
 * the line is what limits it. */
static unsigned allowance(hg_fetch *f, hg_file *file, double now)
{
    if (file->whole || !file->probed) return 1;
    double span = now - file->window_time;
    if (span >= WINDOW_SECONDS) {
        unsigned streams = file->streams ? file->streams : 1;
        double speed = (double)(file->covered - file->window_covered) / span / streams;
        file->allowed = speed > FAST_STREAM ? streams : (unsigned)f->stream_count;
        file->window_time = now;
        file->window_covered = file->covered;
    }
    return file->allowed;
}

/* Whether a stream may begin with a chunk now. */
static bool is_free(const hg_chunk *c, double now)
{
    return !c->busy && c->done < c->end - c->start && c->not_before <= now;
}

/* The end of a run that begins with chunk c: as long as the file's requests shall be, but so that all streams find
 * something in what is left. */
static hg_chunk *run_end(hg_fetch *f, hg_file *file, hg_chunk *c, double now)
{
    uint64_t share = (file->want->size - file->covered) / f->stream_count;
    uint64_t run = file->run < share ? file->run : share;
    hg_chunk *end = file->chunks + file->chunk_count, *last = c;
    while (last + 1 < end && last[1].end - c->start <= run && last[1].done == 0 && is_free(&last[1], now))
        last++;
    return last;
}

/* A run of chunks of an open file that a stream may begin with now; NULL when there is none. */
static hg_chunk *free_chunk(hg_fetch *f, hg_file *file, double now, hg_chunk **last)
{
    if (file->state != HG_FILE_OPEN || file->streams >= allowance(f, file, now)) return NULL;
    for (size_t i = file->front; i < file->chunk_count; i++) {
        if (!is_free(&file->chunks[i], now)) {
            if (!file->probed && file->chunks[i].not_before > now)
                return NULL; /* the first one tries for all */
            continue;
        }
        *last = run_end(f, file, &file->chunks[i], now);
        return &file->chunks[i];
    }
    return NULL;
}

/* Finds work for one stream: an open file first, then the next one of the queue. */
static hg_chunk *find_work(hg_fetch *f, double now, hg_file **out, hg_chunk **last)
{
    for (size_t i = 0; i < f->open_count; i++) {
        hg_chunk *c = free_chunk(f, f->open[i], now, last);
        *out = f->open[i];
        if (c) return c;
    }
    while (f->next < f->count && f->open_count < f->stream_count + OPEN_MORE && f->err.code == HANGAR_OK) {
        hg_file *file = &f->files[f->next++];
        f->open[f->open_count++] = file;
        open_file(f, file, now);
        hg_chunk *c = file->state == HG_FILE_OPEN ? free_chunk(f, file, now, last) : NULL;
        *out = file;
        if (c) return c;
    }
    return NULL;
}

static void schedule(hg_fetch *f, double now)
{
    if (now < f->hold_until) return;
    for (size_t i = 0; i < f->stream_count && f->err.code == HANGAR_OK; i++) {
        hg_file *file;
        if (f->streams[i].file) continue;
        hg_chunk *last, *c = find_work(f, now, &file, &last);
        if (!c) return;
        hg_stream_start(&f->streams[i], file, c, last);
    }
}

/* Gives up on streams that have gone silent. */
static void check_stalls(hg_fetch *f, double now)
{
    for (size_t i = 0; i < f->stream_count; i++) {
        hg_stream *s = &f->streams[i];
        if (!s->file || !hg_request_stalled(&s->req, now)) continue;
        hg_request_stop(&s->req);
        hg_stream_ended(s, CURLE_OPERATION_TIMEDOUT);
    }
}

/* Milliseconds until something may be due. */
static int poll_time(const hg_fetch *f, double now)
{
    double due = now + (f->rate_limit ? POLL_PACED_MS : POLL_MS) * 1e-3;
    for (size_t i = 0; i < f->open_count; i++)
        for (size_t k = f->open[i]->front; k < f->open[i]->chunk_count; k++) {
            double at = f->open[i]->chunks[k].not_before;
            if (at > now && at < due) due = at;
        }
    int ms = (int)((due - now) * 1000) + 1;
    return ms < 1 ? 1 : ms;
}

/* The streams whose requests have ended; true when there were any. */
static bool collect(hg_fetch *f)
{
    int left;
    bool any = false;
    for (CURLMsg *m; f->err.code == HANGAR_OK && (m = curl_multi_info_read(f->net->multi, &left));) {
        char *who = NULL;
        if (m->msg != CURLMSG_DONE) continue;
        CURLcode rc = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &who);
        hg_request *req = (hg_request *)(void *)who;
        hg_request_stop(req);
        hg_stream_ended(req->ctx, rc);
        any = true;
    }
    return any;
}

/* The loop. The first failure, or OK when all files are done. */
static hangar_code loop(hg_fetch *f)
{
    hangar_err err = {0};
    while (f->finished < f->count) {
        double now = hg_now();
        hangar_code code = hg_net_check(f->net, &err);
        if (code != HANGAR_OK) hg_fetch_fail(f, code, &err);
        for (hg_proof *p; f->err.code == HANGAR_OK && (p = hg_prover_poll(f->prover));) proved(f, file_of(p));
        if (f->err.code == HANGAR_OK) retry_locks(f, now);
        if (f->err.code == HANGAR_OK) schedule(f, now);
        if (f->err.code != HANGAR_OK) return f->err.code;
        int running;
        refill(f, now);
        curl_multi_perform(f->net->multi, &running);
        bool ended = collect(f);
        check_stalls(f, hg_now());
        tell(f, now, false);
        if (ended || f->finished == f->count || f->err.code != HANGAR_OK) continue;
        curl_multi_poll(f->net->multi, NULL, 0, poll_time(f, now), NULL);
    }
    return f->err.code;
}

/* ---- beginning and end ---- */

static void wake(void *ctx)
{
    hg_net_wake(ctx);
}

static hangar_code begin(hg_fetch *f, hg_plan *plan, hangar_err *err)
{
    size_t streams = (size_t)f->net->settings->concurrent;
    f->files = hg_calloc(plan->want_count, sizeof *f->files);
    f->open = hg_calloc(streams + OPEN_MORE, sizeof(f->open[0]));
    f->streams = hg_calloc(streams, sizeof *f->streams);
    if (!f->files || !f->open || !f->streams) return hg_fail_memory(err);
    for (size_t i = 0; i < plan->want_count; i++) {
        hg_want *w = &plan->wants[i];
        if (w->have) continue;
        hg_file *file = &f->files[f->count++];
        file->want = w;
        file->fd = file->journal_fd = -1;
        file->lock = (hg_lock)HG_LOCK_INIT;
        file->proof.oid = w->oid;
        file->proof.size = w->size;
        f->total += w->size;
    }
    size_t share = BUFFERS_MAX / streams, buffer = share < BUFFER ? share : BUFFER, room = ROOM;
    while (room > share) room /= 2;
    hangar_code code =
        hg_prover_open(PROVERS, room, streams + SPARE, f->store, f->ref->repo, wake, f->net, &f->prover, err);
    if (code != HANGAR_OK) return code;
    for (size_t i = 0; i < streams; i++) {
        code = hg_stream_init(&f->streams[i], f, buffer, room, err);
        if (code != HANGAR_OK) return code;
        f->stream_count++;
    }
    f->tokens_time = hg_now();
    return HANGAR_OK;
}

/* Stops everything; what is unfinished is kept for the next run. */
static void end(hg_fetch *f)
{
    for (size_t i = 0; i < f->stream_count; i++) hg_stream_deinit(&f->streams[i]);
    hg_prover_stop(f->prover);
    for (hg_proof *p; f->prover && (p = hg_prover_poll(f->prover));)
        if (p->end == HG_PROOF_PUBLISHED) proved(f, file_of(p));
    for (size_t i = 0; i < f->count; i++) {
        hg_file *file = &f->files[i];
        if (file->state != HG_FILE_DONE) {
            if (f->prover) hg_prover_reset(f->prover, &file->proof);
            hg_partial_close(file, !file->discard);
        }
        hg_url_deinit(&file->direct);
    }
    hg_prover_close(f->prover);
    free(f->streams);
    free(f->open);
    free(f->files);
}

hangar_code hg_fetch_run(hg_net *net, hg_store *store, const hg_ref *ref, const char *commit, hg_plan *plan,
                         uint64_t rate_limit, uint64_t *bytes, bool *changed, hangar_err *err)
{
    hg_fetch f = {.net = net, .store = store, .ref = ref, .commit = commit, .rate_limit = rate_limit};
    hangar_code code = begin(&f, plan, err);
    if (code == HANGAR_OK) {
        code = loop(&f);
        if (code == HANGAR_OK) tell(&f, hg_now(), true);
        else if (err) *err = f.err;
    }
    *bytes += f.body_bytes;
    *changed = f.changed;
    end(&f);
    return code;
}
