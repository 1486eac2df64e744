/* What the other files use of landlock.c. */
#ifndef ACE_LANDLOCK_H
#define ACE_LANDLOCK_H

#include "jail.h"

/* The kernel's Landlock ABI, 0 where there is none; *error (may be NULL) says why not. */
int landlock_abi(int *error);

/* In the launcher: makes the private directories of this view and prepares the rules. */
void landlock_prepare(struct config *cfg);

/* In a guest, before exec, with no_new_privs set: enters the domain for good. 0 or -1 with errno. */
int landlock_enter(const struct config *cfg);

#endif
