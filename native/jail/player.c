/* One player: a process that holds one program. Start it, clock it, hear it out, end it.
 *
 * Most players live for half a millisecond, so the common case is: ask the zygote for a clone, sleep until SIGCHLD,
 * reap, read all answers at once. Only a player that is still there after FIRST_SLEEP_MS is *watched*: its pid is
 * learned, its output is drained as it comes, its CPU clock is read. Even then nobody is woken for an answer that nobody
 * waits for: a batch is read at the next look at the clock, unless it comes in bulk and would stall the player.
 *
 * Clocks. The limit of a stage (loading, or one test) is CPU time of the player's own process clock, taken when the
 * stage's predecessor was heard of, never the player's word. Idle time is counted by spot checks, at moments that a
 * program can neither foresee nor choose: an interval counts when at its end no thread of the program runs or waits for
 * a processor, and never for more than it was meant to last. So a busy machine makes nobody idle, nor does a late
 * supervisor, for whom a program with a full pipe waits; and who sleeps while no spot check is due gains nothing by it. A
 * stage lasts at most its idle limit, its CPU time, and the time for which others kept the program or us from running.
 *
 * Trust. Everything on the player's socket is a claim by the program. A frame out of turn, out of bounds or of another
 * type ends the player (CUT_PROTOCOL): no verdict can be had by confusing this parser, only lost. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor.h"

static const double DEAF_SECONDS = 0.5;
#define LARGEST_VALUE ((16u << 20) + 64) /* what the encoder makes at most, and its frame's prefix */
enum { FIRST_SLEEP_MS = 2, COUNTING_SLEEP_MS = 4, LONGEST_SLEEP_MS = 20, CHUNK = 64 << 10 };
enum { SPOT_CHECKS = 16 };        /* at least, in an idle limit; and what one may cost, in parts of its interval */
static const double MOSTLY = 0.9; /* of an interval on a processor: no need to look */
enum { UNSEEN_PATIENCE = 10 };    /* where nobody can tell idling from waiting for a processor */

/* ---- start ---- */

enum { HAS_NETWORK = 1 };

/* `fds` has room for one more. */
static bool spawn_request(struct player *pl, int *fds, int n, uint64_t cpu_seconds, uint64_t space)
{
    struct supervisor *s = pl->s;
    struct {
        struct frame_header h;
        uint64_t limits[2];
    } request = {{16, 'S', pl->network >= 0 ? HAS_NETWORK : 0, 0}, {cpu_seconds, space}};
    struct iovec part = {&request, sizeof request};
    union {
        char bytes[CMSG_SPACE(5 * sizeof(int))];
        struct cmsghdr align;
    } control;
    if (pl->network >= 0)
        fds[n++] = pl->network;
    memset(&control, 0, sizeof control);
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
    memcpy(CMSG_DATA(c), fds, (size_t)n * sizeof(int));
    return sendmsg(s->zygote.fd, &m, MSG_NOSIGNAL) == (ssize_t)sizeof request;
}

static bool trouble(struct player *pl, const char *format, const char *detail)
{
    static char text[256];
    snprintf(text, sizeof text, format, detail);
    pl->program->trouble = text;
    pl->infrastructure = true;
    return false;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Pipes for output, when anybody wants it: else the player's 1 and 2 are /dev/null. */
static bool make_pipe(int ours_theirs[2])
{
    if (pipe2(ours_theirs, O_CLOEXEC) < 0)
        return false;
    return fcntl(ours_theirs[0], F_SETFL, O_NONBLOCK) == 0;
}

void player_init(struct player *pl, struct supervisor *s, struct program *p)
{
    *pl = (struct player){
        .s = s, .program = p, .sock = -1, .out = -1, .err = -1, .test_sock = -1, .network = -1, .proxied = -1};
    pl->main.pid = pl->test_process.pid = -1;
}

bool player_start(struct player *pl, int stdin_fd)
{
    struct supervisor *s = pl->s;
    struct program *p = pl->program;
    pl->main.pid = 0;
    pl->born = now_s();
    const struct limits *l = &p->unit->limits;
    uint64_t cpu = (uint64_t)(l->load_cpu_s + l->program_cpu_s + l->cpu_s + l->quantum_s * p->unit->test_count) + 3;
    uint64_t space = l->memory > 0 ? l->memory + s->zygote_virtual : 0;
    bool output = l->keep_output || stdin_fd >= 0;
    if (s->cfg->has_loopback && (pl->network = network_fresh(s->cfg)) < 0)
        return trouble(pl, "a network for a player: %s", strerror(errno));

    for (int attempt = 0; attempt < 2; attempt++) {
        char why[256];
        if (s->zygote.pid <= 0 && !zygote_start(s, why))
            return trouble(pl, "%s", why);
        int pair[2], out[2] = {-1, -1}, err[2] = {-1, -1};
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
            return trouble(pl, "socketpair for a player: %s", strerror(errno));
        if (output && (!make_pipe(out) || !make_pipe(err)))
            return trouble(pl, "pipes for a player: %s", strerror(errno));
        int fds[5] = {pair[1], out[1], err[1], stdin_fd, -1};
        bool asked = spawn_request(pl, fds, output ? (stdin_fd >= 0 ? 4 : 3) : 1, cpu, space);
        close(pair[1]);
        close_fd(&out[1]);
        close_fd(&err[1]);
        if (asked) {
            s->replies_due++;
            pl->sock = pair[0];
            pl->out = out[0];
            pl->err = err[0];
            p->players++;
            return true;
        }
        close(pair[0]);
        close_fd(&out[0]);
        close_fd(&err[0]);
        guest_stop(&s->zygote); /* it died between two players: replace it */
    }
    return trouble(pl, "%s", "the zygote died twice when asked for a player");
}

/* The zygote answers every request with a pid; the last one is this player's. */
static bool learn_pid(struct player *pl)
{
    struct supervisor *s = pl->s;
    while (s->replies_due > 0) {
        struct frame_header h;
        void *payload = NULL;
        int32_t pid = 0;
        if (read_frame(s->zygote.fd, &h, &payload, 64) != 1 || h.type != 'S' || h.length != sizeof pid) {
            free(payload);
            /* A clone may live whose pid nobody knows. Nothing may run beside it: give up the whole jail. */
            return trouble(pl, "%s", "the zygote died while cloning a player");
        }
        memcpy(&pid, payload, sizeof pid);
        free(payload);
        s->replies_due--;
        if (s->replies_due > 0)
            continue;
        if (pid <= 0)
            return trouble(pl, "the zygote could not clone a player: %s", strerror(-pid));
        if (pl->main.pid == 0)
            pl->main.pid = pid;
    }
    return true;
}

/* ---- clocks ---- */

/* With new processes allowed, the clock of one process is not enough. What is in the jail's /proc and is no guest of ours
 * descends from the player or from the test process, each the init of its own pid namespace; so a chain of parents ends
 * at one of the two. One that breaks off, because a parent went while we looked, is put to the program's account. */
enum side { UNKNOWN_SIDE, PROGRAM_SIDE, TEST_SIDE };
struct look {
    pid_t pid, parent;
    double own, waited; /* CPU seconds of the process, and of its children that it waited for */
    enum side side;
};
struct looks {
    struct look *at; /* by pid */
    size_t n;
};

static bool look_at(const struct supervisor *s, pid_t pid, struct look *out)
{
    *out = (struct look){.pid = pid, .side = UNKNOWN_SIDE};
    return process_times(s, pid, &out->parent, &out->own, &out->waited);
}

static int by_pid(const void *a, const void *b)
{
    return ((const struct look *)a)->pid - ((const struct look *)b)->pid;
}

/* Up to an ancestor whose side is known, and down again: every process is passed once, however deep they are nested. */
static void settle_sides(const struct player *pl, const struct looks *looks)
{
    for (size_t i = 0; i < looks->n; i++) {
        struct look *at = &looks->at[i];
        enum side side = UNKNOWN_SIDE;
        for (size_t steps = 0; at != NULL && steps <= looks->n; steps++) {
            side = at->side != UNKNOWN_SIDE ? at->side : at->pid == pl->test_process.pid ? TEST_SIDE : UNKNOWN_SIDE;
            if (side != UNKNOWN_SIDE || at->pid == pl->main.pid)
                break;
            struct look key = {.pid = at->parent};
            at = bsearch(&key, looks->at, looks->n, sizeof key, by_pid);
        }
        if (side == UNKNOWN_SIDE)
            side = PROGRAM_SIDE;
        at = &looks->at[i];
        while (at != NULL && at->side == UNKNOWN_SIDE) {
            at->side = side;
            struct look key = {.pid = at->parent};
            at = at->pid == pl->main.pid || at->pid == pl->test_process.pid
                     ? NULL
                     : bsearch(&key, looks->at, looks->n, sizeof key, by_pid);
        }
    }
}

/* Everything in the jail but its guests. False where that cannot be told; else `at` is the caller's to free. */
static bool look_around(const struct player *pl, struct looks *looks)
{
    const struct supervisor *s = pl->s;
    const struct config *cfg = s->cfg;
    size_t room = cfg->processes + cfg->threads + WORKER_TASKS; /* RLIMIT_NPROC */
    *looks = (struct looks){calloc(room, sizeof *looks->at), 0};
    int fd = looks->at == NULL ? -1 : openat(cfg->proc_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *proc = fd < 0 ? NULL : fdopendir(fd);
    if (proc == NULL) {
        if (fd >= 0)
            close(fd);
        free(looks->at);
        return false;
    }
    for (struct dirent *e = readdir(proc); e != NULL && looks->n < room; e = readdir(proc)) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        if (pid > 1 && *end == '\0' && pid != s->judge.pid && pid != s->zygote.pid &&
            look_at(s, (pid_t)pid, &looks->at[looks->n]))
            looks->n++;
    }
    closedir(proc);
    qsort(looks->at, looks->n, sizeof *looks->at, by_pid);
    settle_sides(pl, looks);
    return true;
}

static double cpu_of(const struct player *pl, const struct look *look)
{
    /* the kernel's table counts in hundredths of a second; most of the time is that of the first process */
    bool first = look->pid == pl->main.pid || look->pid == pl->test_process.pid;
    return look->waited + (first ? process_cpu_s(look->pid) : look->own);
}

/* CPU time of all processes on one side; -1 where they cannot be seen. */
static double side_cpu_s(const struct player *pl, enum side side)
{
    struct looks looks;
    if (!look_around(pl, &looks))
        return -1;
    double sum = 0;
    for (size_t i = 0; i < looks.n; i++)
        if (looks.at[i].side == side)
            sum += cpu_of(pl, &looks.at[i]);
    free(looks.at);
    return sum;
}

static bool has_processes(const struct player *pl)
{
    const struct config *cfg = pl->s->cfg; /* without a pid namespace /proc holds the whole machine's */
    return cfg->processes > 0 && cfg->proc_dir >= 0 && cfg->has_pid_namespace;
}

double player_cpu_s(const struct player *pl)
{
    double all = has_processes(pl) ? side_cpu_s(pl, PROGRAM_SIDE) : -1;
    return all >= 0 ? all : process_cpu_s(pl->main.pid);
}

double test_cpu_s(const struct player *pl)
{
    /* only where the profile lets test code start processes */
    double all = has_processes(pl) && pl->s->cfg->profile == PROFILE_SYSTEM ? side_cpu_s(pl, TEST_SIDE) : -1;
    return all >= 0 ? all : process_cpu_s(pl->test_process.pid);
}

/* Does anything of the program, or of the test that calls it, run or wait for a processor now? */
static bool is_runnable(const struct player *pl)
{
    struct looks looks;
    if (!has_processes(pl) || !look_around(pl, &looks))
        return process_is_runnable(pl->s, pl->main.pid) ||
               (pl->test_process.pid > 0 && process_is_runnable(pl->s, pl->test_process.pid));
    bool found = false;
    for (size_t i = 0; i < looks.n && !found; i++)
        found = process_is_runnable(pl->s, looks.at[i].pid);
    free(looks.at);
    return found;
}

/* ---- idle time ---- */

static double idle_limit(const struct player *pl)
{
    /* Loading is cut once and for all, so it is never cut by the short patience of a first pass. */
    return pl->loaded ? pl->idle_limit : pl->program->unit->limits.idle_s;
}

/* The next spot check comes between a half and one and a half times the usual interval from now. One that took long,
 * because there are many threads to look at, makes the next ones rarer. */
static void plan_spot_check(struct player *pl, double now, double took)
{
    uint16_t dice = 0;
    if (getrandom(&dice, sizeof dice, GRND_NONBLOCK) < 0)
        dice = (uint16_t)(now * 1e7);
    double usual = idle_limit(pl) / SPOT_CHECKS, longest = LONGEST_SLEEP_MS * 1e-3;
    usual = usual < longest ? usual : longest;
    usual = usual > took * SPOT_CHECKS ? usual : took * SPOT_CHECKS;
    pl->spot_interval = usual * (0.5 + dice / 65536.0);
    pl->spot_from = now;
}

static void forget_idle(struct player *pl, double spent)
{
    pl->idle = pl->still = 0;
    pl->spot_spent = spent;
    plan_spot_check(pl, now_s(), 0);
}

/* Has the stage been idle for longer than it may? `spent`: its CPU time. */
static bool spot_check(struct player *pl, double now, double spent, bool unread)
{
    if (now < pl->spot_from + pl->spot_interval)
        return false;
    double ran = spent - pl->spot_spent, interval = pl->spot_interval;
    pl->spot_spent = spent;
    bool busy = unread || ran >= MOSTLY * (now - pl->spot_from);
    if (pl->s->cfg->proc_dir < 0) {
        /* Nobody can be seen waiting. Who waits for a processor gets one at times, who sleeps for long does not; the time
         * of one who naps cannot be told from waiting, so there is more of it. */
        pl->still = busy || ran > 0 ? 0 : pl->still + interval;
        pl->idle += busy || ran > interval ? 0 : interval - ran;
        plan_spot_check(pl, now, 0);
        return pl->still > idle_limit(pl) || pl->idle > UNSEEN_PATIENCE * idle_limit(pl);
    }
    if (!busy && !is_runnable(pl))
        pl->idle += interval;
    plan_spot_check(pl, now, now_s() - now);
    return pl->idle > idle_limit(pl);
}

void player_new_stage(struct player *pl)
{
    pl->left_s = pl->test_limit;
    forget_idle(pl, 0);
    if (!pl->watched)
        return;
    pl->stage_cpu = player_cpu_s(pl);
    pl->stage_test_cpu = pl->test_process.pid > 0 ? test_cpu_s(pl) : 0;
}

static void check_clocks(struct player *pl, bool waiting_for_us, bool unread)
{
    double wall = now_s();
    pl->seen_cpu = player_cpu_s(pl);
    double player_cpu = pl->seen_cpu - pl->stage_cpu;
    bool testing = pl->test_process.pid > 0 && !pl->test_process.gone;
    double test_cpu = testing ? test_cpu_s(pl) - pl->stage_test_cpu : 0;
    const struct limits *l = &pl->program->unit->limits;
    pl->left_s = (pl->loaded ? pl->test_limit : pl->load_limit) - player_cpu;
    if (player_cpu > (pl->loaded ? pl->test_limit : pl->load_limit)) {
        pl->cut = CUT_CPU;
        return;
    }
    if (pl->proxied >= 0 && test_cpu > pl->own_limit) {
        pl->cut = CUT_TEST_LIMIT;
        return;
    }
    if (l->wall_s > 0 && wall - pl->program->started > l->wall_s) {
        pl->cut = CUT_WALL;
        return;
    }
    if (pl->deaf_since > 0 && wall - pl->deaf_since > DEAF_SECONDS) {
        pl->cut = CUT_PROTOCOL;
        return;
    }
    if (waiting_for_us)
        forget_idle(pl, player_cpu + test_cpu);
    else if (spot_check(pl, wall, player_cpu + test_cpu, unread))
        pl->cut = pl->proxied >= 0 && !pl->call_open ? CUT_TEST_LIMIT : CUT_IDLE;
}

/* ---- threads, where RLIMIT_NPROC would count the user's other processes too ---- */

/* Between two looks a few hundred more may come: it is a bound for the machine's sake, not an exact one. */
static void count_threads(struct player *pl)
{
    const struct config *cfg = pl->s->cfg;
    uint64_t most = cfg->threads + cfg->processes;
    if (pl->cut != NOT_CUT || nproc_counts_only_the_worker(cfg))
        return;
    if (!pl->main.gone && process_threads(pl->s, pl->main.pid) > most)
        pl->cut = CUT_THREADS;
    else if (!pl->test_process.gone && process_threads(pl->s, pl->test_process.pid) > most)
        pl->cut = CUT_TEST_THREADS;
}

/* ---- files, where no file system of the jail's own bounds them ---- */

/* Adding up costs what there are files: a tenth of the time goes there, however many. */
static void add_up_scratch(struct player *pl)
{
    const struct config *cfg = pl->s->cfg;
    if (pl->cut != NOT_CUT || cfg->view == VIEW_MOUNTS || now_s() < pl->scratch_from)
        return;
    double before = process_cpu_s(getpid());
    pl->excess = scratch_excess(cfg);
    pl->scratch_from = now_s() + 10 * (process_cpu_s(getpid()) - before);
    if (pl->excess != NULL)
        pl->cut = pl->proxied >= 0 && !pl->call_open ? CUT_TEST_SCRATCH : CUT_SCRATCH;
}

/* ---- what it says ---- */

/* Two values of which the expected one is a scalar, and whose bytes differ: is that the end of it? Only what is unequal
 * under `==` and under `is`, whatever the judge's rule, is answered here; numbers of different types are left to the
 * judge (1 == True == 1.0), and so are two floats (0.0 == -0.0). Saves a round trip for most wrong answers. */
static bool surely_different(const struct span expected, const uint8_t *value, size_t size)
{
    if (expected.size == 0 || size == 0)
        return false;
    char wanted = (char)expected.at[0], got = (char)value[0];
    if (memchr("NTFisd", wanted, 6) == NULL || memchr("NTFisd[({<>", got, 11) == NULL)
        return false;
    if (wanted == got)
        return wanted == 'i' || wanted == 's';
    bool both_numbers = memchr("TFid", wanted, 4) != NULL && memchr("TFid", got, 4) != NULL;
    bool both_truths = memchr("TF", wanted, 2) != NULL && memchr("TF", got, 2) != NULL;
    return !both_numbers || both_truths;
}

static void settle_value(struct player *pl, const struct frame_header *h, const uint8_t *payload)
{
    uint32_t at = pl->queue[pl->answered];
    const struct test *t = &pl->program->unit->tests[at];
    struct result *r = &pl->program->results[at];
    uint32_t microseconds;
    memcpy(&microseconds, payload, sizeof microseconds);
    const uint8_t *value = payload + sizeof microseconds;
    size_t size = h->length - sizeof microseconds;
    r->cpu_s = (float)(microseconds * 1e-6);
    if (t->compare != ASK_JUDGE && t->expected.size == size && memcmp(value, t->expected.at, size) == 0) {
        r->status = PASSED;
    } else {
        bool certain = (t->compare == BYTES_STRICT && (h->flags & 1)) ||
                       (t->compare >= BYTES_STRICT && surely_different(t->expected, value, size));
        r->detail.size = 0;
        r->flags &= (uint8_t)~RESULT_VALUE;
        if (size <= DETAIL_MAX && bytes_add(&r->detail, value, size) == 0)
            r->flags |= RESULT_VALUE; /* the host shows it against the expected value if this ends as `failed` */
        if (certain)
            r->status = FAILED;
        else if (bytes_add(&pl->values[pl->answered], value, size) == 0)
            pl->value_flags[pl->answered] = 1;
        else
            trouble(pl, "%s", "out of memory");
    }
    pl->answered++;
}

static void settle_text(struct player *pl, const struct frame_header *h, const uint8_t *payload)
{
    struct result *r = &pl->program->results[pl->queue[pl->answered]];
    uint32_t microseconds;
    memcpy(&microseconds, payload, sizeof microseconds);
    result_set(r, h->flags, 0, 0, payload + sizeof microseconds, h->length - sizeof microseconds);
    r->cpu_s = (float)(microseconds * 1e-6);
    pl->answered++;
}

/* One frame of the player. False: out of turn. */
static bool hear(struct player *pl, const struct frame_header *h, const uint8_t *payload)
{
    const struct unit *unit = pl->program->unit;
    const struct test *t = pl->answered < pl->queued ? &unit->tests[pl->queue[pl->answered]] : NULL;
    bool in_turn = pl->loaded && t != NULL && h->index == t->number && h->length >= 4;
    switch (h->type) {
    case 'L':
        if (pl->loaded || pl->load_failed)
            return false;
        pl->loaded = true;
        return true;
    case 'V':
        if (!in_turn || t->kind != KIND_PLAN)
            return false;
        settle_value(pl, h, payload);
        return true;
    case 'X':
        if (h->flags == PASSED || h->flags >= NOT_RUN || h->length < 4)
            return false;
        if (h->index == AT_LOAD) {
            if (pl->loaded || pl->load_failed)
                return false;
            pl->load_failed = true;
            /* kept in a result of its own by whoever runs this player: see program.c */
            struct result *load = &pl->program->results[unit->test_count];
            result_set(load, h->flags, 0, 0, payload + 4, h->length - 4);
            return true;
        }
        if (!in_turn || t->kind != KIND_PLAN)
            return false;
        settle_text(pl, h, payload);
        return true;
    case 'S':
        if (!in_turn || t->kind != KIND_SHARED || h->flags >= NOT_RUN)
            return false;
        settle_text(pl, h, payload);
        return true;
    case 'A':
        if (!pl->call_open)
            return false;
        pl->call_open = false;
        return bytes_add_frame(&pl->test_outgoing, 'A', h->flags, h->index, payload, h->length) == 0;
    case 'E': /* between clone and program our own set-up failed (spawn.c, child_failed); or the program says so */
        if (pl->loaded)
            return false;
        pl->cut = CUT_SETUP;
        return true;
    default:
        return false;
    }
}

/* One frame of the test process. */
static bool hear_test(struct player *pl, const struct frame_header *h, const uint8_t *payload)
{
    if (pl->proxied < 0 || pl->proxy_done)
        return false;
    const struct test *t = &pl->program->unit->tests[pl->proxied];
    if (h->type == 'C') {
        if (pl->call_open)
            return false;
        pl->call_open = true;
        return bytes_add_frame(&pl->outgoing, 'C', h->flags, h->index, payload, h->length) == 0;
    }
    if (h->type == 'T' && h->index == t->number && h->flags < STATUSES && h->length >= 1) {
        int origin = payload[0] ? RESULT_ORIGIN_TEST : 0;
        result_set(&pl->program->results[pl->proxied], h->flags, origin, 0, payload + 1, h->length - 1);
        pl->proxy_done = true;
        return true;
    }
    return false;
}

/* Parse what has arrived. Returns the number of frames, -1 for a violation. */
static int parse(struct player *pl, struct bytes *in,
                 bool (*handler)(struct player *, const struct frame_header *, const uint8_t *))
{
    size_t at = 0;
    int frames = 0;
    while (in->size - at >= sizeof(struct frame_header)) {
        struct frame_header h;
        memcpy(&h, in->at + at, sizeof h);
        if (h.length > (h.type == 'V' ? LARGEST_VALUE : WIRE_MAX_FROM_GUEST))
            return -1;
        if (in->size - at - sizeof h < h.length)
            break;
        if (!handler(pl, &h, in->at + at + sizeof h))
            return -1;
        at += sizeof h + h.length;
        frames++;
    }
    bytes_drop(in, at);
    return frames;
}

/* Read what is there. 1: something; 0: nothing now; -1: end of stream. */
static int slurp(struct player *pl, int fd, struct bytes *in)
{
    static uint8_t chunk[CHUNK];
    int got_any = 0;
    for (;;) {
        ssize_t n = recv(fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n > 0) {
            if (bytes_add(in, chunk, (size_t)n) < 0)
                trouble(pl, "%s", "out of memory");
            got_any = 1;
            if ((size_t)n < sizeof chunk)
                return 1;
        } else if (n == 0) {
            return got_any ? 1 : -1;
        } else if (errno != EINTR) {
            return got_any ? 1 : (errno == EAGAIN ? 0 : -1);
        }
    }
}

/* True: there may be more. */
static bool drain_output(int *fd, struct bytes *into, uint32_t cap, bool *cut)
{
    static uint8_t chunk[CHUNK];
    if (*fd < 0)
        return false;
    /* bounded rounds: a program that prints without end must not keep us from our clocks */
    for (int round = 0; round < 32; round++) {
        ssize_t n = read(*fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            close_fd(fd);
        if (n <= 0)
            return false;
        size_t room = cap > into->size ? cap - into->size : 0;
        size_t keep = (size_t)n < room ? (size_t)n : room;
        if (keep < (size_t)n)
            *cut = true;
        if (keep > 0)
            (void)bytes_add(into, chunk, keep);
    }
    return true;
}

static bool drain_outputs(struct player *pl)
{
    struct program *p = pl->program;
    bool more = drain_output(&pl->out, &p->out, p->unit->limits.output, &p->out_cut);
    return drain_output(&pl->err, &p->err, p->unit->limits.output, &p->err_cut) || more;
}

/* Send what the socket takes of `out`. */
static void push(int fd, struct bytes *out)
{
    while (out->size > 0) {
        ssize_t n = send(fd, out->at, out->size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN)
                out->size = 0; /* the reader is gone; its end is seen elsewhere */
            return;
        }
        bytes_drop(out, (size_t)n);
    }
}

/* ---- reaping ---- */

static void reap(struct player *pl)
{
    struct supervisor *s = pl->s;
    for (;;) {
        int status;
        struct rusage usage;
        pid_t pid = wait4(-1, &status, WNOHANG | __WALL, &usage);
        if (pid <= 0)
            return;
        if (pid == s->judge.pid) {
            s->judge.pid = 0;
        } else if (pid == s->zygote.pid) {
            s->zygote.pid = 0;
        } else if (pid == pl->test_process.pid) {
            pl->test_process.gone = true;
            pl->test_process.wait_status = status;
        } else if (!pl->main.gone && (pl->main.pid == pid || pl->main.pid == 0)) {
            pl->main.pid = pid;
            pl->main.gone = true;
            pl->main.wait_status = status;
            pl->main.usage = usage;
        }
    }
}

static void kill_and_reap(struct player *pl, struct child *c)
{
    if (c->pid <= 0 || c->gone)
        return;
    kill(c->pid, SIGKILL);
    pid_t got;
    int status;
    struct rusage usage;
    while ((got = wait4(c->pid, &status, __WALL, &usage)) < 0 && errno == EINTR)
        ;
    c->gone = true;
    if (got == c->pid) {
        c->wait_status = status;
        c->usage = usage;
    }
    (void)pl;
}

/* ---- the loop ---- */

static void receive_notification(struct player *pl)
{
    struct seccomp_notif *n = calloc(1, 1024); /* the kernel may know a larger struct; it must be zero */
    if (n == NULL)
        return;
    if (ioctl(pl->s->listener, SECCOMP_IOCTL_NOTIF_RECV, n) == 0) {
        pl->syscall_number = n->data.nr;
        pl->cut = CUT_SYSCALL;
    }
    free(n);
}

/* Sleep until something happens or the next look at the clocks is due, then take in what happened. */
static void step(struct player *pl, const sigset_t *unblocked, bool waiting_for_us)
{
    struct pollfd fds[5];
    int n = 0;
    struct timespec timeout = {0, FIRST_SLEEP_MS * 1000000L};
    if (pl->watched) {
        /* the longer it lives, the less a late look matters: a quarter of its age */
        long ms = (long)((now_s() - pl->born) * 250);
        ms = ms < FIRST_SLEEP_MS ? FIRST_SLEEP_MS : ms > LONGEST_SLEEP_MS ? LONGEST_SLEEP_MS : ms;
        if (ms > COUNTING_SLEEP_MS && !nproc_counts_only_the_worker(pl->s->cfg))
            ms = COUNTING_SLEEP_MS;
        /* one thread cannot spend what is left of its limit sooner than that */
        if (pl->left_s * 1000 < (double)ms)
            ms = pl->left_s > 0 ? (long)(pl->left_s * 1000) + 1 : 1;
        timeout.tv_nsec = ms * 1000000L;
        double due = pl->spot_from + pl->spot_interval - now_s();
        if (due * 1e9 < (double)timeout.tv_nsec)
            timeout.tv_nsec = due > 0 ? (long)(due * 1e9) : 0;
        if (pl->deaf_since <= 0 && (pl->interactive || pl->bulky || pl->outgoing.size > 0))
            fds[n++] =
                (struct pollfd){.fd = pl->sock, .events = (short)(POLLIN | (pl->outgoing.size > 0 ? POLLOUT : 0))};
        if (pl->out >= 0)
            fds[n++] = (struct pollfd){.fd = pl->out, .events = POLLIN};
        if (pl->err >= 0)
            fds[n++] = (struct pollfd){.fd = pl->err, .events = POLLIN};
        if (pl->s->listener >= 0)
            fds[n++] = (struct pollfd){.fd = pl->s->listener, .events = POLLIN};
        if (pl->test_sock >= 0)
            fds[n++] = (struct pollfd){.fd = pl->test_sock,
                                       .events = (short)(POLLIN | (pl->test_outgoing.size > 0 ? POLLOUT : 0))};
    }
    int ready = ppoll(fds, (nfds_t)n, &timeout, unblocked);
    if (ready <= 0)
        reap(pl); /* a signal, or a good moment to look */
    if (pl->main.gone)
        return;
    if (!pl->watched) {
        if (ready == 0) {
            if (!learn_pid(pl))
                return;
            pl->watched = true;
            pl->stage_cpu = 0; /* since its birth: nothing has been heard yet, or nothing was looked at */
            pl->left_s = pl->test_limit;
            forget_idle(pl, 0);
        }
        return;
    }
    bool progress = false;
    push(pl->sock, &pl->outgoing);
    size_t before = pl->incoming.size;
    int got = slurp(pl, pl->sock, &pl->incoming);
    pl->bulky = pl->incoming.size - before >= CHUNK / 2;
    if (got > 0) {
        int frames = parse(pl, &pl->incoming, hear);
        if (frames < 0)
            pl->cut = CUT_PROTOCOL;
        /* answers to the test process do not start a new stage: the test as a whole has the limit */
        progress = frames > 0 && pl->proxied < 0;
    } else if (got < 0) {
        /* It is exiting, which takes another moment, or it has closed its socket and will never answer again. */
        reap(pl);
        if (pl->main.gone)
            return;
        if (pl->deaf_since <= 0)
            pl->deaf_since = now_s();
    }
    if (pl->test_sock >= 0) {
        int heard = slurp(pl, pl->test_sock, &pl->test_incoming);
        if ((heard > 0 && parse(pl, &pl->test_incoming, hear_test) < 0) ||
            (heard < 0 && !pl->proxy_done && pl->proxied >= 0))
            pl->cut = CUT_TEST_ENDED;
        push(pl->sock, &pl->outgoing);
        push(pl->test_sock, &pl->test_outgoing);
    }
    bool unread = drain_outputs(pl);
    for (int i = 0; i < n; i++)
        if (fds[i].fd == pl->s->listener && (fds[i].revents & POLLIN))
            receive_notification(pl);
    count_threads(pl);
    add_up_scratch(pl);
    if (progress)
        player_new_stage(pl);
    else if (pl->cut == NOT_CUT)
        check_clocks(pl, waiting_for_us, unread);
}

static void hear_the_rest(struct player *pl)
{
    while (slurp(pl, pl->sock, &pl->incoming) > 0)
        ;
    if (pl->cut == NOT_CUT && parse(pl, &pl->incoming, hear) < 0)
        pl->cut = CUT_PROTOCOL;
    drain_outputs(pl);
}

void player_pump(struct player *pl, enum until until)
{
    sigset_t unblocked;
    sigprocmask(SIG_BLOCK, NULL, &unblocked);
    sigdelset(&unblocked, SIGCHLD);
    push(pl->sock, &pl->outgoing);
    pl->interactive = until != UNTIL_GONE;
    if (until != UNTIL_GONE && !pl->watched) {
        if (!learn_pid(pl))
            return;
        pl->watched = true;
        forget_idle(pl, 0);
    }
    for (;;) {
        if (pl->main.gone) {
            hear_the_rest(pl);
            return;
        }
        if (pl->infrastructure)
            return;
        if (pl->cut != NOT_CUT)
            return;
        if (until == UNTIL_ANSWERED && pl->loaded && pl->answered == pl->queued)
            return;
        if (until == UNTIL_PROXY && pl->proxy_done)
            return;
        bool waiting_for_us = pl->loaded && pl->answered == pl->queued && pl->proxied < 0 && !pl->quit_sent;
        step(pl, &unblocked, waiting_for_us);
    }
}

void player_kill(struct player *pl)
{
    kill_and_reap(pl, &pl->main);
}

void player_end(struct player *pl)
{
    struct program *p = pl->program;
    if (pl->main.pid == 0 && !pl->main.gone && !pl->infrastructure)
        (void)learn_pid(pl);
    kill_and_reap(pl, &pl->main);
    kill_and_reap(pl, &pl->test_process);
    drain_outputs(pl);
    if (pl->main.gone) {
        const struct rusage *u = &pl->main.usage;
        double cpu = (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
                     (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) * 1e-6;
        p->cpu_s += cpu > pl->seen_cpu ? cpu : pl->seen_cpu; /* children that nobody waited for are not in rusage */
        uint64_t resident = (uint64_t)u->ru_maxrss * 1024;
        uint64_t above = resident > pl->s->zygote_resident ? resident - pl->s->zygote_resident : 0;
        if (above > p->peak)
            p->peak = above;
    }
    close_fd(&pl->sock);
    close_fd(&pl->out);
    close_fd(&pl->err);
    close_fd(&pl->test_sock);
    close_fd(&pl->network);
    for (uint32_t i = 0; i < pl->queued; i++)
        bytes_free(&pl->values[i]);
    free(pl->values);
    free(pl->value_flags);
    free(pl->queue);
    bytes_free(&pl->outgoing);
    bytes_free(&pl->incoming);
    bytes_free(&pl->test_incoming);
    bytes_free(&pl->test_outgoing);
    pl->queued = 0;
}
