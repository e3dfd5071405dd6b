/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/host.h"

#include "base/clock.h"

hangar_code hg_host_init(hg_host *host, hangar *h, hangar_err *err)
{
    *host = (hg_host){.h = h, .started = hg_wall(), .why = hg_why_new()};
    host->breakers = host->why ? hg_breakers_new(h->settings, host->why) : NULL;
    hangar_code code = host->breakers ? hg_loop_new(&host->loop, err) : hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_catalog_open(h, &host->catalog, err);
    if (code == HANGAR_OK) code = hg_cloud_new(host->loop, &host->cloud, err);
    if (code == HANGAR_OK) code = hg_pool_new(h, host->loop, host->why, &host->pool, err);
    return code;
}

void hg_host_deinit(hg_host *host)
{
    hg_pool_free(host->pool);
    hg_cloud_free(host->cloud);
    hg_catalog_free(host->catalog);
    hg_breakers_free(host->breakers);
    hg_loop_free(host->loop);
    hg_why_free(host->why);
}
