/* A root directory made of copies (seccomp tier, root in a container whose kernel has no Landlock).
 *
 * Without mounts the only other way to take the container's files out of sight is chroot, and a chroot needs the
 * interpreter inside. It is copied once per launcher (reflinked where the file system can), owned by root, and removed
 * at the end. Symbolic links are copied as they are. Set-user-id bits and capabilities are not copied.
 *
 * Nothing leads out again: the worker has no CAP_SYS_CHROOT, no descriptor of a directory outside, and no /proc. */
#define _GNU_SOURCE
#include "copytree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "private.h"

#define MAX_BYTES ((uint64_t)4 << 30)
#define MAX_DEPTH 64

static const struct private_paths *own;
static const char *wanted_packages; /* the guest's JSON: it names the package directories that programs may use */
static uint64_t copied;

/* Package directories inside a standard library that programs are not to see; they can be a gigabyte. And byte code for
 * `python -O`, which guests are not started with: half of a library's files where it was installed by `make install`. */
static bool is_unwanted(const char *path, const char *name)
{
    if (strstr(name, ".opt-1.pyc") != NULL || strstr(name, ".opt-2.pyc") != NULL)
        return true;
    return (strcmp(name, "site-packages") == 0 || strcmp(name, "dist-packages") == 0) &&
           strstr(wanted_packages, path) == NULL;
}

static void copy_bytes(int from, int to, const char *name, uint64_t size)
{
    copied += size;
    if (copied > MAX_BYTES)
        jail_fail("copied root", EFBIG, "the interpreter and its packages are larger than %llu MiB: too much to copy",
                  (unsigned long long)(MAX_BYTES >> 20));
    if (ioctl(to, FICLONE, from) == 0)
        return;
    ssize_t n;
    while ((n = sendfile(to, from, NULL, (size_t)1 << 30)) > 0)
        continue;
    if (n < 0)
        jail_fail("copied root", errno, "%s could not be copied", name);
}

static void copy_entry(int from_dir, int to_dir, const char *name, const char *new_name, const char *path, int depth);

static void copy_directory(int from, int to, const char *path, int depth)
{
    if (depth > MAX_DEPTH)
        jail_fail("copied root", ELOOP, "directories nested deeper than %d", MAX_DEPTH);
    DIR *stream = fdopendir(from);
    if (stream == NULL)
        jail_fail("copied root", errno, "a directory could not be read");
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        const char *name = entry->d_name;
        char below[PATH_MAX];
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if ((size_t)snprintf(below, sizeof below, "%s/%s", path, name) >= sizeof below)
            jail_fail("copied root", ENAMETOOLONG, "%s", path);
        if (!is_unwanted(below, name))
            copy_entry(dirfd(stream), to, name, name, below, depth);
    }
    closedir(stream);
}

/* `path` is where the copy will be seen. */
static void copy_entry(int from_dir, int to_dir, const char *name, const char *new_name, const char *path, int depth)
{
    struct stat about;
    /* the top of a configured path may be a link to what is meant; links inside stay links */
    if (fstatat(from_dir, name, &about, depth == 0 ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
        jail_fail("copied root", errno, "%s is missing", name);
    if (S_ISLNK(about.st_mode)) {
        char target[4096];
        ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);
        if (n < 0)
            jail_fail("copied root", errno, "%s could not be read", name);
        target[n] = '\0';
        if (symlinkat(target, to_dir, new_name) < 0 && errno != EEXIST)
            jail_fail("copied root", errno, "%s could not be copied", name);
        return;
    }
    if (!S_ISDIR(about.st_mode) && !S_ISREG(about.st_mode))
        return; /* sockets, fifos and devices are no part of an interpreter */
    int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC | (depth == 0 ? 0 : O_NOFOLLOW));
    if (from < 0)
        jail_fail("copied root", errno, "%s could not be read", name);
    if (S_ISDIR(about.st_mode)) {
        if (mkdirat(to_dir, new_name, 0755) < 0 && errno != EEXIST)
            jail_fail("copied root", errno, "%s could not be copied", name);
        int to = openat(to_dir, new_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (to < 0)
            jail_fail("copied root", errno, "%s could not be copied", name);
        copy_directory(from, to, path, depth + 1);
        close(to);
        return;
    }
    int to = openat(to_dir, new_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0 && errno == EEXIST) { /* two configured paths overlap */
        close(from);
        return;
    }
    if (to < 0)
        jail_fail("copied root", errno, "%s could not be copied", name);
    copy_bytes(from, to, name, (uint64_t)about.st_size);
    /* the time stays: a byte-code cache is valid only for its source's time */
    const struct timespec times[2] = {about.st_atim, about.st_mtim};
    if (fchmod(to, (about.st_mode & 0111) != 0 ? 0755 : 0644) < 0 || futimens(to, times) < 0)
        jail_fail("copied root", errno, "%s could not be copied", name);
    close(to);
    close(from);
}

/* Opens the directory that is to hold `path` inside the copy, making those on the way; *last is the final name. */
static int open_parent(int root, const char *path, const char **last)
{
    char copy[1024];
    if (strlen(path) >= sizeof copy)
        jail_fail("copied root", ENAMETOOLONG, "%s", path);
    memcpy(copy, path, strlen(path) + 1);
    int at = fcntl(root, F_DUPFD_CLOEXEC, 0);
    char *name = copy + 1;
    for (char *slash = strchr(name, '/'); at >= 0 && slash != NULL; name = slash + 1, slash = strchr(name, '/')) {
        *slash = '\0';
        if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
            jail_fail("copied root", errno, "%s could not be made", path);
        int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(at);
        at = next;
    }
    if (at < 0)
        jail_fail("copied root", errno, "%s could not be made", path);
    *last = path + (name - copy);
    return at;
}

static void make_devices(int root)
{
    static const struct {
        const char *name;
        unsigned minor;
    } devices[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
    const char *last;
    int dev = open_parent(root, "/dev/.", &last);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (mknodat(dev, devices[i].name, S_IFCHR | 0666, makedev(1, devices[i].minor)) < 0 ||
            fchmodat(dev, devices[i].name, 0666, 0) < 0)
            jail_fail("copied root", errno, "/dev/%s could not be made: the container lacks CAP_MKNOD",
                      devices[i].name);
    int null = openat(dev, "null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        jail_fail("copied root", errno, "%s is on a file system mounted nodev: set TMPDIR to another", own->base);
    close(null);
    close(dev);
}

void copytree_prepare(struct config *cfg)
{
    own = private_set_up(cfg);
    wanted_packages = cfg->guest_json;
    umask(022);
    int root = open(own->root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root < 0)
        jail_fail("copied root", errno, "%s cannot be opened", own->root);
    for (size_t i = 0; i < cfg->ro_count; i++) {
        const char *last;
        int parent = open_parent(root, cfg->ro[i].dst, &last);
        copy_entry(AT_FDCWD, parent, cfg->ro[i].src, last, cfg->ro[i].dst, 0);
        close(parent);
    }
    for (size_t i = 0; i < cfg->link_count; i++) {
        const char *last;
        int parent = open_parent(root, cfg->link[i].dst, &last);
        if (symlinkat(cfg->link[i].src, parent, last) < 0 && errno != EEXIST)
            jail_fail("copied root", errno, "the link %s could not be made", cfg->link[i].dst);
        close(parent);
    }
    make_devices(root);
    if (symlinkat("open/tmp", root, "tmp") < 0) /* programs that spell /tmp out find the scratch */
        jail_fail("copied root", errno, "/tmp could not be made");
    close(root);
}

void copytree_enter(void)
{
    if (chroot(own->root) < 0 || chdir("/") < 0)
        jail_fail("copied root", errno, "chroot needs CAP_SYS_CHROOT in the container");
}
