/* The private directory of a launcher in the tiers without mounts (seccomp, none).
 *
 *   BASE            $TMPDIR or /tmp, /acesandbox-XXXXXX, owned by the launcher
 *   BASE/ace        the link _ace_guest -> the real package, for PYTHONPATH
 *   BASE/open       the one place guests may write to, owned by the worker's uid; the scratch is BASE/open/tmp
 *   BASE/discard    scratch directories that could not be emptied cheaply: no guest has rights on it
 *   BASE/root       the copied tree of the chroot view; `open` then lies inside it
 *
 * BASE is locked (flock) as long as its launcher lives. A launcher that is killed cannot clear up; the next one removes
 * every BASE of the same owner whose lock it gets, which cannot be one in use. */
#define _GNU_SOURCE
#include "private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"

#define NAME          "acesandbox-"
#define GUEST_PACKAGE "/ace/_ace_guest"

static struct private_paths paths;
static int base_fd = -1;

static const char *temporary_directory(void)
{
    const char *named = getenv("TMPDIR");
    return named != NULL && named[0] == '/' && strlen(named) < 150 && access(named, W_OK | X_OK) == 0 ? named : "/tmp";
}

static void sweep(const char *parent)
{
    DIR *stream = opendir(parent);
    if (stream == NULL)
        return;
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        if (strncmp(entry->d_name, NAME, strlen(NAME)) != 0)
            continue;
        int fd = openat(dirfd(stream), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat about;
        if (fd < 0)
            continue;
        /* the sticky bit marks a directory that is fully made: one that is being made is not locked yet */
        if (fstat(fd, &about) == 0 && about.st_uid == geteuid() && (about.st_mode & S_ISVTX) != 0 &&
            flock(fd, LOCK_EX | LOCK_NB) == 0 && remove_below(fd) == 0)
            (void)unlinkat(dirfd(stream), entry->d_name, AT_REMOVEDIR);
        close(fd);
    }
    closedir(stream);
}

static void make(const char *path, mode_t mode, bool for_worker, const struct config *cfg)
{
    if (mkdir(path, mode) < 0)
        jail_fail("private directory", errno, "%s could not be made", path);
    if (for_worker && geteuid() == 0 && cfg->tier != TIER_NONE && chown(path, cfg->uid, cfg->gid) < 0)
        jail_fail("private directory", errno, "%s could not be given to uid %lu", path, (unsigned long)cfg->uid);
}

/* The link that makes the guest package importable where paths cannot be remapped. */
static void link_guest_package(const struct config *cfg)
{
    char path[256];
    make(paths.ace, 0755, false, cfg);
    snprintf(path, sizeof path, "%s/_ace_guest", paths.ace);
    for (size_t i = 0; i < cfg->ro_count; i++) {
        if (strcmp(cfg->ro[i].dst, GUEST_PACKAGE) == 0) {
            if (symlink(cfg->ro[i].src, path) < 0)
                jail_fail("private directory", errno, "%s could not be made", path);
        } else if (strcmp(cfg->ro[i].dst, cfg->ro[i].src) != 0) {
            jail_fail("private directory", EINVAL, "%s cannot stand for %s without mounts", cfg->ro[i].dst,
                      cfg->ro[i].src);
        }
    }
}

const struct private_paths *private_set_up(struct config *cfg)
{
    const char *parent = temporary_directory();
    sweep(parent);
    snprintf(paths.base, sizeof paths.base, "%s/" NAME "XXXXXX", parent);
    if (mkdtemp(paths.base) == NULL)
        jail_fail("private directory", errno, "no directory could be made in %s", parent);
    base_fd = open(paths.base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (base_fd < 0 || flock(base_fd, LOCK_EX | LOCK_NB) < 0 || fchmod(base_fd, S_ISVTX | 0711) < 0)
        jail_fail("private directory", errno, "%s cannot be used", paths.base);

    bool in_root = cfg->view == VIEW_CHROOT;
    snprintf(paths.root, sizeof paths.root, "%s/root", paths.base);
    snprintf(paths.ace, sizeof paths.ace, "%s/ace", paths.base);
    snprintf(paths.open, sizeof paths.open, "%s%s", paths.base, in_root ? "/root/open" : "/open");
    char discard[216];
    snprintf(discard, sizeof discard, "%s/discard", paths.base);
    make(discard, 0700, true, cfg);
    if (in_root)
        make(paths.root, 0755, false, cfg);
    else
        link_guest_package(cfg);
    make(paths.open, 0700, true, cfg);
    snprintf(cfg->guest_parent, sizeof cfg->guest_parent, "%s", in_root ? "/ace" : paths.ace);

    int open_fd = open(paths.open, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int discard_fd = open(discard, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (open_fd < 0 || discard_fd < 0)
        jail_fail("private directory", errno, "%s cannot be used", paths.base);
    scratch_use_directory(cfg, open_fd, discard_fd, in_root ? "/open" : paths.open);
    return &paths;
}

void private_forget(void)
{
    if (base_fd >= 0)
        close(base_fd);
    base_fd = -1;
}

void private_remove(void)
{
    if (base_fd < 0)
        return;
    if (remove_below(base_fd) == 0)
        (void)rmdir(paths.base);
    private_forget();
}
