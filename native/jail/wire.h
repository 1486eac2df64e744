/* The frames of docs/protocol.md, and nothing else: whole reads, whole writes, one header. */
#ifndef ACE_WIRE_H
#define ACE_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As it lies on the wire: little endian, 8 bytes. Both supported machines are little endian. */
struct frame_header {
    uint32_t length;
    uint8_t type;
    uint8_t flags;
    uint16_t index;
};
_Static_assert(sizeof(struct frame_header) == 8, "a frame header is 8 bytes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little endian and read in place");

#define WIRE_MAX_FROM_HOST  (512u << 20)
#define WIRE_MAX_FROM_GUEST (64u << 20)

/* Reads exactly `size` bytes. 1: done; 0: end of file before the first byte;
 * -1: errno, where EPROTO means that the stream ended inside. */
int read_full(int fd, void *buffer, size_t size);

/* Writes all of it, never raising SIGPIPE on a socket. 0, or -1 with errno. */
int write_full(int fd, const void *buffer, size_t size);

/* Header and payload in one system call where the socket takes them. 0, or -1 with errno. */
int write_frame(int fd, uint8_t type, uint8_t flags, uint16_t index, const void *payload, size_t size);

/* Reads one whole frame into fresh memory with a NUL behind the payload (the caller frees *payload).
 * 1: done; 0: end of file between frames; -1: errno, EMSGSIZE where the frame is longer than `bound`. */
int read_frame(int fd, struct frame_header *header, void **payload, size_t bound);

#endif
