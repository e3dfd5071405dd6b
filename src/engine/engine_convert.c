/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engines.h"

const hg_engine hg_engine_convert = {
    .name = "convert",
    .program = "hangar-runner-convert",
    .about = "safetensors to ONNX",
};
