/* The supervisor's own header: units, programs, players, and who provides what.
 *
 *   supervisor.c  the loop: frames from the host in, verdicts out
 *   unit.c        `U` and `S` frames and the judge's plan, as structs (every length checked)
 *   guests.c      judge and zygote: start, wait, replace; asking the judge
 *   player.c      one player: start, clocks, frames, the end
 *   program.c     one program: the two passes, statuses, budgets
 *   report.c      verdict frames
 */
#ifndef ACE_SUPERVISOR_H
#define ACE_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "jail.h"

enum status {
    PASSED,
    FAILED,
    ERROR,
    SYNTAX_ERROR,
    MISSING_MODULE,
    CPU_TIMEOUT,
    WALL_TIMEOUT,
    MEMORY_LIMIT,
    OUTPUT_LIMIT,
    PROCESS_LIMIT,
    KILLED,
    BLOCKED_SYSCALL,
    EXITED,
    NOT_RUN,
    STATUSES,
    UNDECIDED = 255, /* not a status on the wire: no pass has settled the test yet */
};

enum kind { KIND_PLAN, KIND_PROXY, KIND_SHARED, KIND_BROKEN, KIND_STDIO, KINDS };
enum compare { ASK_JUDGE, BYTES_THEN_ASK, BYTES_STRICT, BYTES_EQUALITY };

enum { DETAIL_MAX = 4096, AT_LOAD = 0xFFFF };
enum { RESULT_ORIGIN_TEST = 1, RESULT_NEAR_LIMIT = 2, RESULT_VALUE = 4 };

/* A span of somebody else's memory. */
struct span {
    const uint8_t *at;
    size_t size;
};

/* A growing buffer of our own. */
struct bytes {
    uint8_t *at;
    size_t size, room;
};

int bytes_add(struct bytes *b, const void *data, size_t size);
int bytes_add_frame(struct bytes *b, uint8_t type, uint8_t flags, uint16_t index, const void *payload, size_t size);
void bytes_drop(struct bytes *b, size_t count); /* forget the first `count` bytes */
void bytes_free(struct bytes *b);

struct limits {
    double cpu_s, program_cpu_s, load_cpu_s, quantum_s, idle_s, wall_s, judge_cpu_s;
    uint64_t memory;
    uint32_t output;
    uint8_t fail_fast, keep_output, refuse_unsealed, reserved;
};

struct test {
    uint16_t number; /* as the host counts */
    uint8_t kind, compare, broken_status;
    struct span request, expected;
};

/* One problem and its programs, or one script. Spans point into `frame` and `plan_frame`. */
struct unit {
    bool script;
    uint64_t id;
    struct limits limits;
    struct span problem; /* JSON for the judge; for a script: its options */
    struct span *programs;
    uint32_t program_count;
    struct span input; /* script: standard input */
    struct span *file_names, *file_contents;
    uint32_t file_count;
    void *frame;

    void *plan_frame;
    struct span info, setup;
    struct test *tests; /* in the host's order */
    uint32_t test_count;
};

/* Parse; false with a reason in `why` (256 bytes) when the frame is not well formed. */
bool unit_parse(struct unit *unit, bool script, void *frame, size_t size, char *why);
bool plan_parse(struct unit *unit, void *frame, size_t size, char *why);
void unit_free(struct unit *unit);

/* What is known of one test of one program. */
struct result {
    uint8_t status, flags;
    uint16_t number; /* signal, syscall or exit code */
    float cpu_s;
    struct bytes detail;
};

struct program {
    const struct unit *unit;
    uint32_t index;
    struct span source;
    struct result *results;
    double cpu_s, wall_s, started;
    double charged; /* seconds that ran out while it slept, or made the judge or a test work: they too are its budget */
    uint64_t peak;
    uint32_t players;
    struct bytes out, err;
    bool out_cut, err_cut;
    int exit_code;       /* of a script */
    int foreign_kills;   /* how many more kills from outside are forgiven */
    const char *trouble; /* our fault: the unit fails with this reason */
};

/* ---- guests.c ---- */

struct guest {
    const char *role;
    pid_t pid;
    int fd;
    bool fresh; /* has not answered anything yet: its start-up still counts */
};

struct supervisor {
    struct config *cfg;
    int host;
    struct guest judge, zygote;
    int listener;         /* seccomp notifications of the players, or -1 */
    unsigned replies_due; /* spawn requests whose pid has not been read from the zygote */
    uint64_t zygote_resident, zygote_virtual;
    const struct unit *judge_knows; /* the problem the judge holds */
    struct bytes to_host;
    double flushed_at;
};

bool zygote_start(struct supervisor *s, char *why);
bool judge_start(struct supervisor *s, char *why);
void guest_stop(struct guest *g);

/* Give the judge the unit's problem and take its plan. */
bool judge_plan(struct supervisor *s, struct unit *unit, char *why);
/* Make sure that the judge holds this unit's problem (it may have been replaced). */
bool judge_ready(struct supervisor *s, const struct unit *unit, char *why);

/* Ask for decisions on tests[0..n): `type` is 'D' (values) or 'O' (output). Fills in the results. */
bool judge_decide(struct supervisor *s, struct program *p, const uint32_t *tests, const struct span *payloads, size_t n,
                  uint8_t type, char *why);
/* A test process for the current problem, in `network` (-1: the judge's own); its control socket in *fd. -1 with a
 * reason. */
pid_t judge_fork(struct supervisor *s, const struct unit *unit, int network, int *fd, char *why);

/* ---- processes.c: of processes that have not been reaped; false (or 0), and nothing changed, where it cannot be told */

double process_cpu_s(pid_t pid);
/* virtual and resident size, in bytes */
bool process_size(const struct supervisor *s, pid_t pid, uint64_t *virtual_size, uint64_t *resident);
uint64_t process_threads(const struct supervisor *s, pid_t pid);
/* CPU seconds of its own, and of its children that it waited for */
bool process_times(const struct supervisor *s, pid_t pid, pid_t *parent, double *own, double *waited);
/* does a thread of it run, or wait for a processor, now? */
bool process_is_runnable(const struct supervisor *s, pid_t pid);

/* ---- player.c ---- */

enum cut {
    NOT_CUT,
    CUT_CPU,
    CUT_IDLE,
    CUT_WALL,
    CUT_SYSCALL,
    CUT_PROTOCOL,
    CUT_SETUP,      /* it says that it could not be set up: ours to check, or the program's claim */
    CUT_TEST_LIMIT, /* the test's own code ran out of time */
    CUT_TEST_ENDED, /* the test process is gone without a result */
    CUT_THREADS,    /* it has more threads than it may, where only we count them */
    CUT_TEST_THREADS,
    CUT_SCRATCH, /* it keeps more in the scratch than it may, where only we add it up */
    CUT_TEST_SCRATCH,
};

struct child {
    pid_t pid; /* 0: started but not known yet, -1: none */
    bool gone;
    int wait_status;
    struct rusage usage;
};

struct player {
    struct supervisor *s;
    struct program *program;
    struct child main, test_process;
    int sock, out, err, test_sock;
    int network;      /* its own, for the test process to enter too; -1: the worker's empty one */
    bool watched;     /* past the first short wait: the pid is known, the clocks are read */
    bool interactive; /* somebody waits for its answers: they wake the supervisor */
    bool bulky;       /* it sends so much that it must be read at once */
    bool loaded, load_failed, quit_sent, infrastructure;
    struct bytes outgoing, incoming, test_incoming, test_outgoing;

    uint32_t *queue; /* positions in unit->tests sent to the player, in order */
    uint32_t queued, answered;
    struct bytes *values; /* per queue entry: the codec value that needs the judge */
    uint8_t *value_flags;

    int proxied; /* the position a test process is running, or -1 */
    bool proxy_done, call_open;

    enum cut cut;
    int syscall_number;
    double load_limit, test_limit, idle_limit;
    double own_limit; /* CPU seconds for the test's own code, in its test process */
    double stage_cpu, stage_test_cpu, born;
    double idle, still;                          /* of the stage: in all, and without a break */
    double spot_from, spot_interval, spot_spent; /* the next look for idleness, and the CPU time at the last */
    double left_s;                               /* of the stage's CPU limit, at the last look */
    double scratch_from;                         /* the next look at what it keeps in the scratch */
    const char *excess;                          /* what that found */
    double seen_cpu;                             /* at the last look: the program's processes together */
    double deaf_since;                           /* when its socket ended while it lived on; 0: it has not */
};

double now_s(void);
/* CPU of everything that the program runs, and of everything that the test's own code runs. */
double player_cpu_s(const struct player *pl);
double test_cpu_s(const struct player *pl);
bool wait_readable(int fd, int timeout_ms);

void player_init(struct player *pl, struct supervisor *s, struct program *p);
/* Start it. `stdin_fd` -1: /dev/null. False with the reason in program->trouble. */
bool player_start(struct player *pl, int stdin_fd);
/* Until: it is gone (UNTIL_GONE), all queued requests are answered (UNTIL_ANSWERED), the proxied test is settled. */
enum until { UNTIL_GONE, UNTIL_ANSWERED, UNTIL_PROXY };
void player_pump(struct player *pl, enum until until);
/* The clocks start anew: what follows has limits of its own. */
void player_new_stage(struct player *pl);
/* Kill and reap the program's process now; player_end is still owed. */
void player_kill(struct player *pl);
/* Kill, reap, account to the program, close. */
void player_end(struct player *pl);

/* ---- program.c, report.c ---- */

void program_run(struct supervisor *s, struct program *p);
void script_run(struct supervisor *s, struct program *p);
void program_free(struct program *p);
void result_set(struct result *r, enum status status, int flags, int number, const void *detail, size_t size);

void report_verdict(struct supervisor *s, const struct program *p);
void report_info(struct supervisor *s, const struct unit *unit);
void report_done(struct supervisor *s, uint64_t id, const char *trouble);
void report_flush(struct supervisor *s);

#endif
