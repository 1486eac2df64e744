/* `U` and `S` frames from the host and the plan from the judge, read into structs.
 *
 * Nothing is copied: spans point into the frame, which the unit owns. Every length is checked against what is left,
 * because the judge has parsed text that a model wrote, and a bound that is missing here is missing in pid 1. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor.h"

struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static void take(struct reader *r, void *to, size_t size)
{
    if (r->bad || (size_t)(r->end - r->at) < size) {
        r->bad = true;
        memset(to, 0, size);
        return;
    }
    memcpy(to, r->at, size);
    r->at += size;
}

static uint8_t take_u8(struct reader *r)
{
    uint8_t v;
    take(r, &v, sizeof v);
    return v;
}
static uint16_t take_u16(struct reader *r)
{
    uint16_t v;
    take(r, &v, sizeof v);
    return v;
}
static uint32_t take_u32(struct reader *r)
{
    uint32_t v;
    take(r, &v, sizeof v);
    return v;
}
static uint64_t take_u64(struct reader *r)
{
    uint64_t v;
    take(r, &v, sizeof v);
    return v;
}

static struct span take_blob(struct reader *r)
{
    uint32_t size = take_u32(r);
    struct span v = {r->at, size};
    if (r->bad || (size_t)(r->end - r->at) < size) {
        r->bad = true;
        return (struct span){NULL, 0};
    }
    r->at += size;
    return v;
}

/* A seconds value: finite and not negative, else the frame is bad. */
static double take_seconds(struct reader *r)
{
    double v;
    take(r, &v, sizeof v);
    if (!(v >= 0 && v < 1e9))
        r->bad = true;
    return v;
}

static void take_limits(struct reader *r, struct limits *l)
{
    l->cpu_s = take_seconds(r);
    l->program_cpu_s = take_seconds(r);
    l->load_cpu_s = take_seconds(r);
    l->quantum_s = take_seconds(r);
    l->idle_s = take_seconds(r);
    l->wall_s = take_seconds(r);
    l->judge_cpu_s = take_seconds(r);
    l->memory = take_u64(r);
    l->output = take_u32(r);
    l->fail_fast = take_u8(r);
    l->keep_output = take_u8(r);
    l->refuse_unsealed = take_u8(r);
    l->reserved = take_u8(r);
}

/* An array of `count` elements, refused when the frame could not hold that many of at least `least` bytes each. */
static void *array(struct reader *r, uint32_t count, size_t least, size_t element)
{
    if (r->bad || count > (size_t)(r->end - r->at) / least) {
        r->bad = true;
        return NULL;
    }
    void *memory = calloc(count > 0 ? count : 1, element);
    if (memory == NULL)
        r->bad = true;
    return memory;
}

bool unit_parse(struct unit *unit, bool script, void *frame, size_t size, char *why)
{
    memset(unit, 0, sizeof *unit);
    unit->frame = frame;
    unit->script = script;
    struct reader r = {frame, (uint8_t *)frame + size, false};
    unit->id = take_u64(&r);
    take_limits(&r, &unit->limits);
    unit->problem = take_blob(&r);
    if (script) {
        unit->program_count = 1;
        unit->programs = array(&r, 1, 1, sizeof *unit->programs);
        if (unit->programs != NULL)
            unit->programs[0] = take_blob(&r);
        unit->input = take_blob(&r);
        unit->file_count = take_u32(&r);
        unit->file_names = array(&r, unit->file_count, 8, sizeof *unit->file_names);
        unit->file_contents = array(&r, unit->file_count, 8, sizeof *unit->file_contents);
        for (uint32_t i = 0; i < unit->file_count && !r.bad; i++) {
            unit->file_names[i] = take_blob(&r);
            unit->file_contents[i] = take_blob(&r);
        }
    } else {
        unit->program_count = take_u32(&r);
        unit->programs = array(&r, unit->program_count, 4, sizeof *unit->programs);
        for (uint32_t i = 0; i < unit->program_count && !r.bad; i++)
            unit->programs[i] = take_blob(&r);
    }
    if (r.bad || r.at != r.end) {
        snprintf(why, 256, "unit frame is not well formed at byte %zu of %zu", (size_t)(r.at - (uint8_t *)frame), size);
        return false;
    }
    return true;
}

bool plan_parse(struct unit *unit, void *frame, size_t size, char *why)
{
    free(unit->plan_frame);
    free(unit->tests);
    unit->plan_frame = frame;
    struct reader r = {frame, (uint8_t *)frame + size, false};
    unit->test_count = take_u32(&r);
    unit->info = take_blob(&r);
    unit->setup = take_blob(&r);
    uint32_t segments = take_u32(&r);
    if (unit->test_count >= AT_LOAD)
        r.bad = true;
    unit->tests = array(&r, unit->test_count, 1, sizeof *unit->tests);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < segments && !r.bad; i++) {
        uint8_t kind = take_u8(&r);
        uint32_t count = take_u32(&r);
        if (kind >= KINDS)
            r.bad = true;
        for (uint32_t k = 0; k < count && !r.bad; k++) {
            struct test t = {.kind = kind};
            t.number = take_u16(&r);
            t.compare = take_u8(&r);
            t.broken_status = take_u8(&r);
            t.request = take_blob(&r);
            t.expected = take_blob(&r);
            if (seen >= unit->test_count || t.number != seen || t.compare > BYTES_EQUALITY ||
                t.broken_status >= STATUSES)
                r.bad = true;
            else
                unit->tests[seen++] = t;
        }
    }
    if (r.bad || r.at != r.end || seen != unit->test_count) {
        snprintf(why, 256, "the judge's plan is not well formed at byte %zu of %zu", (size_t)(r.at - (uint8_t *)frame),
                 size);
        return false;
    }
    return true;
}

void unit_free(struct unit *unit)
{
    free(unit->programs);
    free(unit->file_names);
    free(unit->file_contents);
    free(unit->tests);
    free(unit->plan_frame);
    free(unit->frame);
    memset(unit, 0, sizeof *unit);
}

int bytes_add(struct bytes *b, const void *data, size_t size)
{
    if (size > b->room - b->size) {
        size_t room = b->room < 512 ? 512 : b->room;
        while (room - b->size < size)
            room *= 2;
        uint8_t *grown = realloc(b->at, room);
        if (grown == NULL)
            return -1;
        b->at = grown;
        b->room = room;
    }
    if (size > 0)
        memcpy(b->at + b->size, data, size);
    b->size += size;
    return 0;
}

int bytes_add_frame(struct bytes *b, uint8_t type, uint8_t flags, uint16_t index, const void *payload, size_t size)
{
    struct frame_header h = {(uint32_t)size, type, flags, index};
    if (bytes_add(b, &h, sizeof h) < 0)
        return -1;
    return bytes_add(b, payload, size);
}

void bytes_drop(struct bytes *b, size_t count)
{
    b->size -= count;
    if (b->size > 0)
        memmove(b->at, b->at + count, b->size);
}

void bytes_free(struct bytes *b)
{
    free(b->at);
    *b = (struct bytes){0};
}
