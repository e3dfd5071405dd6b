/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of a partial file, and the provers that turn partial files into blobs. */
#include "hub/partial.h"

#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define REPO  "acme/one"
#define RANGE HG_MIB

static hg_store *store;
static hg_want want;

static int open_store(void **state)
{
    (void)state;
    char top[400], cache[460], home[460];
    hangar_err err = {0};
    if (!getcwd(top, sizeof top)) return -1;
    snprintf(cache, sizeof cache, "%s/cache", top);
    snprintf(home, sizeof home, "%s/home", top);
    return hg_store_open(cache, home, &store, &err) == HANGAR_OK &&
                   hg_store_prepare(store, REPO, &err) == HANGAR_OK
               ? 0
               : -1;
}

static int close_store(void **state)
{
    (void)state;
    hg_store_close(store);
    return 0;
}

/* Content of `size` bytes and its digest. */
static char *content(size_t size, hg_oid *oid)
{
    char *bytes = malloc(size ? size : 1), hex[65];
    uint32_t x = (uint32_t)size + 1;
    for (size_t i = 0; i < size; i++) bytes[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
    hg_hash *h = hg_hash_new(HG_HASH_SHA256, size);
    hg_hash_add(h, bytes, size);
    assert_int_equal(hg_hash_finish(h, hex, NULL), HANGAR_OK);
    hg_hash_free(h);
    assert_int_equal(hg_oid_parse(hg_str_of(hex), oid, NULL), HANGAR_OK);
    return bytes;
}

/* Opens a file as the engine does: lock first. */
static hg_file opened(size_t size, const hg_oid *oid)
{
    hangar_err err = {0};
    hg_file f = {.want = &want, .fd = -1, .journal_fd = -1, .lock = HG_LOCK_INIT};
    want = (hg_want){.oid = *oid, .size = size, .path = "x"};
    f.proof.oid = *oid;
    f.proof.size = size;
    HG_AUTO(hg_auto_free) char *lock = hg_blob_lock_path(store, REPO, oid);
    assert_int_equal(hg_lock_take(lock, 0, NULL, NULL, &f.lock, &err), HANGAR_OK);
    if (hg_partial_open(&f, store, REPO, RANGE, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return f;
}

/* Writes `len` bytes of chunk i and notes them. */
static void put(hg_file *f, const char *bytes, size_t i, uint64_t len)
{
    hg_chunk *c = &f->chunks[i];
    assert_int_equal(hg_pwrite_all(f->fd, bytes + c->start + c->done, len, c->start + c->done, NULL),
                     HANGAR_OK);
    c->done += len;
    f->covered += len;
    hg_partial_note(f, c);
}

static void test_records(void **state)
{
    (void)state;
    uint8_t head[HG_JOURNAL_HEADER], rec[HG_JOURNAL_RECORD];
    uint64_t size = 100 * HG_MIB, chunk, done;
    uint32_t index;
    hg_journal_header(head, size, HG_MIB, 42);
    assert_true(hg_journal_header_read(head, sizeof head, size, 42, &chunk) && chunk == HG_MIB);
    assert_false(hg_journal_header_read(head, sizeof head - 1, size, 42, &chunk));
    assert_false(hg_journal_header_read(head, sizeof head, size + 1, 42, &chunk));
    assert_false(hg_journal_header_read(head, sizeof head, size, 43, &chunk));
    for (size_t i = 0; i < sizeof head; i++) {
        head[i] ^= 0x10;
        assert_false(hg_journal_header_read(head, sizeof head, size, 42, &chunk));
        head[i] ^= 0x10;
    }
    hg_journal_header(head, size, 3, 42); /* checks, but such chunks nobody makes */
    assert_false(hg_journal_header_read(head, sizeof head, size, 42, &chunk));
    hg_journal_record(rec, 7, 123456789012);
    assert_true(hg_journal_record_read(rec, &index, &done) && index == 7 && done == 123456789012);
    for (size_t i = 0; i < sizeof rec; i++) {
        rec[i] ^= 1;
        assert_false(hg_journal_record_read(rec, &index, &done));
        rec[i] ^= 1;
    }
}

static void test_chunks(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {
        1, 2, 1 << 20, (8 << 20) + 1, 1 << 30, (uint64_t)1 << 35, ((uint64_t)1 << 35) + 1, (uint64_t)1 << 46};
    static const uint64_t ranges[] = {1 << 20, (1 << 20) + 1, 8 << 20, 64 << 20, (uint64_t)4 << 30};
    for (size_t i = 0; i < HG_LEN(sizes); i++)
        for (size_t k = 0; k < HG_LEN(ranges); k++) {
            uint64_t chunk = hg_chunk_size(sizes[i], ranges[k]);
            assert_int_equal(hg_chunk_size(sizes[i], chunk), chunk);
            want.size = sizes[i];
            hg_file f = {.want = &want};
            assert_int_equal(hg_chunks_make(&f, sizes[i], chunk, NULL), HANGAR_OK);
            assert_true(f.chunk_count >= 1 && f.chunk_count <= HG_CHUNKS_MAX);
            for (size_t c = 0; c < f.chunk_count; c++)
                assert_int_equal(f.chunks[c].start, c ? f.chunks[c - 1].end : 0);
            assert_int_equal(f.chunks[f.chunk_count - 1].end, sizes[i]);
            free(f.chunks);
        }
}

static void test_resume(void **state)
{
    (void)state;
    hg_oid oid;
    size_t size = 3 * HG_MIB + 5;
    char *bytes = content(size, &oid);
    hg_file f = opened(size, &oid);
    assert_true(!f.resumed && f.chunk_count == 4 && !f.own_name);
    put(&f, bytes, 0, HG_MIB);
    put(&f, bytes, 1, 100);
    put(&f, bytes, 3, 5);
    hg_partial_close(&f, true);

    f = opened(size, &oid);
    assert_true(f.resumed);
    assert_int_equal(f.covered, HG_MIB + 105);
    assert_int_equal(f.front, 1);
    assert_int_equal(atomic_load(&f.proof.ready), HG_MIB + 100);
    assert_int_equal(f.chunks[2].done, 0);
    put(&f, bytes, 1, 50);
    /* A record that speaks of more than there is, one of another chunk, half a record: none is believed. */
    uint8_t rec[HG_JOURNAL_RECORD];
    hg_journal_record(rec, 2, HG_MIB + 1);
    assert_int_equal(hg_write_all(f.journal_fd, rec, sizeof rec, NULL), HANGAR_OK);
    hg_journal_record(rec, 4, 1);
    assert_int_equal(hg_write_all(f.journal_fd, rec, sizeof rec, NULL), HANGAR_OK);
    assert_int_equal(hg_write_all(f.journal_fd, rec, 9, NULL), HANGAR_OK);
    hg_partial_close(&f, true);

    f = opened(size, &oid);
    assert_int_equal(f.covered, HG_MIB + 155);
    put(&f, bytes, 2, 7); /* lands behind the half record, which must not shift it */
    hg_partial_close(&f, true);
    f = opened(size, &oid);
    assert_int_equal(f.covered, HG_MIB + 162);
    char *partial = hg_strdup(f.partial), *journal = hg_strdup(f.journal);
    hg_partial_close(&f, false);
    assert_int_equal(access(partial, F_OK), -1);
    assert_int_equal(access(journal, F_OK), -1);
    free(partial);
    free(journal);
    free(bytes);
}

/* A partial file without a journal, or with that of another file, is begun anew. */
static void test_strangers(void **state)
{
    (void)state;
    hg_oid oid;
    size_t size = 2 * HG_MIB;
    char *bytes = content(size, &oid);
    hg_file f = opened(size, &oid);
    put(&f, bytes, 0, HG_MIB);
    char *partial = hg_strdup(f.partial), *journal = hg_strdup(f.journal);
    hg_partial_close(&f, true);
    /* The same name, another file (another inode). */
    assert_int_equal(rename(partial, "kept"), 0);
    assert_int_equal(hg_write_file(partial, bytes, 100, 0644, NULL), HANGAR_OK);
    f = opened(size, &oid);
    assert_true(!f.resumed && f.covered == 0);
    hg_partial_close(&f, true);
    assert_int_equal(access(partial, F_OK), -1); /* nothing in it: nothing kept */
    /* A link in its place is not followed. */
    assert_int_equal(symlink("kept", partial), 0);
    hangar_err err = {0};
    hg_file g = {.want = &want, .fd = -1, .journal_fd = -1, .lock = HG_LOCK_INIT};
    HG_AUTO(hg_auto_free) char *lock = hg_blob_lock_path(store, REPO, &oid);
    assert_int_equal(hg_lock_take(lock, 0, NULL, NULL, &g.lock, &err), HANGAR_OK);
    assert_int_not_equal(hg_partial_open(&g, store, REPO, RANGE, &err), HANGAR_OK);
    hg_partial_close(&g, true);
    unlink(partial);
    unlink("kept");
    free(partial);
    free(journal);
    free(bytes);
}

/* Where a lock keeps nobody out, the partial file has a name of this process's own and does not stay. */
static void test_no_locks(void **state)
{
    (void)state;
    hg_oid oid;
    char *bytes = content(HG_MIB, &oid);
    want = (hg_want){.oid = oid, .size = HG_MIB, .path = "x"};
    hg_file a = {.want = &want, .fd = -1, .journal_fd = -1, .lock = HG_LOCK_INIT}, b = a;
    hangar_err err = {0};
    /* The lock is not taken: the probe finds it free, as on a file system where flock does nothing. */
    HG_AUTO(hg_auto_free) char *lock = hg_blob_lock_path(store, REPO, &oid);
    close(open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0664));
    assert_int_equal(hg_partial_open(&a, store, REPO, RANGE, &err), HANGAR_OK);
    assert_int_equal(hg_partial_open(&b, store, REPO, RANGE, &err), HANGAR_OK);
    assert_true(a.own_name && b.own_name);
    assert_string_not_equal(a.partial, b.partial);
    assert_true(hg_str_ends(hg_str_of(a.partial), HG_STR(".incomplete")));
    put(&a, bytes, 0, 100);
    char *partial = hg_strdup(a.partial);
    hg_partial_close(&a, true);
    hg_partial_close(&b, true);
    assert_int_equal(access(partial, F_OK), -1);
    free(partial);
    free(bytes);
}

/* ---- provers ---- */

static atomic_int wakes;

static void wake(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&wakes, 1);
}

static hg_proof *wait_for(hg_prover *p)
{
    for (int i = 0; i < 2000; i++) {
        hg_proof *proof = hg_prover_poll(p);
        if (proof) return proof;
        usleep(5000);
    }
    fail_msg("no proof ended");
    return NULL;
}

static void test_prove(void **state)
{
    (void)state;
    hg_oid oid;
    hangar_err err = {0};
    hg_prover *p = NULL;
    size_t size = 40 * HG_MIB + 3;
    char *bytes = content(size, &oid);
    assert_int_equal(hg_prover_open(2, HG_MIB, 4, store, REPO, wake, NULL, &p, &err), HANGAR_OK);
    hg_file f = opened(size, &oid);
    /* It grows piece by piece, out of step with the provers. */
    for (size_t at = 0; at < size;) {
        size_t n = size - at < 777777 ? size - at : 777777;
        assert_int_equal(hg_pwrite_all(f.fd, bytes + at, n, at, NULL), HANGAR_OK);
        at += n;
        atomic_store(&f.proof.ready, at);
        hg_prover_nudge(p, &f.proof);
    }
    assert_ptr_equal(wait_for(p), &f.proof);
    assert_int_equal(f.proof.end, HG_PROOF_PUBLISHED);
    assert_true(hg_blob_have(store, REPO, &oid, size));
    assert_true(atomic_load(&wakes) > 0);
    assert_null(hg_prover_poll(p));
    hg_prover_reset(p, &f.proof);
    hg_partial_close(&f, false);
    hg_prover_close(p);
    free(bytes);
}

static void test_prove_wrong(void **state)
{
    (void)state;
    hg_oid oid, other;
    hangar_err err = {0};
    hg_prover *p = NULL;
    size_t size = 3 * HG_MIB;
    char *bytes = content(size, &oid);
    free(content(size + 1, &other));
    assert_int_equal(hg_prover_open(2, HG_MIB, 4, store, REPO, wake, NULL, &p, &err), HANGAR_OK);
    hg_file f = opened(size, &oid);
    bytes[size / 2] ^= 1;
    assert_int_equal(hg_pwrite_all(f.fd, bytes, size, 0, NULL), HANGAR_OK);
    atomic_store(&f.proof.ready, size);
    hg_prover_nudge(p, &f.proof);
    assert_ptr_equal(wait_for(p), &f.proof);
    assert_int_equal(f.proof.end, HG_PROOF_WRONG);
    assert_string_not_equal(f.proof.actual, oid.hex);
    assert_false(hg_blob_have(store, REPO, &oid, size));
    /* Set back and with the right bytes it is proved. */
    atomic_store(&f.proof.ready, 0);
    hg_prover_reset(p, &f.proof);
    bytes[size / 2] ^= 1;
    assert_int_equal(hg_pwrite_all(f.fd, bytes, size, 0, NULL), HANGAR_OK);
    atomic_store(&f.proof.ready, size);
    hg_prover_nudge(p, &f.proof);
    assert_ptr_equal(wait_for(p), &f.proof);
    assert_int_equal(f.proof.end, HG_PROOF_PUBLISHED);
    hg_prover_reset(p, &f.proof);
    hg_partial_close(&f, false);

    /* A file whose name was taken away. */
    f = opened(size + 1, &other);
    assert_int_equal(ftruncate(f.fd, (off_t)size + 1), 0);
    unlink(f.partial);
    free(bytes);
    bytes = content(size + 1, &other);
    assert_int_equal(hg_pwrite_all(f.fd, bytes, size + 1, 0, NULL), HANGAR_OK);
    atomic_store(&f.proof.ready, size + 1);
    hg_prover_nudge(p, &f.proof);
    assert_ptr_equal(wait_for(p), &f.proof);
    assert_int_equal(f.proof.end, HG_PROOF_LOST);
    hg_prover_reset(p, &f.proof);
    assert_int_equal(hg_partial_restart(&f, RANGE, false, &err), HANGAR_OK);
    assert_int_equal(access(f.partial, F_OK), 0);
    hg_partial_close(&f, false);
    hg_prover_close(p);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),     cmocka_unit_test(test_chunks),   cmocka_unit_test(test_resume),
        cmocka_unit_test(test_strangers),   cmocka_unit_test(test_no_locks), cmocka_unit_test(test_prove),
        cmocka_unit_test(test_prove_wrong),
    };
    return cmocka_run_group_tests(tests, open_store, close_store);
}
