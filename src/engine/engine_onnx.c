/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engines.h"

/*
 * Weights that the engine makes anew as 32 bits are memory that is touched once, page by page: in pages of 2 MiB, where the kernel lends them on request,
 * a model of 1.5 billion weights in 16 bits loads in half the time. The runner takes 2 MiB more.
 */
const hg_engine hg_engine_onnx = {
    .name = "onnx",
    .program = "hangar-runner-onnx",
    .about = "ONNX Runtime: speech recognition and embeddings",
    .env = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1",
};
