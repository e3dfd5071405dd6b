/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: cheap, and without touching the cache or the index, which is opened when it is asked for. */
#include "base/log.h"
#include "store/internal.h"

#include <stdio.h>
#include <stdlib.h>

/* The mask of this process, without changing it as umask(2) would (another thread may be making a file). */
static mode_t read_umask(void)
{
    hg_buf b;
    unsigned mask = 022;
    hg_buf_init(&b, 64 * HG_KIB);
    if (hg_read_file("/proc/self/status", &b, NULL) == HANGAR_OK) {
        const char *at = strstr(hg_buf_text(&b), "\nUmask:");
        if (!at || sscanf(at, "\nUmask: %o", &mask) != 1) mask = 022;
    }
    hg_buf_deinit(&b);
    return (mode_t)(mask & 0777);
}

hangar_code hg_store_open(const char *cache, const char *home, hg_store **out, hangar_err *err)
{
    if (cache[0] != '/' || home[0] != '/')
        return hg_fail(err, HANGAR_E_USAGE, "the cache and hangar's home must be absolute paths");
    hg_store *s = hg_calloc(1, sizeof *s);
    if (!s) return hg_fail_memory(err);
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        return hg_fail_memory(err);
    }
    s->cache = hg_path_join(cache, "");
    s->home = hg_path_join(home, "");
    if (!s->cache || !s->home) {
        hg_store_close(s);
        return hg_fail_memory(err);
    }
    s->umask = read_umask();
    /* A home that cannot be made is no reason not to read: whoever has to write there will say so. */
    hangar_err why = {0};
    if (hg_mkdirs(s->home, HG_STORE_DIR_MODE, &why) != HANGAR_OK) hg_log(HG_LOG_WARN, "store", "%s", why.msg);
    *out = s;
    return HANGAR_OK;
}

void hg_store_close(hg_store *s)
{
    if (!s) return;
    hg_db_close(s->db);
    pthread_mutex_destroy(&s->lock);
    free(s->cache);
    free(s->home);
    free(s);
}

const char *hg_store_cache(const hg_store *s)
{
    return s->cache;
}

hg_db *hg_store_db(hg_store *s)
{
    pthread_mutex_lock(&s->lock);
    if (!s->db_tried) {
        s->db_tried = true;
        hangar_err why = {0};
        HG_AUTO(hg_auto_free) char *path = hg_store_index_path(s);
        if (!path || hg_db_open(path, &s->db, &why) != HANGAR_OK) {
            s->db = NULL;
            hg_log(HG_LOG_WARN, "store", "no index: %s", why.msg);
        }
    }
    hg_db *db = s->db;
    pthread_mutex_unlock(&s->lock);
    return db;
}
