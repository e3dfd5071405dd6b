/* SPDX-License-Identifier: Apache-2.0 */
/* The table of engines, and where their programs lie. */
#include "engine/engines.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const hg_engine *const engines[] = {
#define HG_ENGINE(name) &hg_engine_##name,
#include "engine/engines.def"
#undef HG_ENGINE
    NULL};

const hg_engine *const *hg_engine_all(void)
{
    return engines;
}

const hg_engine *hg_engine_get(const char *name)
{
    for (const hg_engine *const *e = engines; *e; e++)
        if (hg_streq((*e)->name, name)) return *e;
    return NULL;
}

/* dir/sub/program when it is there and may be run, else NULL. */
static char *look_in(const char *dir, const char *sub, const hg_engine *engine)
{
    char *path = hg_format("%s/%s%s%s", dir, sub, *sub ? "/" : "", engine->program);
    if (path && hg_is_file(path) && access(path, X_OK) == 0) return path;
    free(path);
    return NULL;
}

/* Beside a file of ours, or in ../lib/hangar from there. */
static char *look_beside(const char *file, const hg_engine *engine)
{
    char real[PATH_MAX];
    if (!realpath(file, real)) return NULL;
    char *slash = strrchr(real, '/');
    if (!slash) return NULL;
    *slash = '\0';
    char *path = look_in(real, "", engine);
    return path ? path : look_in(real, "../lib/hangar", engine);
}

hangar_code hg_engine_program(const hg_engine *engine, char **out_path, hangar_err *err)
{
    const char *dir = getenv("HANGAR_RUNNERS");
    if (dir && *dir) {
        *out_path = look_in(dir, "", engine);
        if (*out_path) return HANGAR_OK;
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s is not in %s, the folder that HANGAR_RUNNERS names",
                       engine->program, dir);
    }
    Dl_info info;
    *out_path = NULL;
    if (dladdr((const void *)engines, &info) != 0 && info.dli_fname && strchr(info.dli_fname, '/'))
        *out_path = look_beside(info.dli_fname, engine);
    if (!*out_path) *out_path = look_beside("/proc/self/exe", engine);
    if (*out_path) return HANGAR_OK;
    return hg_fail(
        err, HANGAR_E_NOT_FOUND,
        "%s is neither beside hangar nor in ../lib/hangar; install it, or name its folder in HANGAR_RUNNERS",
        engine->program);
}
