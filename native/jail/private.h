/* The launcher's private directory in tiers without mounts. */
#ifndef ACE_PRIVATE_H
#define ACE_PRIVATE_H

#include "jail.h"

/* Paths of the private directory, as the host sees them. */
struct private_paths {
    char base[200];
    char ace[216];  /* holds the link _ace_guest */
    char open[216]; /* the only place where guests may write */
    char root[216]; /* the copied tree of the chroot view */
};

/* In the launcher: makes it, removes those that dead launchers left, sets cfg->guest_parent and makes the scratch. */
const struct private_paths *private_set_up(struct config *cfg);

/* In the child: gives up the launcher's descriptors. */
void private_forget(void);

/* In the launcher, when all its descendants are gone. */
void private_remove(void);

#endif
