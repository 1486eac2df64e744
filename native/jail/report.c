/* What goes back to the host: unit information, verdicts, the end of a unit.
 *
 * Frames are gathered and sent when there is a packetful, when the oldest has waited, or when nothing is left to do (the
 * supervisor's loop sees to that): a write per program would cost the host a wake-up per program. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor.h"

enum { FLUSH_BYTES = 64 << 10 };
static const double FLUSH_SECONDS = 0.02;

/* Without memory, or without a host, a supervisor has no business: the host sees the end of the stream and retries. */
static void must(int result)
{
    if (result < 0)
        _exit(3);
}

void report_flush(struct supervisor *s)
{
    if (s->to_host.size > 0)
        must(write_full(s->host, s->to_host.at, s->to_host.size));
    s->to_host.size = 0;
    s->flushed_at = now_s();
}

static void put_blob(struct bytes *b, const void *data, size_t size)
{
    uint32_t n = (uint32_t)size;
    must(bytes_add(b, &n, sizeof n));
    must(bytes_add(b, data, size));
}

void report_verdict(struct supervisor *s, const struct program *p)
{
    struct bytes *b = &s->to_host;
    const struct unit *unit = p->unit;
    size_t start = b->size;
    must(bytes_add_frame(b, 'V', 0, 0, NULL, 0));
    uint32_t counts[2] = {p->index, unit->test_count};
    double times[2] = {p->cpu_s, p->wall_s};
    uint32_t tail[4] = {p->players, (p->out_cut ? 1u : 0u) | (p->err_cut ? 2u : 0u), (uint32_t)p->exit_code, 0};
    must(bytes_add(b, &unit->id, sizeof unit->id));
    must(bytes_add(b, counts, sizeof counts));
    must(bytes_add(b, times, sizeof times));
    must(bytes_add(b, &p->peak, sizeof p->peak));
    must(bytes_add(b, tail, sizeof tail));
    put_blob(b, p->out.at, p->out.size);
    put_blob(b, p->err.at, p->err.size);
    for (uint32_t i = 0; i < unit->test_count; i++) {
        const struct result *r = &p->results[i];
        uint8_t head[2] = {r->status, r->flags};
        must(bytes_add(b, head, sizeof head));
        must(bytes_add(b, &r->number, sizeof r->number));
        must(bytes_add(b, &r->cpu_s, sizeof r->cpu_s));
        put_blob(b, r->detail.at, r->detail.size);
    }
    uint32_t length = (uint32_t)(b->size - start - sizeof(struct frame_header));
    memcpy(b->at + start, &length, sizeof length);
    if (b->size > FLUSH_BYTES || now_s() - s->flushed_at > FLUSH_SECONDS)
        report_flush(s);
}

void report_info(struct supervisor *s, const struct unit *unit)
{
    struct bytes payload = {0};
    must(bytes_add(&payload, &unit->id, sizeof unit->id));
    must(bytes_add(&payload, unit->info.at, unit->info.size));
    must(bytes_add_frame(&s->to_host, 'I', 0, 0, payload.at, payload.size));
    bytes_free(&payload);
}

void report_done(struct supervisor *s, uint64_t id, const char *trouble)
{
    struct bytes payload = {0};
    uint32_t failed = trouble != NULL;
    must(bytes_add(&payload, &id, sizeof id));
    must(bytes_add(&payload, &failed, sizeof failed));
    if (trouble != NULL)
        must(bytes_add(&payload, trouble, strlen(trouble)));
    must(bytes_add_frame(&s->to_host, 'D', 0, 0, payload.at, payload.size));
    bytes_free(&payload);
    if (trouble != NULL)
        report_flush(s);
}
