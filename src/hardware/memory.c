/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory and how many threads there are for us. */
#include "hardware/inner.h"

#include "base/mem.h"
#include "base/spread.h"

#include <math.h>
#include <unistd.h>

/* "24682416 kB" in bytes; 0 when malformed. */
static uint64_t kib_field(hg_str text, const char *name)
{
    hg_str value, number;
    uint64_t n;
    if (!hg_hw_field(text, name, &value)) return 0;
    hg_str_cut(&value, ' ', &number);
    return hg_u64_parse(number, &n) && hg_mul(n, 1024, &n) ? n : 0;
}

void hg_hw_memory(const char *root, const hg_cgroup *group, hg_hardware *hw)
{
    hg_buf info;
    if (hg_hw_file(root, "/proc/meminfo", &info)) {
        hw->memory_total = kib_field(hg_buf_view(&info), "MemTotal");
        hw->memory_available = kib_field(hg_buf_view(&info), "MemAvailable");
        hg_buf_deinit(&info);
    }
    if (group->memory_limit == UINT64_MAX || (hw->memory_total && group->memory_limit >= hw->memory_total))
        return;
    uint64_t left = group->memory_limit > group->memory_used ? group->memory_limit - group->memory_used : 0;
    hw->memory_limit = group->memory_limit;
    if (!hw->memory_total || left < hw->memory_available) hw->memory_available = left;
}

unsigned hg_hw_usable(const hg_cgroup *group)
{
    unsigned n = hg_usable_cores();
    if (group->cpus > 0 && ceil(group->cpus) < n) n = (unsigned)ceil(group->cpus);
    return n ? n : 1;
}

unsigned hg_usable_threads(void)
{
    hg_cgroup group;
    hg_hw_cgroup("", &group);
    return hg_hw_usable(&group);
}

uint64_t hg_usable_memory(void)
{
    hg_cgroup group;
    hg_hardware hw = {0};
    hg_hw_cgroup("", &group);
    hg_hw_memory("", &group, &hw);
    return hw.memory_available;
}

uint64_t hg_total_memory(void)
{
    hg_cgroup group;
    hg_hardware hw = {0};
    hg_hw_cgroup("", &group);
    hg_hw_memory("", &group, &hw);
    return hw.memory_limit ? hw.memory_limit : hw.memory_total;
}
