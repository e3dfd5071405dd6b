/* SPDX-License-Identifier: Apache-2.0 */
/* A store in the test's own empty directory, and short ways to fill and to look at it. */
#ifndef HG_TEST_STORE_KIT_H
#define HG_TEST_STORE_KIT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "at.h"
#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ok(call)                                                      \
    do {                                                              \
        hangar_err err_ = {0}, *e_ = &err_;                           \
        if ((call) != HANGAR_OK) fail_msg("%s: %s", #call, err_.msg); \
        (void)e_;                                                     \
    } while (0)

static inline hg_store *kit_open(void)
{
    hg_store *s = NULL;
    ok(hg_store_open(at("cache"), at("home"), &s, e_));
    return s;
}

/* A clean start for one test of a file. */
static inline hg_store *kit_fresh(void)
{
    ok(hg_rm_tree(at("cache"), e_));
    ok(hg_rm_tree(at("home"), e_));
    return kit_open();
}

static inline void kit_put(const char *relative, const char *text)
{
    ok(hg_write_file(at(relative), text, strlen(text), 0644, e_));
}

static inline char *kit_read(const char *relative)
{
    hg_buf b;
    hg_buf_init(&b, 64 * HG_MIB);
    ok(hg_read_file(at(relative), &b, e_));
    char *text = hg_buf_take(&b);
    assert_non_null(text);
    return text;
}

static inline bool kit_there(const char *relative)
{
    struct stat st;
    return lstat(at(relative), &st) == 0;
}

static inline hg_oid kit_oid(hg_hash_kind kind, const char *text)
{
    hg_oid oid = {.kind = kind};
    hg_hash *h = hg_hash_new(kind, strlen(text));
    assert_non_null(h);
    hg_hash_add(h, text, strlen(text));
    ok(hg_hash_finish(h, oid.hex, e_));
    hg_hash_free(h);
    return oid;
}

/* Publishes a text as a blob, as a download would. */
static inline hg_oid kit_blob(hg_store *s, const char *repo, hg_hash_kind kind, const char *text)
{
    hg_oid oid = kit_oid(kind, text);
    char *partial = hg_blob_partial_path(s, repo, &oid);
    assert_non_null(partial);
    ok(hg_write_file(partial, text, strlen(text), 0600, e_));
    ok(hg_blob_publish(s, repo, &oid, partial, e_));
    free(partial);
    return oid;
}

/* One file of a commit. */
static inline hg_oid kit_file(hg_store *s, const char *repo, const char *commit, const char *path,
                              const char *text)
{
    hg_oid oid = kit_blob(s, repo, HG_HASH_GIT_SHA1, text);
    ok(hg_snapshot_link(s, repo, commit, path, &oid, e_));
    return oid;
}

static inline hg_ref kit_ref(const char *text)
{
    hg_ref ref;
    ok(hg_ref_parse(text, &ref, e_));
    return ref;
}

static inline hg_json *kit_json(char *text)
{
    hg_json *doc = NULL;
    ok(hg_json_parse(hg_str_of(text), NULL, &doc, e_));
    free(text);
    return doc;
}

/* A string somewhere inside an array of strings. */
static inline bool kit_has(const hg_jval *array, const char *text)
{
    for (hg_json_iter it = hg_json_iter_of(array); hg_json_next(&it);)
        if (hg_streq(hg_json_text(it.val), text)) return true;
    return false;
}

#define C1 "1111111111111111111111111111111111111111"
#define C2 "2222222222222222222222222222222222222222"
#define C3 "3333333333333333333333333333333333333333"

#endif
