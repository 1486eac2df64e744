/* What a judge answers (judge_plan, judge_decide and judge_fork in guests.c). A judge has read text that a model wrote,
 * so its words are checked like a stranger's.
 *
 * Input: what is asked (one byte), then the lives of the judge: two bytes of length and so many bytes of its stream,
 * after which it is gone. A judge that is asked for after the last life cannot be started. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>

/* The judges here are sockets without a process. */
static int no_kill(pid_t pid, int number)
{
    (void)pid;
    (void)number;
    return 0;
}

static pid_t no_wait(pid_t pid, int *status, int options)
{
    (void)status;
    (void)options;
    return pid;
}

#define kill    no_kill
#define waitpid no_wait
#include "../../../native/jail/guests.c"
#undef kill
#undef waitpid

#include "fuzz.h"
#include "stubs.h"

enum { TESTS = 3, LIVES = 16, A_JUDGE = 1 << 22 /* above every pid of the kernel */ };

static struct input lives;
static int open_ends[LIVES], open_count;

pid_t exec_guest(const struct config *cfg, const char *role, int fd3)
{
    (void)cfg;
    PROMISE(strcmp(role, "judge") == 0);
    size_t length;
    if (lives.left == 0 || open_count == LIVES) {
        errno = EAGAIN;
        return -1;
    }
    const uint8_t *words = take_bytes(&lives, take_number(&lives, 2), &length);
    int end = dup(fd3); /* the caller closes its own */
    PROMISE(end >= 0 && (length == 0 || send(end, words, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0));
    shutdown(end, SHUT_WR);
    open_ends[open_count++] = end;
    return A_JUDGE;
}

static void decide(struct supervisor *s, struct unit *unit)
{
    struct program p = {.unit = unit};
    p.results = calloc(TESTS + 1, sizeof *p.results);
    PROMISE(p.results != NULL);
    uint32_t numbers[TESTS];
    struct span payloads[TESTS];
    for (uint32_t i = 0; i < TESTS; i++) {
        numbers[i] = i;
        payloads[i] = (struct span){(const uint8_t *)"N", 1};
        p.results[i].status = UNDECIDED;
    }
    char why[256] = "";
    bool all = judge_decide(s, &p, numbers, payloads, TESTS, 'D', why);
    PROMISE(memchr(why, '\0', sizeof why) != NULL && (all || why[0] != '\0'));
    for (uint32_t i = 0; i < TESTS; i++) {
        PROMISE(p.results[i].status < STATUSES || (!all && p.results[i].status == UNDECIDED));
        PROMISE(p.results[i].detail.size <= DETAIL_MAX);
    }
    program_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lives = (struct input){data, size};
    open_count = 0;
    uint32_t asked = take_number(&lives, 1) % 3;
    struct config cfg = {.proc_dir = -1};
    struct supervisor s = {.cfg = &cfg, .listener = -1, .host = -1};
    s.judge = (struct guest){.role = "judge", .fd = -1};
    s.zygote = (struct guest){.role = "zygote", .fd = -1};
    static const uint8_t problem[] = "{}";
    struct unit unit = {.problem = {problem, 2}};
    char why[256] = "";
    if (asked == 0) {
        unit.test_count = TESTS;
        decide(&s, &unit);
    } else if (asked == 1) {
        bool planned = judge_plan(&s, &unit, why);
        PROMISE(planned ? unit.test_count < AT_LOAD : why[0] != '\0');
    } else {
        int fd = -1;
        pid_t pid = judge_fork(&s, &unit, -1, &fd, why);
        PROMISE(pid > 0 ? fd >= 0 : why[0] != '\0');
        if (fd >= 0)
            close(fd);
    }
    PROMISE(memchr(why, '\0', sizeof why) != NULL);
    guest_stop(&s.judge);
    while (open_count > 0)
        close(open_ends[--open_count]);
    unit_free(&unit);
    return 0;
}
