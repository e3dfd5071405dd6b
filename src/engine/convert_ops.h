/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The convert runner's words (frames: engine/wire.h). Nothing to link: names and shapes only.
 *
 * LOAD  {"stage": the folder that is filled, "read":[files that may be read]}
 * READY {"sandbox": level}
 * CALL  a conversion as convert/convert.h writes it (hg_convert_spec_write)
 * TICK  {"done","total"}: bytes of weights that were read and written anew
 * DONE  {"manifest": docs/formats/onnx.md, "seconds", "peak_bytes": resident memory at most}
 */
#ifndef HG_ENGINE_CONVERT_OPS_H
#define HG_ENGINE_CONVERT_OPS_H

#define HG_CONVERT_MEMORY_MAX \
    ((size_t)1 << 30) /* bytes of its own (not mapped files) that the child may have */

#endif
