/* The `C` frame as `struct config`: NUL-terminated `key=value` strings, fields inside a value separated by \x1f.
 *
 * The host is trusted, but both ends ship together and an unknown key means that they did not: everything that is not
 * understood is refused. The strings are used in place, inside the one block that the frame was read into. */
#define _GNU_SOURCE
#include "jail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CONFIG_BYTES (4u << 20)
#define FIELD_SEPARATOR  '\x1f'

static uint64_t number(const char *key, const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-')
        jail_fail("configuration", EINVAL, "key %s must be a whole number, not \"%s\"", key, text);
    return value;
}

static struct pair pair_of(const char *key, char *text)
{
    char *separator = strchr(text, FIELD_SEPARATOR);
    if (separator == NULL || text[0] != '/')
        jail_fail("configuration", EINVAL, "key %s must be an absolute path, the separator 0x1f and a path", key);
    *separator = '\0';
    return (struct pair){.dst = text, .src = separator + 1};
}

static enum tier tier_of(const char *text)
{
    if (strcmp(text, "namespaces") == 0)
        return TIER_NAMESPACES;
    if (strcmp(text, "seccomp") == 0)
        return TIER_SECCOMP;
    if (strcmp(text, "none") == 0)
        return TIER_NONE;
    jail_fail("configuration", EINVAL, "no tier is called \"%s\"", text);
}

static enum profile profile_of(const char *text)
{
    if (strcmp(text, "compute") == 0)
        return PROFILE_COMPUTE;
    if (strcmp(text, "system") == 0)
        return PROFILE_SYSTEM;
    jail_fail("configuration", EINVAL, "no profile is called \"%s\"", text);
}

/* How many strings there are: an upper bound for every list. */
static size_t count_strings(const char *bytes, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += bytes[i] == '\0';
    return count;
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (memory == NULL)
        jail_fail("configuration", errno, "no memory");
    return memory;
}

static void read_entry(struct config *cfg, const char *key, char *value, size_t *env_count, uint64_t *protocol)
{
    if (strcmp(key, "protocol") == 0)
        *protocol = number(key, value);
    else if (strcmp(key, "tier") == 0)
        cfg->tier = tier_of(value);
    else if (strcmp(key, "uid") == 0)
        cfg->uid = (uid_t)number(key, value);
    else if (strcmp(key, "gid") == 0)
        cfg->gid = (gid_t)number(key, value);
    else if (strcmp(key, "ro") == 0)
        cfg->ro[cfg->ro_count++] = pair_of(key, value);
    else if (strcmp(key, "link") == 0)
        cfg->link[cfg->link_count++] = pair_of(key, value);
    else if (strcmp(key, "text") == 0)
        cfg->text[cfg->text_count++] = pair_of(key, value);
    else if (strcmp(key, "profile") == 0)
        cfg->profile = profile_of(value);
    else if (strcmp(key, "python") == 0)
        cfg->python = value;
    else if (strcmp(key, "env") == 0)
        cfg->env[(*env_count)++] = value;
    else if (strcmp(key, "guest") == 0)
        cfg->guest_json = value;
    else if (strcmp(key, "scratch_mb") == 0)
        cfg->scratch_mb = number(key, value);
    else if (strcmp(key, "scratch_inodes") == 0)
        cfg->scratch_inodes = number(key, value);
    else if (strcmp(key, "memory_mb") == 0)
        cfg->memory_mb = number(key, value);
    else if (strcmp(key, "threads") == 0)
        cfg->threads = number(key, value);
    else if (strcmp(key, "processes") == 0)
        cfg->processes = number(key, value);
    else if (strcmp(key, "nofile") == 0)
        cfg->nofile = number(key, value);
    else if (strcmp(key, "file_mb") == 0)
        cfg->file_mb = number(key, value);
    else if (strcmp(key, "cgroup") == 0)
        cfg->cgroup_wanted = strcmp(value, "off") != 0;
    else if (strcmp(key, "cpu") == 0)
        cfg->cpu = (int)number(key, value);
    else
        jail_fail("configuration", EINVAL, "unknown key \"%s\": host and launcher are of different versions", key);
}

static void check(const struct config *cfg)
{
    if (cfg->python == NULL || cfg->python[0] != '/')
        jail_fail("configuration", EINVAL, "key python must be an absolute path");
    if (cfg->guest_json == NULL || cfg->guest_json[0] != '{')
        jail_fail("configuration", EINVAL, "key guest must be a JSON object");
    if (cfg->scratch_mb == 0 || cfg->scratch_inodes == 0)
        jail_fail("configuration", EINVAL, "keys scratch_mb and scratch_inodes must be above 0");
}

struct config *config_read(int fd)
{
    struct frame_header header;
    void *payload = NULL;
    int status = read_frame(fd, &header, &payload, MAX_CONFIG_BYTES);
    if (status == 0)
        return NULL; /* the host closed its end before it said anything: it is gone, and nobody waits for an answer */
    if (status < 0)
        jail_fail("configuration", errno, "the configuration frame could not be read");
    char *bytes = payload;
    if (header.type != 'C' || header.length == 0 || bytes[header.length - 1] != '\0')
        jail_fail("configuration", EPROTO, "the first frame must be C with NUL-terminated strings");

    size_t strings = count_strings(bytes, header.length);
    struct config *cfg = allocate(1, sizeof *cfg);
    cfg->storage = bytes;
    cfg->ro = allocate(strings, sizeof *cfg->ro);
    cfg->link = allocate(strings, sizeof *cfg->link);
    cfg->text = allocate(strings, sizeof *cfg->text);
    cfg->env = allocate(strings, sizeof *cfg->env);
    cfg->cgroup_wanted = true;
    cfg->cpu = -1;
    cfg->scratch_mb = 64;
    cfg->scratch_inodes = 4096;
    cfg->nofile = 64;
    cfg->file_mb = 64;
    cfg->threads = 32;
    cfg->cgroup_events_fd = cfg->cgroup_peak_fd = cfg->proc_dir = -1;

    size_t env_count = 0;
    uint64_t protocol = 0;
    for (char *at = bytes, *next; at < bytes + header.length; at = next) {
        next = at + strlen(at) + 1;
        char *equals = strchr(at, '=');
        if (equals == NULL)
            jail_fail("configuration", EINVAL, "\"%s\" is not key=value", at);
        *equals = '\0';
        read_entry(cfg, at, equals + 1, &env_count, &protocol);
    }
    if (protocol != ACE_PROTOCOL)
        jail_fail("configuration", EPROTO, "the host speaks protocol %llu, the launcher %d",
                  (unsigned long long)protocol, ACE_PROTOCOL);
    check(cfg);
    return cfg;
}

void config_free(struct config *cfg)
{
    free(cfg->ro);
    free(cfg->link);
    free(cfg->text);
    free(cfg->env);
    free(cfg->storage);
    free(cfg);
}
