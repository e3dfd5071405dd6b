/* SPDX-License-Identifier: Apache-2.0 */
/* The architectures of archs.def, declared. */
#ifndef HG_CONVERT_ARCHS_H
#define HG_CONVERT_ARCHS_H

#include "convert/arch.h"

#define HG_ARCH(name) extern const hg_arch hg_arch_##name;
#include "convert/archs.def"
#undef HG_ARCH

#endif
