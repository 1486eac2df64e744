/* Numbers of the kernel's interface that the headers of a build machine may be too old to know.
 * System calls from 424 on have one number on every architecture. */
#ifndef ACE_KERNEL_H
#define ACE_KERNEL_H

#include <stdint.h>
#include <sys/syscall.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

/* mount_setattr(2): struct mount_attr and its flags */
#define ACE_MOUNT_RDONLY 0x1u
#define ACE_MOUNT_NOSUID 0x2u
#define ACE_MOUNT_NODEV  0x4u
#define ACE_MOUNT_NOEXEC 0x8u
#define ACE_AT_RECURSIVE 0x8000

struct ace_mount_attr {
    uint64_t set, clear, propagation, userns_fd;
};

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#endif
