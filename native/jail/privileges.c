/* Capabilities through the raw system calls: the sets are 64 bits, and libcap is not worth a dependency. */
#define _GNU_SOURCE
#include "privileges.h"

#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HIGHEST_CAPABILITY 63

int keep_capabilities(uint64_t kept, uint64_t inherited)
{
    struct __user_cap_header_struct who = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct sets[2] = {
        {.effective = (uint32_t)kept, .permitted = (uint32_t)kept, .inheritable = (uint32_t)inherited},
        {.effective = (uint32_t)(kept >> 32),
         .permitted = (uint32_t)(kept >> 32),
         .inheritable = (uint32_t)(inherited >> 32)},
    };
    return (int)syscall(SYS_capset, &who, sets);
}

void bound_capabilities(uint64_t kept)
{
    for (int capability = 0; capability <= HIGHEST_CAPABILITY; capability++) {
        if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) < 0)
            break;
        if ((kept & CAPABILITY(capability)) == 0)
            (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
}

uint64_t permitted_capabilities(void)
{
    struct __user_cap_header_struct who = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct sets[2] = {{0}, {0}};
    if (syscall(SYS_capget, &who, sets) < 0)
        return 0;
    return sets[0].permitted | (uint64_t)sets[1].permitted << 32;
}

uint64_t effective_capabilities(void)
{
    struct __user_cap_header_struct who = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct sets[2] = {{0}, {0}};
    if (syscall(SYS_capget, &who, sets) < 0)
        return 0;
    return sets[0].effective | (uint64_t)sets[1].effective << 32;
}

void die_with_parent(int parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    struct pollfd ended = {.fd = parent, .events = POLLIN};
    if (parent >= 0 && poll(&ended, 1, 0) > 0)
        _exit(0);
}
