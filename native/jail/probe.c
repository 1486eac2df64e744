/* `acejail --probe`: what this machine offers, tried and not guessed, as one JSON object for `acesandbox doctor`.
 *
 *   {"kernel": "...", "machine": "...", "uid": n, "capabilities": "hex", "uid_map": "...", "container": ["sign", ...],
 *    "sysctls": {"name": value or null, ...},
 *    "mechanisms": [{"name": "...", "available": bool, "why": "..."}, ...],
 *    "tiers": {"namespaces": {"available": bool, "why": "..."}, "seccomp": {...}}}
 *
 * `why` is the reason when something is missing, else a detail worth knowing. Everything that changes a process is tried
 * in a child, and nothing is left behind. */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "jail.h"
#include "kernel.h"
#include "landlock.h"
#include "namespaces.h"
#include "privileges.h"

#ifndef SECCOMP_GET_ACTION_AVAIL
#define SECCOMP_GET_ACTION_AVAIL 2
#endif
#ifndef SECCOMP_RET_USER_NOTIF
#define SECCOMP_RET_USER_NOTIF 0x7fc00000U
#endif
#ifndef SECCOMP_FILTER_FLAG_NEW_LISTENER
#define SECCOMP_FILTER_FLAG_NEW_LISTENER (1UL << 3)
#endif

/* An id that is surely not root's; nothing but the probe's own children ever has it. */
#define PROBE_ID 65534

/* ---- JSON ---------------------------------------------------------------------------------------------------- */

static void print_string(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < ' ')
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static bool first_mechanism = true;

static void mechanism(const char *name, bool available, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void mechanism(const char *name, bool available, const char *format, ...)
{
    char why[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    printf("%s\n  {\"name\": ", first_mechanism ? "" : ",");
    first_mechanism = false;
    print_string(name);
    printf(", \"available\": %s, \"why\": ", available ? "true" : "false");
    print_string(why);
    putchar('}');
}

/* ---- facts --------------------------------------------------------------------------------------------------- */

/* The first line of a small file without its line end, blanks squeezed; false if it cannot be read. */
static bool read_line(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return false;
    size_t to = 0;
    for (ssize_t from = 0; from < n && out[from] != '\n' && out[from] != '\0'; from++) {
        bool blank = out[from] == ' ' || out[from] == '\t';
        if (!blank)
            out[to++] = out[from];
        else if (to > 0 && out[to - 1] != ' ')
            out[to++] = ' ';
    }
    out[to] = '\0';
    return true;
}

static void print_sysctls(void)
{
    static const char *const names[] = {
        "user.max_user_namespaces",
        "user.max_net_namespaces",
        "kernel.unprivileged_userns_clone",
        "kernel.apparmor_restrict_unprivileged_userns",
        "kernel.apparmor_restrict_unprivileged_unconfined",
        "kernel.yama.ptrace_scope",
        "kernel.core_pattern",
        "kernel.pid_max",
        "vm.overcommit_memory",
    };
    printf("\"sysctls\": {");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128], value[256];
        snprintf(path, sizeof path, "/proc/sys/%s", names[i]);
        for (char *dot = path + strlen("/proc/sys/"); *dot != '\0'; dot++)
            if (*dot == '.')
                *dot = '/';
        printf("%s\"%s\": ", i == 0 ? "" : ", ", names[i]);
        if (read_line(path, value, sizeof value))
            print_string(value);
        else
            printf("null");
    }
    printf("},\n");
}

static bool is_mount_point_below_proc(void)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (file == NULL)
        return true;
    char line[4096];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL)
        found = strstr(line, " /proc/") != NULL && strstr(line, " /proc/sys/fs/binfmt_misc ") == NULL;
    fclose(file);
    return found;
}

static void print_container_signs(void)
{
    const char *signs[8];
    size_t count = 0;
    char map[128];
    if (access("/.dockerenv", F_OK) == 0)
        signs[count++] = "/.dockerenv";
    if (access("/run/.containerenv", F_OK) == 0)
        signs[count++] = "/run/.containerenv";
    if (getenv("KUBERNETES_SERVICE_HOST") != NULL)
        signs[count++] = "KUBERNETES_SERVICE_HOST is set";
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2)
        signs[count++] = "a seccomp filter is in force already";
    if (is_mount_point_below_proc())
        signs[count++] = "parts of /proc are masked";
    if (read_line("/proc/self/uid_map", map, sizeof map) && strcmp(map, "0 0 4294967295") != 0)
        signs[count++] = "inside a user namespace";
    printf("\"container\": [");
    for (size_t i = 0; i < count; i++) {
        printf("%s", i == 0 ? "" : ", ");
        print_string(signs[i]);
    }
    printf("],\n");
}

/* ---- trials -------------------------------------------------------------------------------------------------- */

/* What a trial in new namespaces came to. */
struct trial {
    bool cloned, mapped, mounted, proc;
    enum identity identity;
    int error; /* of the step that failed */
    const char *step;
};

/* In the trial's first process: the steps of a real jail that policies are known to refuse. One byte per step. */
static _Noreturn void trial_child(const struct config *cfg, int parent)
{
    char go;
    int report[3] = {0, 0, 0}; /* identity, mount, proc: errno + 1 where it failed */
    if (read(parent, &go, 1) != 1)
        _exit(1);
    uid_t uid = cfg->identity == IDENTITY_CHANGED ? cfg->uid : INNER_ID;
    if (cfg->identity != IDENTITY_CHANGED && (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
        report[0] = errno + 1;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("tmpfs", "/tmp", "tmpfs", 0, "size=64k") < 0)
        report[1] = errno + 1;
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount("proc", "/tmp", "proc", flags, NULL) < 0 && mount("proc", "/tmp", "proc", flags | MS_RDONLY, NULL) < 0)
        report[2] = errno + 1;
    _exit(write(parent, report, sizeof report) == sizeof report ? 0 : 1);
}

static struct trial try_namespaces(void)
{
    struct trial trial = {.step = "clone"};
    struct config cfg = {.uid = PROBE_ID, .gid = PROBE_ID};
    int sockets[2], report[3];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) {
        trial.error = errno;
        return trial;
    }
    fflush(stdout);
    pid_t child = clone_into_namespaces(&cfg);
    if (child == 0) {
        close(sockets[0]);
        trial_child(&cfg, sockets[1]);
    }
    close(sockets[1]);
    trial.error = errno;
    trial.identity = cfg.identity;
    if (child < 0) {
        close(sockets[0]);
        return trial;
    }
    trial.cloned = true;
    trial.step = "id maps";
    trial.mapped = write_id_maps(&cfg, child) == 0;
    trial.error = errno;
    if (trial.mapped && write(sockets[0], "g", 1) == 1 && read(sockets[0], report, sizeof report) == sizeof report) {
        trial.mapped = report[0] == 0;
        trial.mounted = trial.mapped && report[1] == 0;
        trial.proc = report[2] == 0;
        trial.step = !trial.mapped ? "identity" : "mounts";
        trial.error = !trial.mapped ? report[0] - 1 : report[1] - 1;
    }
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, __WALL);
    close(sockets[0]);
    return trial;
}

/* 0 if a child that may start new namespaces of this kind lives, else the errno. With root's own rights first. */
static int try_namespace(unsigned long flag)
{
    fflush(stdout);
    pid_t child = (pid_t)syscall(SYS_clone, flag | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child < 0 && geteuid() == 0 && flag != CLONE_NEWUSER)
        child = (pid_t)syscall(SYS_clone, flag | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    if (child < 0)
        return errno;
    (void)waitpid(child, NULL, 0);
    return 0;
}

/* 0 if a filter with a listener can be installed, else the errno. */
static int try_listener(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        return errno;
    if (child == 0) {
        struct sock_filter all[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
        struct sock_fprog filter = {.len = 1, .filter = all};
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        _exit(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter) < 0 ? errno : 0);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

static void probe_namespaces(const struct trial *trial)
{
    static const struct {
        const char *name;
        unsigned long flag;
    } kinds[] = {{"user namespace", CLONE_NEWUSER}, {"mount namespace", CLONE_NEWNS},
                 {"pid namespace", CLONE_NEWPID},   {"network namespace", CLONE_NEWNET},
                 {"ipc namespace", CLONE_NEWIPC},   {"uts namespace", CLONE_NEWUTS}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int error = try_namespace(kinds[i].flag);
        if (error == 0)
            mechanism(kinds[i].name, true, "%s", "");
        else
            mechanism(kinds[i].name, false, "%s; %s", strerror(error), namespace_remedy(error));
    }
    mechanism("mounts in new namespaces", trial->mounted, "%s%s%s", trial->mounted ? "" : strerror(trial->error),
              trial->mounted ? "" : "; ", trial->mounted ? "" : namespace_remedy(trial->error));
    mechanism("proc in a pid namespace", trial->proc, "%s",
              trial->proc ? ""
              : trial->cloned
                  ? "a container masks parts of /proc: idle time is told by CPU time alone, and a program that sleeps "
                    "again and again is cut after ten times idle_s"
                  : "no pid namespace");
}

static void probe_seccomp(bool *has_filter)
{
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    *has_filter =
        syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
    mechanism("seccomp filter", *has_filter, "%s",
              *has_filter ? "" : "the kernel was built without CONFIG_SECCOMP_FILTER");
    int error = try_listener();
    mechanism("seccomp user notification", error == 0, "%s%s", error == 0 ? "" : strerror(error),
              error == 0       ? ""
              : error == EBUSY ? "; a container's runtime listens already: attacks are killed but not named"
                               : "; needs Linux 5.0: attacks are killed but not named");
}

static int probe_landlock(void)
{
    int error;
    int abi = landlock_abi(&error);
    if (abi > 0)
        mechanism("Landlock", true, "ABI %d: files%s%s%s", abi, abi >= 3 ? ", truncation" : "", abi >= 4 ? ", TCP" : "",
                  abi >= 6 ? ", abstract sockets, signals" : "");
    else
        mechanism("Landlock", false, "%s; %s", strerror(error),
                  error == EOPNOTSUPP ? "built in but not enabled: add landlock to the kernel's lsm= list"
                                      : "needs Linux 5.13, and a seccomp policy that allows it");
    return abi;
}

static void probe_cgroup(void)
{
    struct config cfg = {.memory_mb = 64, .cgroup_wanted = true, .cgroup_events_fd = -1, .cgroup_peak_fd = -1};
    char own[PATH_BYTES];
    bool v2 = cgroup_own_directory(NULL, own);
    mechanism("cgroup v2 mounted", v2, "%s", v2 ? own : "");
    bool v1 = cgroup_own_directory("memory", own);
    mechanism("cgroup v1 memory mounted", v1, "%s", v1 ? own : "");
    cgroup_set_up(&cfg);
    /* the right to make a group is not yet the right to move a process into it */
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    if (child > 0) {
        cgroup_enter(&cfg, child);
        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
    }
    mechanism("memory limit by cgroup", cfg.cgroup != CGROUP_NONE, "%s%s",
              cfg.cgroup == CGROUP_V2   ? "version 2"
              : cfg.cgroup == CGROUP_V1 ? "version 1"
                                        : "address space is limited instead: ",
              cfg.cgroup == CGROUP_NONE ? cfg.cgroup_why : "");
    cgroup_remove();
}

static void probe_calls(void)
{
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    mechanism("pidfd", pidfd >= 0, "%s", pidfd >= 0 ? "" : "needs Linux 5.3: the host is looked at by polling");
    if (pidfd >= 0)
        close(pidfd);
    int sockets[2], peer = -1;
    socklen_t size = sizeof peer;
    bool has_peer = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0 &&
                    getsockopt(sockets[0], SOL_SOCKET, SO_PEERPIDFD, &peer, &size) == 0;
    mechanism("pidfd of a socket's peer", has_peer, "%s", has_peer ? "" : "needs Linux 6.5: the peer's number is used");
    bool has_range = syscall(SYS_close_range, ~0u, ~0u, 0u) == 0;
    mechanism("close_range", has_range, "%s", has_range ? "" : "needs Linux 5.9: descriptors are closed one by one");
    struct ace_mount_attr nothing = {0};
    bool has_setattr = syscall(SYS_mount_setattr, -1, "", 0, &nothing, sizeof nothing) == 0 || errno != ENOSYS;
    mechanism("mount_setattr", has_setattr, "%s",
              has_setattr ? "" : "needs Linux 5.12: mounts are restricted one by one");
}

static void print_tier(const char *name, bool available, const char *why, bool last)
{
    printf("  \"%s\": {\"available\": %s, \"why\": ", name, available ? "true" : "false");
    print_string(why);
    printf("}%s\n", last ? "" : ",");
}

static void print_tiers(const struct trial *trial, bool has_filter, int abi)
{
    char why[512] = "";
    bool root = geteuid() == 0;
    uint64_t capabilities = effective_capabilities();
    const uint64_t to_change_ids = CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID);
    bool can_change_ids = (capabilities & to_change_ids) == to_change_ids;

    bool namespaces = trial->mounted && has_filter;
    if (!namespaces)
        snprintf(why, sizeof why, "%s: %s; %s", has_filter ? trial->step : "seccomp filter",
                 strerror(has_filter ? trial->error : ENOSYS), namespace_remedy(trial->error));
    else if (trial->identity == IDENTITY_CHANGED)
        snprintf(why, sizeof why, "without a user namespace: real root changes its ids and keeps CAP_SYS_ADMIN");
    else if (trial->identity == IDENTITY_CALLER)
        snprintf(why, sizeof why, "programs run with this user's uid, in a user namespace");
    printf("\"tiers\": {\n");
    print_tier("namespaces", namespaces, why, false);

    bool seccomp = false;
    if (!has_filter)
        snprintf(why, sizeof why, "no seccomp filter");
    else if (root && !can_change_ids)
        snprintf(why, sizeof why, "root here may not change its ids: the container lacks CAP_SETUID and CAP_SETGID");
    else if (abi >= (root ? 1 : 3)) {
        seccomp = true;
        snprintf(why, sizeof why, "files by Landlock, %s", root ? "own uid" : "this user's uid");
    } else if (root && (capabilities & CAPABILITY(CAP_SYS_CHROOT)) != 0) {
        seccomp = true;
        snprintf(why, sizeof why, "files by chroot into a copy of the interpreter, own uid");
    } else {
        snprintf(why, sizeof why,
                 "needs Landlock (ABI 3 for an ordinary user, Linux 6.2), or root with CAP_SYS_CHROOT");
    }
    print_tier("seccomp", seccomp, why, true);
    printf("}");
}

int probe(void)
{
    struct utsname name;
    char map[128] = "";
    if (uname(&name) < 0)
        return 1;
    printf("{\"kernel\": ");
    print_string(name.release);
    printf(", \"machine\": ");
    print_string(name.machine);
    printf(",\n\"uid\": %lu, \"capabilities\": \"%llx\", \"uid_map\": ", (unsigned long)geteuid(),
           (unsigned long long)effective_capabilities());
    (void)read_line("/proc/self/uid_map", map, sizeof map);
    print_string(map);
    printf(",\n");
    print_container_signs();
    print_sysctls();
    printf("\"mechanisms\": [");
    struct trial trial = try_namespaces();
    probe_namespaces(&trial);
    bool has_filter;
    probe_seccomp(&has_filter);
    int abi = probe_landlock();
    probe_cgroup();
    probe_calls();
    printf("\n],\n");
    print_tiers(&trial, has_filter, abi);
    printf("}\n");
    return fflush(stdout) == 0 ? 0 : 1;
}
