/* Reading frames (read_frame) and writing them again (write_frame). Input: one byte for the bound, then the stream.
 * What is read and written again is the stream itself, as far as it held whole frames. */
#define _GNU_SOURCE
#include <errno.h>

#include "../../../native/jail/wire.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t bound = data[0] < 32 ? 1u << data[0] : WIRE_MAX_FROM_GUEST;
    const uint8_t *stream = data + 1;
    size--;
    static int in = -1, out = -1;
    file_with(&in, stream, size);
    file_with(&out, NULL, 0);
    size_t whole = 0;
    for (;;) {
        struct frame_header header;
        void *payload = NULL;
        errno = 0;
        int status = read_frame(in, &header, &payload, bound);
        if (status != 1) {
            PROMISE(payload == NULL);
            PROMISE(status == 0 ? whole == size : errno == EPROTO || errno == EMSGSIZE || errno == ENOMEM);
            break;
        }
        PROMISE(header.length <= bound && ((char *)payload)[header.length] == '\0');
        PROMISE(write_frame(out, header.type, header.flags, header.index, payload, header.length) == 0);
        free(payload);
        whole += sizeof header + header.length;
    }
    uint8_t *again = exact_copy(stream, whole);
    PROMISE(whole <= size && pread(out, again, whole, 0) == (ssize_t)whole && memcmp(again, stream, whole) == 0);
    PROMISE(lseek(out, 0, SEEK_END) == (off_t)whole);
    free(again);
    return 0;
}
