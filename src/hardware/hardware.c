/* SPDX-License-Identifier: Apache-2.0 */
/* The whole picture, and its document. */
#include "hardware/inner.h"

#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"

#define NVML "libnvidia-ml.so.1"

void hg_hardware_read(const char *disk, hg_hardware *out)
{
    hg_cgroup group;
    *out = (hg_hardware){0};
    hg_hw_cgroup("", &group);
    hg_hw_cpuinfo("", out);
    hg_hw_topology(out);
    out->usable = hg_hw_usable(&group);
    hg_hw_memory("", &group, out);
    hg_hw_nvidia(NVML, out);
    hg_hw_drm("", out);
    if (disk) {
        hg_escape(hg_str_of(disk), out->disk_path, sizeof out->disk_path);
        out->disk_known = hg_disk_free(disk, &out->disk_free, NULL) == HANGAR_OK;
    }
    hg_hw_profile(out);
}

/* 0 and "" stand for "not known" and become null. */
static void number(hg_jw *w, const char *key, uint64_t n)
{
    if (n) hg_jw_u64(w, key, n);
    else hg_jw_null(w, key);
}

static void text(hg_jw *w, const char *key, const char *value)
{
    hg_jw_text(w, key, value[0] ? value : NULL);
}

static void write_cpu(hg_jw *w, const hg_hardware *hw)
{
    hg_jw_obj(w, "cpu");
    text(w, "model", hw->cpu_model);
    text(w, "vendor", hw->cpu_vendor);
    number(w, "sockets", hw->sockets);
    number(w, "cores", hw->cores);
    number(w, "threads", hw->threads);
    number(w, "usable", hw->usable);
    hg_jw_arr(w, "isa");
    for (size_t i = 0; i < hw->isa_count; i++) hg_jw_text(w, NULL, hw->isa[i]);
    hg_jw_end(w);
    hg_jw_arr(w, "caches");
    for (size_t i = 0; i < hw->cache_count; i++) {
        hg_jw_obj(w, NULL);
        hg_jw_u64(w, "level", hw->caches[i].level);
        hg_jw_text(w, "kind", hw->caches[i].kind);
        hg_jw_u64(w, "bytes", hw->caches[i].bytes);
        hg_jw_u64(w, "count", hw->caches[i].count);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_jw_end(w);
}

static void write_gpus(hg_jw *w, const hg_hardware *hw)
{
    hg_jw_arr(w, "gpus");
    for (size_t i = 0; i < hw->gpu_count; i++) {
        hg_jw_obj(w, NULL);
        text(w, "name", hw->gpus[i].name);
        text(w, "vendor", hw->gpus[i].vendor);
        number(w, "memory", hw->gpus[i].memory);
        text(w, "driver", hw->gpus[i].driver);
        hg_jw_end(w);
    }
    hg_jw_end(w);
}

hangar_code hg_hardware_json(const hg_hardware *hw, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    write_cpu(w, hw);
    hg_jw_obj(w, "memory");
    number(w, "total", hw->memory_total);
    number(w, "available", hw->memory_available);
    number(w, "limit", hw->memory_limit);
    hg_jw_end(w);
    write_gpus(w, hw);
    hg_jw_obj(w, "disk");
    text(w, "path", hw->disk_path);
    if (hw->disk_known) hg_jw_u64(w, "free", hw->disk_free);
    else hg_jw_null(w, "free");
    hg_jw_end(w);
    hg_jw_obj(w, "profile");
    hg_jw_text(w, "name", hw->profile);
    hg_jw_text(w, "why", hw->why);
    hg_jw_end(w);
    return hg_jw_finish(w, false, out_json, err);
}
