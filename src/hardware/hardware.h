/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine has, read when somebody asks and never at start. The only room that knows hwloc and the GPU
 * libraries, which are opened at run time when they are there. What cannot be found out is 0, "" or left out, never an
 * error.
 */
#ifndef HG_HARDWARE_HARDWARE_H
#define HG_HARDWARE_HARDWARE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HG_ISA_MAX   32
#define HG_CACHE_MAX 16
#define HG_GPU_MAX   16

typedef struct hg_cache_row {
    unsigned level;   /* 1 = nearest to the core */
    const char *kind; /* "data", "instruction", "unified" */
    uint64_t bytes;   /* of one */
    unsigned count;   /* how many of them the machine has */
} hg_cache_row;

typedef struct hg_gpu {
    char name[96];
    char vendor[16]; /* "NVIDIA", "AMD", "Intel" */
    char driver[64]; /* version (NVIDIA) or name of the kernel driver; "" = not known */
    uint64_t memory; /* bytes; 0 = not known or shared with the processor */
} hg_gpu;

typedef struct hg_hardware {
    char cpu_model[96];
    char cpu_vendor[32];
    unsigned sockets, cores, threads; /* of the machine */
    unsigned
        usable; /* threads that this process may keep busy: affinity and control groups count; at least 1 */
    const char *isa[HG_ISA_MAX]; /* instruction sets that processor and kernel offer, by the kernel's names */
    size_t isa_count;
    hg_cache_row caches[HG_CACHE_MAX];
    size_t cache_count;
    uint64_t memory_total;
    uint64_t memory_available; /* what new work may take without swapping, within the limit */
    uint64_t memory_limit;     /* of the control group; 0 = none below memory_total */
    hg_gpu gpus[HG_GPU_MAX];
    size_t gpu_count;
    char disk_path[1024]; /* the folder that was asked about */
    uint64_t disk_free;
    bool disk_known;
    char profile[32]; /* "gpu-nvidia", "cpu-avx512-vnni", "cpu-avx2", "cpu-baseline", ... */
    char why[192];    /* one line */
} hg_hardware;

/* disk: the folder whose room counts, may be missing yet; NULL = none. */
void hg_hardware_read(const char *disk, hg_hardware *out);
bool hg_hardware_has(const hg_hardware *hw, const char *isa);
/* The document of hangar_hardware_detect. */
hangar_code hg_hardware_json(const hg_hardware *hw, char **out_json, hangar_err *err);

/* Cheap parts for those who need no more: threads that may be kept busy, and bytes of memory that may be taken now. */
unsigned hg_usable_threads(void);
uint64_t hg_usable_memory(void);
/* All that there is, or what the control group allows. */
uint64_t hg_total_memory(void);

#endif
