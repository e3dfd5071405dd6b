/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two locks. Landlock takes away every file but the named ones; it binds the calling thread and those made
 * later, so a runner enters before its engine starts threads. seccomp takes away the system calls that reach
 * out of the process; it is put on all threads at once. The filter names what is forbidden and allows the
 * rest: an engine's libraries change too much for the opposite.
 */
#include "base/sandbox.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rights on files by the version of Landlock that knows them; the numbers are the kernel's. */
#define FS_V1        ((UINT64_C(1) << 13) - 1)
#define FS_REFER     (UINT64_C(1) << 13) /* 2 */
#define FS_TRUNCATE  (UINT64_C(1) << 14) /* 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* 5 */
/* The rights that make sense on a single file. */
#define FS_ON_FILE                                                                               \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | \
     FS_TRUNCATE | FS_IOCTL_DEV)

/* ---- Landlock ---- */

/* Lets `rights` be used at and below a path. A path that is not there is passed over. */
static hangar_code allow_path(int ruleset, const char *path, uint64_t rights, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? HANGAR_OK : hg_fail_errno(err, errno, "opening %s", path);
    struct stat st;
    if (fstat(fd, &st) != 0) return hg_fail_errno(err, errno, "looking at %s", path);
    if (!S_ISDIR(st.st_mode)) rights &= FS_ON_FILE;
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
        return hg_fail_errno(err, errno, "allowing %s in the sandbox", path);
    return HANGAR_OK;
}

/* *entered stays false when the kernel has no Landlock. */
static hangar_code enter_landlock(const hg_sandbox *box, bool *entered, hangar_err *err)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) return HANGAR_OK;
    uint64_t handled = FS_V1;
    if (version >= 2) handled |= FS_REFER;
    if (version >= 3) handled |= FS_TRUNCATE;
    if (version >= 5) handled |= FS_IOCTL_DEV;
    struct landlock_ruleset_attr attr = {.handled_access_fs = handled};
    HG_AUTO(hg_auto_close) int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0) return HANGAR_OK;
    hangar_code code = HANGAR_OK;
    uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    for (const char *const *p = box->read_only; p && *p && code == HANGAR_OK; p++)
        code = allow_path(ruleset, *p, read, err);
    for (const char *const *p = box->writable; p && *p && code == HANGAR_OK; p++)
        code = allow_path(ruleset, *p, handled & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE, err);
    if (code != HANGAR_OK) return code;
    *entered = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    return HANGAR_OK;
}

/* ---- seccomp ---- */

/* Calls that a runner has no business with: new connections, programs, other processes, the kernel's workings. */
static const char *const denied[] = {
    "socket",
    "socketpair",
    "connect",
    "bind",
    "listen",
    "accept",
    "accept4",
    "execve",
    "execveat",
    "fork",
    "vfork",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "pidfd_open",
    "pidfd_getfd",
    "pidfd_send_signal",
    "kcmp",
    "mount",
    "umount",
    "umount2",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "keyctl",
    "add_key",
    "request_key",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "syslog",
    "open_by_handle_at",
    "name_to_handle_at",
    "iopl",
    "ioperm",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "capset",
    "tkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "vhangup",
    "lookup_dcookie",
};

/* Signals and limits only for the process itself; new threads but no new processes. */
static int deny_by_argument(scmp_filter_ctx ctx)
{
    uint32_t no = SCMP_ACT_ERRNO(EPERM);
    scmp_datum_t self = (scmp_datum_t)getpid();
    int rc = 0;
    if (rc == 0) rc = seccomp_rule_add(ctx, no, SCMP_SYS(kill), 1, SCMP_A0(SCMP_CMP_NE, self, 0));
    if (rc == 0) rc = seccomp_rule_add(ctx, no, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_NE, self, 0));
    if (rc == 0) rc = seccomp_rule_add(ctx, no, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_NE, 0, 0));
    return rc;
}

static int deny_processes(scmp_filter_ctx ctx)
{
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    /* clone3 hides its flags in memory; with ENOSYS the C library uses clone. */
    if (rc == 0) rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return rc;
}

/* False when the kernel (or a container around us) does not let us. */
static bool enter_seccomp(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx) return false;
    int rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    for (size_t i = 0; i < HG_LEN(denied) && rc == 0; i++) {
        int number = seccomp_syscall_resolve_name(denied[i]);
        if (number == __NR_SCMP_ERROR) continue; /* not on this machine */
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), number, 0);
    }
    if (rc == 0) rc = deny_by_argument(ctx);
    if (rc == 0) rc = deny_processes(ctx);
    if (rc == 0) rc = seccomp_load(ctx);
    seccomp_release(ctx);
    return rc == 0;
}

hangar_code hg_sandbox_enter(const hg_sandbox *box, int *out_level, hangar_err *err)
{
    bool files = false, calls = false;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) {
        hangar_code code = enter_landlock(box, &files, err);
        if (code != HANGAR_OK) return code;
        calls = enter_seccomp();
    }
    if (out_level) *out_level = calls ? (files ? 2 : 1) : 0;
    return HANGAR_OK;
}
