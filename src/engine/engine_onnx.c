/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engines.h"

const hg_engine hg_engine_onnx = {
    .name = "onnx",
    .program = "hangar-runner-onnx",
    .about = "ONNX Runtime: speech recognition and embeddings",
};
