/* Namespaces and identity of the jail's first process.
 *
 * Nothing that can reach a program ever has kernel uid 0: uid 0 without a single capability still writes sysctls and
 * reads root's files. So exactly one id is mapped, inner 1000, to the worker's uid (host is root) or to the caller's
 * own (host is an ordinary user). Where root may not make user namespaces, the process changes its real ids instead and
 * keeps capabilities across the change; READY says so. */
#define _GNU_SOURCE
#include "namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned long NAMESPACES = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

/* clone with no stack and no memory sharing behaves as fork and can enter every namespace in one step. */
static pid_t raw_clone(unsigned long flags)
{
    return (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
}

pid_t clone_into_namespaces(struct config *cfg)
{
    cfg->view = VIEW_MOUNTS;
    cfg->has_pid_namespace = cfg->has_net_namespace = true;
    cfg->identity = geteuid() == 0 ? IDENTITY_MAPPED : IDENTITY_CALLER;
    pid_t child = raw_clone(NAMESPACES | CLONE_NEWUSER);
    if (child >= 0 || geteuid() != 0)
        return child;

    int error = errno;
    snprintf(cfg->identity_why, sizeof cfg->identity_why, "user namespace: %s", strerror(error));
    cfg->identity = IDENTITY_CHANGED;
    child = raw_clone(NAMESPACES);
    if (child < 0)
        errno = error; /* the first refusal is the one to explain */
    return child;
}

static int write_proc(pid_t pid, const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

int write_id_maps(const struct config *cfg, pid_t child)
{
    if (cfg->identity == IDENTITY_CHANGED)
        return 0;
    uid_t uid = cfg->identity == IDENTITY_MAPPED ? cfg->uid : geteuid();
    gid_t gid = cfg->identity == IDENTITY_MAPPED ? cfg->gid : getegid();
    char text[64];
    /* an ordinary user may map its own group only once setgroups is denied for good */
    if (write_proc(child, "setgroups", "deny") < 0 && errno != ENOENT)
        return -1;
    snprintf(text, sizeof text, "%d %lu 1\n", INNER_ID, (unsigned long)gid);
    if (write_proc(child, "gid_map", text) < 0)
        return -1;
    snprintf(text, sizeof text, "%d %lu 1\n", INNER_ID, (unsigned long)uid);
    return write_proc(child, "uid_map", text);
}

void setup_identity(const struct config *cfg)
{
    uid_t uid = cfg->identity == IDENTITY_CHANGED ? cfg->uid : INNER_ID;
    gid_t gid = cfg->identity == IDENTITY_CHANGED ? cfg->gid : INNER_ID;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        jail_fail("identity", errno, "PR_SET_KEEPCAPS was refused");
    if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        jail_fail("identity", errno, "%s", namespace_remedy(errno));
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
        jail_fail("identity", errno, "PR_SET_KEEPCAPS was refused");
    if (getuid() == 0 || geteuid() == 0)
        jail_fail("identity", EPERM, "refusing to run programs as uid 0");
}

void setup_hostname(void)
{
    if (sethostname("ace", 3) < 0 || setdomainname("", 0) < 0)
        jail_fail("hostname", errno, "%s", namespace_remedy(errno));
}

/* The number in a one-number file, or -1. */
static long read_sysctl(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    long value = -1;
    return n > 0 && sscanf(text, "%ld", &value) == 1 ? value : -1;
}

const char *namespace_remedy(int error)
{
    if (read_sysctl("/proc/sys/user/max_user_namespaces") == 0)
        return "user namespaces are switched off; as root: sysctl user.max_user_namespaces=15000";
    if (read_sysctl("/proc/sys/kernel/unprivileged_userns_clone") == 0 && geteuid() != 0)
        return "user namespaces are for root only here; as root: sysctl kernel.unprivileged_userns_clone=1";
    if (read_sysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1 && geteuid() != 0)
        return "AppArmor takes the capabilities of ordinary users' namespaces away; as root: "
               "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns` for "
               "acejail";
    if (error == ENOSPC || error == EUSERS)
        return "too many namespaces, or nested too deep; raise user.max_user_namespaces and its kin in /proc/sys/user";
    if (error == EINVAL || error == ENOSYS)
        return "this kernel was built without user, pid, network, ipc or uts namespaces";
    if (error == EPERM || error == EACCES)
        return "a container's policy forbids namespaces (default Docker, many Kubernetes pods): start it with "
               "CAP_SYS_ADMIN and a seccomp profile that allows clone and mount, or ask for isolation=\"seccomp\"";
    return "see acesandbox doctor";
}
