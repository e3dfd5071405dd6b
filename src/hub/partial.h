/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A partial file and its journal.
 *
 *   blobs/{oid}.hangar.incomplete           the bytes, each at its place
 *   blobs/{oid}.hangar.ranges.incomplete    how far each chunk got
 *
 * The journal is a header and then records of 16 bytes, only ever appended, never synced: after a kill the page cache
 * has both the bytes and the records; after a power cut a record may speak of bytes that are not there, which the
 * digest finds out, and the file is fetched anew. A header or a record that does not check is not believed. All
 * numbers are little-endian.
 *
 *   header  "HGRANGE1", u64 size of the file, u64 size of a chunk, u64 inode of the partial file, u64 check
 *   record  u64 bytes done, u32 chunk, u32 check
 */
#ifndef HG_HUB_PARTIAL_H
#define HG_HUB_PARTIAL_H

#include "hub/fetch.h"

#define HG_JOURNAL_HEADER 40
#define HG_JOURNAL_RECORD 16
#define HG_CHUNKS_MAX     4096u
#define HG_CHUNK_BYTES    (8 * HG_MIB)

/* The size of a chunk for a file: HG_CHUNK_BYTES, or `range` when that is less, or more when there would be more than
 * HG_CHUNKS_MAX. */
uint64_t hg_chunk_size(uint64_t size, uint64_t range);
/* Makes the chunks of a file, all empty. */
hangar_code hg_chunks_make(hg_file *file, uint64_t size, uint64_t chunk_size, hangar_err *err);

void hg_journal_header(uint8_t out[HG_JOURNAL_HEADER], uint64_t size, uint64_t chunk_size, uint64_t inode);
/* The chunk size a header tells; false when it is not the header of this file. */
bool hg_journal_header_read(const uint8_t *bytes, size_t len, uint64_t size, uint64_t inode,
                            uint64_t *chunk_size);
void hg_journal_record(uint8_t out[HG_JOURNAL_RECORD], uint32_t chunk, uint64_t done);
bool hg_journal_record_read(const uint8_t bytes[HG_JOURNAL_RECORD], uint32_t *chunk, uint64_t *done);

/* Opens (or makes) the partial file and takes up what its journal tells. The lock is held. `range`: chunk size of a new
 * file. */
hangar_code hg_partial_open(hg_file *file, hg_store *store, const char *repo, uint64_t range,
                            hangar_err *err);
/* Writes down how far a chunk got. A journal that cannot be written is done without. */
void hg_partial_note(hg_file *file, hg_chunk *chunk);
/* Forgets all bytes; the chunks are made anew, a single one when `whole`. */
hangar_code hg_partial_restart(hg_file *file, uint64_t range, bool whole, hangar_err *err);
/* The server sends the whole file from its start although a range was asked for, and nothing was there yet: one chunk.
 * All pointers to chunks are void then. */
hangar_code hg_partial_make_whole(hg_file *file, hangar_err *err);
/* Closes both and gives the lock back; the files stay for the next run when `keep`. */
void hg_partial_close(hg_file *file, bool keep);
/* Removes what earlier runs left of a blob that is there. */
void hg_partial_sweep(hg_store *store, const char *repo, const hg_oid *oid);

#endif
