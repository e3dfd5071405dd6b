/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/keys.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/table.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_BYTES    24
#define FILE_BYTES   ((size_t)1 << 20)
#define LOCK_SECONDS 10.0

typedef struct key {
    char name[HG_KEY_NAME + 1];
    hg_key_scope scope;
    char sha256[65];
    int64_t created; /* unix seconds */
} key;

typedef struct key_list {
    key *items;
    size_t len, cap;
} key_list;

struct hg_keys {
    char *file;
    key_list list;
    struct stat seen; /* of the file that was read last; all zero = there was none */
};

static const char *const scope_names[] = {
    [HG_KEY_NONE] = "", [HG_KEY_INFER] = "infer", [HG_KEY_MANAGE] = "manage"};

/* ---- the parts of a key ---- */

static hg_key_scope scope_of(const char *text)
{
    hg_key_scope scope = HG_KEY_MANAGE;
    while (scope != HG_KEY_NONE && !hg_streq(scope_names[scope], text)) scope--;
    return scope;
}

static bool is_name(const char *text)
{
    static const char further[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-";
    size_t len = text ? strlen(text) : 0;
    return len > 0 && len <= HG_KEY_NAME && strspn(text, further) == len && !strchr("._-", text[0]);
}

static hangar_code digest_of(hg_str text, char out[65], hangar_err *err)
{
    HG_AUTO(hg_hash_auto_free) hg_hash *hash = hg_hash_new(HG_HASH_SHA256, text.len);
    if (!hash) return hg_fail_memory(err);
    hg_hash_add(hash, text.ptr, text.len);
    return hg_hash_finish(hash, out, err);
}

/* Compares all 64 digits, however early they differ. */
static bool same_digest(const char *a, const char *b)
{
    volatile unsigned char differ = 0;
    for (size_t i = 0; i < 64; i++) differ = (unsigned char)(differ | (a[i] ^ b[i]));
    return differ == 0;
}

/* ---- the file ---- */

/* One key of the file. */
static hangar_code read_key(const hg_jval *v, key_list *list, hangar_err *err)
{
    const char *name = hg_json_text(hg_json_get(v, "name")), *digest = hg_json_text(hg_json_get(v, "sha256"));
    hg_key_scope scope = scope_of(hg_json_text_or(hg_json_get(v, "scope"), ""));
    key k = {.scope = scope};
    if (!is_name(name) || !digest || !hg_hex_is(hg_str_of(digest), 64) || scope == HG_KEY_NONE ||
        !hg_json_i64(hg_json_get(v, "created"), &k.created))
        return hg_fail(err, HANGAR_E_INVALID, "key %zu is malformed", list->len + 1);
    if (list->len == HG_KEYS_MAX) return hg_fail(err, HANGAR_E_LIMIT, "more than %d keys", HG_KEYS_MAX);
    for (size_t i = 0; i < list->len; i++)
        if (hg_streq(list->items[i].name, name))
            return hg_fail(err, HANGAR_E_INVALID, "the key %s is there twice", name);
    if (!hg_grow((void **)&list->items, &list->cap, list->len + 1, sizeof *list->items))
        return hg_fail_memory(err);
    memcpy(k.name, name, strlen(name) + 1);
    memcpy(k.sha256, digest, 65);
    list->items[list->len++] = k;
    return HANGAR_OK;
}

/* Reads the file into an empty list. *seen is what was read, all zero when there is none. */
static hangar_code read_keys(const char *file, key_list *list, struct stat *seen, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_auto_close) int fd = -1;
    char *text = NULL;
    uint64_t size;
    *seen = (struct stat){0};
    hangar_code code = hg_open_regular(file, &fd, &size, err);
    if (code == HANGAR_E_NOT_FOUND) return HANGAR_OK;
    if (code != HANGAR_OK) return code;
    if (fstat(fd, seen) != 0) return hg_fail_errno(err, errno, "%s", file);
    if (seen->st_mode & 022 || (seen->st_uid != geteuid() && seen->st_uid != 0))
        return hg_fail(err, HANGAR_E_DENIED, "%s: others may write it; chmod 600 and look at its keys", file);
    if (size > FILE_BYTES)
        return hg_fail(err, HANGAR_E_LIMIT, "%s: over the limit of %zu bytes", file, FILE_BYTES);
    if (!(text = malloc(size + 1))) return hg_fail_memory(err);
    code = hg_pread_all(fd, text, size, 0, err);
    if (code == HANGAR_OK)
        code = hg_json_parse((hg_str){text, size}, &(hg_json_limits){.depth = 8, .unique_keys = true}, &doc,
                             err);
    const hg_jval *keys = hg_json_get(hg_json_root(doc), "keys");
    if (code == HANGAR_OK && !hg_json_is_array(keys))
        code = hg_fail(err, HANGAR_E_INVALID, "it has no \"keys\"");
    for (hg_json_iter it = hg_json_iter_of(keys); code == HANGAR_OK && hg_json_next(&it);)
        code = read_key(it.val, list, err);
    free(text);
    return hg_wrap(err, code, "%s", file);
}

static hangar_code write_keys(const char *file, const key_list *list, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *text = NULL;
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "keys");
    for (size_t i = 0; i < list->len; i++) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", list->items[i].name);
        hg_jw_text(w, "scope", scope_names[list->items[i].scope]);
        hg_jw_text(w, "sha256", list->items[i].sha256);
        hg_jw_i64(w, "created", list->items[i].created);
        hg_jw_end(w);
    }
    hangar_code code = hg_jw_finish(w, true, &text, err);
    return code == HANGAR_OK ? hg_write_file(file, text, strlen(text), 0600, err) : code;
}

/* ---- for the daemon ---- */

static hangar_code keys_file(hangar *h, char **out, hangar_err *err)
{
    *out = hg_path_join(h->settings->home, "keys.json");
    return *out ? HANGAR_OK : hg_fail_memory(err);
}

hangar_code hg_keys_open(hangar *h, hg_keys **out, hangar_err *err)
{
    hg_keys *k = hg_calloc(1, sizeof *k);
    if (!k) return hg_fail_memory(err);
    hangar_code code = keys_file(h, &k->file, err);
    if (code == HANGAR_OK) code = read_keys(k->file, &k->list, &k->seen, err);
    if (code == HANGAR_OK) *out = k;
    else hg_keys_free(k);
    return code;
}

void hg_keys_free(hg_keys *k)
{
    if (!k) return;
    free(k->list.items);
    free(k->file);
    free(k);
}

hangar_code hg_keys_reload(hg_keys *k, hangar_err *err)
{
    struct stat now = {0};
    key_list list = {0};
    if (stat(k->file, &now) != 0) {
        if (errno != ENOENT) return hg_fail_errno(err, errno, "%s", k->file);
        now = (struct stat){0};
    }
    if (now.st_ino == k->seen.st_ino && now.st_dev == k->seen.st_dev && now.st_size == k->seen.st_size &&
        now.st_mtim.tv_sec == k->seen.st_mtim.tv_sec && now.st_mtim.tv_nsec == k->seen.st_mtim.tv_nsec &&
        now.st_mode == k->seen.st_mode)
        return HANGAR_OK;
    hangar_code code = read_keys(k->file, &list, &now, err);
    if (code != HANGAR_OK) {
        free(list.items);
        return code;
    }
    free(k->list.items);
    k->list = list;
    k->seen = now;
    return HANGAR_OK;
}

size_t hg_keys_count(const hg_keys *k)
{
    return k->list.len;
}

hg_key_scope hg_keys_check(const hg_keys *k, hg_str text, const char **out_name)
{
    hg_key_scope scope = HG_KEY_NONE;
    const char *name = "";
    char digest[65];
    bool fits = text.len == HG_KEY_TEXT;
    if (digest_of(fits ? text : HG_STR(""), digest, NULL) != HANGAR_OK) return HG_KEY_NONE;
    for (size_t i = 0; i < k->list.len; i++) {
        bool same = same_digest(k->list.items[i].sha256, digest) && fits;
        scope = same ? k->list.items[i].scope : scope;
        name = same ? k->list.items[i].name : name;
    }
    if (out_name) *out_name = name;
    return scope;
}

/* ---- making and removing ---- */

/* The keys under the lock that who changes them holds. */
typedef struct change {
    char *file;
    hg_lock lock;
    key_list list;
} change;

static hangar_code change_begin(hangar *h, change *c, hangar_err *err)
{
    struct stat seen;
    *c = (change){.lock = HG_LOCK_INIT};
    HG_AUTO(hg_auto_free) char *lock = hg_path_join(h->settings->home, "keys.lock");
    hangar_code code = lock ? keys_file(h, &c->file, err) : hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_lock_take(lock, LOCK_SECONDS, NULL, NULL, &c->lock, err);
    if (code == HANGAR_OK) code = read_keys(c->file, &c->list, &seen, err);
    return code;
}

static void change_end(change *c)
{
    hg_lock_release(&c->lock);
    free(c->list.items);
    free(c->file);
}

static void write_key(hg_jw *w, const key *k)
{
    hg_jw_text(w, "name", k->name);
    hg_jw_text(w, "scope", scope_names[k->scope]);
    hg_jw_i64(w, "created", k->created);
}

/* A new key: its text, and what is kept of it. */
static hangar_code make_key(const char *name, hg_key_scope scope, char text[HG_KEY_TEXT + 1], key *out,
                            hangar_err *err)
{
    uint8_t bits[KEY_BYTES];
    if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        return hg_fail_errno(err, errno, "the system's random source");
    memcpy(text, HG_KEY_PREFIX, sizeof HG_KEY_PREFIX - 1);
    hg_hex_encode(bits, sizeof bits, text + sizeof HG_KEY_PREFIX - 1);
    explicit_bzero(bits, sizeof bits);
    *out = (key){.scope = scope, .created = hg_wall()};
    memcpy(out->name, name, strlen(name) + 1);
    return digest_of((hg_str){text, HG_KEY_TEXT}, out->sha256, err);
}

hangar_code hangar_key_create(hangar *h, const char *name, const char *scope, char **out_json,
                              hangar_err *err)
{
    change c;
    key k;
    char text[HG_KEY_TEXT + 1] = "";
    hg_key_scope wanted = scope ? scope_of(scope) : HG_KEY_INFER;
    *out_json = NULL;
    if (!is_name(name))
        return hg_fail(
            err, HANGAR_E_USAGE,
            "a key's name has 1 to %d letters, digits, '.', '_' and '-', and begins with a letter or digit",
            HG_KEY_NAME);
    if (wanted == HG_KEY_NONE)
        return hg_fail(err, HANGAR_E_USAGE, "a key's scope is infer or manage, not '%s'", scope);
    hangar_code code = change_begin(h, &c, err);
    for (size_t i = 0; code == HANGAR_OK && i < c.list.len; i++)
        if (hg_streq(c.list.items[i].name, name))
            code = hg_fail(err, HANGAR_E_BUSY, "there is a key %s already; hangar key rm %s removes it", name,
                           name);
    if (code == HANGAR_OK && c.list.len == HG_KEYS_MAX)
        code = hg_fail(err, HANGAR_E_LIMIT, "there are %d keys already", HG_KEYS_MAX);
    if (code == HANGAR_OK) code = make_key(name, wanted, text, &k, err);
    if (code == HANGAR_OK && !hg_grow((void **)&c.list.items, &c.list.cap, c.list.len + 1, sizeof k))
        code = hg_fail_memory(err);
    if (code == HANGAR_OK) {
        c.list.items[c.list.len++] = k;
        code = write_keys(c.file, &c.list, err);
    }
    change_end(&c);
    if (code == HANGAR_OK) {
        HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
        hg_jw_obj(w, NULL);
        write_key(w, &k);
        hg_jw_text(w, "key", text);
        code = hg_jw_finish(w, false, out_json, err);
    }
    explicit_bzero(text, sizeof text);
    return code;
}

hangar_code hangar_key_list(hangar *h, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *file = NULL;
    key_list list = {0};
    struct stat seen;
    *out_json = NULL;
    hangar_code code = keys_file(h, &file, err);
    if (code == HANGAR_OK) code = read_keys(file, &list, &seen, err);
    if (code == HANGAR_OK) {
        HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "file", file);
        hg_jw_arr(w, "keys");
        for (size_t i = 0; i < list.len; i++) {
            hg_jw_obj(w, NULL);
            write_key(w, &list.items[i]);
            hg_jw_end(w);
        }
        code = hg_jw_finish(w, false, out_json, err);
    }
    free(list.items);
    return code;
}

/* NOT_FOUND, with the name that was probably meant. */
static hangar_code no_key(const key_list *list, const char *name, hangar_err *err)
{
    const char **names = hg_calloc(list->len + 1, sizeof *names);
    if (!names) return hg_fail_memory(err);
    for (size_t i = 0; i < list->len; i++) names[i] = list->items[i].name;
    const char *near = hg_nearest(name, names);
    char shown[HG_KEY_NAME + 8];
    hg_escape(hg_str_of(name), shown, sizeof shown);
    if (near) hg_fail(err, HANGAR_E_NOT_FOUND, "there is no key '%s'; did you mean %s?", shown, near);
    else hg_fail(err, HANGAR_E_NOT_FOUND, "there is no key '%s'", shown);
    free(names);
    return HANGAR_E_NOT_FOUND;
}

hangar_code hangar_key_remove(hangar *h, const char *name, char **out_json, hangar_err *err)
{
    change c;
    key gone = {0};
    *out_json = NULL;
    hangar_code code = change_begin(h, &c, err);
    size_t at = 0;
    while (code == HANGAR_OK && at < c.list.len && !hg_streq(c.list.items[at].name, name)) at++;
    if (code == HANGAR_OK && at == c.list.len) code = no_key(&c.list, name, err);
    if (code == HANGAR_OK) {
        gone = c.list.items[at];
        memmove(&c.list.items[at], &c.list.items[at + 1], (c.list.len - at - 1) * sizeof gone);
        c.list.len--;
        code = write_keys(c.file, &c.list, err);
    }
    change_end(&c);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    write_key(w, &gone);
    return hg_jw_finish(w, false, out_json, err);
}
