#include "syscalls.h"

#include <stddef.h>

#if defined(__x86_64__)
#define NUMBER(x86_64, aarch64) (x86_64)
#elif defined(__aarch64__)
#define NUMBER(x86_64, aarch64) (aarch64)
#else
#error "the system call table knows x86-64 and aarch64"
#endif

const char *syscall_name(int number)
{
    static const struct {
        int number;
        const char *name;
    } calls[] = {
#define NAME(name, x86_64, aarch64, policy) {NUMBER(x86_64, aarch64), #name},
        ACE_SYSCALLS(NAME)
#undef NAME
    };
    if (number >= 0)
        for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
            if (calls[i].number == number)
                return calls[i].name;
    return NULL;
}
