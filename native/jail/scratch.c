/* The private /tmp, and the proof that it is empty before the next program runs.
 *
 * With mounts it is a tmpfs with a cap on bytes and on inodes. An empty tmpfs has exactly the inodes and blocks that
 * it had when it was new, so one statfs proves it empty; anything else is thrown away whole by detaching the mount.
 * A hostile tree (ten thousand levels, a million links) is never walked. Its root directory belongs to the program too:
 * mode, owner and times of it can carry a message, so they must be what they were (extended attributes are refused by
 * the filter; access times are not kept).
 *
 * /dev/shm, where there is one, is a second tmpfs of the same size, treated the same way.
 *
 * Without mounts (seccomp tier) it is a directory of its own. It is emptied by descriptor, never following a link, with
 * a budget of entries; where that is not enough it is moved out of the guests' reach and a fresh one takes its place.
 * What was moved goes with the launcher. Nothing in the kernel bounds the sum of files there, only each (RLIMIT_FSIZE),
 * so the supervisor adds them up while a program runs. It sees what has a name: a file that was removed while it is open
 * or mapped takes space until its program ends. */
#define _GNU_SOURCE
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DIRECTORY_NAME "tmp"
#define ENTRY_BUDGET   20000L
#define DEPTH_BUDGET   64

/* Each tmpfs as it was when new. */
static struct place {
    const char *path, *mode;
    fsfilcnt_t free_inodes;
    fsblkcnt_t free_blocks;
    struct stat fresh; /* its root directory */
} places[] = {{.path = "/tmp", .mode = "700"}, {.path = "/dev/shm", .mode = "1777"}};

/* The directories used without mounts. Only the supervisor and its maker use this. */
static struct {
    struct stat fresh; /* the scratch directory itself */
    int parent, discard;
    unsigned long discarded;
} state = {.parent = -1, .discard = -1};

static size_t place_count(const struct config *cfg)
{
    return cfg->has_shm ? 2 : 1;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool looks_fresh(const struct stat *now, const struct stat *then)
{
    return now->st_mode == then->st_mode && now->st_uid == then->st_uid && now->st_gid == then->st_gid &&
           same_time(&now->st_mtim, &then->st_mtim) && same_time(&now->st_ctim, &then->st_ctim);
}

static int mount_fresh(const struct config *cfg, struct place *place)
{
    char options[160];
    snprintf(options, sizeof options, "size=%llum,nr_inodes=%llu,mode=%s,uid=%lu,gid=%lu",
             (unsigned long long)cfg->scratch_mb, (unsigned long long)cfg->scratch_inodes, place->mode,
             cfg->identity == IDENTITY_CHANGED ? (unsigned long)cfg->uid : (unsigned long)INNER_ID,
             cfg->identity == IDENTITY_CHANGED ? (unsigned long)cfg->gid : (unsigned long)INNER_ID);
    if (mount("tmpfs", place->path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOATIME, options) < 0)
        return -1;
    struct statfs about;
    if (statfs(place->path, &about) < 0 || stat(place->path, &place->fresh) < 0)
        return -1;
    place->free_inodes = about.f_ffree;
    place->free_blocks = about.f_bfree;
    return 0;
}

static bool place_is_clean(const struct place *place)
{
    struct statfs about;
    struct stat directory;
    return statfs(place->path, &about) == 0 && about.f_ffree == place->free_inodes &&
           about.f_bfree == place->free_blocks && stat(place->path, &directory) == 0 &&
           looks_fresh(&directory, &place->fresh);
}

void scratch_mount(const struct config *cfg)
{
    for (size_t i = 0; i < place_count(cfg); i++)
        if (mount_fresh(cfg, &places[i]) < 0)
            jail_fail("scratch", errno, "a tmpfs could not be mounted on %s in the jail", places[i].path);
}

static int open_directory(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int remove_level(int directory, long *budget, int depth);

/* Where directories that lie too deep are moved, to be removed from the top; -1: they are refused instead. */
static int spill = -1;
static unsigned long spilled;

static int spill_entry(int directory, const char *name)
{
    char fresh[48];
    snprintf(fresh, sizeof fresh, ".deep-%ld-%lu", (long)getpid(), spilled++);
    return renameat(directory, name, spill, fresh);
}

/* One entry, which may be a directory whose rights the program took away. All writers are dead: no races. */
static int remove_entry(int directory, const char *name, long *budget, int depth)
{
    struct stat about;
    if (unlinkat(directory, name, 0) == 0)
        return 0;
    if (fstatat(directory, name, &about, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (!S_ISDIR(about.st_mode)) {
        errno = EBUSY;
        return -1;
    }
    if ((about.st_mode & 0700) != 0700 && fchmodat(directory, name, 0700, 0) < 0)
        return -1;
    if (depth >= DEPTH_BUDGET) {
        if (spill >= 0)
            return spill_entry(directory, name);
        errno = EBUSY;
        return -1;
    }
    int below = open_directory(directory, name);
    if (below < 0)
        return -1;
    int result = remove_level(below, budget, depth + 1);
    int error = errno;
    close(below);
    errno = error;
    return result < 0 ? -1 : unlinkat(directory, name, AT_REMOVEDIR);
}

/* Depth first with two open descriptors per level, at most DEPTH_BUDGET levels. Removing entries may hide others from
 * the same reading of a directory, so it is read again until nothing is left. */
static int remove_level(int directory, long *budget, int depth)
{
    int copy = open_directory(directory, "."); /* fdopendir takes it over, and it starts at the first entry */
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (stream == NULL) {
        if (copy >= 0)
            close(copy);
        return -1;
    }
    int result = 0;
    bool removed = true;
    while (removed && result == 0) {
        removed = false;
        rewinddir(stream);
        for (struct dirent *entry = readdir(stream); entry != NULL && result == 0; entry = readdir(stream)) {
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            removed = true;
            if (--*budget < 0) {
                errno = EBUSY;
                result = -1;
            } else {
                result = remove_entry(directory, entry->d_name, budget, depth);
            }
        }
    }
    int error = errno;
    closedir(stream);
    errno = error;
    return result;
}

int remove_below(int directory)
{
    long budget = LONG_MAX;
    spill = directory;
    int result = remove_level(directory, &budget, 0);
    spill = -1;
    return result;
}

static int make_directory(void)
{
    if (mkdirat(state.parent, DIRECTORY_NAME, 0700) < 0)
        return -1;
    return fstatat(state.parent, DIRECTORY_NAME, &state.fresh, AT_SYMLINK_NOFOLLOW);
}

void scratch_use_directory(struct config *cfg, int parent, int discard, const char *seen)
{
    state.parent = parent;
    state.discard = discard;
    bool for_worker = geteuid() == 0 && cfg->tier != TIER_NONE;
    if (make_directory() < 0 || (for_worker && fchownat(parent, DIRECTORY_NAME, cfg->uid, cfg->gid, 0) < 0))
        jail_fail("scratch", errno, "a directory for temporary files could not be made in %s", seen);
    if (fstatat(parent, DIRECTORY_NAME, &state.fresh, AT_SYMLINK_NOFOLLOW) < 0)
        jail_fail("scratch", errno, "the directory for temporary files in %s cannot be looked at", seen);
    snprintf(cfg->scratch, sizeof cfg->scratch, "%s/%s", strcmp(seen, "/") == 0 ? "" : seen, DIRECTORY_NAME);
}

/* True if the parent holds nothing but the scratch itself: programs may write there too. */
static bool parent_is_clean(void)
{
    int copy = open_directory(state.parent, ".");
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (stream == NULL) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    bool clean = true;
    for (struct dirent *entry = readdir(stream); clean && entry != NULL; entry = readdir(stream))
        clean = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                strcmp(entry->d_name, DIRECTORY_NAME) == 0;
    closedir(stream);
    return clean;
}

static bool directory_is_clean(void)
{
    int copy = open_directory(state.parent, DIRECTORY_NAME);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (stream == NULL) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    struct stat about;
    bool clean = fstat(copy, &about) == 0 && looks_fresh(&about, &state.fresh);
    for (struct dirent *entry = readdir(stream); clean && entry != NULL; entry = readdir(stream))
        clean = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(stream);
    return clean;
}

static int renew_directory(void)
{
    long budget = ENTRY_BUDGET;
    if (remove_level(state.parent, &budget, 0) < 0) {
        /* out of reach, whole: nothing that is left of it can be opened by the next program */
        char name[32];
        struct dirent *entry;
        int copy = open_directory(state.parent, ".");
        DIR *stream = copy < 0 ? NULL : fdopendir(copy);
        if (stream == NULL)
            return -1;
        while ((entry = readdir(stream)) != NULL) {
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            snprintf(name, sizeof name, "%lu", state.discarded++);
            if (renameat(state.parent, entry->d_name, state.discard, name) < 0) {
                closedir(stream);
                return -1;
            }
        }
        closedir(stream);
    }
    return make_directory();
}

/* ---- how much there is of it, without mounts ---- */

struct sum {
    uint64_t bytes;
    unsigned long long entries;
    unsigned long long most_entries;
    bool too_deep;
};

/* Programs may be at work here: what goes while we look is not counted. Their filter sees to it that no directory is
 * made that we cannot read. */
static void add_level(int directory, struct sum *sum, int depth)
{
    DIR *stream = fdopendir(directory);
    if (stream == NULL) {
        close(directory);
        return;
    }
    for (struct dirent *entry = readdir(stream); entry != NULL && sum->entries <= sum->most_entries;
         entry = readdir(stream)) {
        struct stat about;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(directory, entry->d_name, &about, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        sum->entries++;
        if (!S_ISDIR(about.st_mode)) {
            sum->bytes += (uint64_t)about.st_blocks * 512 / (about.st_nlink > 0 ? about.st_nlink : 1);
            continue;
        }
        int below = depth >= DEPTH_BUDGET ? -1 : open_directory(directory, entry->d_name);
        sum->too_deep = sum->too_deep || depth >= DEPTH_BUDGET;
        if (below >= 0)
            add_level(below, sum, depth + 1);
    }
    closedir(stream);
}

const char *scratch_excess(const struct config *cfg)
{
    static char text[96];
    int directory = cfg->view == VIEW_MOUNTS || state.parent < 0 ? -1 : open_directory(state.parent, ".");
    if (directory < 0)
        return NULL;
    struct sum sum = {.most_entries = cfg->scratch_inodes + 1 /* the scratch itself */};
    add_level(directory, &sum, 0);
    if (sum.bytes > cfg->scratch_mb << 20)
        snprintf(text, sizeof text, "more than %llu MB of temporary files", (unsigned long long)cfg->scratch_mb);
    else if (sum.entries > sum.most_entries)
        snprintf(text, sizeof text, "more than %llu temporary files", (unsigned long long)cfg->scratch_inodes);
    else if (sum.too_deep)
        snprintf(text, sizeof text, "temporary directories more than %d deep", DEPTH_BUDGET);
    else
        return NULL;
    return text;
}

int scratch_is_clean(const struct config *cfg)
{
    if (cfg->view != VIEW_MOUNTS)
        return state.parent < 0 || (parent_is_clean() && directory_is_clean());
    for (size_t i = 0; i < place_count(cfg); i++)
        if (!place_is_clean(&places[i]))
            return false;
    return true;
}

int scratch_renew(const struct config *cfg)
{
    if (cfg->view != VIEW_MOUNTS)
        return state.parent < 0 ? 0 : renew_directory();
    for (size_t i = 0; i < place_count(cfg); i++)
        if (!place_is_clean(&places[i]) &&
            (umount2(places[i].path, MNT_DETACH) < 0 || mount_fresh(cfg, &places[i]) < 0))
            return -1;
    return 0;
}
