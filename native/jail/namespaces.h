/* What launcher.c uses of namespaces.c and mounts.c. */
#ifndef ACE_NAMESPACES_H
#define ACE_NAMESPACES_H

#include "jail.h"

/* Clones the jail's first process into new namespaces, with a user namespace where possible (cfg->identity says).
 * As fork: 0 in the child, its pid in the launcher; -1 with errno. */
pid_t clone_into_namespaces(struct config *cfg);

/* In the launcher: writes the child's id maps. 0, or -1 with errno. */
int write_id_maps(const struct config *cfg, pid_t child);

/* In the child: takes the worker's ids; in every identity the result is not uid 0. */
void setup_identity(const struct config *cfg);

void setup_hostname(void);

/* In the child: opens every bind source as the ids the host had. */
void setup_bind_sources(const struct config *cfg);

/* In the child: builds the root and changes into it. */
void setup_mounts(struct config *cfg);

/* What to do about a namespace that could not be had; static memory. */
const char *namespace_remedy(int error);

#endif
