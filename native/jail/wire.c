#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int read_full(int fd, void *buffer, size_t size)
{
    char *at = buffer;
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(fd, at + got, size - got);
        if (n > 0) {
            got += (size_t)n;
        } else if (n == 0) {
            if (got == 0)
                return 0;
            errno = EPROTO;
            return -1;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 1;
}

/* Sends the vectors whole, stepping over what the kernel took of them. */
static int send_all(int fd, struct iovec *part, size_t count)
{
    while (count > 0) {
        struct msghdr message = {.msg_iov = part, .msg_iovlen = count};
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == ENOTSOCK)
            n = writev(fd, part, (int)count);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        size_t taken = (size_t)n;
        while (count > 0 && taken >= part->iov_len) {
            taken -= part->iov_len;
            part++;
            count--;
        }
        if (count > 0) {
            part->iov_base = (char *)part->iov_base + taken;
            part->iov_len -= taken;
        }
    }
    return 0;
}

int write_full(int fd, const void *buffer, size_t size)
{
    struct iovec part = {.iov_base = (void *)buffer, .iov_len = size};
    return size == 0 ? 0 : send_all(fd, &part, 1);
}

int write_frame(int fd, uint8_t type, uint8_t flags, uint16_t index, const void *payload, size_t size)
{
    if (size > UINT32_MAX) {
        errno = EMSGSIZE;
        return -1;
    }
    struct frame_header header = {.length = (uint32_t)size, .type = type, .flags = flags, .index = index};
    struct iovec part[2] = {{.iov_base = &header, .iov_len = sizeof header},
                            {.iov_base = (void *)payload, .iov_len = size}};
    return send_all(fd, part, size > 0 ? 2 : 1);
}

int read_frame(int fd, struct frame_header *header, void **payload, size_t bound)
{
    int status = read_full(fd, header, sizeof *header);
    if (status != 1)
        return status;
    if (header->length > bound) {
        errno = EMSGSIZE;
        return -1;
    }
    char *memory = malloc((size_t)header->length + 1);
    if (memory == NULL)
        return -1;
    memory[header->length] = '\0';
    if (header->length > 0) {
        status = read_full(fd, memory, header->length);
        if (status != 1) {
            free(memory);
            if (status == 0)
                errno = EPROTO;
            return -1;
        }
    }
    *payload = memory;
    return 1;
}
