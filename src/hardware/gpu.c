/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPUs: NVIDIA's through their management library, opened by name when the driver is there; AMD's and Intel's from what
 * the kernel shows. The few declarations of the library that are used here are its stable interface.
 */
#include "hardware/inner.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

/* ---- NVIDIA ---- */

typedef struct nvml_device *nvml_device;
typedef struct nvml_memory {
    unsigned long long total, free, used;
} nvml_memory;

typedef struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*count)(unsigned *);
    int (*handle)(unsigned, nvml_device *);
    int (*name)(nvml_device, char *, unsigned);
    int (*memory)(nvml_device, nvml_memory *);
    int (*driver)(char *, unsigned);
} nvml;

static bool find_symbols(void *library, nvml *n)
{
    const struct {
        void **to;
        const char *name;
    } symbols[] = {
        {(void **)&n->init, "nvmlInit_v2"},
        {(void **)&n->shutdown, "nvmlShutdown"},
        {(void **)&n->count, "nvmlDeviceGetCount_v2"},
        {(void **)&n->handle, "nvmlDeviceGetHandleByIndex_v2"},
        {(void **)&n->name, "nvmlDeviceGetName"},
        {(void **)&n->memory, "nvmlDeviceGetMemoryInfo"},
        {(void **)&n->driver, "nvmlSystemGetDriverVersion"},
    };
    for (size_t i = 0; i < HG_LEN(symbols); i++) {
        *symbols[i].to = dlsym(library, symbols[i].name);
        if (!*symbols[i].to) return false;
    }
    return true;
}

static void add_nvidia(const nvml *n, unsigned index, const char *driver, hg_hardware *hw)
{
    nvml_device device;
    nvml_memory memory = {0};
    char name[96] = "";
    if (hw->gpu_count == HG_GPU_MAX || n->handle(index, &device) != 0) return;
    hg_gpu *gpu = &hw->gpus[hw->gpu_count++];
    *gpu = (hg_gpu){.vendor = "NVIDIA"};
    if (n->name(device, name, sizeof name) != 0) snprintf(name, sizeof name, "NVIDIA GPU %u", index);
    name[sizeof name - 1] = '\0';
    hg_escape(hg_str_of(name), gpu->name, sizeof gpu->name);
    hg_escape(hg_str_of(driver), gpu->driver, sizeof gpu->driver);
    if (n->memory(device, &memory) == 0) gpu->memory = memory.total;
}

void hg_hw_nvidia(const char *library, hg_hardware *hw)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    nvml n;
    unsigned count = 0;
    if (!handle) return;
    if (find_symbols(handle, &n) && n.init() == 0) {
        char driver[64] = "";
        if (n.driver(driver, sizeof driver) != 0) driver[0] = '\0';
        driver[sizeof driver - 1] = '\0';
        if (n.count(&count) != 0) count = 0;
        for (unsigned i = 0; i < count && i < HG_GPU_MAX; i++) add_nvidia(&n, i, driver, hw);
        n.shutdown();
    }
    dlclose(handle);
}

/* ---- the kernel's view ---- */

typedef struct drm {
    const char *root;
    hg_hardware *hw;
    bool nvidia_known; /* the library told of them already */
} drm;

/* "card0", not "card0-HDMI-A-1" or "renderD128". */
static bool is_card(const char *name)
{
    uint64_t n;
    return hg_str_starts(hg_str_of(name), HG_STR("card")) && hg_u64_parse(hg_str_of(name + 4), &n);
}

/* The name of the kernel driver: where device/driver leads to. */
static void driver_of(const char *root, const char *name, char *out, size_t cap)
{
    char target[256];
    HG_AUTO(hg_auto_free) char *path = hg_format("%s/sys/class/drm/%s/device/driver", root, name);
    ssize_t len = path ? readlink(path, target, sizeof target - 1) : -1;
    if (len <= 0) return;
    target[len] = '\0';
    hg_escape(hg_str_of(hg_path_base(target)), out, cap);
}

static hangar_code see_card(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    static const struct {
        const char *id, *vendor;
    } vendors[] = {{"0x1002", "AMD"}, {"0x8086", "Intel"}, {"0x10de", "NVIDIA"}};
    drm *d = ctx;
    (void)dir;
    (void)err;
    char path[300], text[96];
    if (!is_card(name) || strlen(name) > 16 || d->hw->gpu_count == HG_GPU_MAX) return HANGAR_OK;
    snprintf(path, sizeof path, "/sys/class/drm/%s/device/vendor", name);
    if (!hg_hw_text(d->root, path, text, sizeof text)) return HANGAR_OK;
    const char *vendor = NULL;
    for (size_t i = 0; i < HG_LEN(vendors); i++)
        if (hg_streq(text, vendors[i].id)) vendor = vendors[i].vendor;
    if (!vendor || (hg_streq(vendor, "NVIDIA") && d->nvidia_known)) return HANGAR_OK;
    hg_gpu *gpu = &d->hw->gpus[d->hw->gpu_count++];
    *gpu = (hg_gpu){0};
    hg_escape(hg_str_of(vendor), gpu->vendor, sizeof gpu->vendor);
    snprintf(path, sizeof path, "/sys/class/drm/%s/device/product_name", name);
    if (!hg_hw_text(d->root, path, gpu->name, sizeof gpu->name) || !gpu->name[0]) {
        snprintf(path, sizeof path, "/sys/class/drm/%s/device/device", name);
        if (!hg_hw_text(d->root, path, text, sizeof text)) snprintf(text, sizeof text, "?");
        snprintf(gpu->name, sizeof gpu->name, "%s GPU %.20s", vendor, text);
    }
    snprintf(path, sizeof path, "/sys/class/drm/%s/device/mem_info_vram_total", name);
    if (!hg_hw_number(d->root, path, &gpu->memory)) gpu->memory = 0;
    driver_of(d->root, name, gpu->driver, sizeof gpu->driver);
    return HANGAR_OK;
}

void hg_hw_drm(const char *root, hg_hardware *hw)
{
    drm d = {.root = root, .hw = hw, .nvidia_known = hw->gpu_count > 0};
    HG_AUTO(hg_auto_free) char *dir = hg_format("%s/sys/class/drm", root);
    if (dir) hg_list_dir(dir, see_card, &d, NULL);
}
