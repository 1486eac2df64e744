#ifndef ACE_COPYTREE_H
#define ACE_COPYTREE_H

#include "jail.h"

/* In the launcher: makes the private directory with a copy of every configured path in its `root`. */
void copytree_prepare(struct config *cfg);

/* In the child, still root: makes the copy the root directory. */
void copytree_enter(void);

#endif
