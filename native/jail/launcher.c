/* acejail: the launcher of one worker.
 *
 * Theory of operation
 * -------------------
 *
 *   host (Python) --fd 3, socketpair--> launcher (this file's main)
 *                                          |  clone
 *                                          v
 *                                       supervisor (supervisor.c, the same executable, no exec; pid 1 of the jail)
 *                                          |  fork + exec (guest.c)
 *                                          +--> judge, zygote (jailed Python)
 *                                                  `-- players, test processes: clones that are the supervisor's children
 *
 * The launcher stays outside the jail and keeps only what it needs to end it. It reads one `C` frame, makes the cgroup,
 * clones the supervisor into its namespaces, writes the id maps, moves it into the cgroup, lets it go on, checks what
 * uid it came out with, and closes its copy of the control socket: from then on the host talks to the supervisor, and
 * end of file on either side means what it should.
 *
 * Who notices whose death:
 *   host dies           the launcher holds a pidfd of it (from the socket, so it is the process that made the pair and
 *                       not whoever has its number now). PDEATHSIG would follow the creating thread, and end of file
 *                       on the socket may never come if a forked child of the host holds a copy.
 *   launcher dies       the supervisor's PDEATHSIG; the launcher has one thread, so this is exact.
 *   supervisor dies     namespaces tier: the kernel kills everything in its pid namespace. Elsewhere the launcher is a
 *                       subreaper and kills what is handed to it until nothing is left.
 *   anybody else dies   the supervisor's business.
 *
 * Between launcher and supervisor there is a private socketpair, used twice and then closed:
 *   launcher -> supervisor  the maps are written, the cgroup is entered or not (struct release), go on
 *   supervisor -> launcher  one byte with credentials: the kernel's word for the uid that programs will run as
 *
 * Exit status: the supervisor's; 128 + signal if it was killed; 2 after `F`; 0 if the host was gone. */
#define _GNU_SOURCE
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "copytree.h"
#include "kernel.h"
#include "landlock.h"
#include "namespaces.h"
#include "private.h"
#include "privileges.h"
#include "probe.h"

#define EXIT_OUR_FAULT 2
#define PROC_MAGIC     0x9fa0
#define POLL_HOST_MS   200 /* without pidfds (before Linux 5.3) the host is looked at this often */

static struct {
    pid_t pid;      /* the launcher's: clean-up is for this process only */
    int host_pidfd; /* or -1 */
    pid_t host;     /* the parent, watched where there is no pidfd */
    int signals;    /* signalfd */
    int self_pidfd; /* for the supervisor to look whether the launcher lives */
    pid_t supervisor;
    bool is_subreaper;
    cpu_set_t processors; /* what the worker may use; meaningless without has_processors */
    bool has_processors;
} launcher = {.host_pidfd = -1, .signals = -1, .self_pidfd = -1};

/* What the launcher learned after the clone, and its leave to go on. */
struct release {
    enum cgroup_kind cgroup;
    char cgroup_why[sizeof((struct config *)0)->cgroup_why];
};

static void clear_up(void)
{
    cgroup_remove();
    private_remove();
}

void jail_fail(const char *step, int error, const char *remedy, ...)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "%s%s%s\n", step, error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
    if (n < 0 || (size_t)n >= sizeof text)
        n = 0;
    va_list arguments;
    va_start(arguments, remedy);
    vsnprintf(text + n, sizeof text - (size_t)n, remedy, arguments);
    va_end(arguments);
    if (write_frame(CONTROL_FD, 'F', 0, 0, text, strlen(text)) < 0)
        dprintf(2, "acejail: %s\n", text);
    if (getpid() == launcher.pid) {
        if (launcher.supervisor > 0) {
            (void)kill(launcher.supervisor, SIGKILL);
            (void)waitpid(launcher.supervisor, NULL, 0);
        }
        clear_up();
    }
    _exit(EXIT_OUR_FAULT);
}

/* ---- the launcher before the clone --------------------------------------------------------------------------- */

/* Nothing of the host's is inherited but the control socket; 0 to 2 exist, so that no later descriptor lands there. */
static void setup_descriptors(void)
{
    if (fcntl(CONTROL_FD, F_GETFD) < 0) {
        dprintf(2, "acejail is started by acesandbox, with a socket as descriptor 3; by hand only: acejail --probe\n");
        _exit(EXIT_OUR_FAULT);
    }
    if (syscall(SYS_close_range, CONTROL_FD + 1u, ~0u, 0u) < 0) {
        long highest = sysconf(_SC_OPEN_MAX);
        for (int fd = CONTROL_FD + 1; fd < highest; fd++)
            close(fd);
    }
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            jail_fail("descriptors", errno, "/dev/null cannot be opened");
    (void)fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
}

/* The host's terminal must not stop or end us; signals that ask for an end are read from a descriptor. */
static void setup_signals(void)
{
    (void)setsid();
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL);
    sigset_t read;
    sigemptyset(&read);
    sigaddset(&read, SIGCHLD);
    sigaddset(&read, SIGTERM);
    sigaddset(&read, SIGINT);
    sigaddset(&read, SIGHUP);
    sigaddset(&read, SIGPIPE);
    sigprocmask(SIG_SETMASK, &read, NULL);
    launcher.signals = signalfd(-1, &read, SFD_CLOEXEC | SFD_NONBLOCK);
    if (launcher.signals < 0)
        jail_fail("signals", errno, "signalfd was refused");
}

static void setup_host_watch(void)
{
    socklen_t size = sizeof launcher.host_pidfd;
    launcher.host = getppid();
    launcher.self_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (getsockopt(CONTROL_FD, SOL_SOCKET, SO_PEERPIDFD, &launcher.host_pidfd, &size) == 0) {
        (void)fcntl(launcher.host_pidfd, F_SETFD, FD_CLOEXEC);
        return;
    }
    launcher.host_pidfd = -1;
    struct ucred peer = {0};
    size = sizeof peer;
    if (getsockopt(CONTROL_FD, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        jail_fail("host watch", errno, "descriptor 3 must be one end of a Unix socket pair");
    pid_t host = peer.pid > 0 ? peer.pid : launcher.host; /* 0: made in another pid namespace */
    launcher.host_pidfd = (int)syscall(SYS_pidfd_open, host, 0);
    if (launcher.host_pidfd < 0 && errno == ESRCH)
        _exit(0); /* gone already */
}

static bool host_is_gone(void)
{
    if (launcher.host_pidfd < 0)
        return getppid() != launcher.host;
    struct pollfd host = {.fd = launcher.host_pidfd, .events = POLLIN};
    return poll(&host, 1, 0) > 0;
}

static void setup_cpu(const struct config *cfg)
{
    if (cfg->cpu >= 0) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cfg->cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) < 0)
            jail_fail("cpu", errno, "processor %d cannot be used by this process", cfg->cpu);
    }
    /* fails on machines with more than 1024 processors */
    launcher.has_processors = sched_getaffinity(0, sizeof launcher.processors, &launcher.processors) == 0;
}

/* Before Linux 6.2 a process that changes its cgroup, where cpusets are handed down, forgets what it was bound to. */
static void keep_cpu(void)
{
    if (launcher.has_processors)
        (void)sched_setaffinity(0, sizeof launcher.processors, &launcher.processors);
}

/* Root's groups would reach the worker; an ordinary user has no right to drop his own. */
static void setup_groups(const struct config *cfg)
{
    if (geteuid() != 0 || cfg->tier == TIER_NONE)
        return;
    if (cfg->uid == 0 || cfg->gid == 0)
        jail_fail("identity", EPERM, "refusing to run programs as uid or gid 0: configure another uid");
    if (setgroups(0, NULL) < 0)
        jail_fail("identity", errno, "supplementary groups could not be dropped: the container lacks CAP_SETGID");
}

/* The first configured path that the worker's uid may not open, or NULL. Landlock only takes rights away: what root
 * alone may search (a virtual environment below /root) is out of the worker's reach without a copy. */
static const char *unreachable_path(const struct config *cfg)
{
    const char *found = NULL;
    setfsgid(cfg->gid);
    setfsuid(cfg->uid); /* takes root's override of file permissions away as well, until it is 0 again */
    for (size_t i = 0; i < cfg->ro_count && found == NULL; i++) {
        int fd = open(cfg->ro[i].src, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            found = cfg->ro[i].src;
        else
            close(fd);
    }
    setfsuid(0);
    setfsgid(0);
    return found;
}

/* Which way the file system is hidden in the seccomp tier, or the exact reason why there is none. */
static void choose_view(struct config *cfg)
{
    bool root = geteuid() == 0;
    int error;
    cfg->landlock_abi = landlock_abi(&error);
    const char *unreachable = root ? unreachable_path(cfg) : NULL;
    if (cfg->landlock_abi >= (root ? 1 : 3) && unreachable == NULL) {
        cfg->view = VIEW_LANDLOCK;
    } else if (root && (effective_capabilities() & CAPABILITY(CAP_SYS_CHROOT)) != 0) {
        cfg->view = VIEW_CHROOT;
    } else if (unreachable != NULL) {
        jail_fail("file system", EACCES,
                  "uid %lu cannot open %s: put the interpreter where every user may read it, or "
                  "give the container CAP_SYS_CHROOT",
                  (unsigned long)cfg->uid, unreachable);
    } else if (cfg->landlock_abi > 0) {
        jail_fail("landlock", 0,
                  "this kernel has Landlock ABI %d; an ordinary user needs 3 (Linux 6.2), or root in the "
                  "container with CAP_SYS_CHROOT",
                  cfg->landlock_abi);
    } else {
        jail_fail("landlock", error,
                  "%s; without it the seccomp tier needs root in the container with CAP_SYS_CHROOT: "
                  "files and processes of this user would be within reach of programs",
                  error == EOPNOTSUPP ? "Landlock is built in but not enabled: add landlock to the kernel's lsm= list"
                  : error == EPERM    ? "a container's seccomp policy refuses Landlock"
                                      : "this kernel has no Landlock (Linux 5.13)");
    }
}

/* ---- the supervisor up to its main loop ---------------------------------------------------------------------- */

static void wait_for_release(struct config *cfg, int launcher_socket)
{
    struct release release;
    if (read_full(launcher_socket, &release, sizeof release) != 1)
        _exit(0); /* the launcher failed and has said why, or is dead */
    keep_cpu();
    cfg->cgroup = release.cgroup;
    memcpy(cfg->cgroup_why, release.cgroup_why, sizeof cfg->cgroup_why);
}

static void report_identity(int launcher_socket)
{
    if (write_full(launcher_socket, "i", 1) < 0)
        _exit(0);
    close(launcher_socket);
}

static void setup_promises(void)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t none;
    (void)sigaction(SIGPIPE, &normal, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        jail_fail("no_new_privs", errno, "the kernel is older than 3.5");
    (void)prctl(PR_SET_NAME, "ace-supervisor", 0, 0, 0);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* same uid as players: no ptrace, no /proc/<pid>/mem */
    die_with_parent(launcher.self_pidfd);     /* again: the kernel forgets it when ids change */
}

/* Only what cloning players and renewing the scratch need, here and in everything below; and what bringing up a
 * loopback device needs, in the supervisor alone. */
static void setup_capabilities(const struct config *cfg)
{
    uint64_t kept = CAPABILITY(CAP_SYS_ADMIN);
    if (cfg->profile == PROFILE_SYSTEM)
        kept |= CAPABILITY(CAP_NET_ADMIN);
    /* a change from uid 0 kept the permitted set and emptied the effective one, which the bounding set asks */
    (void)keep_capabilities(permitted_capabilities(), 0);
    bound_capabilities(kept);
    if (keep_capabilities(kept, 0) < 0)
        jail_fail("capabilities", errno, "%s", namespace_remedy(errno));
}

/* One network on trial, so that what would fail with the first program fails here and says why. */
static void setup_network(struct config *cfg)
{
    if (cfg->profile != PROFILE_SYSTEM)
        return;
    int trial = network_fresh(cfg);
    if (trial < 0)
        jail_fail("network", errno,
                  "profile \"system\" gives each program a network namespace with a loopback device: %s",
                  namespace_remedy(errno));
    close(trial);
    cfg->has_loopback = true;
}

/* Players get the kernel's first choice when memory runs out on the whole machine; they inherit it. */
static void setup_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t ignored = write(fd, "1000", 4);
    (void)ignored;
    close(fd);
}

static void build_namespaces_jail(struct config *cfg, int launcher_socket)
{
    wait_for_release(cfg, launcher_socket);
    setup_oom_score();
    if (cfg->profile == PROFILE_SYSTEM)
        (void)unshare(CLONE_NEWCGROUP); /* a /proc would name the host's control groups */
    setup_bind_sources(cfg);            /* with the host's rights: before the ids change */
    if (cfg->identity != IDENTITY_CHANGED)
        setup_identity(cfg); /* a tmpfs in a user namespace can only be made by an id that is mapped there */
    setup_mounts(cfg);
    setup_hostname();
    if (cfg->identity == IDENTITY_CHANGED)
        setup_identity(cfg); /* real root makes the mounts first */
    setup_capabilities(cfg);
    setup_network(cfg);
    setup_promises();
    report_identity(launcher_socket);
}

static void build_seccomp_jail(struct config *cfg, int launcher_socket)
{
    wait_for_release(cfg, launcher_socket);
    setup_oom_score();
    struct statfs about;
    cfg->proc_dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cfg->proc_dir >= 0 && (fstatfs(cfg->proc_dir, &about) < 0 || about.f_type != PROC_MAGIC)) {
        close(cfg->proc_dir);
        cfg->proc_dir = -1;
    }
    if (cfg->view == VIEW_CHROOT)
        copytree_enter();
    if (cfg->tier == TIER_SECCOMP && geteuid() == 0) {
        bound_capabilities(0);
        if (setresgid(cfg->gid, cfg->gid, cfg->gid) < 0 || setresuid(cfg->uid, cfg->uid, cfg->uid) < 0)
            jail_fail("identity", errno, "the container lacks CAP_SETUID or CAP_SETGID");
        if (geteuid() == 0 || getuid() == 0)
            jail_fail("identity", EPERM, "refusing to run programs as uid 0");
    }
    if (cfg->tier == TIER_SECCOMP && keep_capabilities(0, 0) < 0)
        jail_fail("capabilities", errno, "they could not be dropped");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        jail_fail("subreaper", errno, "the kernel is older than 3.4");
    setup_promises();
    report_identity(launcher_socket);
}

/* ---- the launcher after the clone ---------------------------------------------------------------------------- */

/* The supervisor's one byte carries its credentials, translated by the kernel into our user namespace. */
static void check_identity(const struct config *cfg, int supervisor_socket)
{
    char byte;
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n;
    while ((n = recvmsg(supervisor_socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        continue;
    if (n != 1)
        return; /* it failed, said why, and is about to be reaped */
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c == NULL || c->cmsg_type != SCM_CREDENTIALS)
        jail_fail("identity", EPROTO, "the kernel did not tell the worker's uid");
    struct ucred who;
    memcpy(&who, CMSG_DATA(c), sizeof who);
    if (cfg->tier == TIER_NONE)
        return;
    if (who.uid == 0 || who.gid == 0)
        jail_fail("identity", EPERM, "the worker came out as uid %lu, gid %lu", (unsigned long)who.uid,
                  (unsigned long)who.gid);
}

static pid_t start_supervisor(struct config *cfg, int sockets[2])
{
    int on = 1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0 ||
        setsockopt(sockets[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        jail_fail("sockets", errno, "no socket pair");
    pid_t child = cfg->tier == TIER_NAMESPACES ? clone_into_namespaces(cfg) : fork();
    if (child < 0)
        jail_fail("namespaces", errno, "%s", namespace_remedy(errno));
    return child;
}

/* Never returns: the supervisor's whole life. */
static _Noreturn void run_supervisor(struct config *cfg, int sockets[2])
{
    close(sockets[0]);
    close(launcher.signals);
    if (launcher.host_pidfd >= 0)
        close(launcher.host_pidfd);
    die_with_parent(launcher.self_pidfd);
    cgroup_forget();
    private_forget();
    if (cfg->tier == TIER_NAMESPACES)
        build_namespaces_jail(cfg, sockets[1]);
    else
        build_seccomp_jail(cfg, sockets[1]);
    if (launcher.self_pidfd >= 0)
        close(launcher.self_pidfd);
    _exit(supervise(cfg, CONTROL_FD));
}

/* What is left is the right to end the worker and to remove what was made for it. */
static void setup_launcher_privileges(const struct config *cfg)
{
    uint64_t kept = CAPABILITY(CAP_KILL);
    if (cfg->cgroup != CGROUP_NONE) /* the top directory of a version 1 hierarchy is mode 0555 */
        kept |= CAPABILITY(CAP_DAC_OVERRIDE);
    if (cfg->view == VIEW_LANDLOCK || cfg->view == VIEW_CHROOT)
        kept |= CAPABILITY(CAP_DAC_OVERRIDE) | CAPABILITY(CAP_FOWNER);
    if (geteuid() == 0 && cfg->tier != TIER_NONE)
        (void)keep_capabilities(kept & effective_capabilities(), 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* Kills and reaps every process that was handed to us. Each round takes away the parents, so the rest is ours in the
 * next one. */
static void end_orphans(void)
{
    const struct timespec pause = {0, 2 * 1000 * 1000};
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
    for (int round = 0; round < 500; round++) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
            continue;
        if (pid < 0 && errno == ECHILD)
            return;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        text[n > 0 ? n : 0] = '\0';
        char *at = text, *end;
        for (long child = strtol(at, &end, 10); end != at; at = end, child = strtol(at, &end, 10))
            (void)kill((pid_t)child, SIGKILL);
        nanosleep(&pause, NULL);
    }
}

/* Waits for the supervisor or for the host's end, whichever is first; returns the exit status. */
static int watch(pid_t supervisor)
{
    struct pollfd polled[2] = {{.fd = launcher.signals, .events = POLLIN},
                               {.fd = launcher.host_pidfd, .events = POLLIN}};
    bool ended_by_us = false;
    for (;;) {
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
            if (pid != supervisor)
                continue;
            if (ended_by_us)
                return 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        (void)poll(polled, 2, launcher.host_pidfd < 0 ? POLL_HOST_MS : -1);
        struct signalfd_siginfo signal;
        bool asked = false;
        while (read(launcher.signals, &signal, sizeof signal) == sizeof signal)
            asked = asked || (signal.ssi_signo != SIGCHLD && signal.ssi_signo != SIGPIPE);
        if (!ended_by_us && (asked || host_is_gone())) {
            ended_by_us = true;
            polled[1].fd = -1;
            (void)kill(supervisor, SIGKILL);
        }
    }
}

static int run(void)
{
    setup_descriptors();
    setup_signals();
    setup_host_watch();
    struct config *cfg = config_read(CONTROL_FD);
    if (cfg == NULL)
        return 0;
    setup_cpu(cfg);
    setup_groups(cfg);
    cgroup_set_up(cfg);
    snprintf(cfg->scratch, sizeof cfg->scratch, "/tmp");
    snprintf(cfg->guest_parent, sizeof cfg->guest_parent, "/ace");
    if (cfg->tier == TIER_NAMESPACES) {
        cfg->landlock_abi = landlock_abi(NULL);
    } else if (cfg->tier == TIER_SECCOMP) {
        if (cfg->profile == PROFILE_SYSTEM)
            jail_fail("profile \"system\" needs network, pid and mount namespaces to hold what it lets programs do", 0,
                      "use isolation=\"namespaces\", or profile=\"compute\"");
        if (cfg->processes > 0)
            jail_fail("processes", 0,
                      "Limits(processes=...) needs a pid namespace to be sure that nothing outlives the program: use "
                      "isolation=\"namespaces\", or processes=0");
        choose_view(cfg);
        cfg->identity = geteuid() == 0 ? IDENTITY_CHANGED : IDENTITY_CALLER;
        if (cfg->view == VIEW_LANDLOCK)
            landlock_prepare(cfg);
        else
            copytree_prepare(cfg);
    } else {
        cfg->view = VIEW_HOST;
        cfg->identity = IDENTITY_CALLER;
        private_set_up(cfg);
    }
    if (cfg->tier != TIER_NAMESPACES)
        launcher.is_subreaper = prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;

    int sockets[2];
    pid_t supervisor = launcher.supervisor = start_supervisor(cfg, sockets);
    if (supervisor == 0)
        run_supervisor(cfg, sockets);
    close(sockets[1]);
    if (cfg->tier == TIER_NAMESPACES && write_id_maps(cfg, supervisor) < 0)
        jail_fail("id maps", errno, "%s", namespace_remedy(errno));
    cgroup_enter(cfg, supervisor);
    setup_launcher_privileges(cfg);
    struct release release = {.cgroup = cfg->cgroup};
    memcpy(release.cgroup_why, cfg->cgroup_why, sizeof release.cgroup_why);
    if (write_full(sockets[0], &release, sizeof release) == 0)
        check_identity(cfg, sockets[0]);
    close(sockets[0]);
    close(CONTROL_FD);
    int status = watch(supervisor);
    if (launcher.is_subreaper)
        end_orphans();
    clear_up();
    config_free(cfg);
    return status;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--probe") == 0)
        return probe();
    if (argc != 1) {
        dprintf(2, "usage: acejail --probe\n");
        return EXIT_OUR_FAULT;
    }
    launcher.pid = getpid();
    return run();
}
