/* What the launcher and the probe use of cgroup.c; the supervisor's part is in jail.h. */
#ifndef ACE_CGROUP_H
#define ACE_CGROUP_H

#include "jail.h"

#define PATH_BYTES 1024

/* Our own directory in the hierarchy of a version 1 controller, or of version 2 when `controller` is NULL. */
bool cgroup_own_directory(const char *controller, char *out);

/* Makes the worker's group and opens what the supervisor reads. No group is not a failure: cfg->cgroup says so. */
void cgroup_set_up(struct config *cfg);

/* Moves a process in (launcher only). Where that fails there is no group: cfg->cgroup says so. */
void cgroup_enter(struct config *cfg, pid_t pid);

/* In the supervisor: gives up the launcher's descriptors. */
void cgroup_forget(void);

void cgroup_remove(void);

#endif
