/* What READY tells the host: the tier, and every mechanism that is in force or is not, with the reason. */
#define _GNU_SOURCE
#include "jail.h"

#include <stdio.h>
#include <string.h>

static const char *const IDENTITIES[] = {"user namespace, own uid", "changed uid, no user namespace", "caller's uid"};
static const char *const VIEWS[] = {"mount namespace", "landlock", "chroot of a copy", "none"};
static const char *const CGROUPS[] = {"none", "v1", "v2"};

/* Text that came from strerror and from paths: what JSON minds is replaced, not escaped. */
static const char *plain(const char *text)
{
    static char out[sizeof((struct config *)0)->cgroup_why];
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < sizeof out; i++)
        out[i] = (unsigned char)text[i] < ' ' || text[i] == '"' || text[i] == '\\' ? '\'' : text[i];
    out[i] = '\0';
    return out;
}

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

const char *ready_mechanisms_json(const struct config *cfg)
{
    static char text[1536];
    size_t used = 0;
    const char *identity = cfg->tier == TIER_NAMESPACES && cfg->identity == IDENTITY_CALLER
                               ? "user namespace, caller's uid"
                               : IDENTITIES[cfg->identity];
    bool isolated = cfg->tier != TIER_NONE;
    bool landlock = cfg->view == VIEW_LANDLOCK;
    used +=
        (size_t)snprintf(text + used, sizeof text - used,
                         "\"tier\": \"%s\", \"profile\": \"%s\", "
                         "\"mechanisms\": {\"identity\": \"%s\", \"identity_why\": \"%s\", \"file_system\": \"%s\", "
                         "\"pid_namespace\": %s, \"net_namespace\": %s, \"seccomp\": %s, \"landlock_abi\": %d, ",
                         tier_name(cfg->tier), profile_name(cfg->profile), identity, plain(cfg->identity_why),
                         VIEWS[cfg->view], truth(cfg->has_pid_namespace), truth(cfg->has_net_namespace),
                         truth(isolated), landlock ? cfg->landlock_abi : 0);
    used += (size_t)snprintf(text + used, sizeof text - used,
                             "\"cgroup\": \"%s\", \"cgroup_why\": \"%s\", \"proc\": %s, \"scratch\": \"%s\", "
                             "\"loopback\": %s, \"bounded_sockets\": %s, \"shared_memory\": %s, \"own_proc\": %s}",
                             CGROUPS[cfg->cgroup], plain(cfg->cgroup_why), truth(cfg->proc_dir >= 0),
                             cfg->view == VIEW_MOUNTS ? "tmpfs" : "directory", truth(cfg->has_loopback),
                             truth(cfg->has_bounded_sockets), truth(cfg->has_shm), truth(cfg->has_own_proc));
    return used < sizeof text ? text : "\"tier\": \"unknown\"";
}
