/* The two persistent guests, judge and zygote: start them, wait for them, replace them, and ask the judge.
 *
 * The supervisor starts each with its own fork and exec (exec_guest), so neither holds a byte of what another one, or
 * this process, has read. Either may die at any time: the judge decides values that a hostile program made, and both
 * may be killed from outside. A dead guest is replaced and what was asked is asked again. A decision that spends the
 * judge's whole CPU budget, or kills the judge twice, is the value's fault: that test is `failed`.
 *
 * Waiting never uses the clock on the wall alone: a busy machine must not change a verdict. The judge's CPU clock is
 * what is limited; a guest that neither runs nor answers for IDLE_SECONDS is taken for broken, which is our fault. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "supervisor.h"

static const double START_CPU_SECONDS = 20; /* imports of preloaded modules included */
static const double IDLE_SECONDS = 60;
enum { POLL_MS = 20, BATCH_BYTES = 32 << 10, BATCH_TESTS = 16 };
enum { UNSEEN_JUDGE = 512 << 20 }; /* address space that a judge may have taken, where that cannot be told */

double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

bool wait_readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) > 0;
}

void guest_stop(struct guest *g)
{
    if (g->pid > 0) {
        kill(g->pid, SIGKILL);
        while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (g->fd >= 0)
        close(g->fd);
    g->pid = 0;
    g->fd = -1;
}

static bool guest_exec(struct supervisor *s, struct guest *g, char *why)
{
    guest_stop(g);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        snprintf(why, 256, "socketpair for the %s: %s", g->role, strerror(errno));
        return false;
    }
    /* SIGCHLD is blocked here except inside ppoll; a guest starts with nothing blocked */
    sigset_t chld, before;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &chld, &before);
    g->pid = exec_guest(s->cfg, g->role, pair[1]);
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(pair[1]);
    if (g->pid < 0) {
        close(pair[0]);
        g->pid = 0;
        snprintf(why, 256, "cannot start the %s: %s", g->role, strerror(error));
        return false;
    }
    g->fd = pair[0];
    g->fresh = true;
    return true;
}

/* Wait until the guest has something to say. False when it is dead or broken; *spent_out: it used up its budget. */
static bool guest_wait(struct guest *g, double cpu_budget, bool *spent_out)
{
    double start_cpu = g->fresh ? 0 : process_cpu_s(g->pid);
    double budget = cpu_budget + (g->fresh ? START_CPU_SECONDS : 0);
    double last_cpu = start_cpu, last_progress = now_s();
    *spent_out = false;
    while (!wait_readable(g->fd, POLL_MS)) {
        double cpu = process_cpu_s(g->pid), now = now_s();
        if (cpu - start_cpu > budget) {
            *spent_out = true;
            return false;
        }
        if (cpu > last_cpu) {
            last_cpu = cpu;
            last_progress = now;
        } else if (now - last_progress > IDLE_SECONDS) {
            return false;
        }
    }
    return true;
}

/* Read one frame with at most one descriptor. */
static bool guest_read(struct guest *g, struct frame_header *h, void **payload, int *fd)
{
    char byte;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {&byte, 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (fd != NULL) {
        *fd = -1;
        /* descriptors come with the first byte of the frame; the byte itself is left for read_frame */
        ssize_t n = recvmsg(g->fd, &m, MSG_PEEK | MSG_CMSG_CLOEXEC);
        struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
        if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            memcpy(fd, CMSG_DATA(c), sizeof *fd);
    }
    return read_frame(g->fd, h, payload, WIRE_MAX_FROM_GUEST) == 1;
}

/* The last line that a guest wrote says what happened: of a traceback, the exception. */
static void describe_death(struct guest *g, const char *what, char *why)
{
    static char log[16 << 10];
    size_t size = guest_log(g->role, log, sizeof log);
    while (size > 0 && (log[size - 1] == '\n' || log[size - 1] == ' '))
        log[--size] = '\0';
    const char *newline = strrchr(log, '\n');
    const char *line = newline != NULL ? newline + 1 : log;
    snprintf(why, 256, "the %s %s%s%.180s", g->role, what, *line ? ": " : "", line);
}

bool zygote_start(struct supervisor *s, char *why)
{
    if (!guest_exec(s, &s->zygote, why))
        return false;
    s->replies_due = 0;
    if (s->listener >= 0)
        close(s->listener);
    s->listener = -1;
    bool spent;
    struct frame_header h;
    void *payload = NULL;
    if (!guest_wait(&s->zygote, 0, &spent) || !guest_read(&s->zygote, &h, &payload, &s->listener) || h.type != 'Z') {
        describe_death(&s->zygote, "did not become ready", why);
        free(payload);
        guest_stop(&s->zygote);
        return false;
    }
    free(payload);
    s->zygote.fresh = false;
    return true;
}

bool judge_start(struct supervisor *s, char *why)
{
    s->judge_knows = NULL;
    return guest_exec(s, &s->judge, why);
}

enum answer { ANSWERED, DIED, SPENT };

static enum answer judge_answer(struct supervisor *s, double budget, struct frame_header *h, void **payload)
{
    bool spent;
    if (guest_wait(&s->judge, budget, &spent) && guest_read(&s->judge, h, payload, NULL)) {
        s->judge.fresh = false;
        return ANSWERED;
    }
    guest_stop(&s->judge);
    s->judge_knows = NULL;
    return spent ? SPENT : DIED;
}

/* Hand over the problem; the plan in *payload. Tried twice: the judge may have been killed from outside. */
static bool judge_ask_plan(struct supervisor *s, const struct unit *unit, void **payload, size_t *size, char *why)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (s->judge.pid <= 0 && !judge_start(s, why))
            return false;
        struct frame_header h = {0};
        enum answer got = DIED;
        if (write_frame(s->judge.fd, 'P', 0, 0, unit->problem.at, unit->problem.size) == 0)
            got = judge_answer(s, unit->limits.judge_cpu_s + 2, &h, payload);
        if (got == ANSWERED && h.type == 'P') {
            *size = h.length;
            s->judge_knows = unit;
            return true;
        }
        if (got == ANSWERED) {
            snprintf(why, 256, "the judge refused the problem: %.200s", (char *)*payload);
            free(*payload);
            *payload = NULL;
            return false;
        }
        if (got == SPENT) {
            snprintf(why, 256, "the judge spent its CPU budget on reading the tests");
            return false;
        }
        describe_death(&s->judge, "died while reading the tests", why);
        guest_stop(&s->judge);
    }
    return false;
}

bool judge_plan(struct supervisor *s, struct unit *unit, char *why)
{
    void *payload = NULL;
    size_t size = 0;
    return judge_ask_plan(s, unit, &payload, &size, why) && plan_parse(unit, payload, size, why);
}

bool judge_ready(struct supervisor *s, const struct unit *unit, char *why)
{
    if (s->judge.pid > 0 && s->judge_knows == unit)
        return true;
    void *payload = NULL;
    size_t size = 0;
    if (!judge_ask_plan(s, unit, &payload, &size, why))
        return false;
    free(payload); /* the unit has its plan already */
    return true;
}

bool judge_decide(struct supervisor *s, struct program *p, const uint32_t *tests, const struct span *payloads, size_t n,
                  uint8_t type, char *why)
{
    static const char too_long[] = "deciding this result took more than the judge's CPU budget";
    static const char killed_judge[] = "deciding this result killed the judge twice";
    size_t done = 0, sent = 0;
    int deaths = 0;
    while (done < n) {
        if (p->charged > 0 && p->charged >= p->unit->limits.program_cpu_s) {
            /* Values that overwork the judge one after the other would keep a worker busy for a multiple of this. */
            static const char spent[] = "not decided: the program's budget was spent";
            result_set(&p->results[tests[done++]], NOT_RUN, 0, 0, spent, strlen(spent));
            continue;
        }
        if (!judge_ready(s, p->unit, why))
            return false;
        struct bytes batch = {0};
        sent = done;
        while (sent < n && sent - done < BATCH_TESTS &&
               (sent == done || batch.size + payloads[sent].size < BATCH_BYTES)) {
            if (bytes_add_frame(&batch, type, 0, (uint16_t)tests[sent], payloads[sent].at, payloads[sent].size) < 0) {
                snprintf(why, 256, "out of memory");
                return false;
            }
            sent++;
        }
        int written = write_full(s->judge.fd, batch.at, batch.size);
        bytes_free(&batch);
        if (written < 0) {
            guest_stop(&s->judge);
            if (++deaths > 3) {
                snprintf(why, 256, "the judge died %d times", deaths);
                return false;
            }
            continue;
        }
        while (done < sent) {
            struct frame_header h;
            void *payload = NULL;
            struct result *r = &p->results[tests[done]];
            enum answer got = judge_answer(s, p->unit->limits.judge_cpu_s, &h, &payload);
            if (got == ANSWERED && h.type == 'D' && h.index == tests[done] && h.flags < STATUSES) {
                if (h.length > 0 || h.flags != FAILED || r->detail.size == 0)
                    result_set(r, h.flags, 0, 0, payload, h.length);
                else
                    r->status = FAILED; /* the detail is the value itself, already there */
                free(payload);
                done++;
                deaths = 0;
                continue;
            }
            free(payload);
            if (got == ANSWERED) {
                snprintf(why, 256, "the judge answered out of turn");
                guest_stop(&s->judge);
                return false;
            }
            if (got == SPENT || ++deaths >= 2) {
                const char *text = got == SPENT ? too_long : killed_judge;
                result_set(r, FAILED, 0, 0, text, strlen(text));
                p->charged += got == SPENT ? p->unit->limits.judge_cpu_s : 0;
                done++;
                deaths = 0;
            }
            break; /* the judge is gone: replace it and ask for what is left */
        }
    }
    return true;
}

pid_t judge_fork(struct supervisor *s, const struct unit *unit, int network, int *fd, char *why)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!judge_ready(s, unit, why))
            return -1;
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
            snprintf(why, 256, "socketpair for a test process: %s", strerror(errno));
            return -1;
        }
        /* Test code has the program's limit, above what the judge has taken already: without a cgroup nothing else
         * bounds it. */
        uint64_t base = UNSEEN_JUDGE, resident;
        (void)process_size(s, s->judge.pid, &base, &resident);
        struct {
            struct frame_header h;
            uint64_t address_space;
        } request = {{sizeof request.address_space, 'J', 0, 0},
                     unit->limits.memory > 0 ? unit->limits.memory + base : 0};
        struct iovec part = {&request, sizeof request};
        union {
            char bytes[CMSG_SPACE(2 * sizeof(int))];
            struct cmsghdr align;
        } control;
        memset(&control, 0, sizeof control);
        const int fds[2] = {pair[1], network};
        size_t size = (network >= 0 ? 2 : 1) * sizeof(int);
        struct msghdr m = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(size)};
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(c), fds, size);
        ssize_t sent = sendmsg(s->judge.fd, &m, MSG_NOSIGNAL);
        close(pair[1]);
        struct frame_header answer = {0};
        void *payload = NULL;
        int32_t pid = -1;
        if (sent == (ssize_t)sizeof request &&
            judge_answer(s, unit->limits.judge_cpu_s, &answer, &payload) == ANSWERED && answer.type == 'J' &&
            answer.length == sizeof pid)
            memcpy(&pid, payload, sizeof pid);
        free(payload);
        if (pid > 0) {
            *fd = pair[0];
            return pid;
        }
        close(pair[0]);
        snprintf(why, 256, "the judge could not clone a test process: %s", pid < -1 ? strerror(-pid) : "it died");
        guest_stop(&s->judge);
    }
    return -1;
}
