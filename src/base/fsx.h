/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that survive. Everything hangar keeps is written through here.
 *
 * Writing: a temporary file beside the target, fsync, rename over it (or no-replace), fsync of the folder.
 * Whoever reads sees the old file or the new one, never half of one; a power cut leaves at most a file whose
 * name begins with HG_TMP_PREFIX, which hg_sweep removes. Opening: regular files only, never through a final
 * symbolic link unless said so, always close-on-exec.
 */
#ifndef HG_BASE_FSX_H
#define HG_BASE_FSX_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HG_TMP_PREFIX ".hangar-tmp-"

/* ---- paths ---- */

/* a + "/" + b (no doubled slash); the caller's; NULL when out of memory. */
char *hg_path_join(const char *a, const char *b);
/* The part behind the last slash, borrowed. */
const char *hg_path_base(const char *path);
/* The part before the last slash ("." when none); the caller's; NULL when out of memory. */
char *hg_path_dir(const char *path);
/*
 * A relative path that is harmless on any system: UTF-8, no empty, "." or ".." component, no leading or trailing
 * slash, no backslash, colon or control character, no Windows device name, no component over 255 bytes or ending
 * in dot or space, at most 1024 bytes and 32 components. INVALID names the rule that is broken.
 */
hangar_code hg_path_check(hg_str path, hangar_err *err);

/* ---- reading ---- */

/* Opens a regular file for reading; *out_size may be NULL. Follows links; what is no regular file is INVALID. */
hangar_code hg_open_regular(const char *path, int *out_fd, uint64_t *out_size, hangar_err *err);
/* Whole file into `out` (initialised by the caller; its ceiling is the limit). */
hangar_code hg_read_file(const char *path, hg_buf *out, hangar_err *err);
/* A read-only view of a whole regular file; data is NULL for an empty one. */
typedef struct hg_map {
    const uint8_t *data;
    uint64_t len;
} hg_map;
hangar_code hg_map_open(const char *path, hg_map *out, hangar_err *err);
void hg_map_close(hg_map *map);
/* Gives back the memory of the whole pages among these bytes, which lie in the map; they are read anew when they are looked at. */
void hg_map_forget(const hg_map *map, uint64_t offset, uint64_t bytes);
/* A regular file (after links) is there. */
bool hg_is_file(const char *path);
bool hg_is_dir(const char *path);

/* ---- writing ---- */

/* One file on its way. Errors stick inside; commit reports the first. */
typedef struct hg_out hg_out;
/* Makes missing folders. mode such as 0644 (before umask) or 0600. */
hangar_code hg_out_open(const char *target, mode_t mode, hg_out **out, hangar_err *err);
void hg_out_write(hg_out *out, const void *bytes, size_t len);
int hg_out_fd(const hg_out *out);
uint64_t hg_out_size(const hg_out *out);
/* fsync, rename, fsync of the folder; frees `out` in any case. With no_replace an existing target stays and wins (OK). */
hangar_code hg_out_commit(hg_out *out, bool no_replace, hangar_err *err);
/* Removes the temporary file; frees `out`. NULL is fine. */
void hg_out_abort(hg_out *out);
/* open + write + commit in one. */
hangar_code hg_write_file(const char *target, const void *bytes, size_t len, mode_t mode, hangar_err *err);
/* The same for what tells of a running process (a status file): whoever reads sees the old file or the new one, but after a power cut either,
 * or an empty one, may be there. No fsync: it costs microseconds, not a disk's milliseconds. */
hangar_code hg_write_state(const char *target, const void *bytes, size_t len, mode_t mode, hangar_err *err);

/* mkdir -p. */
hangar_code hg_mkdirs(const char *path, mode_t mode, hangar_err *err);
hangar_code hg_fsync_dir(const char *path, hangar_err *err);
/* write() all of it, over short writes and EINTR. */
hangar_code hg_write_all(int fd, const void *bytes, size_t len, hangar_err *err);
hangar_code hg_pwrite_all(int fd, const void *bytes, size_t len, uint64_t offset, hangar_err *err);
/* pread() exactly len bytes; an early end is INVALID. */
hangar_code hg_pread_all(int fd, void *bytes, size_t len, uint64_t offset, hangar_err *err);
/* Puts `from` at `to` (which must not exist: FAILED with EEXIST): by reflink, hard link or copy. UNSUPPORTED when
 * the file system cannot do it that way. */
typedef enum hg_place { HG_PLACE_REFLINK, HG_PLACE_LINK, HG_PLACE_COPY } hg_place;
hangar_code hg_place_file(const char *from, const char *to, hg_place how, hangar_err *err);
/* rm -r without following links, at most 128 levels deep; a missing path is OK. */
hangar_code hg_rm_tree(const char *path, hangar_err *err);
/* Removes left-over temporary files (HG_TMP_PREFIX) older than `age` seconds directly in `dir`. */
void hg_sweep(const char *dir, double age);

/* ---- folders, space, locks ---- */

/* Calls fn for each entry but . and .. (sorted by name); a code other than OK ends the walk and is returned. */
typedef hangar_code hg_dir_fn(void *ctx, const char *dir, const char *name, hangar_err *err);
hangar_code hg_list_dir(const char *dir, hg_dir_fn *fn, void *ctx, hangar_err *err);
/* Every regular file below dir (links to files count), as a path relative to it, sorted; at most max_files (LIMIT) and
 * 32 levels deep. Links to folders are not entered, names that begin with HG_TMP_PREFIX passed over. */
typedef hangar_code hg_tree_fn(void *ctx, const char *relative, uint64_t size, hangar_err *err);
hangar_code hg_walk(const char *dir, size_t max_files, hg_tree_fn *fn, void *ctx, hangar_err *err);
/* Bytes that an ordinary user may still write there; the nearest existing parent counts. */
hangar_code hg_disk_free(const char *path, uint64_t *out_bytes, hangar_err *err);

/* A flock(2) on a file that is made if missing and never removed, as the Hub's Python clients do it. */
typedef struct hg_lock {
    int fd; /* -1: not held */
} hg_lock;
#define HG_LOCK_INIT \
    {                \
        -1           \
    }
/* Waits up to `seconds` (0 = try once; negative = as long as it takes), asking `stop` (may be NULL) ten times a second
 * whether to give up. BUSY when somebody else has it. A file system without locks is OK: callers are correct without. */
hangar_code hg_lock_take(const char *path, double seconds, bool (*stop)(void *), void *ctx, hg_lock *out,
                         hangar_err *err);
void hg_lock_release(hg_lock *lock);

#endif
