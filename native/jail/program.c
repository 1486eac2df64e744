/* One program against one problem: which player runs which tests under which limits, and what each end means.
 *
 * Two passes. In the first, one player runs all tests in order and each gets a short quantum of CPU time; a test that
 * does not finish in it is set aside, and a fresh player goes on behind it. In the second, each test set aside gets its
 * full limit in a fresh player, until the program's budget ends; what is left is `not_run`. So a hang in test 1 does not
 * hide tests 2 to 16, and sixteen hangs cost a budget, not sixteen limits. A single test gets its full limit at once.
 *
 * A player that dies takes down only the test it was at: the next one goes on in a fresh player, as a person would
 * re-run the rest. A program that does not load fails in all its tests with what happened at load.
 *
 * A SIGKILL that is not ours, not the CPU backstop's and not the cgroup's comes from outside the jail (init of a pid
 * namespace cannot be killed from within): the test is run again, up to FOREIGN_KILLS times per program. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor.h"

enum { FOREIGN_KILLS = 3, QUANTUM_SHRINKS = 4 };
static const double FIRST_PASS_IDLE_S = 0.25;
static const double FIRST_PASS_OWN_S = 0.1; /* a test's own code imports and sets up before it calls anything */

void result_set(struct result *r, enum status status, int flags, int number, const void *detail, size_t size)
{
    r->status = (uint8_t)status;
    r->flags = (uint8_t)flags;
    r->number = (uint16_t)number;
    r->detail.size = 0;
    (void)bytes_add(&r->detail, detail, size < DETAIL_MAX ? size : DETAIL_MAX);
}

static void result_text(struct result *r, enum status status, int number, const char *text)
{
    int kept = r->flags & RESULT_ORIGIN_TEST;
    result_set(r, status, kept, number, text, strlen(text));
}

/* What one run of a player is asked to do. */
struct assignment {
    uint32_t *tests; /* positions in unit->tests, in order */
    uint32_t count;
    double test_limit, idle_limit, own_limit;
    bool final; /* the limits are the full ones: running out of them is a verdict */
    unsigned long long oom_before;
};

/* How far it came. */
struct progress {
    uint32_t settled; /* tests[0..settled) have a status, or are with the judge */
    bool ended;       /* the player is gone or must go */
    bool load_failed; /* and with it every test of the assignment */
};

static bool load_frame(struct bytes *out, struct span setup, struct span source, uint8_t how);

/* Can a player be set up at all? An empty program tells. */
static bool canary_loads(struct supervisor *s, const struct unit *unit)
{
    struct unit empty = {.limits = unit->limits, .setup = unit->setup};
    struct result none = {.status = UNDECIDED};
    struct program p = {.unit = &empty, .results = &none};
    struct player pl;
    player_init(&pl, s, &p);
    pl.load_limit = pl.test_limit = unit->limits.load_cpu_s;
    pl.idle_limit = unit->limits.idle_s;
    bool loads = load_frame(&pl.outgoing, unit->setup, (struct span){(const uint8_t *)"", 0}, 0) &&
                 bytes_add_frame(&pl.outgoing, 'Q', 0, 0, NULL, 0) == 0 && player_start(&pl, -1);
    if (loads) {
        pl.quit_sent = true;
        player_pump(&pl, UNTIL_GONE);
        loads = pl.loaded && !pl.infrastructure;
    }
    player_end(&pl);
    bytes_free(&none.detail);
    bytes_free(&p.out);
    bytes_free(&p.err);
    return loads;
}

/* The status of a player's end that is not an answer. UNDECIDED: run the test again. */
static enum status status_of_end(struct player *pl, const struct assignment *a, struct result *r)
{
    const struct limits *l = &pl->program->unit->limits;
    char text[128];
    switch (pl->cut) {
    case CUT_CPU:
        if (!a->final && pl->loaded)
            return UNDECIDED;
        snprintf(text, sizeof text, "%s took more than %g s of CPU time", pl->loaded ? "the test" : "loading",
                 pl->loaded ? a->test_limit : pl->load_limit);
        result_text(r, CPU_TIMEOUT, 0, text);
        r->cpu_s = (float)(pl->loaded ? a->test_limit : pl->load_limit);
        return CPU_TIMEOUT;
    case CUT_IDLE:
        if (!a->final && pl->loaded)
            return UNDECIDED;
        pl->program->charged += pl->loaded ? a->idle_limit : l->idle_s;
        snprintf(text, sizeof text, "%s for more than %g s", pl->loaded ? "idle" : "idle while loading",
                 pl->loaded ? a->idle_limit : l->idle_s);
        result_text(r, WALL_TIMEOUT, 0, text);
        return WALL_TIMEOUT;
    case CUT_WALL:
        snprintf(text, sizeof text, "took more than %g s on the wall clock", l->wall_s);
        result_text(r, WALL_TIMEOUT, 0, text);
        return WALL_TIMEOUT;
    case CUT_SYSCALL:
        result_set(r, BLOCKED_SYSCALL, 0, pl->syscall_number, NULL, 0);
        return BLOCKED_SYSCALL;
    case CUT_PROTOCOL:
        result_text(r, ERROR, 0, "wrote to the sandbox's own descriptor, or closed it");
        return ERROR;
    case CUT_SETUP:
        if (pl->program->foreign_kills-- > 0)
            return UNDECIDED;
        player_kill(pl); /* or its end could be taken for the canary's */
        if (pl->program->unit->script || !canary_loads(pl->s, pl->program->unit)) {
            pl->program->trouble = "players cannot be set up";
            return UNDECIDED;
        }
        result_text(r, ERROR, 0, "pretended that the sandbox failed");
        return ERROR;
    case CUT_THREADS:
    case CUT_TEST_THREADS:
        snprintf(text, sizeof text, "more than %llu threads at a time",
                 (unsigned long long)(pl->s->cfg->threads + pl->s->cfg->processes));
        r->flags = pl->cut == CUT_TEST_THREADS ? RESULT_ORIGIN_TEST : 0;
        result_text(r, PROCESS_LIMIT, 0, text);
        return PROCESS_LIMIT;
    case CUT_SCRATCH:
    case CUT_TEST_SCRATCH: /* in words like those of a file system that is full */
        snprintf(text, sizeof text, "OSError: [Errno %d] %s: %s", ENOSPC, strerror(ENOSPC), pl->excess);
        r->flags = pl->cut == CUT_TEST_SCRATCH ? RESULT_ORIGIN_TEST : 0;
        result_text(r, ERROR, 0, text);
        return ERROR;
    case CUT_TEST_LIMIT:
        if (!a->final)
            return UNDECIDED;
        r->flags = RESULT_ORIGIN_TEST;
        pl->program->charged += pl->own_limit;
        snprintf(text, sizeof text, "the test's own code took more than %g s of CPU time, or waited for nothing",
                 pl->own_limit);
        result_text(r, CPU_TIMEOUT, 0, text);
        return CPU_TIMEOUT;
    case CUT_TEST_ENDED:
        if (WIFSIGNALED(pl->test_process.wait_status) && WTERMSIG(pl->test_process.wait_status) == SIGKILL &&
            pl->program->foreign_kills-- > 0)
            return UNDECIDED;
        r->flags = RESULT_ORIGIN_TEST;
        result_text(r, ERROR, 0, "the test's own code ended its process without a result");
        return ERROR;
    case NOT_CUT:
        break;
    }
    int ws = pl->main.wait_status;
    if (WIFEXITED(ws) && WEXITSTATUS(ws) > 128 && WEXITSTATUS(ws) <= 128 + 64) {
        int own = WEXITSTATUS(ws) - 128; /* player.py: init cannot signal itself to death */
        snprintf(text, sizeof text, "ended itself with signal %d (%s)", own, strsignal(own));
        result_text(r, KILLED, own, text);
        return KILLED;
    }
    if (WIFEXITED(ws)) {
        snprintf(text, sizeof text, "the program exited with code %d", WEXITSTATUS(ws));
        result_text(r, EXITED, WEXITSTATUS(ws), text);
        return EXITED;
    }
    int sig = WTERMSIG(ws);
    if (sig == SIGSYS) {
        result_text(r, BLOCKED_SYSCALL, 0xFFFF, "a system call that is not allowed");
        return BLOCKED_SYSCALL;
    }
    if (sig == SIGKILL) {
        const struct rusage *u = &pl->main.usage;
        double cpu = (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec);
        if (cgroup_oom_kills(pl->s->cfg) > a->oom_before) {
            result_text(r, MEMORY_LIMIT, 0, "killed for using more memory than its limit");
            return MEMORY_LIMIT;
        }
        if (cpu + 1 >= l->load_cpu_s + l->program_cpu_s) {
            result_text(r, CPU_TIMEOUT, 0, "ran into the CPU backstop");
            return CPU_TIMEOUT;
        }
        if (pl->program->foreign_kills-- > 0)
            return UNDECIDED;
    }
    snprintf(text, sizeof text, "killed by signal %d (%s)", sig, strsignal(sig));
    result_text(r, KILLED, sig, text);
    return KILLED;
}

/* ---- planned and shared tests go out in one batch, answers come back one frame each ---- */

static bool queue_batch(struct player *pl, const struct assignment *a, uint32_t from, uint32_t to)
{
    const struct unit *unit = pl->program->unit;
    uint32_t n = to - from;
    uint32_t *queue = realloc(pl->queue, (pl->queued + n + 1) * sizeof *queue);
    if (queue != NULL)
        pl->queue = queue;
    struct bytes *values = realloc(pl->values, (pl->queued + n + 1) * sizeof *values);
    if (values != NULL)
        pl->values = values;
    uint8_t *flags = realloc(pl->value_flags, pl->queued + n + 1);
    if (flags != NULL)
        pl->value_flags = flags;
    if (queue == NULL || values == NULL || flags == NULL)
        return false;
    for (uint32_t i = from; i < to; i++) {
        const struct test *t = &unit->tests[a->tests[i]];
        pl->queue[pl->queued] = a->tests[i];
        pl->values[pl->queued] = (struct bytes){0};
        pl->value_flags[pl->queued] = 0;
        pl->queued++;
        if (bytes_add_frame(&pl->outgoing, t->kind == KIND_SHARED ? 'X' : 'R', 0, t->number, t->request.at,
                            t->request.size) < 0)
            return false;
    }
    return true;
}

static bool batchable(const struct test *t)
{
    return t->kind == KIND_PLAN || t->kind == KIND_SHARED;
}

static uint32_t batch_end(const struct unit *unit, const struct assignment *a, uint32_t from)
{
    while (from < a->count && batchable(&unit->tests[a->tests[from]]))
        from++;
    return from;
}

enum { AS_MODULE = 0, AS_SCRIPT = 1, SETUP_IS_JSON = 2 };

static bool load_frame(struct bytes *out, struct span setup, struct span source, uint8_t how)
{
    uint32_t setup_size = (uint32_t)setup.size, source_size = (uint32_t)source.size;
    struct frame_header h = {(uint32_t)(8 + setup.size + source.size), 'P', how, 0};
    return bytes_add(out, &h, sizeof h) == 0 && bytes_add(out, &setup_size, 4) == 0 &&
           bytes_add(out, setup.at, setup.size) == 0 && bytes_add(out, &source_size, 4) == 0 &&
           bytes_add(out, source.at, source.size) == 0;
}

/* Values that the supervisor could not decide by their bytes go to the judge together. */
static bool ask_judge(struct player *pl)
{
    struct program *p = pl->program;
    uint32_t *tests = malloc((pl->answered + 1) * sizeof *tests);
    struct span *payloads = malloc((pl->answered + 1) * sizeof *payloads);
    size_t n = 0;
    bool ok = tests != NULL && payloads != NULL;
    for (uint32_t i = 0; ok && i < pl->answered; i++) {
        if (!pl->value_flags[i])
            continue;
        tests[n] = pl->queue[i];
        payloads[n++] = (struct span){pl->values[i].at, pl->values[i].size};
    }
    static char why[256];
    if (ok && n > 0 && !judge_decide(pl->s, p, tests, payloads, n, 'D', why)) {
        p->trouble = why;
        ok = false;
    }
    free(tests);
    free(payloads);
    return ok;
}

/* ---- proxied tests: a test process asks, the player answers, both are clocked ---- */

static bool run_proxied(struct player *pl, uint32_t position)
{
    static char why[256];
    struct program *p = pl->program;
    const struct test *t = &p->unit->tests[position];
    if (pl->test_process.pid <= 0) {
        pl->test_process = (struct child){0};
        pl->test_process.pid = judge_fork(pl->s, p->unit, pl->network, &pl->test_sock, why);
        if (pl->test_process.pid < 0) {
            p->trouble = why;
            pl->infrastructure = true;
            return false;
        }
    }
    pl->proxied = (int)position;
    pl->proxy_done = false;
    pl->call_open = false;
    player_new_stage(pl);
    double before = pl->stage_cpu;
    if (bytes_add_frame(&pl->test_outgoing, 'G', 0, t->number, NULL, 0) < 0)
        return false;
    player_pump(pl, UNTIL_PROXY);
    if (pl->proxy_done) {
        if (!pl->main.gone)
            p->results[position].cpu_s = (float)(player_cpu_s(pl) - before);
        pl->proxied = -1;
        return true;
    }
    return false;
}

/* ---- one player ---- */

static struct progress run_player(struct supervisor *s, struct program *p, struct assignment *a)
{
    const struct unit *unit = p->unit;
    struct player pl;
    player_init(&pl, s, p);
    pl.load_limit = unit->limits.load_cpu_s;
    pl.test_limit = a->test_limit;
    pl.idle_limit = a->idle_limit;
    pl.own_limit = a->own_limit;
    struct progress progress = {0, true, false};
    a->oom_before = cgroup_oom_kills(s->cfg);
    struct result *load = &p->results[unit->test_count];
    load->status = UNDECIDED;

    uint32_t end = batch_end(unit, a, 0);
    bool all = end == a->count;
    bool started = load_frame(&pl.outgoing, unit->setup, p->source, AS_MODULE) && queue_batch(&pl, a, 0, end) &&
                   (!all || bytes_add_frame(&pl.outgoing, 'Q', 0, 0, NULL, 0) == 0) && player_start(&pl, -1);
    if (!started) {
        if (p->trouble == NULL)
            p->trouble = "out of memory";
        player_end(&pl);
        return progress;
    }
    pl.quit_sent = all;
    uint32_t settled = 0;
    bool stopped = false; /* by us, between two tests: fail_fast */
    player_pump(&pl, all ? UNTIL_GONE : UNTIL_ANSWERED);
    while (!all && !pl.main.gone && pl.cut == NOT_CUT && !pl.infrastructure && pl.loaded) {
        settled = end;
        if (settled == a->count)
            break;
        if (!batchable(&unit->tests[a->tests[settled]])) {
            if (!run_proxied(&pl, a->tests[settled]))
                break;
            settled = end = settled + 1;
            /* a call that outlives its test (a server in a thread) leaves nobody to hear the next one */
            stopped = pl.call_open || (unit->limits.fail_fast && p->results[a->tests[settled - 1]].status != PASSED);
            if (stopped || pl.main.gone)
                break;
        } else {
            uint32_t from = end;
            end = batch_end(unit, a, from);
            if (!queue_batch(&pl, a, from, end))
                break;
            player_pump(&pl, UNTIL_ANSWERED);
        }
    }
    if (settled < a->count && pl.proxied < 0 && !stopped) {
        /* count what the batch brought: answered requests are settled, in order */
        settled = 0;
        while (settled < a->count) {
            bool known = p->results[a->tests[settled]].status != UNDECIDED;
            for (uint32_t i = 0; !known && i < pl.answered; i++)
                known = pl.queue[i] == a->tests[settled] && pl.value_flags[i];
            if (!known)
                break;
            settled++;
        }
    }
    if (!pl.main.gone && pl.cut == NOT_CUT && !pl.infrastructure && !all && !pl.call_open) {
        /* all answered: let it flush what it printed, then go */
        pl.quit_sent = true;
        if (bytes_add_frame(&pl.outgoing, 'Q', 0, 0, NULL, 0) == 0) {
            pl.proxied = -1;
            player_pump(&pl, UNTIL_GONE);
            pl.cut = NOT_CUT;
        }
    }
    bool infrastructure = pl.infrastructure;
    if (!infrastructure && !stopped && settled < a->count) {
        uint32_t at = a->tests[settled];
        struct result *r = &p->results[at];
        if (pl.load_failed) {
            progress.load_failed = true;
        } else if (!pl.loaded) {
            /* it ended while loading: the same would happen to every test */
            enum status st = status_of_end(&pl, a, load);
            progress.load_failed = st != UNDECIDED;
        } else {
            (void)status_of_end(&pl, a, r);
        }
    }
    if (!infrastructure && !ask_judge(&pl))
        infrastructure = true;
    player_end(&pl);
    if (!scratch_is_clean(s->cfg) && scratch_renew(s->cfg) < 0) {
        p->trouble = "the scratch directory cannot be cleaned";
        infrastructure = true;
    }
    if (progress.load_failed)
        for (uint32_t i = 0; i < a->count; i++) {
            struct result *r = &p->results[a->tests[i]];
            result_set(r, load->status, load->flags, load->number, load->detail.at, load->detail.size);
        }
    progress.settled = settled;
    progress.ended = infrastructure;
    return progress;
}

/* ---- scripts: standard input to standard output ---- */

static int input_file(struct span input)
{
    int fd = memfd_create("stdin", MFD_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t done = 0;
    while (done < input.size) {
        ssize_t n = write(fd, input.at + done, input.size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            close(fd);
            return -1;
        }
        done += (size_t)n;
    }
    lseek(fd, 0, SEEK_SET);
    return fd;
}

/* Run the program as a script; its end as a result in *r (PASSED: exited with 0). False: our fault. */
static bool run_script(struct supervisor *s, struct program *p, struct span input, struct span setup,
                       struct assignment *a, struct result *r)
{
    struct player pl;
    player_init(&pl, s, p);
    pl.load_limit = pl.test_limit = a->test_limit;
    pl.idle_limit = a->idle_limit;
    struct result *load = &p->results[p->unit->test_count];
    load->status = UNDECIDED;
    a->oom_before = cgroup_oom_kills(s->cfg);
    int fd = input_file(input);
    if (fd < 0) {
        p->trouble = "cannot make a file for standard input";
        return false;
    }
    bool ok = load_frame(&pl.outgoing, setup, p->source, p->unit->script ? AS_SCRIPT | SETUP_IS_JSON : AS_SCRIPT) &&
              player_start(&pl, fd);
    close(fd);
    if (ok) {
        pl.quit_sent = true;
        player_pump(&pl, UNTIL_GONE);
        ok = !pl.infrastructure;
    }
    if (ok) {
        bool exited = pl.cut == NOT_CUT && pl.main.gone && WIFEXITED(pl.main.wait_status);
        p->exit_code = exited ? WEXITSTATUS(pl.main.wait_status) : -SIGKILL;
        if (exited && p->exit_code == 0) {
            r->status = PASSED;
        } else if (exited && pl.load_failed) {
            result_set(r, load->status, load->flags, p->exit_code, load->detail.at, load->detail.size);
        } else {
            if (pl.cut == NOT_CUT && !exited)
                p->exit_code = -WTERMSIG(pl.main.wait_status);
            pl.loaded = true; /* a script has no separate load stage */
            (void)status_of_end(&pl, a, r);
        }
    }
    double before = p->cpu_s;
    player_end(&pl);
    r->cpu_s = (float)(p->cpu_s - before);
    if (!scratch_is_clean(s->cfg) && scratch_renew(s->cfg) < 0) {
        p->trouble = "the scratch directory cannot be cleaned";
        return false;
    }
    return ok;
}

static bool run_stdio(struct supervisor *s, struct program *p, uint32_t position, struct assignment *a)
{
    struct result *r = &p->results[position];
    const struct test *t = &p->unit->tests[position];
    struct bytes out = p->out, err = p->err;
    bool out_cut = p->out_cut, err_cut = p->err_cut;
    p->out = p->err = (struct bytes){0};
    p->out_cut = p->err_cut = false;
    bool ok = run_script(s, p, t->request, p->unit->setup, a, r);
    if (ok && r->status == PASSED && p->out_cut) {
        result_text(r, OUTPUT_LIMIT, 0, "printed more than the output limit");
    } else if (ok && r->status == PASSED) {
        static char why[256];
        struct span output = {p->out.at, p->out.size};
        ok = judge_decide(s, p, &position, &output, 1, 'O', why);
        if (!ok)
            p->trouble = why;
    }
    /* the verdict keeps the first test's output, capped like any other */
    if (out.size == 0 && err.size == 0 && !out_cut && !err_cut && p->unit->limits.keep_output) {
        return ok;
    }
    bytes_free(&p->out);
    bytes_free(&p->err);
    p->out = out;
    p->err = err;
    p->out_cut = out_cut;
    p->err_cut = err_cut;
    return ok;
}

/* ---- the passes ---- */

static uint32_t undecided(const struct program *p, uint32_t *into)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->unit->test_count; i++)
        if (p->results[i].status == UNDECIDED)
            into[n++] = i;
    return n;
}

static bool failed_already(const struct program *p)
{
    for (uint32_t i = 0; i < p->unit->test_count; i++)
        if (p->results[i].status != UNDECIDED && p->results[i].status != PASSED)
            return true;
    return false;
}

static bool out_of_wall(const struct program *p)
{
    return p->unit->limits.wall_s > 0 && now_s() - p->started > p->unit->limits.wall_s;
}

static void first_pass(struct supervisor *s, struct program *p, uint32_t *list, uint32_t count, bool final)
{
    const struct limits *l = &p->unit->limits;
    double quantum = l->quantum_s < l->cpu_s ? l->quantum_s : l->cpu_s;
    double idle = FIRST_PASS_IDLE_S < l->idle_s ? FIRST_PASS_IDLE_S : l->idle_s;
    struct assignment a = {.test_limit = final ? l->cpu_s : quantum,
                           .idle_limit = final ? l->idle_s : idle,
                           .own_limit = final ? l->judge_cpu_s : FIRST_PASS_OWN_S,
                           .final = final};
    uint32_t at = 0;
    while (at < count && p->trouble == NULL) {
        if ((l->fail_fast && failed_already(p)) || out_of_wall(p))
            return;
        a.tests = list + at;
        if (p->unit->tests[list[at]].kind == KIND_STDIO) {
            a.count = 1;
            (void)run_stdio(s, p, list[at], &a);
            at++;
            continue;
        }
        a.count = 0;
        while (at + a.count < count && p->unit->tests[list[at + a.count]].kind != KIND_STDIO)
            a.count++;
        struct progress done = run_player(s, p, &a);
        if (done.load_failed || done.ended)
            return;
        /* A program that hangs once mostly hangs again: each test set aside shortens the next ones' quantum. What is
         * merely slow loses nothing but a second start, since its full limit is still to come. */
        bool set_aside = done.settled < a.count && p->results[a.tests[done.settled]].status == UNDECIDED;
        if (set_aside && !final && a.test_limit > quantum / QUANTUM_SHRINKS) {
            a.test_limit /= 2;
            a.idle_limit /= 2;
        }
        at += done.settled + 1; /* the one it stopped at has its status, or is left for the second pass */
    }
}

static void second_pass(struct supervisor *s, struct program *p, uint32_t *list)
{
    const struct limits *l = &p->unit->limits;
    double at_start = p->cpu_s;
    uint32_t count = undecided(p, list);
    for (uint32_t i = 0; i < count && p->trouble == NULL; i++) {
        if ((l->fail_fast && failed_already(p)) || out_of_wall(p))
            return;
        double left = l->program_cpu_s - (p->cpu_s - at_start) - p->charged;
        if (left <= 0)
            return;
        struct assignment a = {
            .tests = &list[i], .count = 1, .idle_limit = l->idle_s, .own_limit = l->judge_cpu_s, .final = true};
        a.test_limit = l->cpu_s < left ? l->cpu_s : left;
        for (int attempt = 0; attempt <= FOREIGN_KILLS; attempt++) {
            if (p->unit->tests[list[i]].kind == KIND_STDIO)
                (void)run_stdio(s, p, list[i], &a);
            else
                (void)run_player(s, p, &a);
            if (p->results[list[i]].status != UNDECIDED || p->trouble != NULL)
                break;
        }
    }
}

static bool program_init(struct program *p)
{
    p->results = calloc(p->unit->test_count + 1, sizeof *p->results);
    p->foreign_kills = FOREIGN_KILLS;
    if (p->results == NULL)
        return false;
    for (uint32_t i = 0; i <= p->unit->test_count; i++)
        p->results[i].status = UNDECIDED;
    return true;
}

void program_run(struct supervisor *s, struct program *p)
{
    const struct unit *unit = p->unit;
    p->started = now_s();
    uint32_t *list = malloc((unit->test_count + 1) * sizeof *list);
    if (list == NULL || !program_init(p)) {
        free(list);
        p->trouble = "out of memory";
        return;
    }
    for (uint32_t i = 0; i < unit->test_count; i++) {
        const struct test *t = &unit->tests[i];
        if (t->kind == KIND_BROKEN)
            result_set(&p->results[i], t->broken_status, RESULT_ORIGIN_TEST, 0, t->expected.at, t->expected.size);
        else if (t->kind == KIND_SHARED && unit->limits.refuse_unsealed)
            result_text(&p->results[i], FAILED, 0, "this test cannot be judged sealed, and unsealed tests are refused");
    }
    uint32_t count = undecided(p, list);
    if (count > 0) {
        first_pass(s, p, list, count, count == 1);
        second_pass(s, p, list);
    }
    bool failed = false;
    for (uint32_t i = 0; i < unit->test_count; i++) {
        struct result *r = &p->results[i];
        /* Answers behind the first failure may have come or not, as it happened: with fail_fast none of them counts. */
        if (failed && unit->limits.fail_fast)
            r->status = UNDECIDED;
        failed = failed || (r->status != UNDECIDED && r->status != PASSED);
        if (r->status == UNDECIDED)
            result_text(r, NOT_RUN, 0,
                        unit->limits.fail_fast && failed_already(p) ? "not run: an earlier test failed"
                                                                    : "not run: the program's budget was spent");
        else if (r->cpu_s >= 0.8 * unit->limits.cpu_s && r->status != NOT_RUN)
            r->flags |= RESULT_NEAR_LIMIT;
        if (r->status == PASSED)
            r->detail.size = 0, r->flags &= (uint8_t)~RESULT_VALUE;
    }
    free(list);
    p->wall_s = now_s() - p->started;
}

/* Put the files of a `run` into the scratch. Names are relative, without `..`, and parents are made as needed. */
static bool place_files(struct supervisor *s, const struct unit *unit, const char **trouble)
{
    static char why[256];
    for (uint32_t i = 0; i < unit->file_count; i++) {
        char path[1024], name[512];
        struct span n = unit->file_names[i];
        if (n.size == 0 || n.size >= sizeof name || memchr(n.at, '\0', n.size) != NULL || n.at[0] == '/') {
            *trouble = "a file's name is empty, absolute, too long or has a NUL byte";
            return false;
        }
        memcpy(name, n.at, n.size);
        name[n.size] = '\0';
        char spaced[520];
        snprintf(spaced, sizeof spaced, "/%s/", name);
        if (strstr(spaced, "/../") != NULL) {
            *trouble = "a file's name has '..' in it";
            return false;
        }
        snprintf(path, sizeof path, "%s/%s", s->cfg->scratch, name);
        for (char *slash = path + strlen(s->cfg->scratch) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
            *slash = '\0';
            (void)mkdir(path, 0700);
            *slash = '/';
        }
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        int bad = fd < 0 || write_full(fd, unit->file_contents[i].at, unit->file_contents[i].size) < 0;
        int error = errno;
        if (fd >= 0)
            close(fd);
        if (bad) {
            snprintf(why, sizeof why, "cannot write the file %.100s: %s", name, strerror(error));
            *trouble = why;
            return false;
        }
    }
    return true;
}

void script_run(struct supervisor *s, struct program *p)
{
    const struct limits *l = &p->unit->limits;
    p->started = now_s();
    if (!program_init(p)) {
        p->trouble = "out of memory";
        return;
    }
    if (!place_files(s, p->unit, &p->trouble))
        return;
    uint32_t position = 0;
    struct assignment a = {
        .tests = &position, .count = 1, .test_limit = l->cpu_s, .idle_limit = l->idle_s, .final = true};
    for (int attempt = 0; attempt <= FOREIGN_KILLS && p->results[0].status == UNDECIDED && p->trouble == NULL;
         attempt++)
        (void)run_script(s, p, p->unit->input, p->unit->problem, &a, &p->results[0]);
    p->wall_s = now_s() - p->started;
}

void program_free(struct program *p)
{
    for (uint32_t i = 0; p->results != NULL && i <= p->unit->test_count; i++)
        bytes_free(&p->results[i].detail);
    free(p->results);
    bytes_free(&p->out);
    bytes_free(&p->err);
}
