/* SPDX-License-Identifier: Apache-2.0 */
/* The processor: names and instruction sets from the kernel, cores and caches from hwloc. */
#include "hardware/inner.h"

#include "base/mem.h"

#include <hwloc.h>

/* The kernel lists only what it lets programs use, so its list is asked, not the processor. */
static const struct {
    const char *flag, *name;
} isa_names[] = {
    {"sse4_2", "sse4_2"},
    {"avx", "avx"},
    {"avx2", "avx2"},
    {"fma", "fma"},
    {"f16c", "f16c"},
    {"avx_vnni", "avx_vnni"},
    {"avx512f", "avx512f"},
    {"avx512bw", "avx512bw"},
    {"avx512vl", "avx512vl"},
    {"avx512_vnni", "avx512_vnni"},
    {"avx512_bf16", "avx512_bf16"},
    {"avx512_fp16", "avx512_fp16"},
    {"amx_tile", "amx_tile"},
    {"amx_int8", "amx_int8"},
    {"amx_bf16", "amx_bf16"},
    {"amx_fp16", "amx_fp16"},
    {"sha_ni", "sha_ni"},
    /* ARM: 64-bit kernels call NEON "asimd" */
    {"neon", "neon"},
    {"asimd", "neon"},
    {"asimdhp", "fp16"},
    {"asimddp", "dotprod"},
    {"i8mm", "i8mm"},
    {"bf16", "bf16"},
    {"sve", "sve"},
    {"sve2", "sve2"},
    {"sha2", "sha2"},
};
_Static_assert(HG_LEN(isa_names) <= HG_ISA_MAX, "hg_hardware.isa is too small");

static const struct {
    const char *raw, *name;
} vendors[] = {
    {"GenuineIntel", "Intel"},   {"AuthenticAMD", "AMD"}, {"HygonGenuine", "Hygon"},
    {"CentaurHauls", "Zhaoxin"}, {"0x41", "ARM"},         {"0x46", "Fujitsu"},
    {"0x48", "HiSilicon"},       {"0x4e", "NVIDIA"},      {"0x51", "Qualcomm"},
    {"0x61", "Apple"},           {"0xc0", "Ampere"},
};

static bool has_word(hg_str words, const char *word)
{
    hg_str head;
    bool more = true;
    while (more) {
        more = hg_str_cut(&words, ' ', &head);
        if (hg_str_eq(head, hg_str_of(word))) return true;
    }
    return false;
}

void hg_hw_cpuinfo(const char *root, hg_hardware *hw)
{
    hg_buf info;
    hg_str value;
    if (!hg_hw_file(root, "/proc/cpuinfo", &info)) return;
    hg_str text = hg_buf_view(&info);
    if (hg_hw_field(text, "model name", &value) || hg_hw_field(text, "Model", &value) ||
        hg_hw_field(text, "Hardware", &value))
        hg_escape(value, hw->cpu_model, sizeof hw->cpu_model);
    if (hg_hw_field(text, "vendor_id", &value) || hg_hw_field(text, "CPU implementer", &value)) {
        hg_escape(value, hw->cpu_vendor, sizeof hw->cpu_vendor);
        for (size_t i = 0; i < HG_LEN(vendors); i++)
            if (hg_str_eq(value, hg_str_of(vendors[i].raw)))
                hg_escape(hg_str_of(vendors[i].name), hw->cpu_vendor, sizeof hw->cpu_vendor);
    }
    if (hg_hw_field(text, "flags", &value) || hg_hw_field(text, "Features", &value)) {
        for (size_t i = 0; i < HG_LEN(isa_names); i++)
            if (has_word(value, isa_names[i].flag) && !hg_hardware_has(hw, isa_names[i].name))
                hw->isa[hw->isa_count++] = isa_names[i].name;
    }
    hg_buf_deinit(&info);
}

static unsigned count_of(hwloc_topology_t topology, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(topology, type);
    return n > 0 ? (unsigned)n : 0;
}

static const char *kind_of(hwloc_obj_cache_type_t type)
{
    switch (type) {
    case HWLOC_OBJ_CACHE_DATA: return "data";
    case HWLOC_OBJ_CACHE_INSTRUCTION: return "instruction";
    case HWLOC_OBJ_CACHE_UNIFIED: break;
    }
    return "unified";
}

/* Caches of one kind and size are one row. */
static void add_cache(hg_hardware *hw, hwloc_obj_t cache)
{
    hg_cache_row row = {.level = cache->attr->cache.depth,
                        .kind = kind_of(cache->attr->cache.type),
                        .bytes = cache->attr->cache.size,
                        .count = 1};
    for (size_t i = 0; i < hw->cache_count; i++) {
        hg_cache_row *other = &hw->caches[i];
        if (other->level != row.level || !hg_streq(other->kind, row.kind) || other->bytes != row.bytes)
            continue;
        other->count++;
        return;
    }
    if (row.bytes && hw->cache_count < HG_CACHE_MAX) hw->caches[hw->cache_count++] = row;
}

void hg_hw_topology(hg_hardware *hw)
{
    static const hwloc_obj_type_t caches[] = {HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L1ICACHE, HWLOC_OBJ_L2CACHE,
                                              HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L4CACHE};
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) return;
    /* All of the machine, whatever this process may use of it; no devices, which take long. */
    hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
    hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(topology, HWLOC_OBJ_PACKAGE, HWLOC_TYPE_FILTER_KEEP_ALL);
    hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
    hwloc_topology_set_cache_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL);
    hwloc_topology_set_icache_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL);
    if (hwloc_topology_load(topology) == 0) {
        hw->sockets = count_of(topology, HWLOC_OBJ_PACKAGE);
        hw->cores = count_of(topology, HWLOC_OBJ_CORE);
        hw->threads = count_of(topology, HWLOC_OBJ_PU);
        for (size_t i = 0; i < HG_LEN(caches); i++)
            for (hwloc_obj_t c = NULL; (c = hwloc_get_next_obj_by_type(topology, caches[i], c)) != NULL;)
                add_cache(hw, c);
    }
    hwloc_topology_destroy(topology);
}
