/* SPDX-License-Identifier: Apache-2.0 */
/* Which profile fits: the first row whose instruction sets are all there. A GPU with memory of its own goes before. */
#include "hardware/inner.h"

#include "base/mem.h"

#include <stdio.h>

static const struct {
    const char *name;
    const char *needs[5];
    const char *why;
} profiles[] = {
    {"cpu-amx", {"amx_tile", "amx_int8", "avx512_vnni", "avx512vl"}, "matrix units for 8-bit numbers (AMX)"},
    {"cpu-avx512-vnni",
     {"avx512f", "avx512bw", "avx512vl", "avx512_vnni"},
     "wide vectors with 8-bit products (AVX-512, VNNI)"},
    {"cpu-avx512", {"avx512f", "avx512bw", "avx512vl"}, "wide vectors (AVX-512), no 8-bit products"},
    {"cpu-avx2-vnni", {"avx2", "fma", "f16c", "avx_vnni"}, "vectors with 8-bit products (AVX2, VNNI)"},
    {"cpu-avx2", {"avx2", "fma", "f16c"}, "vectors with fused multiply-add (AVX2)"},
    {"cpu-avx", {"avx", "sse4_2"}, "old vectors (AVX)"},
    {"cpu-arm-i8mm", {"neon", "dotprod", "i8mm"}, "vectors with 8-bit matrix products (NEON, I8MM)"},
    {"cpu-arm-dotprod", {"neon", "dotprod"}, "vectors with 8-bit products (NEON, dot product)"},
    {"cpu-arm", {"neon"}, "vectors (NEON)"},
    {"cpu-baseline", {NULL}, "no vector instructions that the engines make use of"},
};

bool hg_hardware_has(const hg_hardware *hw, const char *isa)
{
    for (size_t i = 0; i < hw->isa_count; i++)
        if (hg_streq(hw->isa[i], isa)) return true;
    return false;
}

static bool fits(const hg_hardware *hw, const char *const needs[5])
{
    for (size_t i = 0; i < 5 && needs[i]; i++)
        if (!hg_hardware_has(hw, needs[i])) return false;
    return true;
}

void hg_hw_profile(hg_hardware *hw)
{
    char size[16];
    for (size_t i = 0; i < hw->gpu_count; i++) {
        const hg_gpu *gpu = &hw->gpus[i];
        if (!hg_streq(gpu->vendor, "NVIDIA") || gpu->memory == 0) continue;
        snprintf(hw->profile, sizeof hw->profile, "gpu-nvidia");
        snprintf(hw->why, sizeof hw->why, "%s with %s of its own memory", gpu->name,
                 hg_size_format(gpu->memory, size));
        return;
    }
    size_t at = 0;
    while (at + 1 < HG_LEN(profiles) && !fits(hw, profiles[at].needs)) at++;
    snprintf(hw->profile, sizeof hw->profile, "%s", profiles[at].name);
    snprintf(hw->why, sizeof hw->why, "%s, %u thread%s usable%s", profiles[at].why, hw->usable,
             hw->usable == 1 ? "" : "s",
             hw->gpu_count ? "; the GPU is of a kind that no engine here drives" : "");
}
