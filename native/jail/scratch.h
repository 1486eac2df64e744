/* What the other files use of scratch.c; the supervisor's part is in jail.h. */
#ifndef ACE_SCRATCH_H
#define ACE_SCRATCH_H

#include "jail.h"

/* namespaces tier: mounts the private tmpfs on /tmp. */
void scratch_mount(const struct config *cfg);

/* Without mounts: makes the scratch a directory in `parent`, which it may never leave; `seen` is the path of `parent`
 * as guests see it. `discard` holds what could not be emptied until the launcher ends. */
void scratch_use_directory(struct config *cfg, int parent, int discard, const char *seen);

/* Removes everything below an open directory, however deep, without following a link. Nobody may be writing there.
 * 0, or -1 with errno. */
int remove_below(int directory);

#endif
