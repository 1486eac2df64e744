/* What the files of the `_native` extension give to module.c. */
#ifndef ACE_GUEST_H
#define ACE_GUEST_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x03090000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyMethodDef ace_filter_methods[]; /* filter.c: the seccomp filter */
extern PyMethodDef ace_encode_methods[]; /* encode.c: the value codec */
extern PyMethodDef ace_spawn_methods[];  /* spawn.c: cloning and limiting players */

/* Where a clone finds the network namespace to enter: the one descriptor for which the filter lets setns through. */
#define ACE_NETWORK_FD 4

/* Every clone of zygote and judge calls this before anything else may run in it; 0, or -errno: then it must end. It does
 * nothing where a pid namespace holds the clone and it had nothing to mount (filter.c says why). */
int ace_seal(void);

#endif
