/* Capabilities, and the other promises a process makes about itself. */
#ifndef ACE_PRIVILEGES_H
#define ACE_PRIVILEGES_H

#include <stdbool.h>
#include <stdint.h>

#define CAPABILITY(number) (1ull << (number))

/* Makes `kept` the whole permitted and effective set, and `inherited` the inheritable one. 0 or -1 with errno. */
int keep_capabilities(uint64_t kept, uint64_t inherited);

/* Drops everything outside `kept` from the bounding set, as far as this process may. */
void bound_capabilities(uint64_t kept);

uint64_t effective_capabilities(void);
uint64_t permitted_capabilities(void);

/* SIGKILL when the creating process ends, and a look whether it already has: `parent` is a pidfd or -1. */
void die_with_parent(int parent);

#endif
