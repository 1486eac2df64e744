/* Landlock: what guests may reach of the host's own paths, network and signals (seccomp tier).
 *
 *   ABI 1  files                            ABI 5  device ioctls
 *   ABI 2  links and renames across         ABI 6  abstract sockets and signals stay inside
 *   ABI 3  truncation                       ABI 7  audit (nothing for us)
 *   ABI 4  TCP bind and connect
 *
 * Guests may read and execute below the configured paths, use five devices, and write below the private directory's
 * `open`. Landlock says nothing about stat, chmod, chown, utime and extended attributes: the seccomp filter of this
 * tier refuses those that change something. Names and sizes of files outside stay visible to stat.
 *
 * Before ABI 3 truncation of a file that may be read is not covered. A worker with a uid of its own has no right to
 * truncate anything; one with the caller's uid would, so there ABI 3 is the least. */
#define _GNU_SOURCE
#include "landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"
#include "private.h"

#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH      1

#define FS_EXECUTE                 (1ull << 0)
#define FS_WRITE_FILE              (1ull << 1)
#define FS_READ_FILE               (1ull << 2)
#define FS_READ_DIR                (1ull << 3)
#define FS_REMOVE_DIR              (1ull << 4)
#define FS_REMOVE_FILE             (1ull << 5)
#define FS_MAKE_DIR                (1ull << 7)
#define FS_MAKE_REG                (1ull << 8)
#define FS_MAKE_FIFO               (1ull << 10)
#define FS_MAKE_SYM                (1ull << 12)
#define FS_ABI_1                   ((1ull << 13) - 1)
#define FS_REFER                   (1ull << 13)
#define FS_TRUNCATE                (1ull << 14)
#define FS_IOCTL_DEV               (1ull << 15)
#define NET_BIND_TCP               (1ull << 0)
#define NET_CONNECT_TCP            (1ull << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ull << 0)
#define SCOPE_SIGNAL               (1ull << 1)

struct ruleset_attributes {
    uint64_t handled_access_fs, handled_access_net, scoped;
};

struct path_beneath {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

static int ruleset = -1;

int landlock_abi(int *error)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    if (error != NULL)
        *error = version < 0 ? errno : 0;
    return version < 0 ? 0 : (int)version;
}

static uint64_t handled_files(int abi)
{
    uint64_t rights = FS_ABI_1;
    rights |= abi >= 2 ? FS_REFER : 0;
    rights |= abi >= 3 ? FS_TRUNCATE : 0;
    rights |= abi >= 5 ? FS_IOCTL_DEV : 0;
    return rights;
}

/* A rule for one path; rights that make no sense for a plain file are left out there, as the kernel demands. */
static void allow(const char *path, uint64_t rights, int abi)
{
    const uint64_t file_rights = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV;
    struct path_beneath rule = {.parent_fd = open(path, O_PATH | O_CLOEXEC)};
    struct stat about;
    if (rule.parent_fd < 0 || fstat(rule.parent_fd, &about) < 0)
        jail_fail("landlock", errno, "%s cannot be opened", path);
    rule.allowed_access = rights & handled_files(abi);
    if (!S_ISDIR(about.st_mode))
        rule.allowed_access &= file_rights;
    if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0)
        jail_fail("landlock", errno, "no rule could be added for %s", path);
    close(rule.parent_fd);
}

void landlock_prepare(struct config *cfg)
{
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};
    int abi = cfg->landlock_abi;
    struct ruleset_attributes attributes = {.handled_access_fs = handled_files(abi)};
    size_t size = sizeof attributes.handled_access_fs;
    if (abi >= 4) {
        attributes.handled_access_net = NET_BIND_TCP | NET_CONNECT_TCP;
        size += sizeof attributes.handled_access_net;
    }
    if (abi >= 6) {
        attributes.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
        size += sizeof attributes.scoped;
    }
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
    if (ruleset < 0)
        jail_fail("landlock", errno, "the rule set was refused although the kernel has Landlock ABI %d", abi);
    (void)fcntl(ruleset, F_SETFD, FD_CLOEXEC);

    const struct private_paths *own = private_set_up(cfg);
    for (size_t i = 0; i < cfg->ro_count; i++)
        allow(cfg->ro[i].src, FS_EXECUTE | FS_READ_FILE | FS_READ_DIR, abi);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        allow(devices[i], FS_READ_FILE | FS_WRITE_FILE, abi);
    allow(own->ace, FS_READ_FILE | FS_READ_DIR, abi);
    allow(own->open,
          FS_READ_FILE | FS_WRITE_FILE | FS_READ_DIR | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG |
              FS_MAKE_FIFO | FS_MAKE_SYM | FS_REFER | FS_TRUNCATE | (cfg->processes > 0 ? FS_EXECUTE : 0),
          abi);
}

int landlock_enter(const struct config *cfg)
{
    (void)cfg;
    return (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}
