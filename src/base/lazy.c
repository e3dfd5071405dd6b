/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lazy.h"

#include "base/mem.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

hangar_code hg_lazy_load(hg_lazy *lib, hangar_err *err)
{
    if (atomic_load(&lib->handle)) return HANGAR_OK;
    void *handle = dlopen(lib->file, RTLD_LAZY | RTLD_LOCAL);
    if (!handle)
        return hg_fail(err, HANGAR_E_INTERNAL, "%s cannot be loaded (%s); install the package %s", lib->file,
                       dlerror(), lib->package);
    /* Of two threads each has the same handle: the loader counts. */
    atomic_store(&lib->handle, handle);
    return HANGAR_OK;
}

void *hg_lazy_find(hg_lazy *lib, const char *function)
{
    hangar_err err = {0};
    void *at = NULL;
    if (hg_lazy_load(lib, &err) == HANGAR_OK) {
        at = dlsym(atomic_load(&lib->handle), function);
        if (!at) hg_fail(&err, HANGAR_E_INTERNAL, "%s has no function %s", lib->file, function);
    }
    if (at) return at;
    fprintf(stderr, "hangar: %s\n", err.msg);
    abort();
}
