/* `U` and `S` frames of the host (unit_parse). Input: one byte, 0 for `U` and 1 for `S`, then the frame's payload. */
#define _GNU_SOURCE
#include "../../../native/jail/supervisor.h"
#include "fuzz.h"

static size_t size_of_frame;
static volatile uint8_t sum;

/* Every span lies inside the frame; reading it is what the sanitizer watches. */
static void check_span(const struct unit *unit, struct span s)
{
    const uint8_t *start = unit->frame;
    PROMISE(s.at != NULL && s.at >= start && s.size <= size_of_frame && s.at + s.size <= start + size_of_frame);
    for (size_t i = 0; i < s.size; i++)
        sum ^= s.at[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct unit unit;
    char why[256] = "";
    size_of_frame = size - 1;
    bool script = data[0] & 1;
    if (unit_parse(&unit, script, exact_copy(data + 1, size - 1), size - 1, why)) {
        PROMISE(unit.script == script && unit.tests == NULL && unit.test_count == 0);
        PROMISE(unit.limits.cpu_s >= 0 && unit.limits.judge_cpu_s < 1e9);
        check_span(&unit, unit.problem);
        for (uint32_t i = 0; i < unit.program_count; i++)
            check_span(&unit, unit.programs[i]);
        PROMISE(!script || unit.program_count == 1);
        if (script)
            check_span(&unit, unit.input);
        for (uint32_t i = 0; i < unit.file_count; i++) {
            check_span(&unit, unit.file_names[i]);
            check_span(&unit, unit.file_contents[i]);
        }
    } else {
        PROMISE(why[0] != '\0' && memchr(why, '\0', sizeof why) != NULL);
    }
    unit_free(&unit);
    return 0;
}
