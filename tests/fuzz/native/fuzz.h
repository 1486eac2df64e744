/* What the harnesses share. Each is one libFuzzer target: `LLVMFuzzerTestOneInput` gets bytes as the other end of a
 * socket might send them, feeds them to the real parser, and aborts where a promise of that parser is broken; memory
 * errors are the sanitizers' to see, so every buffer that is handed over is allocated at exactly its size.
 *
 * `replay.c` gives the same targets a `main` that runs files once, for compilers without libFuzzer. */
#ifndef ACE_FUZZ_H
#define ACE_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROMISE(what)                                                                                                  \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #what);                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* A copy in a block of exactly that size, so that reading behind its end is seen. */
static inline void *exact_copy(const uint8_t *data, size_t size)
{
    void *copy = malloc(size > 0 ? size : 1);
    PROMISE(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* The same file in memory every time, with this content: making one costs more than most parsers take. */
static inline int file_with(int *fd, const uint8_t *data, size_t size)
{
    if (*fd < 0)
        *fd = memfd_create("input", MFD_CLOEXEC);
    PROMISE(*fd >= 0 && ftruncate(*fd, 0) == 0 && lseek(*fd, 0, SEEK_SET) == 0);
    PROMISE(write(*fd, data, size) == (ssize_t)size && lseek(*fd, 0, SEEK_SET) == 0);
    return *fd;
}

/* The input, taken apart from the front; what is missing reads as zero. */
struct input {
    const uint8_t *at;
    size_t left;
};

static inline uint32_t take_number(struct input *in, size_t bytes)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value |= (uint32_t)(in->left > 0 ? *in->at : 0) << 8 * i;
        if (in->left > 0) {
            in->at++;
            in->left--;
        }
    }
    return value;
}

static inline const uint8_t *take_bytes(struct input *in, size_t wanted, size_t *got)
{
    const uint8_t *at = in->at;
    *got = wanted < in->left ? wanted : in->left;
    in->at += *got;
    in->left -= *got;
    return at;
}

#endif
