/* The file system that guests see (namespaces tier).
 *
 * An empty tmpfs becomes the root; exactly the configured paths are bound into it read-only, nosuid and nodev, next to
 * five harmless devices and a private /tmp. There is no /sys and no /proc. The root itself ends read-only. With the
 * profile `system` there are a private /dev/shm, a few files made here (hosts, passwd), and an empty /proc, over which
 * each player mounts the one of its own pid namespace (native/guest/spawn.c).
 *
 * Order, and its reasons:
 *   1. Bind sources are opened before the ids change (setup_bind_sources): a virtual environment below a directory
 *      that only root may search is still reachable then, and the descriptor stays good.
 *   2. Propagation is cut first, so that nothing below is seen outside.
 *   3. The change into the new root comes before anything is put into it: from then on a symbolic link on the way to
 *      a mount point resolves inside the new root, not on the host.
 *   4. The /proc instance for the supervisor is made while the old root is still attached: a user namespace may mount
 *      proc only where a complete /proc is visible already (a container with masked paths has none). It is detached at
 *      once: it has a descriptor and no place, so no guest can walk to it. Where players mount their own, the kernel asks
 *      the same of this mount namespace for ever, so another instance stays, with an empty tmpfs on top that nobody
 *      without CAP_SYS_ADMIN can take away. */
#define _GNU_SOURCE
#include "kernel.h"
#include "namespaces.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OLD_ROOT   "/.old"
#define PROC_PLACE "/.proc"

static const char *const DEVICES[] = {"null", "zero", "full", "random", "urandom"};
#define DEVICE_COUNT (sizeof DEVICES / sizeof *DEVICES)

static int *bind_fds;
static int device_fds[DEVICE_COUNT];

void setup_bind_sources(const struct config *cfg)
{
    bind_fds = calloc(cfg->ro_count + 1, sizeof *bind_fds);
    if (bind_fds == NULL)
        jail_fail("bind sources", errno, "no memory");
    for (size_t i = 0; i < cfg->ro_count; i++) {
        bind_fds[i] = open(cfg->ro[i].src, O_PATH | O_CLOEXEC);
        if (bind_fds[i] < 0)
            jail_fail("bind sources", errno, "%s cannot be opened by uid %ld", cfg->ro[i].src, (long)getuid());
    }
    for (size_t i = 0; i < DEVICE_COUNT; i++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/%s", DEVICES[i]);
        device_fds[i] = open(path, O_PATH | O_CLOEXEC);
        if (device_fds[i] < 0)
            jail_fail("bind sources", errno, "%s is missing", path);
    }
}

static void make_directory(const char *path, mode_t mode)
{
    if (mkdir(path, mode) < 0 && errno != EEXIST)
        jail_fail("mounts", errno, "the directory %s could not be made in the jail (is it inside an earlier bind?)",
                  path);
}

/* All directories above `path`. */
static void make_parents(const char *path)
{
    char copy[1024];
    if (strlen(path) >= sizeof copy)
        jail_fail("mounts", ENAMETOOLONG, "%s", path);
    memcpy(copy, path, strlen(path) + 1);
    for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        make_directory(copy, 0755);
        *slash = '/';
    }
}

/* An empty place of the same kind (file or directory) as the source. */
static void make_place(const char *path, int source_fd)
{
    struct stat about;
    if (fstat(source_fd, &about) < 0)
        jail_fail("mounts", errno, "the source of %s is gone", path);
    make_parents(path);
    if (S_ISDIR(about.st_mode)) {
        make_directory(path, 0755);
        return;
    }
    int fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 && errno != EEXIST && access(path, F_OK) < 0)
        jail_fail("mounts", errno, "the file %s could not be made in the jail", path);
    if (fd >= 0)
        close(fd);
}

/* Flags that are already set on a mount and that a user namespace may not clear, as mount(2) flags. */
static unsigned long present_flags(const char *path)
{
    struct statvfs about;
    if (statvfs(path, &about) < 0)
        jail_fail("mounts", errno, "%s cannot be looked at", path);
    unsigned long flags = 0;
    flags |= (about.f_flag & ST_RDONLY) ? MS_RDONLY : 0;
    flags |= (about.f_flag & ST_NOSUID) ? MS_NOSUID : 0;
    flags |= (about.f_flag & ST_NODEV) ? MS_NODEV : 0;
    flags |= (about.f_flag & ST_NOEXEC) ? MS_NOEXEC : 0;
    flags |= (about.f_flag & ST_NOATIME) ? MS_NOATIME : 0;
    flags |= (about.f_flag & ST_NODIRATIME) ? MS_NODIRATIME : 0;
    flags |= (about.f_flag & ST_RELATIME) ? MS_RELATIME : 0;
    return flags;
}

static void remount_with(const char *path, unsigned long flags)
{
    if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | flags | present_flags(path), NULL) < 0)
        jail_fail("mounts", errno, "%s could not be made read-only", path);
}

/* Kernels before 5.12: every mount at or below `path`, found in the old root's /proc, one by one. */
static void restrict_one_by_one(const char *path, unsigned long flags)
{
    FILE *file = fopen(OLD_ROOT "/proc/self/mountinfo", "re");
    if (file == NULL)
        jail_fail("mounts", errno, "/proc/self/mountinfo is needed on kernels before 5.12");
    char line[4096], point[1024];
    size_t length = strlen(path);
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%*s %*s %*s %*s %1023s", point) != 1)
            continue;
        if (strncmp(point, path, length) == 0 && (point[length] == '\0' || point[length] == '/'))
            remount_with(point, flags);
    }
    fclose(file);
}

/* Read-only, nosuid and more for a mount and everything below it. */
static void restrict_mount(const char *path, bool device)
{
    struct ace_mount_attr attributes = {.set = ACE_MOUNT_RDONLY | ACE_MOUNT_NOSUID};
    attributes.set |= device ? ACE_MOUNT_NOEXEC : ACE_MOUNT_NODEV;
    if (syscall(SYS_mount_setattr, -1, path, ACE_AT_RECURSIVE, &attributes, sizeof attributes) == 0)
        return;
    /* EPERM is also what a seccomp policy that predates the call answers */
    if (errno != ENOSYS && errno != EPERM)
        jail_fail("mounts", errno, "%s could not be made read-only", path);
    restrict_one_by_one(path, MS_RDONLY | MS_NOSUID | (device ? MS_NOEXEC : MS_NODEV));
}

static void bind_into(int source_fd, const char *path, bool device)
{
    char source[64];
    snprintf(source, sizeof source, OLD_ROOT "/proc/self/fd/%d", source_fd);
    make_place(path, source_fd);
    if (mount(source, path, NULL, MS_BIND | MS_REC, NULL) < 0)
        jail_fail("mounts", errno, "%s could not be bound; %s", path, namespace_remedy(errno));
    restrict_mount(path, device);
    close(source_fd);
}

/* The supervisor's view of the worker's processes; -1 in cfg where the kernel refuses (masked /proc). */
static void open_proc(struct config *cfg)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    make_directory(PROC_PLACE, 0700);
    /* where the host's own /proc is read-only, ours must be too */
    if (mount("proc", PROC_PLACE, "proc", flags, NULL) == 0 ||
        mount("proc", PROC_PLACE, "proc", flags | MS_RDONLY, NULL) == 0) {
        cfg->proc_dir = open(PROC_PLACE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (umount2(PROC_PLACE, MNT_DETACH) < 0)
            jail_fail("mounts", errno, "/proc could not be detached");
    }
    if (rmdir(PROC_PLACE) < 0)
        jail_fail("mounts", errno, "/proc could not be detached");
}

/* What a player's own /proc is mounted over; without a complete /proc on the host there will be none. */
static void make_proc_place(struct config *cfg)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    make_directory("/proc", 0555);
    cfg->has_own_proc = cfg->proc_dir >= 0 && mount("proc", "/proc", "proc", flags, NULL) == 0;
    if (cfg->has_own_proc && mount("tmpfs", "/proc", "tmpfs", flags, "size=4k,nr_inodes=1,mode=555") < 0)
        jail_fail("mounts", errno, "/proc could not be covered");
}

/* Files whose content comes with the configuration; a script is executable. */
static void make_text(const char *path, const char *text)
{
    make_parents(path);
    mode_t mode = strncmp(text, "#!", 2) == 0 ? 0755 : 0644;
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0 || write_full(fd, text, strlen(text)) < 0)
        jail_fail("mounts", errno, "the file %s could not be made in the jail", path);
    close(fd);
}

static void enter_new_root(void)
{
    static const char *const PLACES[] = {"/tmp", "/mnt", "/run", "/dev"};
    size_t at = 0;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        jail_fail("mounts", errno, "%s", namespace_remedy(errno));
    /* any directory will do: it is covered in this namespace only, and not for long */
    while (mount("tmpfs", PLACES[at], "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=1024,mode=755") < 0) {
        if (errno != ENOENT || ++at == sizeof PLACES / sizeof *PLACES)
            jail_fail("mounts", errno, "%s", namespace_remedy(errno));
    }
    if (chdir(PLACES[at]) < 0 || mkdir("." OLD_ROOT, 0700) < 0)
        jail_fail("mounts", errno, "the new root cannot be used");
    if (syscall(SYS_pivot_root, ".", "." OLD_ROOT) < 0)
        jail_fail("mounts", errno, "pivot_root was refused (the host's root is an initramfs, or a container's policy)");
    if (chdir("/") < 0)
        jail_fail("mounts", errno, "the new root cannot be used");
}

static void leave_old_root(void)
{
    if (umount2(OLD_ROOT, MNT_DETACH) < 0 || rmdir(OLD_ROOT) < 0)
        jail_fail("mounts", errno, "the old root could not be detached");
}

void setup_mounts(struct config *cfg)
{
    enter_new_root();
    open_proc(cfg);
    if (cfg->profile == PROFILE_SYSTEM)
        make_proc_place(cfg);
    for (size_t i = 0; i < cfg->ro_count; i++)
        bind_into(bind_fds[i], cfg->ro[i].dst, false);
    free(bind_fds);
    for (size_t i = 0; i < cfg->link_count; i++) {
        make_parents(cfg->link[i].dst);
        if (symlink(cfg->link[i].src, cfg->link[i].dst) < 0)
            jail_fail("mounts", errno, "the link %s could not be made", cfg->link[i].dst);
    }
    for (size_t i = 0; i < cfg->text_count; i++)
        make_text(cfg->text[i].dst, cfg->text[i].src);
    for (size_t i = 0; i < DEVICE_COUNT; i++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/%s", DEVICES[i]);
        bind_into(device_fds[i], path, true);
    }
    make_directory("/tmp", 0755);
    if (cfg->profile == PROFILE_SYSTEM)
        make_directory("/dev/shm", 0755);
    cfg->has_shm = cfg->profile == PROFILE_SYSTEM;
    scratch_mount(cfg);
    leave_old_root();
    remount_with("/", MS_RDONLY | MS_NOSUID | MS_NODEV);
}
