/* The worker's control group: one per worker, made by the launcher, entered by the supervisor before it runs anything.
 *
 * Which one: version 2 where its memory controller is there and we may make a child (of our own cgroup if that hands
 * the controller down, else beside ours: a cgroup that holds processes, as ours does, cannot hand controllers to
 * children, the root of the hierarchy apart); version 1 where that is what the host has. Otherwise none, and READY says
 * why. Beside ours also means outside ours: where ours has limits, a worker there would escape them, and there is none.
 *
 * Who may touch it: the launcher writes limits and membership, and removes the directory at the end. The supervisor
 * only reads, through descriptors opened here, because /sys does not exist in the jail. Guests have neither.
 *
 * memory.oom.group stays off: the supervisor is in the group too, and what is to die is the program alone.
 *
 * A launcher that was itself killed leaves an empty directory behind; the next launcher sweeps those whose maker is
 * dead. rmdir refuses a group that holds processes, so a sweep can never hit a living worker. */
#define _GNU_SOURCE
#include "jail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"

#define PREFIX "acesandbox-"

/* The directories made, at most one per version 1 controller. */
static struct group {
    char path[PATH_BYTES];
    int procs_fd;
} groups[2];
static int group_count;

static void say_why(struct config *cfg, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say_why(struct config *cfg, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cfg->cgroup_why, sizeof cfg->cgroup_why, format, arguments);
    va_end(arguments);
}

/* snprintf into a path; false if it does not fit. */
static bool join(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool join(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    return n >= 0 && (size_t)n < size;
}

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length) {
        bool starts = at == list || at[-1] == ',' || at[-1] == ' ';
        bool ends = at[length] == '\0' || at[length] == ',' || at[length] == ' ' || at[length] == '\n';
        if (starts && ends)
            return true;
    }
    return false;
}

static int write_text(const char *directory, const char *name, const char *text)
{
    char path[PATH_BYTES + 64];
    if (!join(path, sizeof path, "%s/%s", directory, name)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int open_in(const char *directory, const char *name, int flags)
{
    char path[PATH_BYTES + 64];
    if (!join(path, sizeof path, "%s/%s", directory, name)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_CLOEXEC);
}

/* Our own cgroup path of a hierarchy from /proc/self/cgroup: `controller` NULL means version 2 ("0::/path"). */
static bool own_path(const char *controller, char *out, size_t size)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL)
        return false;
    char line[PATH_BYTES + 128];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        char *list = strchr(line, ':');
        char *path = list == NULL ? NULL : strchr(list + 1, ':');
        if (path == NULL)
            continue;
        *list++ = '\0';
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (controller == NULL ? (strcmp(line, "0") == 0 && list[0] == '\0') : has_word(list, controller))
            found = join(out, size, "%s", path);
    }
    fclose(file);
    return found;
}

/* Where a hierarchy is mounted and which of its directories is the mount's root, from /proc/self/mountinfo:
 * "36 35 98:0 ROOT MOUNTPOINT options - fstype source superoptions". */
static bool mount_of(const char *controller, char *root, char *point)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (file == NULL)
        return false;
    char line[2 * PATH_BYTES + 512];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        char *dash = strstr(line, " - ");
        char type[32], options[256];
        if (dash == NULL || sscanf(dash, " - %31s %*s %255s", type, options) != 2)
            continue;
        bool matches = controller == NULL ? strcmp(type, "cgroup2") == 0
                                          : (strcmp(type, "cgroup") == 0 && has_word(options, controller));
        /* PATH_BYTES - 1 as a literal: sscanf takes no width argument */
        found = matches && sscanf(line, "%*s %*s %*s %1023s %1023s", root, point) == 2;
    }
    fclose(file);
    return found;
}

bool cgroup_own_directory(const char *controller, char *out)
{
    char path[PATH_BYTES], root[PATH_BYTES], point[PATH_BYTES];
    if (!own_path(controller, path, sizeof path) || !mount_of(controller, root, point))
        return false;
    const char *relative = path;
    size_t length = strlen(root);
    if (strcmp(root, "/") != 0) {
        if (strncmp(path, root, length) == 0)
            relative = path + length;
        else if (strcmp(path, "/") != 0)
            return false; /* mounted from a place that does not hold us */
    }
    if (strcmp(relative, "/") == 0)
        relative = "";
    return join(out, PATH_BYTES, "%s%s", point, relative);
}

static void sweep(const char *parent)
{
    DIR *directory = opendir(parent);
    if (directory == NULL)
        return;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
            continue;
        long maker = strtol(entry->d_name + strlen(PREFIX), NULL, 10);
        if (maker > 0 && kill((pid_t)maker, 0) < 0 && errno == ESRCH)
            (void)unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
    }
    closedir(directory);
}

/* Makes the worker's directory under `parent` and opens its membership file. */
static struct group *make_group(const char *parent)
{
    struct group *group = &groups[group_count];
    sweep(parent);
    if (!join(group->path, sizeof group->path, "%s/" PREFIX "%ld", parent, (long)getpid())) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    if (mkdir(group->path, 0755) < 0) {
        if (errno != EEXIST)
            return NULL;
        /* A dead launcher's of the same number, with its limits; or a living one's of another pid namespace, which
         * cannot be removed and must not be shared. */
        if (rmdir(group->path) < 0 || mkdir(group->path, 0755) < 0) {
            errno = EEXIST;
            return NULL;
        }
    }
    group->procs_fd = open_in(group->path, "cgroup.procs", O_WRONLY);
    if (group->procs_fd < 0) {
        int error = errno;
        rmdir(group->path);
        errno = error;
        return NULL;
    }
    group_count++;
    return group;
}

static void drop_groups(void)
{
    while (group_count > 0) {
        group_count--;
        close(groups[group_count].procs_fd);
        rmdir(groups[group_count].path);
    }
}

static void limit_text(char *out, size_t size, uint64_t value)
{
    snprintf(out, size, "%llu", (unsigned long long)value);
}

static uint64_t task_limit(const struct config *cfg)
{
    return cfg->threads + cfg->processes + WORKER_TASKS;
}

/* Up to `size` - 1 bytes of a file; 0 or an error number. */
static int read_text(const char *directory, const char *name, char *text, size_t size)
{
    int fd = open_in(directory, name, O_RDONLY);
    if (fd < 0)
        return errno;
    ssize_t n = read(fd, text, size - 1);
    int error = n < 0 ? errno : 0;
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return error;
}

/* The first limit that somebody has set on this very cgroup, or NULL. Not pids.max: systemd sets it on every unit, and
 * the worker's own is lower. */
static const char *limit_of(const char *directory)
{
    static const char *const LIMITS[] = {"memory.max", "memory.high", "cpu.max", "cpuset.cpus", "cpuset.mems"};
    char text[64];
    for (size_t i = 0; i < sizeof LIMITS / sizeof *LIMITS; i++) {
        if (read_text(directory, LIMITS[i], text, sizeof text) != 0)
            continue; /* the controller is not there */
        if (strncmp(text, "max", 3) != 0 && text[0] != '\n' && text[0] != '\0')
            return LIMITS[i];
    }
    return NULL;
}

/* Makes the group below `parent`, which hands the controllers down or is told to. Returns 0 or an error number. */
static int make_group_v2(const char *parent)
{
    char controllers[512];
    int error = read_text(parent, "cgroup.subtree_control", controllers, sizeof controllers);
    if (error != 0)
        return error;
    if (!has_word(controllers, "memory") && write_text(parent, "cgroup.subtree_control", "+memory") < 0)
        return errno;
    if (!has_word(controllers, "pids"))
        (void)write_text(parent, "cgroup.subtree_control", "+pids"); /* where it fails, so does pids.max below */
    return make_group(parent) != NULL ? 0 : errno;
}

/* The same below our own cgroup's parent. Where a limit of ours forbids it, `limit` is its name. */
static int make_group_beside(const char *own, const char **limit)
{
    char parent[PATH_BYTES], membership[PATH_BYTES + 16];
    const char *slash = strrchr(own, '/');
    if (slash == NULL || !join(parent, sizeof parent, "%.*s", (int)(slash - own), own) ||
        !join(membership, sizeof membership, "%s/cgroup.procs", parent))
        return ENOENT;
    if (access(membership, W_OK) < 0) /* a move needs the right to move above both */
        return errno;
    *limit = limit_of(own);
    return *limit != NULL ? EPERM : make_group_v2(parent);
}

/* Why there is no group: the error in our own cgroup, the one beside it, and what is known of ours. */
static void say_why_not_v2(struct config *cfg, int error, int beside, const char *limit, bool has_memory)
{
    const char *leaf = "start the caller in a child of it (systemd: Delegate=yes with DelegateSubgroup=)";
    if (beside == EBUSY)
        say_why(cfg,
                "the cgroup above the caller's holds processes, so it cannot hand its controllers down; all of them "
                "must be in children of it");
    else if (error == EEXIST || beside == EEXIST)
        say_why(cfg, "a worker of another pid namespace holds the cgroup of this name");
    else if (!has_memory)
        say_why(cfg, "no memory controller is handed down to the caller's cgroup");
    else if (limit != NULL)
        say_why(cfg, "the caller's own cgroup has a limit, %s, which a worker beside it would escape; %s", limit, leaf);
    else if (error == EBUSY)
        say_why(cfg, "the caller's own cgroup holds processes, so it cannot hand its controllers down; %s", leaf);
    else if (error == EROFS)
        say_why(cfg, "the cgroup file system is mounted read-only");
    else
        say_why(cfg, "no cgroup is delegated to this user (systemd-run --user --scope -p Delegate=yes gives one)");
}

/* Version 2. On success the files for the supervisor are open. */
static bool set_up_v2(struct config *cfg)
{
    char own[PATH_BYTES];
    if (!cgroup_own_directory(NULL, own)) {
        say_why(cfg, "no cgroup file system is mounted");
        return false;
    }
    char controllers[512];
    bool has_memory =
        read_text(own, "cgroup.controllers", controllers, sizeof controllers) != 0 || has_word(controllers, "memory");
    const char *limit = NULL;
    int error = make_group_v2(own);
    int beside = error != 0 ? make_group_beside(own, &limit) : 0;
    if (beside != 0) {
        say_why_not_v2(cfg, error, beside, limit, has_memory);
        return false;
    }
    const char *path = groups[0].path;
    char text[32];
    limit_text(text, sizeof text, cfg->memory_mb << 20);
    if (cfg->memory_mb > 0 && write_text(path, "memory.max", text) < 0) {
        say_why(cfg, "memory.max: %s", strerror(errno));
        drop_groups();
        return false;
    }
    (void)write_text(path, "memory.swap.max", "0"); /* absent where the kernel has no swap accounting */
    limit_text(text, sizeof text, task_limit(cfg));
    if (write_text(path, "pids.max", text) < 0)
        say_why(cfg, "pids.max: %s", strerror(errno));
    cfg->cgroup_events_fd = open_in(path, "memory.events", O_RDONLY);
    cfg->cgroup_peak_fd = open_in(path, "memory.peak", O_RDONLY); /* Linux 5.19 */
    cfg->cgroup = CGROUP_V2;
    return true;
}

/* Version 1: memory is what counts; pids where it can be had. */
static bool set_up_v1(struct config *cfg)
{
    char own[PATH_BYTES];
    if (!cgroup_own_directory("memory", own))
        return false;
    struct group *memory = make_group(own);
    if (memory == NULL) {
        say_why(cfg, "cgroup v1 memory: %s", strerror(errno));
        return false;
    }
    const char *path = memory->path;
    char text[32];
    limit_text(text, sizeof text, cfg->memory_mb << 20);
    if (cfg->memory_mb > 0) {
        if (write_text(path, "memory.limit_in_bytes", text) < 0) {
            say_why(cfg, "memory.limit_in_bytes: %s", strerror(errno));
            drop_groups();
            return false;
        }
        (void)write_text(path, "memory.memsw.limit_in_bytes", text); /* absent without swap accounting */
    }
    cfg->cgroup_events_fd = open_in(path, "memory.oom_control", O_RDONLY);
    cfg->cgroup_peak_fd = open_in(path, "memory.max_usage_in_bytes", O_RDONLY);
    cfg->cgroup = CGROUP_V1;
    cfg->cgroup_why[0] = '\0';
    /* version 2 counts the buffers of sockets with everything else; here they have a limit of their own, or none */
    limit_text(text, sizeof text, (cfg->memory_mb << 20) / 4);
    if (cfg->profile == PROFILE_SYSTEM && cfg->memory_mb > 0 &&
        write_text(path, "memory.kmem.tcp.limit_in_bytes", text) < 0)
        say_why(cfg, "memory of sockets is not counted: %s", strerror(errno));

    struct group *pids = cgroup_own_directory("pids", own) ? make_group(own) : NULL;
    limit_text(text, sizeof text, task_limit(cfg));
    if (pids == NULL || write_text(pids->path, "pids.max", text) < 0)
        say_why(cfg, "no pids limit: %s", strerror(errno));
    return true;
}

void cgroup_set_up(struct config *cfg)
{
    if (!cfg->cgroup_wanted) {
        say_why(cfg, "switched off");
        return;
    }
    char why[sizeof cfg->cgroup_why];
    if (set_up_v2(cfg))
        return;
    memcpy(why, cfg->cgroup_why, sizeof why);
    if (set_up_v1(cfg))
        return;
    if (cfg->cgroup_why[0] == '\0')
        memcpy(cfg->cgroup_why, why, sizeof why);
}

void cgroup_forget(void)
{
    while (group_count > 0)
        close(groups[--group_count].procs_fd);
}

void cgroup_enter(struct config *cfg, pid_t pid)
{
    char text[32];
    limit_text(text, sizeof text, (uint64_t)pid);
    for (int i = 0; i < group_count; i++) {
        if (write(groups[i].procs_fd, text, strlen(text)) < 0) {
            say_why(cfg, "a process could not be moved into it: %s", strerror(errno));
            cfg->cgroup = CGROUP_NONE;
            return;
        }
    }
}

/* The last process may still be on its way out: the kernel answers EBUSY until it is gone. */
void cgroup_remove(void)
{
    const struct timespec pause = {0, 5 * 1000 * 1000};
    while (group_count > 0) {
        group_count--;
        close(groups[group_count].procs_fd);
        for (int tries = 0; tries < 200 && rmdir(groups[group_count].path) < 0 && errno == EBUSY; tries++)
            nanosleep(&pause, NULL);
    }
}

/* The number behind `word` in a file of "word number" lines, or of one number when `word` is NULL. */
static unsigned long long read_number(int fd, const char *word)
{
    char text[1024];
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    if (word == NULL)
        return strtoull(text, NULL, 10);
    size_t length = strlen(word);
    for (char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, length) == 0 && line[length] == ' ')
            return strtoull(line + length, NULL, 10);
    }
    return 0;
}

unsigned long long cgroup_oom_kills(const struct config *cfg)
{
    return read_number(cfg->cgroup_events_fd, "oom_kill");
}

unsigned long long cgroup_peak(const struct config *cfg)
{
    return read_number(cfg->cgroup_peak_fd, NULL);
}
