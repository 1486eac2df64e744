/* What the kernel says of one process: its clock, and what the supervisor reads in the jail's /proc (proc(5)).
 *
 * A worker may have no /proc (doctor says so); every reader then says that it cannot tell. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "supervisor.h"

/* CPU time of a process of ours that has not been reaped: the kernel's per-process clock (clock_getcpuclockid(3)
 * computes the same id but asks the kernel first). */
double process_cpu_s(pid_t pid)
{
    clockid_t id = (clockid_t)((~(unsigned)pid << 3) | 2);
    struct timespec t;
    if (clock_gettime(id, &t) < 0)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A file of /proc as text: false where it cannot be read. */
static bool read_text(int directory, const char *path, char *text, size_t size)
{
    int fd = directory < 0 ? -1 : openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

/* The fields of a `stat` file from the third on: the second is the name, which may hold anything. NULL: no such file. */
static const char *stat_fields(int directory, const char *path, char *text, size_t size)
{
    const char *name_end = read_text(directory, path, text, size) ? strrchr(text, ')') : NULL;
    return name_end != NULL && name_end[1] == ' ' ? name_end + 2 : NULL;
}

bool process_size(const struct supervisor *s, pid_t pid, uint64_t *virtual_size, uint64_t *resident)
{
    char path[32], text[128];
    snprintf(path, sizeof path, "%d/statm", (int)pid);
    unsigned long long virtual_pages, resident_pages;
    if (!read_text(s->cfg->proc_dir, path, text, sizeof text) ||
        sscanf(text, "%llu %llu", &virtual_pages, &resident_pages) != 2)
        return false;
    *virtual_size = virtual_pages * (uint64_t)sysconf(_SC_PAGESIZE);
    *resident = resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

/* Field 20. */
uint64_t process_threads(const struct supervisor *s, pid_t pid)
{
    char path[32], text[512];
    snprintf(path, sizeof path, "%d/stat", (int)pid);
    const char *fields = stat_fields(s->cfg->proc_dir, path, text, sizeof text);
    unsigned long threads;
    return fields != NULL && sscanf(fields, "%*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu",
                                    &threads) == 1
               ? threads
               : 0;
}

/* Fields 4 and 14 to 17. */
bool process_times(const struct supervisor *s, pid_t pid, pid_t *parent, double *own, double *waited)
{
    char path[32], text[512];
    snprintf(path, sizeof path, "%d/stat", (int)pid);
    const char *fields = stat_fields(s->cfg->proc_dir, path, text, sizeof text);
    int above;
    unsigned long user, kernel;
    long waited_user, waited_kernel;
    if (fields == NULL || sscanf(fields, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &above, &user,
                                 &kernel, &waited_user, &waited_kernel) != 5)
        return false;
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    *parent = (pid_t)above;
    *own = (double)(user + kernel) * tick;
    *waited = (double)(waited_user + waited_kernel) * tick;
    return true;
}

/* Field 3 of each thread. */
bool process_is_runnable(const struct supervisor *s, pid_t pid)
{
    char path[300], text[256];
    snprintf(path, sizeof path, "%d/task", (int)pid);
    int fd = s->cfg->proc_dir < 0 ? -1 : openat(s->cfg->proc_dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *tasks = fd < 0 ? NULL : fdopendir(fd);
    if (tasks == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool found = false;
    for (struct dirent *e = readdir(tasks); e != NULL && !found; e = readdir(tasks)) {
        snprintf(path, sizeof path, "%.250s/stat", e->d_name);
        const char *fields = e->d_name[0] == '.' ? NULL : stat_fields(dirfd(tasks), path, text, sizeof text);
        found = fields != NULL && *fields == 'R';
    }
    closedir(tasks);
    return found;
}
