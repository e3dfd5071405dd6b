/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provers: threads that hash partial files as they grow, and publish those whose digest is right. What was just written
 * is handed to them in memory while there are blocks for it; all else they read back from the file. One proof is worked
 * on by one thread at a time, in pieces, so that a few threads serve many files.
 */
#ifndef HG_HUB_DIGEST_H
#define HG_HUB_DIGEST_H

#include "store/store.h"

#include <stdatomic.h>

typedef enum hg_proof_end {
    HG_PROOF_PUBLISHED,
    HG_PROOF_WRONG,  /* another digest: `actual` */
    HG_PROOF_LOST,   /* somebody removed the partial file */
    HG_PROOF_FAILED, /* `err` */
} hg_proof_end;

/* Memory for bytes on their way. */
typedef struct hg_block {
    struct hg_block *next;
    uint64_t at; /* where in the file they are */
    size_t len;
    char bytes[];
} hg_block;

typedef struct hg_proof {
    hg_oid oid;
    uint64_t size;
    int fd;                 /* borrowed */
    const char *partial;    /* borrowed */
    _Atomic uint64_t ready; /* bytes from 0 without a gap, written by the owner */
    /* the provers' own, under their mutex */
    uint64_t hashed, flushed;
    hg_hash *hash;
    bool queued, busy, ended;
    struct hg_proof *next;
    hg_block *first, *last; /* handed over, in the file's order */
    /* after the end */
    hg_proof_end end;
    char actual[65];
    hangar_err err;
} hg_proof;

typedef struct hg_prover hg_prover;
/* `blocks` of `room` bytes are lent at most. wake(ctx) is called from a prover's thread when a proof has ended. */
hangar_code hg_prover_open(unsigned threads, size_t room, size_t blocks, hg_store *store, const char *repo,
                           void (*wake)(void *), void *ctx, hg_prover **out, hangar_err *err);
/* Ends the threads; proofs that have not ended are left where they are, those that have can still be polled. NULL is
 * fine, and so is twice. */
void hg_prover_stop(hg_prover *p);
/* Stops and frees; all blocks were given back, by whoever had them or by hg_prover_reset. NULL is fine. */
void hg_prover_close(hg_prover *p);
/* There is more to hash (or the file is empty). */
void hg_prover_nudge(hg_prover *p, hg_proof *proof);
/* A block to fill, or NULL when all are in use. */
hg_block *hg_prover_block(hg_prover *p);
void hg_prover_give(hg_prover *p, hg_block *block);
/* Takes a block whose `len` bytes were just written `at` this place, the end of what is ready; `ready` moves after. */
void hg_prover_hand(hg_prover *p, hg_proof *proof, hg_block *block, uint64_t at, size_t len);
/*
 * Begins a proof anew, or ends it for good; gives its blocks and its hash back. Waits until no thread is at it. `ready`
 * must have been set back before. True: too late, the file was published meanwhile; what was the partial file is a blob now
 * and must not be written to any more.
 */
bool hg_prover_reset(hg_prover *p, hg_proof *proof);
/* A proof that has ended, or NULL; each is handed out once. */
hg_proof *hg_prover_poll(hg_prover *p);

#endif
