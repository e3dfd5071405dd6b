/* SPDX-License-Identifier: Apache-2.0 */
/* The picture of the machine: this one, and others played by folders. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"
#include "hardware/inner.h"

static void put(const char *path, const char *text)
{
    hangar_err err = {0};
    if (hg_write_file(path, text, strlen(text), 0644, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

static void test_this_machine(void **state)
{
    (void)state;
    hg_hardware hw;
    hg_hardware_read("no/such/folder", &hw);
    assert_true(hw.threads >= 1 && hw.cores >= 1 && hw.sockets >= 1);
    assert_true(hw.usable >= 1 && hw.usable <= hw.threads);
    assert_true(hw.memory_total > 0 && hw.memory_available > 0 && hw.memory_available <= hw.memory_total);
    assert_true(hw.disk_known && hw.disk_free > 0);
    assert_true(hw.profile[0] && hw.why[0]);
    assert_int_equal(hg_usable_threads(), hw.usable);
    assert_true(hg_usable_memory() > 0);
    char *json = NULL;
    hg_json *doc;
    assert_int_equal(hg_hardware_json(&hw, &json, NULL), HANGAR_OK);
    assert_int_equal(hg_json_parse(hg_str_of(json), NULL, &doc, NULL), HANGAR_OK);
    const hg_jval *root = hg_json_root(doc);
    assert_int_equal(hg_json_i64_or(hg_json_path(root, "cpu", "usable", NULL), 0), hw.usable);
    assert_true(hg_json_is_array(hg_json_path(root, "cpu", "isa", NULL)));
    assert_true(hg_json_is_array(hg_json_path(root, "cpu", "caches", NULL)));
    assert_true(hg_json_is_array(hg_json_get(root, "gpus")));
    assert_true(hg_json_is_number(hg_json_path(root, "memory", "total", NULL)));
    assert_string_equal(hg_json_text(hg_json_path(root, "disk", "path", NULL)), "no/such/folder");
    assert_string_equal(hg_json_text(hg_json_path(root, "profile", "name", NULL)), hw.profile);
    hg_json_free(doc);
    free(json);
    /* What is not known is null, not 0. */
    hg_hardware none = {0};
    assert_int_equal(hg_hardware_json(&none, &json, NULL), HANGAR_OK);
    assert_non_null(strstr(json, "\"model\":null"));
    assert_non_null(strstr(json, "\"memory\":{\"total\":null,\"available\":null,\"limit\":null}"));
    assert_non_null(strstr(json, "\"free\":null"));
    free(json);
}

static void test_affinity(void **state)
{
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(hg_usable_threads(), 1);
    sched_setaffinity(0, sizeof all, &all);
    hg_cgroup half = {.cpus = 0.5};
    assert_int_equal(hg_hw_usable(&half), 1);
}

static void expect_isa(const hg_hardware *hw, const char *names)
{
    char text[400] = "";
    for (size_t i = 0; i < hw->isa_count; i++) strcat(strcat(text, hw->isa[i]), " ");
    assert_string_equal(text, names);
}

static void test_cpuinfo(void **state)
{
    (void)state;
    hg_hardware hw = {0};
    put("x86/proc/cpuinfo",
        "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Some Xeon\n"
        "flags\t\t: fpu sse4_2 avx avx2 fma f16c avx512f avx512bw avx512vl avx512_vnni sha_ni\n\n"
        "processor\t: 1\nvendor_id\t: Other\nmodel name\t: Other\nflags\t\t: none\n");
    hg_hw_cpuinfo("x86", &hw);
    assert_string_equal(hw.cpu_model, "Some Xeon");
    assert_string_equal(hw.cpu_vendor, "Intel");
    expect_isa(&hw, "sse4_2 avx avx2 fma f16c avx512f avx512bw avx512vl avx512_vnni sha_ni ");
    hg_hw_profile(&hw);
    assert_string_equal(hw.profile, "cpu-avx512-vnni");

    hw = (hg_hardware){0};
    put("arm/proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd aes sha2 asimdhp asimddp i8mm neon sve\n"
                            "CPU implementer\t: 0x41\n");
    hg_hw_cpuinfo("arm", &hw);
    assert_string_equal(hw.cpu_vendor, "ARM");
    expect_isa(&hw, "neon fp16 dotprod i8mm sve sha2 ");
    hg_hw_profile(&hw);
    assert_string_equal(hw.profile, "cpu-arm-i8mm");

    hw = (hg_hardware){.usable = 1};
    put("odd/proc/cpuinfo", "model name\t: evil\x1b[2J\nflags without colon\n");
    hg_hw_cpuinfo("odd", &hw);
    assert_string_equal(hw.cpu_model, "evil\\x1b[2J");
    hg_hw_profile(&hw);
    assert_string_equal(hw.profile, "cpu-baseline");
    hg_hw_cpuinfo("nowhere", &hw);
}

static void test_cgroup_v2(void **state)
{
    (void)state;
    hg_cgroup g;
    hg_hardware hw = {0};
    put("v2/proc/self/cgroup", "0::/user.slice/app\n");
    put("v2/proc/self/mountinfo",
        "20 1 0:19 / /proc rw - proc proc rw\n"
        "30 20 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
    put("v2/sys/fs/cgroup/user.slice/memory.max", "1000000000\n");
    put("v2/sys/fs/cgroup/user.slice/memory.current", "400000000\n");
    put("v2/sys/fs/cgroup/user.slice/memory.stat", "anon 5\ninactive_file 100000000\nfile 7\n");
    put("v2/sys/fs/cgroup/user.slice/app/memory.max", "max\n");
    put("v2/sys/fs/cgroup/user.slice/app/cpu.max", "150000 100000\n");
    put("v2/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
    put("v2/proc/meminfo", "MemTotal:        8000000 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\n");
    hg_hw_cgroup("v2", &g);
    assert_int_equal(g.memory_limit, 1000000000);
    assert_int_equal(g.memory_used, 300000000);
    assert_true(g.cpus == 1.5);
    hg_hw_memory("v2", &g, &hw);
    assert_int_equal(hw.memory_total, 8000000ull * 1024);
    assert_int_equal(hw.memory_limit, 1000000000);
    assert_int_equal(hw.memory_available, 700000000);
    /* A limit above what the machine has is none. */
    put("v2/sys/fs/cgroup/user.slice/memory.max", "99000000000000\n");
    hw = (hg_hardware){0};
    hg_hw_cgroup("v2", &g);
    hg_hw_memory("v2", &g, &hw);
    assert_int_equal(hw.memory_limit, 0);
    assert_int_equal(hw.memory_available, 4000000ull * 1024);
}

static void test_cgroup_v1(void **state)
{
    (void)state;
    hg_cgroup g;
    put("v1/proc/self/cgroup",
        "9:name=systemd:/\n4:memory:/docker/abc/inner\n2:cpu,cpuacct:/docker/abc\n0::/\n");
    put("v1/proc/self/mountinfo",
        "40 30 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "41 30 0:31 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro master:5 - cgroup cgroup rw,cpu,cpuacct\n"
        "42 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\nbroken line\n");
    put("v1/sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000000\n");
    put("v1/sys/fs/cgroup/memory/memory.usage_in_bytes", "600000000\n");
    put("v1/sys/fs/cgroup/memory/memory.stat", "total_inactive_file 900000000\n");
    put("v1/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "9223372036854771712\n");
    put("v1/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
    put("v1/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    hg_hw_cgroup("v1", &g);
    assert_int_equal(g.memory_limit, 2000000000);
    assert_int_equal(g.memory_used, 0);
    assert_true(g.cpus == 0.5);
    put("v1/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    hg_hw_cgroup("v1", &g);
    assert_true(g.cpus == 0);
    hg_hw_cgroup("nowhere", &g);
    assert_true(g.memory_limit == UINT64_MAX && g.cpus == 0);
}

static void test_drm(void **state)
{
    (void)state;
    hg_hardware hw = {0};
    put("drm/sys/class/drm/card0/device/vendor", "0x1002\n");
    put("drm/sys/class/drm/card0/device/device", "0x744c\n");
    put("drm/sys/class/drm/card0/device/mem_info_vram_total", "25753026560\n");
    put("drm/sys/class/drm/card1/device/vendor", "0x8086\n");
    put("drm/sys/class/drm/card1/device/product_name", "Arc\n");
    assert_int_equal(symlink("../../../../bus/pci/drivers/i915", "drm/sys/class/drm/card1/device/driver"), 0);
    put("drm/sys/class/drm/card2/device/vendor", "0x1a03\n");          /* a server's console */
    put("drm/sys/class/drm/card0-HDMI-A-1/device/vendor", "0x1002\n"); /* a plug */
    put("drm/sys/class/drm/renderD128/device/vendor", "0x1002\n");
    put("drm/sys/class/drm/version", "drm\n");
    hg_hw_drm("drm", &hw);
    assert_int_equal(hw.gpu_count, 2);
    assert_string_equal(hw.gpus[0].name, "AMD GPU 0x744c");
    assert_string_equal(hw.gpus[0].vendor, "AMD");
    assert_int_equal(hw.gpus[0].memory, 25753026560);
    assert_string_equal(hw.gpus[1].name, "Arc");
    assert_string_equal(hw.gpus[1].driver, "i915");
    hg_hw_profile(&hw);
    assert_string_equal(hw.profile, "cpu-baseline");
    hg_hw_drm("nowhere", &hw);
    assert_int_equal(hw.gpu_count, 2);
}

/* The driver's library, played by one with the same functions. */
static const char fake_nvml[] =
    "#include <string.h>\n"
    "int nvmlInit_v2(void){return 0;} int nvmlShutdown(void){return 0;}\n"
    "int nvmlDeviceGetCount_v2(unsigned*n){*n=2;return 0;}\n"
    "int nvmlDeviceGetHandleByIndex_v2(unsigned i,void**d){*d=(void*)(unsigned long)(i+1);return "
    "i==1?15:0;}\n"
    "int nvmlDeviceGetName(void*d,char*s,unsigned n){(void)d;strncpy(s,\"NVIDIA H200\",n);return 0;}\n"
    "int nvmlDeviceGetMemoryInfo(void*d,unsigned long "
    "long*m){(void)d;m[0]=150754820096ull;m[1]=m[2]=0;return 0;}\n"
    "int nvmlSystemGetDriverVersion(char*s,unsigned n){strncpy(s,\"550.1\",n);return 0;}\n";

static void test_nvidia(void **state)
{
    (void)state;
    hg_hardware hw = {0};
    hg_hw_nvidia("./no-such-library.so", &hw);
    assert_int_equal(hw.gpu_count, 0);
    put("fake.c", fake_nvml);
    put("empty.c", "int nvmlInit_v2(void);\nint nvmlInit_v2(void){return 0;}\n");
    if (system("cc -shared -fPIC -o fake.so fake.c && cc -shared -fPIC -o empty.so empty.c") != 0) skip();
    hg_hw_nvidia("./empty.so", &hw); /* a library that lacks what is needed */
    assert_int_equal(hw.gpu_count, 0);
    hg_hw_nvidia("./fake.so", &hw);
    assert_int_equal(hw.gpu_count, 1);
    assert_string_equal(hw.gpus[0].name, "NVIDIA H200");
    assert_string_equal(hw.gpus[0].driver, "550.1");
    assert_int_equal(hw.gpus[0].memory, 150754820096);
    hg_hw_profile(&hw);
    assert_string_equal(hw.profile, "gpu-nvidia");
    assert_non_null(strstr(hw.why, "150.8 GB"));
    /* What the library told of is not told again by the kernel's list. */
    put("nv/sys/class/drm/card0/device/vendor", "0x10de\n");
    hg_hw_drm("nv", &hw);
    assert_int_equal(hw.gpu_count, 1);
    hw = (hg_hardware){0};
    hg_hw_drm("nv", &hw);
    assert_int_equal(hw.gpu_count, 1);
    hg_hw_profile(&hw);
    assert_string_equal(hw.profile, "cpu-baseline"); /* a card whose driver does not answer */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_machine), cmocka_unit_test(test_affinity),  cmocka_unit_test(test_cpuinfo),
        cmocka_unit_test(test_cgroup_v2),    cmocka_unit_test(test_cgroup_v1), cmocka_unit_test(test_drm),
        cmocka_unit_test(test_nvidia),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
