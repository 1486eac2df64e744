/* The parts of the jail that the supervisor's parsers call and that make no sense without one. */
#ifndef ACE_FUZZ_STUBS_H
#define ACE_FUZZ_STUBS_H

#include "../../../native/jail/jail.h"

size_t guest_log(const char *role, char *buffer, size_t size)
{
    (void)role;
    if (size > 0)
        buffer[0] = '\0';
    return 0;
}

const char *scratch_excess(const struct config *cfg) { (void)cfg; return NULL; }
int scratch_is_clean(const struct config *cfg) { (void)cfg; return 1; }
int scratch_renew(const struct config *cfg) { (void)cfg; return 0; }
int network_fresh(struct config *cfg) { (void)cfg; return -1; }
unsigned long long cgroup_oom_kills(const struct config *cfg) { (void)cfg; return 0; }
unsigned long long cgroup_peak(const struct config *cfg) { (void)cfg; return 0; }

#endif
