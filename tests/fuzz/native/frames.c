/* What a player and a test process say (parse, hear and hear_test in player.c), and the verdict that comes of it.
 *
 * Input: the tests (count, then kind, comparison and expected value of each), then steps: one byte that says who speaks
 * or that the next proxied test begins, two bytes of length, and so many bytes of that socket's stream.
 *
 * The promise that matters: whatever a player says, a test is `passed` only if its value's bytes are the expected ones,
 * or if the test process said so; shared tests aside, which have no secret. */
#define _GNU_SOURCE
#include "../../../native/jail/player.c"
#include "fuzz.h"
#include "stubs.h"

enum { MOST_TESTS = 6 };

static const struct span values[] = {
    {(const uint8_t *)"i\1\0\0\0\0\0\0\0", 9},
    {(const uint8_t *)"N", 1},
    {(const uint8_t *)"T", 1},
    {(const uint8_t *)"s\2\0\0\0ab", 7},
    {(const uint8_t *)"[\2\0\0\0NN", 7},
    {(const uint8_t *)"d\0\0\0\0\0\0\xF0\x3F", 9},
    {(const uint8_t *)"", 0},
};
enum { VALUES = sizeof values / sizeof values[0] };

static bool could_be_different(const struct span expected, const uint8_t *value, size_t size)
{
    return expected.size != size || memcmp(expected.at, value, size) != 0;
}

/* Was there a frame with the expected bytes among what the player sent? */
static bool was_sent(const struct bytes *stream, const struct span value)
{
    for (size_t at = 0; stream->size >= value.size && at <= stream->size - value.size; at++)
        if (memcmp(stream->at + at, value.at, value.size) == 0)
            return true;
    return false;
}

static void check_verdict(struct supervisor *s, struct program *p)
{
    report_verdict(s, p);
    struct frame_header h;
    PROMISE(s->to_host.size >= sizeof h);
    memcpy(&h, s->to_host.at, sizeof h);
    PROMISE(h.type == 'V' && h.length == s->to_host.size - sizeof h);
    PROMISE(h.length <= 100 + p->unit->test_count * (DETAIL_MAX + 16));
    bytes_free(&s->to_host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct test tests[MOST_TESTS];
    struct unit unit = {.tests = tests, .test_count = 1 + take_number(&in, 1) % MOST_TESTS};
    struct config cfg = {.proc_dir = -1};
    struct supervisor s = {.cfg = &cfg, .listener = -1, .host = -1, .flushed_at = now_s() + 1000};
    struct program p = {.unit = &unit};
    struct player pl;
    player_init(&pl, &s, &p);
    pl.main.gone = true; /* there is no process behind it */
    pl.queue = calloc(MOST_TESTS, sizeof *pl.queue);
    pl.values = calloc(MOST_TESTS, sizeof *pl.values);
    pl.value_flags = calloc(MOST_TESTS, 1);
    p.results = calloc(unit.test_count + 1, sizeof *p.results);
    PROMISE(pl.queue != NULL && pl.values != NULL && pl.value_flags != NULL && p.results != NULL);
    for (uint32_t i = 0; i < unit.test_count; i++) {
        uint32_t chosen = take_number(&in, 1);
        struct span expected = values[take_number(&in, 1) % VALUES];
        tests[i] = (struct test){.number = (uint16_t)i,
                                 .kind = (uint8_t)(chosen % 16 % KINDS),
                                 .compare = (uint8_t)(expected.size == 0 ? ASK_JUDGE : (chosen >> 4) % (BYTES_EQUALITY + 1)),
                                 .expected = expected};
        p.results[i].status = UNDECIDED;
        if (tests[i].kind == KIND_PLAN || tests[i].kind == KIND_SHARED)
            pl.queue[pl.queued++] = i;
    }
    p.results[unit.test_count].status = UNDECIDED;

    struct bytes said = {0};
    bool told[MOST_TESTS] = {false}; /* the test process said how this test ended */
    uint32_t next_proxied = 0;
    bool violated = false;
    while (in.left > 0 && !violated && !pl.infrastructure) {
        uint32_t step = take_number(&in, 1);
        if (step % 4 == 3) {
            if (!pl.loaded || pl.answered < pl.queued)
                continue;
            while (next_proxied < unit.test_count && tests[next_proxied].kind != KIND_PROXY)
                next_proxied++;
            if (next_proxied == unit.test_count)
                continue;
            pl.proxied = (int)next_proxied++;
            pl.proxy_done = false;
            continue;
        }
        size_t length;
        const uint8_t *chunk = take_bytes(&in, take_number(&in, 2), &length);
        if (step % 4 == 2) {
            int before = pl.proxied >= 0 && !pl.proxy_done ? pl.proxied : -1;
            PROMISE(bytes_add(&pl.test_incoming, chunk, length) == 0);
            violated = parse(&pl, &pl.test_incoming, hear_test) < 0;
            if (before >= 0 && pl.proxy_done)
                told[before] = true;
        } else {
            PROMISE(bytes_add(&said, chunk, length) == 0);
            PROMISE(bytes_add(&pl.incoming, chunk, length) == 0);
            violated = parse(&pl, &pl.incoming, hear) < 0;
        }
        PROMISE(pl.answered <= pl.queued);
    }

    for (uint32_t i = 0; i <= unit.test_count; i++) {
        const struct result *r = &p.results[i];
        PROMISE(r->status < STATUSES || r->status == UNDECIDED);
        PROMISE(r->detail.size <= DETAIL_MAX);
        if (r->status != PASSED)
            continue;
        PROMISE(i < unit.test_count);
        if (tests[i].kind == KIND_PLAN)
            PROMISE(tests[i].compare != ASK_JUDGE && was_sent(&said, tests[i].expected));
        else
            PROMISE(tests[i].kind == KIND_SHARED || (tests[i].kind == KIND_PROXY && told[i]));
    }
    for (uint32_t i = 0; i < pl.queued; i++) {
        const struct test *t = &tests[pl.queue[i]];
        if (pl.value_flags[i]) /* the judge is asked: the bytes alone did not decide */
            PROMISE(i < pl.answered && p.results[pl.queue[i]].status == UNDECIDED &&
                    (t->compare == ASK_JUDGE || could_be_different(t->expected, pl.values[i].at, pl.values[i].size)));
        else if (i < pl.answered)
            PROMISE(p.results[pl.queue[i]].status != UNDECIDED);
    }
    check_verdict(&s, &p);
    bytes_free(&said);
    player_end(&pl);
    program_free(&p);
    return 0;
}

pid_t exec_guest(const struct config *c, const char *role, int fd3)
{
    (void)c;
    (void)role;
    (void)fd3;
    PROMISE(!"a parser starts nobody");
    return -1;
}
