/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the picture. `root` stands before every path of the kernel's file systems: "" for this machine, another
 * folder for a test that plays a machine.
 */
#ifndef HG_HARDWARE_INNER_H
#define HG_HARDWARE_INNER_H

#include "base/buf.h"
#include "hardware/hardware.h"

/* files.c: a small file below root into buf (NUL-terminated, cut at cap); false when it cannot be read. */
bool hg_hw_text(const char *root, const char *path, char *buf, size_t cap);
/* The same as a number; "max" is UINT64_MAX. */
bool hg_hw_number(const char *root, const char *path, uint64_t *out);
/* A whole file of any length up to 4 MiB; false when it cannot be read (then `out` needs no deinit). */
bool hg_hw_file(const char *root, const char *path, hg_buf *out);
/* The value of "Name:   value" in a text like /proc/meminfo or /proc/cpuinfo, the first one. */
bool hg_hw_field(hg_str text, const char *name, hg_str *out);

/* cpu.c */
void hg_hw_cpuinfo(const char *root, hg_hardware *hw); /* model, vendor, isa        */
void hg_hw_topology(hg_hardware *hw);                  /* sockets .. caches: hwloc  */

/* cgroup.c: limits of the control groups (versions 1 and 2) that this process is in. */
typedef struct hg_cgroup {
    uint64_t memory_limit; /* the smallest on the way up; UINT64_MAX = none  */
    uint64_t memory_used;  /* in the group with that limit, what could be dropped not counted */
    double cpus;           /* quota / period; 0 = none */
} hg_cgroup;
void hg_hw_cgroup(const char *root, hg_cgroup *out);

/* memory.c */
void hg_hw_memory(const char *root, const hg_cgroup *group, hg_hardware *hw);
unsigned hg_hw_usable(const hg_cgroup *group);

/* gpu.c */
void hg_hw_nvidia(const char *library, hg_hardware *hw);
void hg_hw_drm(const char *root, hg_hardware *hw);

/* profile.c */
void hg_hw_profile(hg_hardware *hw);

#endif
