/* The judge's plan (plan_parse). Input: the payload of its `P` frame. */
#define _GNU_SOURCE
#include "../../../native/jail/supervisor.h"
#include "fuzz.h"

static volatile uint8_t sum;

static void check_span(const struct unit *unit, size_t size, struct span s)
{
    const uint8_t *start = unit->plan_frame;
    PROMISE(s.at != NULL && s.at >= start && s.size <= size && s.at + s.size <= start + size);
    for (size_t i = 0; i < s.size; i++)
        sum ^= s.at[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unit unit = {0};
    /* Twice into the same unit: the second plan replaces the first, as it does when a judge is replaced. */
    for (int round = 0; round < 2; round++) {
        char why[256] = "";
        if (!plan_parse(&unit, exact_copy(data, size), size, why)) {
            PROMISE(why[0] != '\0' && memchr(why, '\0', sizeof why) != NULL);
            continue;
        }
        check_span(&unit, size, unit.info);
        check_span(&unit, size, unit.setup);
        PROMISE(unit.test_count < AT_LOAD);
        for (uint32_t i = 0; i < unit.test_count; i++) {
            const struct test *t = &unit.tests[i];
            PROMISE(t->number == i && t->kind < KINDS && t->compare <= BYTES_EQUALITY && t->broken_status < STATUSES);
            check_span(&unit, size, t->request);
            check_span(&unit, size, t->expected);
        }
    }
    unit_free(&unit);
    return 0;
}
