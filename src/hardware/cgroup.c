/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups. /proc/self/cgroup says in which groups this process is, /proc/self/mountinfo where their files are;
 * both versions may be mounted at once. A limit of any group on the way up to the mount counts.
 */
#include "hardware/inner.h"

#include "base/mem.h"

/* The folder of this process's group in one hierarchy. */
typedef struct group_dir {
    char path[1024]; /* "" = not there */
    size_t mount;    /* length of the part of path that is the mount point */
} group_dir;

/* Whether a comma-separated list has a word. */
static bool listed(hg_str list, const char *word)
{
    hg_str head;
    bool more = true;
    while (more) {
        more = hg_str_cut(&list, ',', &head);
        if (hg_str_eq(head, hg_str_of(word))) return true;
    }
    return false;
}

/* The group's path in the hierarchy of `controller` ("" = version 2), from lines "ID:CONTROLLERS:PATH". */
static bool group_path(hg_str cgroups, const char *controller, hg_str *out)
{
    hg_str line, id, names;
    bool more = cgroups.len != 0;
    while (more) {
        more = hg_str_cut(&cgroups, '\n', &line);
        if (!hg_str_cut(&line, ':', &id) || !hg_str_cut(&line, ':', &names)) continue;
        if (*controller ? !listed(names, controller) : names.len != 0) continue;
        *out = line;
        return true;
    }
    return false;
}

/* One line of mountinfo: "ID PARENT DEV ROOT POINT OPTIONS... - TYPE SOURCE SUPER"; false when it is another kind. */
static bool mount_of(hg_str line, const char *controller, hg_str *root, hg_str *point)
{
    hg_str word = {0}, type, super;
    for (int i = 0; i < 3; i++) hg_str_cut(&line, ' ', &word);
    hg_str_cut(&line, ' ', root);
    hg_str_cut(&line, ' ', point);
    do {
        if (!hg_str_cut(&line, ' ', &word)) return false;
    } while (!hg_str_eq(word, HG_STR("-")));
    hg_str_cut(&line, ' ', &type);
    hg_str_cut(&line, ' ', &word);
    super = line;
    if (!*controller) return hg_str_eq(type, HG_STR("cgroup2"));
    return hg_str_eq(type, HG_STR("cgroup")) && listed(super, controller);
}

static void find_group(hg_str cgroups, hg_str mounts, const char *controller, group_dir *out)
{
    hg_str path, line, root, point;
    bool more = mounts.len != 0;
    *out = (group_dir){0};
    if (!group_path(cgroups, controller, &path)) return;
    while (more) {
        more = hg_str_cut(&mounts, '\n', &line);
        if (!mount_of(line, controller, &root, &point)) continue;
        /* In a container the mount shows a part of the tree: the group's path begins with the root of that part. */
        if (root.len > 1 && hg_str_starts(path, root))
            path = (hg_str){path.ptr + root.len, path.len - root.len};
        if (path.len == 1 || hg_str_starts(path, HG_STR("/.."))) path.len = 0;
        if (point.len + path.len >= sizeof out->path) return;
        memcpy(out->path, point.ptr, point.len);
        memcpy(out->path + point.len, path.ptr, path.len);
        out->path[point.len + path.len] = '\0';
        out->mount = point.len;
        return;
    }
}

/* dir/name as a number. */
static bool group_number(const char *root, const char *dir, const char *name, uint64_t *out)
{
    HG_AUTO(hg_auto_free) char *path = hg_format("%s/%s", dir, name);
    return path && hg_hw_number(root, path, out);
}

/* "NAME NUMBER" in dir/memory.stat; 0 when it is not there. */
static uint64_t stat_number(const char *root, const char *dir, const char *name)
{
    HG_AUTO(hg_auto_free) char *path = hg_format("%s/memory.stat", dir);
    hg_buf text;
    uint64_t n = 0;
    if (!path || !hg_hw_file(root, path, &text)) return 0;
    hg_str rest = hg_buf_view(&text), line, key;
    bool more = rest.len != 0;
    while (more) {
        more = hg_str_cut(&rest, '\n', &line);
        if (hg_str_cut(&line, ' ', &key) && hg_str_eq(key, hg_str_of(name)) && hg_u64_parse(line, &n)) break;
    }
    hg_buf_deinit(&text);
    return n;
}

/* The group above; false at the mount point. */
static bool go_up(group_dir *dir)
{
    char *slash = strlen(dir->path) > dir->mount ? strrchr(dir->path, '/') : NULL;
    if (!slash) return false;
    *slash = '\0';
    return true;
}

static void read_memory(const char *root, group_dir dir, bool v2, hg_cgroup *out)
{
    if (!dir.path[0]) return;
    do {
        uint64_t limit, used = 0, droppable;
        if (!group_number(root, dir.path, v2 ? "memory.max" : "memory.limit_in_bytes", &limit)) continue;
        if (limit >= out->memory_limit) continue;
        group_number(root, dir.path, v2 ? "memory.current" : "memory.usage_in_bytes", &used);
        droppable = stat_number(root, dir.path, v2 ? "inactive_file" : "total_inactive_file");
        out->memory_limit = limit;
        out->memory_used = used > droppable ? used - droppable : 0;
    } while (go_up(&dir));
}

static void note_quota(uint64_t quota, uint64_t period, hg_cgroup *out)
{
    if (quota == UINT64_MAX || quota == 0 || period == 0) return;
    double cpus = (double)quota / (double)period;
    if (out->cpus == 0 || cpus < out->cpus) out->cpus = cpus;
}

static void read_cpu(const char *root, group_dir dir, bool v2, hg_cgroup *out)
{
    if (!dir.path[0]) return;
    do {
        uint64_t quota, period;
        if (!v2) {
            if (group_number(root, dir.path, "cpu.cfs_quota_us", &quota) &&
                group_number(root, dir.path, "cpu.cfs_period_us", &period))
                note_quota(quota, period, out);
            continue;
        }
        char text[64];
        HG_AUTO(hg_auto_free) char *path = hg_format("%s/cpu.max", dir.path);
        if (!path || !hg_hw_text(root, path, text, sizeof text)) continue;
        hg_str rest = hg_str_of(text), head;
        hg_str_cut(&rest, ' ', &head);
        if (hg_u64_parse(head, &quota) && hg_u64_parse(rest, &period)) note_quota(quota, period, out);
    } while (go_up(&dir));
}

void hg_hw_cgroup(const char *root, hg_cgroup *out)
{
    hg_buf cgroups, mounts;
    *out = (hg_cgroup){.memory_limit = UINT64_MAX};
    if (!hg_hw_file(root, "/proc/self/cgroup", &cgroups)) return;
    if (hg_hw_file(root, "/proc/self/mountinfo", &mounts)) {
        hg_str c = hg_buf_view(&cgroups), m = hg_buf_view(&mounts);
        group_dir dir;
        find_group(c, m, "", &dir);
        read_memory(root, dir, true, out);
        read_cpu(root, dir, true, out);
        find_group(c, m, "memory", &dir);
        read_memory(root, dir, false, out);
        find_group(c, m, "cpu", &dir);
        read_cpu(root, dir, false, out);
        hg_buf_deinit(&mounts);
    }
    hg_buf_deinit(&cgroups);
}
