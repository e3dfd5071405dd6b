/* SPDX-License-Identifier: Apache-2.0 */
/* The engines of engines.def, one constant each; everybody else asks hg_engine_get. */
#ifndef HG_ENGINE_ENGINES_H
#define HG_ENGINE_ENGINES_H

#include "engine/runner.h"

#define HG_ENGINE(name) extern const hg_engine hg_engine_##name;
#include "engine/engines.def"
#undef HG_ENGINE

#endif
