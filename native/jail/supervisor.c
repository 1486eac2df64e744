/* The supervisor: pid 1 of the jail. Theory of operation of everything that happens after the jail is built.
 *
 *   host ── fd `host_fd` ── supervisor ─┬─ judge   (socketpair)   plans problems, decides values, forks test processes
 *                                       ├─ zygote  (socketpair)   clones players
 *                                       ├─ player  (socketpair, and pipes for its output)      one at a time
 *                                       └─ test process (socketpair)                           beside it when needed
 *
 * One unit at a time, one program at a time, one player at a time: a worker is one processor's worth of work, and
 * whoever wants more starts more workers. The supervisor is the only process that sees both expected values and
 * answers; it forks only to exec (the guests), so no program's ancestor ever held a problem's bytes.
 *
 * Everything received is bounded and checked where it is parsed (unit.c, player.c). What goes wrong on our side ends
 * the unit with a reason (`D` failed), which the host retries; a jail that cannot be trusted any more ends itself.
 *
 * SIGCHLD is blocked except inside ppoll, so a child's death can neither be missed nor interrupt anything else. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include "supervisor.h"

static void on_child(int signal_number)
{
    (void)signal_number;
}

static void setup_signals(void)
{
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP};
    sigaction(SIGCHLD, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
}

/* The base line of a player's memory. */
static void measure_zygote(struct supervisor *s)
{
    (void)process_size(s, s->zygote.pid, &s->zygote_virtual, &s->zygote_resident);
}

static void run_unit(struct supervisor *s, struct unit *unit)
{
    static char why[256];
    const char *trouble = NULL;
    if (!unit->script) {
        if (!judge_plan(s, unit, why)) {
            report_done(s, unit->id, why);
            return;
        }
        report_info(s, unit);
    } else {
        unit->test_count = 1; /* a script reports its end like one test */
    }
    for (uint32_t i = 0; i < unit->program_count && trouble == NULL; i++) {
        struct program p = {.unit = unit, .index = i, .source = unit->programs[i]};
        if (unit->script)
            script_run(s, &p);
        else
            program_run(s, &p);
        trouble = p.trouble;
        if (trouble == NULL)
            report_verdict(s, &p);
        program_free(&p);
    }
    s->judge_knows = NULL; /* the unit's memory is about to go */
    report_done(s, unit->id, trouble);
    if (trouble != NULL)
        _exit(4); /* whatever is wrong, a fresh jail is the way back; the host reads the reason first */
}

int supervise(struct config *cfg, int host_fd)
{
    static struct supervisor supervisor;
    struct supervisor *s = &supervisor;
    s->cfg = cfg;
    s->host = host_fd;
    s->listener = -1;
    s->zygote_virtual = 256 << 20; /* where there is no /proc to ask: more than a bare interpreter maps */
    s->judge = (struct guest){.role = "judge", .fd = -1};
    s->zygote = (struct guest){.role = "zygote", .fd = -1};
    setup_signals();

    char why[256];
    if (!judge_start(s, why)) /* both warm up at the same time; the judge is waited for when it is first asked */
        jail_fail("start the judge", 0, "%s", why);
    if (!zygote_start(s, why))
        jail_fail("start the zygote", 0, "%s", why);
    measure_zygote(s);

    char ready[4096];
    int n = snprintf(ready, sizeof ready, "{\"protocol\": %d, \"judge_pid\": %d, \"zygote_pid\": %d, %s}", ACE_PROTOCOL,
                     (int)s->judge.pid, (int)s->zygote.pid, ready_mechanisms_json(cfg));
    if (n < 0 || (size_t)n >= sizeof ready || write_frame(s->host, 'R', 0, 0, ready, (size_t)n) < 0)
        return 3;

    for (;;) {
        struct frame_header h;
        void *payload = NULL;
        if (!wait_readable(s->host, 0))
            report_flush(s); /* nothing more to do: the host gets what there is */
        int got = read_frame(s->host, &h, &payload, WIRE_MAX_FROM_HOST);
        if (got == 0)
            return 0; /* the host closed the sandbox */
        if (got < 0)
            return errno == ECONNRESET ? 0 : 3;
        struct unit unit;
        if (h.type != 'U' && h.type != 'S') {
            free(payload);
            return 3;
        }
        if (!unit_parse(&unit, h.type == 'S', payload, h.length, why))
            report_done(s, unit.id, why);
        else
            run_unit(s, &unit);
        unit_free(&unit);
    }
}
