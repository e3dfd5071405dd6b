/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provers: threads that hash partial files as they grow, reading them back (from the page cache, while it is warm), and
 * publish those whose digest is right. One proof is worked on by one thread at a time, in pieces, so that a few
 * threads serve many files.
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
    /* after the end */
    hg_proof_end end;
    char actual[65];
    hangar_err err;
} hg_proof;

typedef struct hg_prover hg_prover;
/* wake(ctx) is called from a prover's thread when a proof has ended. */
hangar_code hg_prover_open(unsigned threads, hg_store *store, const char *repo, void (*wake)(void *),
                           void *ctx, hg_prover **out, hangar_err *err);
/* Ends the threads; proofs that have not ended are left where they are, those that have can still be polled. NULL is
 * fine, and so is twice. */
void hg_prover_stop(hg_prover *p);
/* Stops and frees. NULL is fine. */
void hg_prover_close(hg_prover *p);
/* There is more to hash (or the file is empty). */
void hg_prover_nudge(hg_prover *p, hg_proof *proof);
/* Begins a proof anew; waits until no thread is at it. `ready` must have been set back before. */
void hg_prover_reset(hg_prover *p, hg_proof *proof);
/* A proof that has ended, or NULL; each is handed out once. */
hg_proof *hg_prover_poll(hg_prover *p);

#endif
