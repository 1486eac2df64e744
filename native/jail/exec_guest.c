/* Fork and exec of the jailed interpreter, called by the supervisor for the judge and for the zygote.
 *
 * What the new process may do is settled here, before exec; what only a warm interpreter can do for itself (the seccomp
 * filter) follows in filter.c. It keeps CAP_SYS_ADMIN over its own namespaces in the namespaces tier, through the ambient
 * set, because cloning a player into a new pid namespace needs it; the player drops it as its first deed.
 *
 * The guest's JSON gets members that only the launcher knows: "tier", "profile", "own_proc" (players mount a /proc),
 * "scratch" (the directory for temporary files) and "guest_parent" (the directory that holds the package _ace_guest). Environment values name them as /tmp and
 * /ace in every tier; where the real paths differ, `view_path` puts these in. */
#define _GNU_SOURCE
#include "jail.h"
#include "kernel.h"
#include "landlock.h"
#include "privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT       47
#define PR_CAP_AMBIENT_RAISE 2
#endif

#define NO_INTERPRETER 127
#define JUDGE_NOFILE   256

/* One log pipe per role: bounded by the pipe, and never blocking a guest that floods it. */
static struct {
    const char *role;
    int reader, writer;
} logs[2] = {{"judge", -1, -1}, {"zygote", -1, -1}};

static int log_index(const char *role)
{
    return strcmp(role, logs[0].role) == 0 ? 0 : 1;
}

static int open_log(const char *role)
{
    int i = log_index(role), ends[2];
    if (logs[i].reader >= 0)
        close(logs[i].reader);
    logs[i].reader = -1;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    logs[i].reader = ends[0];
    return ends[1];
}

size_t guest_log(const char *role, char *buffer, size_t size)
{
    int fd = logs[log_index(role)].reader;
    size_t used = 0;
    while (fd >= 0 && used + 1 < size) {
        ssize_t n = read(fd, buffer + used, size - 1 - used);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    if (size > 0)
        buffer[used] = '\0';
    return used;
}

static _Noreturn void guest_failed(const char *step)
{
    dprintf(2, "acejail: %s: %s\n", step, strerror(errno));
    _exit(NO_INTERPRETER);
}

/* Lowers a limit; never asks for more than there is. */
static void limit(int resource, rlim_t value)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
        guest_failed("getrlimit");
    rlim_t ceiling = now.rlim_max == RLIM_INFINITY || value < now.rlim_max ? value : now.rlim_max;
    struct rlimit wanted = {.rlim_cur = ceiling, .rlim_max = ceiling};
    if (setrlimit((__rlimit_resource_t)resource, &wanted) < 0)
        guest_failed("setrlimit");
}

static void guest_limits(const struct config *cfg, bool is_judge)
{
    rlim_t files = (rlim_t)cfg->nofile;
    if (is_judge && files < JUDGE_NOFILE)
        files = JUDGE_NOFILE;
    /* 1, not 0: a core_pattern that is a pipe starts the host's crash handler whatever the limit, unless it is 1 */
    limit(RLIMIT_CORE, 1);
    limit(RLIMIT_NOFILE, files);
    limit(RLIMIT_FSIZE, (rlim_t)cfg->file_mb << 20);
    limit(RLIMIT_MEMLOCK, 0);
    limit(RLIMIT_MSGQUEUE, 0);
    limit(RLIMIT_RTPRIO, 0);
    limit(RLIMIT_SIGPENDING, 1024);
    if (nproc_counts_only_the_worker(cfg))
        limit(RLIMIT_NPROC, (rlim_t)(cfg->threads + cfg->processes + WORKER_TASKS));
    /* the stack size shapes the address space and every thread: the same on each host, unless a host allows less */
    struct rlimit stack;
    if (getrlimit(RLIMIT_STACK, &stack) == 0) {
        rlim_t usual = (rlim_t)8 << 20;
        stack.rlim_cur = stack.rlim_max == RLIM_INFINITY || usual < stack.rlim_max ? usual : stack.rlim_max;
        (void)setrlimit(RLIMIT_STACK, &stack);
    }
}

static void guest_descriptors(int fd3)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        guest_failed("/dev/null");
    if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
        guest_failed("dup2");
    if (fd3 == CONTROL_FD ? fcntl(fd3, F_SETFD, 0) < 0 : dup2(fd3, CONTROL_FD) < 0)
        guest_failed("dup2");
    if (syscall(SYS_close_range, CONTROL_FD + 1u, ~0u, 0u) == 0)
        return;
    long highest = sysconf(_SC_OPEN_MAX);
    for (int fd = CONTROL_FD + 1; fd < highest; fd++)
        close(fd);
}

static void guest_privileges(const struct config *cfg)
{
    uint64_t kept = cfg->tier == TIER_NAMESPACES ? CAPABILITY(CAP_SYS_ADMIN) : 0;
    if (cfg->tier != TIER_NONE && keep_capabilities(kept, kept) < 0)
        guest_failed("capset");
    if (kept != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0) < 0)
        guest_failed("ambient capability");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        guest_failed("no_new_privs");
}

/* A list of paths separated by ':' with /tmp and /ace replaced by what they are in this tier, if they differ. */
static char *view_path(const struct config *cfg, const char *value)
{
    if (strcmp(cfg->scratch, "/tmp") == 0 && strcmp(cfg->guest_parent, "/ace") == 0)
        return strdup(value);
    size_t room = strlen(value) + 1;
    for (const char *at = value; *at != '\0'; at++)
        room += *at == ':' ? sizeof cfg->scratch : 0;
    room += sizeof cfg->scratch;
    char *out = malloc(room);
    if (out == NULL)
        return NULL;
    char *to = out;
    for (const char *at = value;;) {
        size_t length = strcspn(at, ":");
        if (length == 4 && strncmp(at, "/tmp", 4) == 0)
            to = stpcpy(to, cfg->scratch);
        else if (length == 4 && strncmp(at, "/ace", 4) == 0)
            to = stpcpy(to, cfg->guest_parent);
        else
            to = mempcpy(to, at, length);
        at += length;
        if (*at == '\0')
            break;
        *to++ = *at++;
    }
    *to = '\0';
    return out;
}

static char **guest_environment(const struct config *cfg)
{
    size_t count = 0;
    while (cfg->env[count] != NULL)
        count++;
    char **env = calloc(count + 1, sizeof *env);
    if (env == NULL)
        guest_failed("memory");
    for (size_t i = 0; i < count; i++) {
        const char *equals = strchr(cfg->env[i], '=');
        char *value = equals == NULL ? NULL : view_path(cfg, equals + 1);
        if (value == NULL || asprintf(&env[i], "%.*s=%s", (int)(equals - cfg->env[i]), cfg->env[i], value) < 0)
            guest_failed("environment");
    }
    return env;
}

const char *tier_name(enum tier tier)
{
    return tier == TIER_NAMESPACES ? "namespaces" : tier == TIER_SECCOMP ? "seccomp" : "none";
}

const char *profile_name(enum profile profile)
{
    return profile == PROFILE_SYSTEM ? "system" : "compute";
}

static char *guest_json(const struct config *cfg)
{
    const char *rest = cfg->guest_json + 1;
    char *text;
    bool empty = rest[strspn(rest, " \t\r\n")] == '}';
    if (asprintf(&text,
                 "{\"tier\": \"%s\", \"profile\": \"%s\", \"own_proc\": %s, \"scratch\": \"%s\", "
                 "\"guest_parent\": \"%s\"%s%s",
                 tier_name(cfg->tier), profile_name(cfg->profile), cfg->has_own_proc ? "true" : "false", cfg->scratch,
                 cfg->guest_parent, empty ? "" : ", ", rest) < 0)
        guest_failed("memory");
    return text;
}

pid_t exec_guest(const struct config *cfg, const char *role, int fd3)
{
    int log = open_log(role);
    if (log < 0)
        return -1;
    pid_t supervisor = getpid();
    pid_t pid = fork();
    if (pid != 0) {
        int error = errno;
        close(log);
        errno = error;
        return pid;
    }

    bool is_judge = strcmp(role, "judge") == 0;
    char code[96];
    snprintf(code, sizeof code, "import _ace_guest.%s as m; m.main()", role);
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(log, 2) < 0) /* first: everything below reports its failure there */
        _exit(NO_INTERPRETER);
    die_with_parent(-1);
    if (getppid() != supervisor)
        _exit(NO_INTERPRETER);
    umask(022);
    if (chdir("/") < 0)
        guest_failed("chdir");
    char **env = guest_environment(cfg);
    char *json = guest_json(cfg);
    guest_limits(cfg, is_judge);
    guest_privileges(cfg);
    if (cfg->view == VIEW_LANDLOCK && landlock_enter(cfg) < 0)
        guest_failed("landlock");
    guest_descriptors(fd3); /* last: the Landlock rules are behind a descriptor */
    char *const arguments[] = {cfg->python, "-S", "-s", "-B", "-c", code, json, NULL};
    execve(cfg->python, arguments, env);
    guest_failed(cfg->python);
}
