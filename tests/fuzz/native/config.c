/* The host's `C` frame (config_read). Input: the whole frame. A refusal is `jail_fail`, which ends the launcher; here it
 * comes back instead. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <sanitizer/lsan_interface.h>
#include <stdarg.h>

#include "../../../native/jail/jail.h"
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
    __lsan_disable(); /* after a refusal the process ends, and nobody frees */
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
    }
    __lsan_enable();
    return 0;
}
