/* SPDX-License-Identifier: Apache-2.0 */
/* The making and the end of an hg_host (manager/ask.h), for the daemon and for a single question without one. */
#ifndef HG_MANAGER_HOST_H
#define HG_MANAGER_HOST_H

#include "manager/ask.h"
#include "manager/breaker.h"

/* `h` stays the caller's. Deinit it in any case. INVALID names a mistake in the list of models. */
hangar_code hg_host_init(hg_host *host, hangar *h, hangar_err *err);
/* The pool must have been closed, if it was ever used (hg_pool_close). */
void hg_host_deinit(hg_host *host);

#endif
