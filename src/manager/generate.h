/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation and its options as the document that runners and providers read. For the manager's own files only. */
#ifndef HG_MANAGER_GENERATE_H
#define HG_MANAGER_GENERATE_H

#include "manager/handle.h"

/* The CALL (engine/llama_ops.h) as text of the caller's. USAGE names what is out of its range. */
hangar_code hg_generate_write(const hangar_message *messages, size_t count,
                              const hangar_generate_options *options, char **out, hangar_err *err);

#endif
