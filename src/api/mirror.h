/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirror from inside. A request runs through four files:
 *
 *   mirror.c        the server, its threads, who may ask (Host, token), the route table
 *   mirror_http.c   pure reading of hostile text: ranges, entity tags (target.c and access.c are shared with the daemon)
 *   mirror_repo.c   a folder as a revision: walk, digests, commit; nothing of HTTP
 *   mirror_work.c   which revisions are known, who waits for one, the threads that hash
 *   mirror_api.c    answers in JSON            mirror_file.c   answers with a file's bytes
 *
 * Threads: libmicrohttpd's pool calls the routes. A route that needs a revision whose digests are not known
 * suspends its connection and is called again when a work thread has them, so hashing never holds up anybody
 * else. Work is done in slices, round robin, so a small repository never waits for a big one.
 * Invariant: a snapshot never changes once it is published; whoever uses one holds a reference.
 * Trust: the folder is as hostile as the clients. Only regular files below the folder are served, reached
 * through the folder's own descriptor.
 */
#ifndef HG_API_MIRROR_H
#define HG_API_MIRROR_H

#include "api/access.h"
#include "api/listen.h"
#include "api/microhttpd.h"
#include "api/target.h"
#include "base/hash.h"
#include "base/json.h"
#include "hangar/mirror.h"

#include <pthread.h>
#include <sys/stat.h>

/* ---- limits ---- */

#define HG_MIRROR_CONNECTIONS  1024          /* at once; more wait in the system's queue                  */
#define HG_MIRROR_THREADS      4             /* that serve                                                */
#define HG_MIRROR_WORKERS      2             /* that walk and hash                                        */
#define HG_MIRROR_IDLE_SECONDS 60u           /* without a byte, then the connection is closed             */
#define HG_MIRROR_HEADER_BYTES (32 * HG_KIB) /* of one request with all its headers, else 431             */
#define HG_MIRROR_TARGET_BYTES HG_TARGET_BYTES
#define HG_MIRROR_BODY_BYTES   (2 * HG_MIB)  /* of a POST, else 413                                       */
#define HG_MIRROR_PATHS        2000u         /* in one question for paths, else 400                       */
#define HG_MIRROR_FILES        100000u       /* in one revision, else 503                                 */
#define HG_MIRROR_REVISIONS    4096u         /* remembered at once; the longest unused is forgotten       */
#define HG_MIRROR_REPOSITORIES 100000u       /* looked at for one list                                    */
#define HG_MIRROR_DEPTH        32            /* folders within folders                                    */
#define HG_MIRROR_SLICE        (32 * HG_MIB) /* hashed for one revision before the next gets its turn     */
#define HG_MIRROR_PAGE         1000u         /* entries of one page of a listing, and its default         */
#define HG_MIRROR_URL_SECONDS  3600          /* that a signed address is good for                         */
#define HG_MIRROR_LFS_BYTES    (10 * HG_MIB) /* from this size on every file is LFS                       */

/* ---- mirror_http.c ---- */

typedef enum hg_range_kind { HG_RANGE_NONE, HG_RANGE_PART, HG_RANGE_BAD } hg_range_kind;
/* A Range header against a size: PART gives first and length; BAD = cannot be satisfied (416); NONE = answer the whole (no
 * header, several ranges, another unit, malformed, an empty file). */
hg_range_kind hg_range_parse(const char *header, uint64_t size, uint64_t *out_first, uint64_t *out_length);
/* A list of entity tags ("*", W/"a", "b") names `tag`; `weak` lets W/ match. NULL header = false. */
bool hg_etag_listed(const char *header, const char *tag, bool weak);

/* A repository's owner or name as the Hub allows it. */
bool hg_repo_word(hg_str s);

/* ---- mirror_repo.c ---- */

typedef struct hg_mirror_file {
    char *path;
    uint64_t size;
    int64_t mtime_ns;
    uint64_t inode;
    char oid[41];    /* git's SHA-1: of the content, or of the pointer text when LFS */
    char sha256[65]; /* of the content; empty when not LFS */
    bool lfs;
    bool known; /* digests are there */
} hg_mirror_file;

typedef struct hg_mirror_snap {
    unsigned refs;         /* guarded by the mirror's lock */
    hg_mirror_file *files; /* sorted by path */
    size_t count, cap;
    char commit[41];
    int64_t modified; /* the newest file's time, Unix seconds */
    double walked;    /* hg_now() when the walk began */
} hg_mirror_snap;

/* Opens a folder or regular file below the descriptor `root`; a link that leads out of it is NOT_FOUND. */
hangar_code hg_below_open(int root, const char *path, int flags, int *out_fd, struct stat *out_stat,
                          hangar_err *err);
/* True when `st` is the file that was hashed. */
bool hg_mirror_same(const hg_mirror_file *f, const struct stat *st);

/* All files of `folder` below `root`, sorted, without digests. NOT_FOUND when there is no such folder, LIMIT when it is too big. */
hangar_code hg_snap_walk(int root, const char *folder, hg_mirror_snap **out, hangar_err *err);
/* Takes over the digests of files that did not change. */
void hg_snap_inherit(hg_mirror_snap *snap, const hg_mirror_snap *old);
/* Once all digests are known: the commit. */
hangar_code hg_snap_seal(hg_mirror_snap *snap, hangar_err *err);
void hg_snap_free(hg_mirror_snap *snap);
/* NULL when the revision has no such file. */
const hg_mirror_file *hg_snap_find(const hg_mirror_snap *snap, const char *path);

/* Hashing one file in steps. */
typedef struct hg_file_hash {
    int fd; /* -1: not begun */
    uint64_t done;
    hg_hash *hash;
} hg_file_hash;
/* Hashes at most `budget` bytes more (reduced by what was read), through `scratch`. *out_done when the digests are in `f`. A file that
 * changed meanwhile is begun again with its new size; one that is gone is NOT_FOUND. */
hangar_code hg_file_hash_step(int root, const char *folder, hg_mirror_file *f, hg_file_hash *h,
                              uint64_t *budget, uint8_t *scratch, size_t scratch_len, bool *out_done,
                              hangar_err *err);
void hg_file_hash_deinit(hg_file_hash *h);
/* The text that git keeps for an LFS file. */
void hg_lfs_pointer(const hg_mirror_file *f, hg_buf *out);

/* Calls fn with the name of each revision folder of ORG/NAME ("main" for the plain one), sorted, and with the folder ("ORG/NAME@x"). */
typedef hangar_code hg_rev_fn(void *ctx, const char *rev, const char *folder, hangar_err *err);
hangar_code hg_repo_revisions(int root, hg_str org, hg_str name, hg_rev_fn *fn, void *ctx, hangar_err *err);
/* Calls fn for each repository below root, sorted by id; modified is the time of its newest folder. */
typedef hangar_code hg_repo_fn(void *ctx, const char *id, int64_t modified, hangar_err *err);
hangar_code hg_repo_all(int root, hg_repo_fn *fn, void *ctx, hangar_err *err);

/* ---- mirror_work.c ---- */

struct hg_request;

typedef struct hg_mirror_rev {
    struct hg_mirror_rev *next;
    char *folder;
    hg_mirror_snap *snap; /* NULL: never finished */
    hangar_err failure;   /* of the last try, when it failed */
    double failed;        /* hg_now() when that try ended; 0 = it did not fail */
    double used;
    struct hg_request *waiters;
    struct hg_mirror_task *task; /* NULL: nobody works on it */
} hg_mirror_rev;

typedef struct hg_mirror_work {
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t threads[HG_MIRROR_WORKERS];
    unsigned running;
    bool stopping;
    int root;
    hg_mirror_rev *revs;
    size_t rev_count;
    struct hg_mirror_task *head, *tail;
} hg_mirror_work;

hangar_code hg_work_start(hg_mirror_work *w, int root, hangar_err *err);
/* Ends the threads and wakes all who wait. */
void hg_work_stop(hg_mirror_work *w);
/* After the server is gone too. */
void hg_work_deinit(hg_mirror_work *w);

typedef enum hg_taken { HG_TAKEN, HG_TAKEN_FAILED, HG_TAKEN_WAIT } hg_taken;
/* The revision in that folder, walked not before `since` (hg_now()). WAIT: the request's connection is suspended and will be
 * called again. A snapshot that was taken is given back by hg_snap_drop. */
hg_taken hg_snap_take(hg_mirror_work *w, const char *folder, double since, struct hg_request *r,
                      hg_mirror_snap **out, hangar_err *err);
/* The revision of ORG/NAME that has that commit and was walked not before `since`; its folder goes to folder[folder_len]. NULL when none is known. */
hg_mirror_snap *hg_snap_by_commit(hg_mirror_work *w, hg_str org, hg_str name, hg_str commit, double since,
                                  char *folder, size_t folder_len);
/* The one that is known now, or NULL. */
hg_mirror_snap *hg_snap_peek(hg_mirror_work *w, const char *folder);
/* NULL is fine. */
void hg_snap_drop(hg_mirror_work *w, hg_mirror_snap *snap);

/* ---- a request ---- */

struct hangar_mirror {
    struct MHD_Daemon *daemon;
    hg_mirror_work work;
    bool working;
    int root;
    int socket;
    unsigned port;
    bool loopback; /* only local clients can connect */
    char *url;
    char *token;        /* NULL = open */
    uint8_t secret[32]; /* signs addresses; new with each start */
};

typedef struct hg_request {
    hangar_mirror *m;
    struct MHD_Connection *connection;
    struct hg_request *next_waiter;
    hg_target target;
    hangar_err target_err;
    double arrived;
    double since;    /* how fresh revisions must be */
    unsigned rounds; /* how often it was put off */
    bool checked;    /* Host, token and method were looked at */
    bool head;
    bool post;
    const char *method;
    const struct hg_route *route;
    size_t rest; /* where the route's tail begins */
    const char *host;
    hg_buf body;
    hg_mirror_snap *snap; /* the revision in question, held until the end */
    char folder[640];     /* its folder */
    char shown[160];      /* the address without its query, for the log */
} hg_request;

/* A file's answer comes from a handler; it queues exactly one response, or suspends (hg_snap_take) and is called again. */
typedef enum MHD_Result hg_route_fn(hg_request *r);
typedef struct hg_route {
    const char *pattern;
    const char *method; /* "GET" stands for HEAD too */
    hg_route_fn *fn;
    bool api;  /* errors are JSON */
    bool open; /* needs no token: the address itself is the permission */
} hg_route;

/* ---- answers (mirror_answer.c) ---- */

/* A response that takes over `text` (malloc'ed; NULL = out of memory, then 503). */
struct MHD_Response *hg_mirror_text(char *text, size_t len, const char *type);
/* Adds a header; bytes that a header cannot carry become '?'. */
void hg_mirror_header(struct MHD_Response *a, const char *name, const char *value);
void hg_mirror_headerf(struct MHD_Response *a, const char *name, const char *fmt, ...) HG_PRINTF(3, 4);
/* Queues and lets go of it. */
enum MHD_Result hg_mirror_send(hg_request *r, unsigned status, struct MHD_Response *a);
/* An error in the form of the route (JSON or text); code may be NULL; commit may be NULL. */
enum MHD_Result hg_mirror_error(hg_request *r, unsigned status, const char *code, const char *commit,
                                const char *message);
/* From an error of ours. */
enum MHD_Result hg_mirror_failure(hg_request *r, const hangar_err *err);
/* A finished JSON document. */
enum MHD_Result hg_mirror_json(hg_request *r, hg_jw *w, const char *link);

/*
 * Takes the revision that segments org, name and rev name into r->snap and r->folder. False when there is nothing more to do now: *out is what
 * the handler returns (an error was queued, or the request waits).
 */
bool hg_request_revision(hg_request *r, hg_str org, hg_str name, hg_str rev, enum MHD_Result *out);
/* The same for one folder of a repository. */
bool hg_request_folder(hg_request *r, const char *folder, enum MHD_Result *out);
/* The path that the route's tail spells, checked; false as above (404 EntryNotFound). NULL `path` when the tail is empty. */
bool hg_request_path(hg_request *r, char **out_path, enum MHD_Result *out);

hg_route_fn hg_route_models, hg_route_info, hg_route_tree, hg_route_paths, hg_route_refs, hg_route_commits,
    hg_route_whoami;
hg_route_fn hg_route_resolve, hg_route_raw, hg_route_cached, hg_route_lfs;

#endif
