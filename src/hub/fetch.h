/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetching the blobs of a plan.
 *
 * One thread (the caller's) runs all streams in one curl multi handle and writes what comes straight to its place in
 * the partial file. A few provers (digest.h) follow the part of each file that is there without a gap, hash it, and
 * publish the file when the digest is right. A file is cut into chunks; a chunk is fetched by one stream at a time,
 * from its start to its end, and how far each got is written into a journal beside the partial file (partial.h).
 *
 * Invariants: what lies behind chunk.done is not believed; a file is published only after all its bytes gave its digest;
 * the partial file belongs to whoever holds the blob's lock, and has a name of its own where locks do not work.
 * A request asks for a run of neighbouring chunks, as long as range_size when the server takes its time to answer, shorter
 * when it answers at once: then the streams stay close together, and the provers close behind them.
 */
#ifndef HG_HUB_FETCH_H
#define HG_HUB_FETCH_H

#include "base/clock.h"
#include "base/fsx.h"
#include "hub/digest.h"
#include "hub/net.h"
#include "hub/plan.h"
#include "hub/wait.h"

typedef struct hg_chunk {
    uint64_t start, end; /* [start, end) of the file */
    uint64_t done;       /* bytes from start that are on disk */
    uint64_t noted;      /* of those, in the journal */
    bool busy;           /* a stream has it */
    double not_before;   /* of hg_now(): earliest next try */
    int64_t tries;       /* failed ones since there was progress */
    int64_t barren;      /* failed ones since this very file got on */
    uint64_t seen;       /* hg_fetch.received at the last failure */
    uint64_t seen_best;  /* hg_file.best then */
} hg_chunk;

typedef enum hg_file_state {
    HG_FILE_QUEUED,  /* nothing happened yet */
    HG_FILE_WAITING, /* somebody else holds the lock */
    HG_FILE_OPEN,    /* bytes are wanted, or a proof is under way */
    HG_FILE_DONE,
} hg_file_state;

typedef struct hg_file {
    hg_want *want;
    hg_file_state state;
    char *partial, *journal;
    int fd, journal_fd; /* -1 = not open */
    hg_lock lock;
    double lock_next; /* when to try the lock again */
    bool lock_told;
    bool own_name; /* locks do not work: the partial's name is this process's, and goes with it */
    bool resumed;  /* began with bytes of an earlier run */
    bool whole;    /* the server does not do ranges: one stream, from the start */
    bool probed;   /* an answer was good: more streams may join */
    hg_chunk *chunks;
    size_t chunk_count, front; /* chunks before front are complete */
    uint64_t chunk_size;
    uint64_t run;     /* bytes that a request should ask for (see stream.c) */
    uint64_t covered; /* sum of done */
    uint64_t told;    /* covered, at the last ITEM event */
    uint64_t best;    /* most that covered ever was */
    unsigned streams, allowed;
    double window_time; /* for the speed of its streams */
    uint64_t window_covered;
    uint64_t nudged; /* ready, when the provers last heard of it */
    hg_url direct;   /* where the Hub sent us for the bytes; .text NULL = not known */
    int bad;         /* times that the bytes, or the figures about them, were wrong */
    bool discard;    /* what there is must not be kept */
    hg_proof proof;
} hg_file;

/* What a stream thinks of the answer it reads. */
typedef enum hg_verdict {
    HG_VERDICT_NONE,    /* its headers were not looked at yet */
    HG_VERDICT_GO,      /* the body is what was asked for */
    HG_VERDICT_WHOLE,   /* the whole file instead of a range, or a range that was not asked for */
    HG_VERDICT_BAD,     /* figures that contradict the listing, or too many bytes */
    HG_VERDICT_CHANGED, /* another file or commit than the listing told */
} hg_verdict;

typedef struct hg_fetch hg_fetch;

typedef struct hg_stream {
    hg_fetch *f;
    hg_request req;
    hg_file *file;   /* NULL = idle */
    hg_chunk *chunk; /* where it is */
    hg_chunk *last;  /* where it will end: it has all chunks from `chunk` to here */
    hg_block *hold;  /* bytes that are not written yet; they belong behind chunk->done */
    size_t held, room;
    double head_time; /* when the answer's headers were good */
    uint64_t taken;   /* bytes of the body since */
    hg_verdict verdict;
    bool direct;     /* began at file->direct */
    char words[160]; /* what is wrong, with BAD, WHOLE and CHANGED */
} hg_stream;

struct hg_fetch {
    hg_net *net;
    hg_store *store;
    const hg_ref *ref;
    const char *commit;
    hg_file *files; /* one per missing want */
    size_t count, next, finished;
    hg_file **open; /* QUEUED ones are not here, DONE ones no more */
    size_t open_count;
    hg_stream *streams;
    size_t stream_count;
    hg_prover *prover;
    double hold_until;   /* no request to the Hub before */
    uint64_t total;      /* bytes of all files */
    uint64_t done;       /* of them on disk */
    uint64_t received;   /* new bytes: never goes back, repeated bytes do not count */
    uint64_t body_bytes; /* everything that was written */
    uint64_t rate_limit; /* bytes per second; 0 = none */
    double tokens, tokens_time;
    hg_rate rate;
    double told_time;
    bool changed;   /* the failure is that the revision changed: resolve again */
    hangar_err err; /* the first failure */
};

/*
 * Fetches all wants that are not there. *changed: it failed because the Hub no longer serves what its list said.
 * *bytes: body bytes that were received. On failure or cancel what came is kept for the next run.
 */
hangar_code hg_fetch_run(hg_net *net, hg_store *store, const hg_ref *ref, const char *commit, hg_plan *plan,
                         uint64_t rate_limit, uint64_t *bytes, bool *changed, hangar_err *err);

/* ---- between the files of the engine ---- */

/* fetch.c: notes the first failure; the loop ends with it. */
void hg_fetch_fail(hg_fetch *f, hangar_code code, const hangar_err *why);
/* fetch.c: throws away what a file has and begins it anew. */
void hg_fetch_restart(hg_fetch *f, hg_file *file, bool whole);
/* fetch.c: as restart, but a second time it is the end: INTEGRITY with `words`. */
void hg_fetch_bad(hg_fetch *f, hg_file *file, const char *words);
/* fetch.c: after a failed try: notes when the chunk may be tried again, or fails with `why` when the tries are used up.
 * `reply` may be NULL; `brief`: nobody was reached. */
void hg_fetch_again(hg_fetch *f, hg_file *file, hg_chunk *chunk, const hangar_err *why, const hg_reply *reply,
                    bool brief);
/* fetch.c: `len` more bytes of a chunk are on disk. */
void hg_fetch_advance(hg_fetch *f, hg_file *file, hg_chunk *chunk, uint64_t len);
/* fetch.c: a token bucket over all streams; false = wait. */
bool hg_fetch_may_take(hg_fetch *f, size_t len);

/* stream.c */
/* `buffer`: what libcurl receives at once; `room`: what is written at once. */
hangar_code hg_stream_init(hg_stream *s, hg_fetch *f, size_t buffer, size_t room, hangar_err *err);
void hg_stream_deinit(hg_stream *s);
/* Begins to fetch the rest of a free chunk, and the free ones behind it up to `last`. */
void hg_stream_start(hg_stream *s, hg_file *file, hg_chunk *chunk, hg_chunk *last);
/* Gives the chunks back as they are. */
void hg_stream_drop(hg_stream *s);
/* libcurl is done with the stream's request. */
void hg_stream_ended(hg_stream *s, CURLcode rc);

#endif
