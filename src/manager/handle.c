/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing. Cheap: the settings are read and the store is told where it is; nothing is scanned. */
#include "manager/handle.h"

#include "base/mem.h"

#include <stdlib.h>

hangar_code hangar_open(const hangar_options *options, hangar **out, hangar_err *err)
{
    *out = NULL;
    hangar *h = hg_calloc(1, sizeof *h);
    if (!h) return hg_fail_memory(err);
    hangar_code code = hg_settings_load(options, &h->settings, err);
    if (code == HANGAR_OK) code = hg_store_open(h->settings->cache, h->settings->home, &h->store, err);
    if (code != HANGAR_OK) {
        hangar_close(h);
        return code;
    }
    *out = h;
    return HANGAR_OK;
}

void hangar_close(hangar *h)
{
    if (!h) return;
    hg_store_close(h->store);
    hg_settings_free(h->settings);
    free(h);
}

void hangar_free(void *text)
{
    free(text);
}

const char *hangar_version(void)
{
    return HANGAR_VERSION;
}
