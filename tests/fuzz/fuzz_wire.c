/* What the supervisor reads, under libFuzzer: the host's units, the judge's plans, and the frames of players and test
 * processes, which are the ones a program can write.
 *
 * The first byte of an input says which. For players the rest is their stream, delivered in two parts, so that frames
 * are cut anywhere. How to build and run: README.md beside this file. */
#include "../../native/jail/player.c"

enum target { UNIT, SCRIPT, PLAN_FRAME, PLAYER, TEST_PROCESS, TARGETS };

/* The parsers own what they parse. */
static void *copy_of(const uint8_t *data, size_t size) {
    void *copy = malloc(size + 1);
    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    return copy;
}

/* A span is within the frame, whatever the frame says. */
static void touch(const struct span span) {
    for (size_t i = 0; i < span.size; i++)
        (void)*(const volatile uint8_t *)(span.at + i);
}

static void fuzz_unit(const uint8_t *data, size_t size, bool script) {
    struct unit unit;
    char why[256];
    if (unit_parse(&unit, script, copy_of(data, size), size, why)) {
        touch(unit.problem);
        for (uint32_t i = 0; i < unit.program_count; i++)
            touch(unit.programs[i]);
        for (uint32_t i = 0; i < unit.file_count; i++) {
            touch(unit.file_names[i]);
            touch(unit.file_contents[i]);
        }
    }
    unit_free(&unit);
}

static void fuzz_plan(const uint8_t *data, size_t size) {
    struct unit unit = {0};
    char why[256];
    if (plan_parse(&unit, copy_of(data, size), size, why)) {
        touch(unit.info);
        touch(unit.setup);
        for (uint32_t i = 0; i < unit.test_count; i++) {
            touch(unit.tests[i].request);
            touch(unit.tests[i].expected);
        }
    }
    unit_free(&unit);
}

/* Tests of the kinds that a player answers: planned and decided by bytes, planned and strict, asked of the judge,
 * shared, and one that is proxied. */
enum { TESTS = 5, PROXIED = 4 };

static void fuzz_player(const uint8_t *data, size_t size, bool test_process) {
    static const uint8_t one[9] = {'i', 1};
    struct test tests[TESTS] = {
        {.number = 0, .kind = KIND_PLAN, .compare = BYTES_THEN_ASK, .expected = {one, sizeof one}},
        {.number = 1, .kind = KIND_PLAN, .compare = BYTES_STRICT, .expected = {one, sizeof one}},
        {.number = 2, .kind = KIND_PLAN, .compare = ASK_JUDGE},
        {.number = 3, .kind = KIND_SHARED},
        {.number = PROXIED, .kind = KIND_PROXY},
    };
    struct unit unit = {.tests = tests, .test_count = TESTS, .limits = {.output = 1000}};
    struct result results[TESTS + 1] = {0};
    struct supervisor supervisor = {0};
    struct program program = {.unit = &unit, .results = results};
    struct player player;
    struct bytes values[PROXIED] = {0};
    uint8_t flags[PROXIED] = {0};
    uint32_t queue[PROXIED] = {0, 1, 2, 3};
    for (size_t i = 0; i < TESTS; i++)
        results[i].status = UNDECIDED;
    player_init(&player, &supervisor, &program);
    player.queue = queue;
    player.queued = PROXIED;
    player.values = values;
    player.value_flags = flags;
    player.proxied = PROXIED;
    player.call_open = size > 0 && (data[0] & 1) != 0;

    struct bytes *in = test_process ? &player.test_incoming : &player.incoming;
    size_t first = size > 1 ? data[1] % size : 0;
    if (bytes_add(in, data, first) == 0 && parse(&player, in, test_process ? hear_test : hear) >= 0 &&
        bytes_add(in, data + first, size - first) == 0)
        (void)parse(&player, in, test_process ? hear_test : hear);
    if (player.answered > player.queued)
        abort();
    for (size_t i = 0; i < TESTS; i++) /* only bytes of the right value, or the test process's word, pass a test */
        if (results[i].status == PASSED && tests[i].kind == KIND_PLAN && tests[i].compare == ASK_JUDGE)
            abort();

    for (size_t i = 0; i <= TESTS; i++)
        bytes_free(&results[i].detail);
    for (size_t i = 0; i < PROXIED; i++)
        bytes_free(&values[i]);
    bytes_free(&player.incoming);
    bytes_free(&player.outgoing);
    bytes_free(&player.test_incoming);
    bytes_free(&player.test_outgoing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    enum target target = data[0] % TARGETS;
    data++;
    size--;
    if (target == UNIT || target == SCRIPT)
        fuzz_unit(data, size, target == SCRIPT);
    else if (target == PLAN_FRAME)
        fuzz_plan(data, size);
    else
        fuzz_player(data, size, target == TEST_PROCESS);
    return 0;
}
