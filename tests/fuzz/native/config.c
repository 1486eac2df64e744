/* The host's `C` frame (config_read). Input: the whole frame. A refusal is `jail_fail`, which ends the launcher, and with
 * it goes its memory; here it comes back instead, and what was allocated until then is freed. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "../../../native/jail/wire.h"

enum { MOST_BLOCKS = 8 };
static void *blocks[MOST_BLOCKS];
static int block_count;

static void *note(void *block)
{
    if (block_count == MOST_BLOCKS)
        abort();
    return blocks[block_count++] = block;
}

static void *noted_calloc(size_t count, size_t size) { return note(calloc(count, size)); }

static int noted_read_frame(int fd, struct frame_header *header, void **payload, size_t bound)
{
    int status = read_frame(fd, header, payload, bound);
    if (status == 1)
        note(*payload);
    return status;
}

#define calloc     noted_calloc
#define read_frame noted_read_frame
#include "../../../native/jail/config.c"
#undef calloc
#undef read_frame

#include "fuzz.h"

static jmp_buf refused;
static volatile size_t length;

_Noreturn void jail_fail(const char *step, int error, const char *remedy, ...)
{
    char text[2048];
    va_list arguments;
    (void)error;
    PROMISE(step != NULL && remedy != NULL);
    va_start(arguments, remedy);
    vsnprintf(text, sizeof text, remedy, arguments); /* reads every string it is given */
    va_end(arguments);
    longjmp(refused, 1);
}

static void check_text(const char *text)
{
    length += strlen(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    file_with(&fd, data, size);
    block_count = 0;
    if (setjmp(refused) == 0) {
        struct config *cfg = config_read(fd);
        PROMISE(cfg != NULL || size == 0);
        if (cfg != NULL) {
            PROMISE(cfg->python[0] == '/' && cfg->guest_json[0] == '{' && cfg->scratch_mb > 0 && cfg->scratch_inodes > 0);
            for (size_t i = 0; i < cfg->ro_count; i++) {
                PROMISE(cfg->ro[i].dst[0] == '/');
                check_text(cfg->ro[i].dst);
                check_text(cfg->ro[i].src);
            }
            for (size_t i = 0; i < cfg->link_count; i++) {
                PROMISE(cfg->link[i].dst[0] == '/');
                check_text(cfg->link[i].src);
            }
            for (char **entry = cfg->env; *entry != NULL; entry++)
                check_text(*entry);
            config_free(cfg);
        }
    } else {
        while (block_count > 0)
            free(blocks[--block_count]);
    }
    return 0;
}
