/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing. Cheap: the settings are read and the store is told where it is; nothing is scanned. */
#include "manager/handle.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* The caller's options; those that an older caller's smaller struct does not have are NULL. */
static hangar_code read_options(const hangar_options *given, hangar_options *out, hangar_err *err)
{
    *out = (hangar_options)HANGAR_OPTIONS_INIT;
    if (!given) return HANGAR_OK;
    if (given->size < sizeof given->size || given->size > sizeof *out)
        return hg_fail(err, HANGAR_E_USAGE, "hangar_options.size is wrong; use HANGAR_OPTIONS_INIT");
    memcpy(out, given, given->size);
    out->size = sizeof *out;
    return HANGAR_OK;
}

hangar_code hangar_open(const hangar_options *options, hangar **out, hangar_err *err)
{
    hangar_options known;
    *out = NULL;
    hangar_code code = read_options(options, &known, err);
    if (code != HANGAR_OK) return code;
    hangar *h = hg_calloc(1, sizeof *h);
    if (!h) return hg_fail_memory(err);
    code = hg_settings_load(&known, &h->settings, err);
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
