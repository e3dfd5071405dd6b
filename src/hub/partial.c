/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/partial.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOURNAL_MAGIC     "HGRANGE1"
#define JOURNAL_BYTES_MAX (32 * HG_MIB) /* more is read by nobody */
#define SUFFIX            ".incomplete"
#define OPEN_FLAGS        (O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC)

/* ---- numbers in the journal ---- */

static void put_u64(uint8_t *out, uint64_t n)
{
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(n >> (8 * i));
}

static uint64_t get_u64(const uint8_t *in)
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) n |= (uint64_t)in[i] << (8 * i);
    return n;
}

/* FNV-1a: against torn writes, not against people. */
static uint64_t check_of(const uint8_t *bytes, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++) h = (h ^ bytes[i]) * 0x100000001b3u;
    return h;
}

void hg_journal_header(uint8_t out[HG_JOURNAL_HEADER], uint64_t size, uint64_t chunk_size, uint64_t inode)
{
    memcpy(out, JOURNAL_MAGIC, 8);
    put_u64(out + 8, size);
    put_u64(out + 16, chunk_size);
    put_u64(out + 24, inode);
    put_u64(out + 32, check_of(out, 32));
}

bool hg_journal_header_read(const uint8_t *bytes, size_t len, uint64_t size, uint64_t inode,
                            uint64_t *chunk_size)
{
    if (len < HG_JOURNAL_HEADER || memcmp(bytes, JOURNAL_MAGIC, 8) != 0) return false;
    if (get_u64(bytes + 32) != check_of(bytes, 32)) return false;
    if (get_u64(bytes + 8) != size || get_u64(bytes + 24) != inode) return false;
    *chunk_size = get_u64(bytes + 16);
    return *chunk_size > 0 && *chunk_size == hg_chunk_size(size, *chunk_size);
}

void hg_journal_record(uint8_t out[HG_JOURNAL_RECORD], uint32_t chunk, uint64_t done)
{
    put_u64(out, done);
    for (int i = 0; i < 4; i++) out[8 + i] = (uint8_t)(chunk >> (8 * i));
    uint64_t check = check_of(out, 12);
    for (int i = 0; i < 4; i++) out[12 + i] = (uint8_t)(check >> (8 * i));
}

bool hg_journal_record_read(const uint8_t bytes[HG_JOURNAL_RECORD], uint32_t *chunk, uint64_t *done)
{
    uint64_t low = get_u64(bytes + 8);
    if ((uint32_t)(low >> 32) != (uint32_t)check_of(bytes, 12)) return false;
    *done = get_u64(bytes);
    *chunk = (uint32_t)low;
    return true;
}

/* ---- chunks ---- */

uint64_t hg_chunk_size(uint64_t size, uint64_t range)
{
    uint64_t least = (size / HG_CHUNKS_MAX / HG_MIB + 1) * HG_MIB;
    uint64_t usual = range < HG_CHUNK_BYTES ? range : HG_CHUNK_BYTES;
    return size / HG_CHUNKS_MAX < usual ? usual : least;
}

hangar_code hg_chunks_make(hg_file *file, uint64_t size, uint64_t chunk_size, hangar_err *err)
{
    uint64_t count = size ? (size - 1) / chunk_size + 1 : 0;
    if (count > HG_CHUNKS_MAX) return hg_fail(err, HANGAR_E_LIMIT, "more than %u ranges", HG_CHUNKS_MAX);
    hg_chunk *chunks = hg_calloc(count, sizeof *chunks);
    if (!chunks) return hg_fail_memory(err);
    for (uint64_t i = 0; i < count; i++) {
        chunks[i].start = i * chunk_size;
        chunks[i].end = i + 1 < count ? (i + 1) * chunk_size : size;
    }
    free(file->chunks);
    file->chunks = chunks;
    file->chunk_count = (size_t)count;
    file->chunk_size = chunk_size;
    file->front = 0;
    file->covered = 0;
    return HANGAR_OK;
}

/* Sets front, covered and ready from the chunks' done. */
static void sum_up(hg_file *file)
{
    file->covered = 0;
    file->front = 0;
    for (size_t i = 0; i < file->chunk_count; i++) {
        file->covered += file->chunks[i].done;
        file->chunks[i].noted = file->chunks[i].done;
    }
    while (file->front < file->chunk_count &&
           file->chunks[file->front].done == file->chunks[file->front].end - file->chunks[file->front].start)
        file->front++;
    uint64_t ready = file->want->size;
    if (file->front < file->chunk_count)
        ready = file->chunks[file->front].start + file->chunks[file->front].done;
    atomic_store(&file->proof.ready, ready);
    if (file->covered > file->best) file->best = file->covered;
    for (size_t i = 0; i < file->chunk_count; i++) file->chunks[i].seen_best = file->best;
}

/* ---- the journal ---- */

/* Takes up the records behind a header that was good. */
static void replay(hg_file *file, const uint8_t *bytes, size_t len, uint64_t on_disk)
{
    for (; len >= HG_JOURNAL_RECORD; bytes += HG_JOURNAL_RECORD, len -= HG_JOURNAL_RECORD) {
        uint32_t index;
        uint64_t done;
        if (!hg_journal_record_read(bytes, &index, &done) || index >= file->chunk_count) continue;
        hg_chunk *c = &file->chunks[index];
        if (done <= c->end - c->start && c->start + done <= on_disk && done > c->done) c->done = done;
    }
    sum_up(file);
}

/* Reads the journal; false when there is none that fits. */
static bool take_up(hg_file *file, uint64_t inode, uint64_t on_disk)
{
    hg_buf b;
    uint64_t chunk_size;
    hg_buf_init(&b, JOURNAL_BYTES_MAX);
    bool ok = on_disk <= file->want->size && hg_read_file(file->journal, &b, NULL) == HANGAR_OK;
    const uint8_t *bytes = (const uint8_t *)hg_buf_text(&b);
    ok = ok && hg_journal_header_read(bytes, b.len, file->want->size, inode, &chunk_size);
    ok = ok && hg_chunks_make(file, file->want->size, chunk_size, NULL) == HANGAR_OK;
    if (ok) replay(file, bytes + HG_JOURNAL_HEADER, b.len - HG_JOURNAL_HEADER, on_disk);
    hg_buf_deinit(&b);
    return ok;
}

/* Opens the journal for appending, with a new header unless `go_on`. Without one there is no resume, nothing worse. */
static void open_journal(hg_file *file, bool go_on)
{
    struct stat st;
    uint8_t header[HG_JOURNAL_HEADER];
    if (file->own_name || fstat(file->fd, &st) != 0) return;
    file->journal_fd = open(file->journal, OPEN_FLAGS | O_APPEND, 0600);
    if (file->journal_fd < 0) return;
    hg_journal_header(header, file->want->size, file->chunk_size, (uint64_t)st.st_ino);
    off_t whole = lseek(file->journal_fd, 0, SEEK_END);
    if (go_on) { /* a torn record at the end would shift all that follow */
        whole -= (whole - HG_JOURNAL_HEADER) % HG_JOURNAL_RECORD;
        if (ftruncate(file->journal_fd, whole) == 0) return;
    } else if (ftruncate(file->journal_fd, 0) == 0 &&
               hg_write_all(file->journal_fd, header, sizeof header, NULL) == HANGAR_OK) {
        return;
    }
    close(file->journal_fd);
    file->journal_fd = -1;
}

void hg_partial_note(hg_file *file, hg_chunk *chunk)
{
    uint8_t record[HG_JOURNAL_RECORD];
    if (chunk->noted == chunk->done || file->whole || file->own_name) return;
    if (file->journal_fd < 0) open_journal(file, false);
    if (file->journal_fd < 0) return;
    hg_journal_record(record, (uint32_t)(chunk - file->chunks), chunk->done);
    if (hg_write_all(file->journal_fd, record, sizeof record, NULL) == HANGAR_OK) chunk->noted = chunk->done;
}

/* ---- the file ---- */

/* Whether a lock that was just taken keeps others out: a second try at it must fail. */
static bool lock_holds(const char *path)
{
    HG_AUTO(hg_auto_close) int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return false;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return false;
    return errno == EWOULDBLOCK;
}

/* "{oid}.hangar" + insert + ".incomplete", from the path of the partial file. */
static char *sibling(const char *partial, const char *insert)
{
    size_t len = strlen(partial), tail = sizeof SUFFIX - 1;
    if (len > tail && strcmp(partial + len - tail, SUFFIX) == 0) len -= tail;
    return hg_format("%.*s%s" SUFFIX, (int)len, partial, insert);
}

/* The names of both files. */
static hangar_code name_files(hg_file *file, hg_store *store, const char *repo, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *lock = hg_blob_lock_path(store, repo, &file->want->oid);
    free(file->partial);
    free(file->journal);
    file->partial = hg_blob_partial_path(store, repo, &file->want->oid);
    file->journal = file->partial ? sibling(file->partial, ".ranges") : NULL;
    if (!lock || !file->journal) return hg_fail_memory(err);
    file->own_name = !lock_holds(lock);
    if (!file->own_name) return HANGAR_OK;
    char tag[32];
    snprintf(tag, sizeof tag, ".%08x", (unsigned)(hg_random() * 4294967295.0));
    char *own = sibling(file->partial, tag);
    free(file->partial);
    file->partial = own;
    return own ? HANGAR_OK : hg_fail_memory(err);
}

/* Opens the partial file, making it when it is missing. */
static hangar_code open_partial(hg_file *file, struct stat *st, hangar_err *err)
{
    if (file->fd >= 0) close(file->fd);
    file->fd = open(file->partial, OPEN_FLAGS, 0666);
    if (file->fd < 0 || fstat(file->fd, st) != 0) return hg_fail_errno(err, errno, "%s", file->partial);
    if (!S_ISREG(st->st_mode)) return hg_fail(err, HANGAR_E_IO, "%s is not a regular file", file->partial);
    file->proof.fd = file->fd;
    file->proof.partial = file->partial;
    return HANGAR_OK;
}

hangar_code hg_partial_open(hg_file *file, hg_store *store, const char *repo, uint64_t range, hangar_err *err)
{
    struct stat st;
    hangar_code code = name_files(file, store, repo, err);
    if (code == HANGAR_OK) code = open_partial(file, &st, err);
    if (code != HANGAR_OK) return code;
    if (st.st_size > 0 && !file->own_name && take_up(file, (uint64_t)st.st_ino, (uint64_t)st.st_size)) {
        file->resumed = file->covered > 0;
        open_journal(file, true);
        return HANGAR_OK;
    }
    return hg_partial_restart(file, range, false, err);
}

hangar_code hg_partial_restart(hg_file *file, uint64_t range, bool whole, hangar_err *err)
{
    struct stat st;
    if (file->journal_fd >= 0) close(file->journal_fd);
    file->journal_fd = -1;
    if (!file->own_name) unlink(file->journal);
    uint64_t size = file->want->size;
    file->whole = whole;
    file->resumed = false;
    hangar_code code = hg_chunks_make(file, size, whole ? size : hg_chunk_size(size, range), err);
    if (code != HANGAR_OK) return code;
    sum_up(file);
    /* Whoever cleans the cache may have taken the name away. */
    if (fstat(file->fd, &st) == 0 && st.st_nlink == 0) code = open_partial(file, &st, err);
    if (code == HANGAR_OK && ftruncate(file->fd, 0) != 0)
        code = hg_fail_errno(err, errno, "%s", file->partial);
    return code;
}

hangar_code hg_partial_make_whole(hg_file *file, hangar_err *err)
{
    if (file->journal_fd >= 0) close(file->journal_fd);
    file->journal_fd = -1;
    if (!file->own_name) unlink(file->journal);
    file->whole = true;
    return hg_chunks_make(file, file->want->size, file->want->size, err);
}

void hg_partial_close(hg_file *file, bool keep)
{
    if (file->fd >= 0) {
        for (size_t i = 0; keep && i < file->chunk_count; i++) hg_partial_note(file, &file->chunks[i]);
        if (!keep || file->own_name || file->covered == 0) {
            unlink(file->partial);
            if (!file->own_name) unlink(file->journal);
        }
        close(file->fd);
    }
    if (file->journal_fd >= 0) close(file->journal_fd);
    file->fd = file->journal_fd = -1;
    hg_lock_release(&file->lock);
    free(file->chunks);
    free(file->partial);
    free(file->journal);
    file->chunks = NULL;
    file->partial = file->journal = NULL;
}

void hg_partial_sweep(hg_store *store, const char *repo, const hg_oid *oid)
{
    HG_AUTO(hg_auto_free) char *partial = hg_blob_partial_path(store, repo, oid);
    HG_AUTO(hg_auto_free) char *journal = partial ? sibling(partial, ".ranges") : NULL;
    if (!journal) return;
    unlink(partial);
    unlink(journal);
}
