/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engines.h"

const hg_engine hg_engine_llama = {
    .name = "llama",
    .program = "hangar-runner-llama",
    .about = "llama.cpp: text generation from GGUF files",
};
