/* The one header of the jail: the configuration of a worker, what was built from it, and who provides what.
 *
 *   launcher.c    main: reads the `C` frame, clones the supervisor, watches the host, clears up
 *   config.c      the `C` frame as `struct config`
 *   namespaces.c  new namespaces, id maps and identity (namespaces tier)
 *   mounts.c      the file system that guests see (namespaces tier)
 *   network.c     networks of players: a loopback device each (profile system)
 *   landlock.c    file, network and signal rules without namespaces (seccomp tier)
 *   copytree.c    the copied interpreter for a chroot (seccomp tier where Landlock is missing)
 *   private.c     the launcher's private directory (tiers without mounts)
 *   cgroup.c      the worker's control group
 *   scratch.c     the private /tmp
 *   privileges.c  capabilities and parent-death signals
 *   exec_guest.c  fork and exec of the jailed interpreter
 *   ready.c       what READY says about all this
 *   probe.c       `acejail --probe`
 *   supervisor.c  pid 1 of the jail once it is built
 *
 * Failure has two kinds and two functions: `jail_fail` is ours (it tells the host in an `F` frame and ends the
 * process); what a program does wrong is a value in a verdict and never comes here.
 */
#ifndef ACE_JAIL_H
#define ACE_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire.h"

#define ACE_PROTOCOL 1
#define CONTROL_FD   3    /* the host's socket in launcher and supervisor; the supervisor's in every guest */
#define INNER_ID     1000 /* uid and gid that guests see in the namespaces tier */
#define WORKER_TASKS 24   /* tasks beside a player's own: supervisor, zygote, judge, test process, their helpers */

enum tier { TIER_NAMESPACES, TIER_SECCOMP, TIER_NONE };

/* What programs are given beside an interpreter and a /tmp: docs/architecture.md has the table. */
enum profile {
    PROFILE_COMPUTE, /* nothing */
    PROFILE_SYSTEM,  /* other programs, a loopback network, /dev/shm and a /proc of their own */
};

/* How the worker's kernel uid came about. */
enum identity {
    IDENTITY_MAPPED,  /* a user namespace that maps one id */
    IDENTITY_CHANGED, /* no user namespace: real root changed its ids */
    IDENTITY_CALLER,  /* the caller's own ids */
};

/* What hides the file system. */
enum view {
    VIEW_MOUNTS,   /* a mount namespace with a root of its own */
    VIEW_LANDLOCK, /* the host's paths, cut by Landlock */
    VIEW_CHROOT,   /* a copied tree */
    VIEW_HOST,     /* nothing does (tier none) */
};

enum cgroup_kind { CGROUP_NONE, CGROUP_V1, CGROUP_V2 };

struct pair {
    char *dst; /* the path inside the jail */
    char *src; /* bind source on the host, or the target of a symbolic link */
};

/* The first half is the `C` frame (docs/protocol.md has the keys); strings live in `storage`.
 * The second half is what was built, filled in by the setup steps and constant once `supervise` runs. */
struct config {
    enum tier tier;
    uid_t uid;
    gid_t gid;
    struct pair *ro;
    size_t ro_count;
    struct pair *link;
    size_t link_count;
    struct pair *text; /* dst: a file; src: its content */
    size_t text_count;
    enum profile profile;
    char *python;
    char **env; /* NULL-terminated */
    char *guest_json;
    uint64_t scratch_mb, scratch_inodes;
    uint64_t memory_mb;
    uint64_t threads, processes, nofile, file_mb;
    bool cgroup_wanted;
    int cpu; /* -1: not pinned */
    void *storage;

    enum identity identity;
    enum view view;
    enum cgroup_kind cgroup;
    char cgroup_why[256]; /* why there is none, or which limits could not be set */
    int cgroup_events_fd; /* v2 memory.events, v1 memory.oom_control */
    int cgroup_peak_fd;   /* v2 memory.peak, v1 memory.max_usage_in_bytes */
    int proc_dir;         /* /proc of the worker's pid namespace, or -1; never inherited by guests */
    int landlock_abi;     /* of the running kernel; 0: none */
    bool has_pid_namespace, has_net_namespace;
    bool has_bounded_sockets;
    bool has_loopback;      /* each player has a network of its own, with a loopback device */
    bool has_shm;           /* a second scratch on /dev/shm */
    bool has_own_proc;      /* each player mounts a /proc of its pid namespace */
    char identity_why[160]; /* why the user namespace was not used, when it was not */
    char scratch[256];      /* the scratch directory as guests see it: /tmp where paths are remapped */
    char guest_parent[256]; /* the directory in PYTHONPATH that holds _ace_guest, as guests see it */
};

/* ---- provided by the jail ---- */

/* Our fault: sends `F` with the step, the text of `error` (0: none) and the remedy, then ends the process with 2.
 * `remedy` is a printf format. */
_Noreturn void jail_fail(const char *step, int error, const char *remedy, ...) __attribute__((format(printf, 3, 4)));

/* Forks and executes the jailed interpreter as `judge` or `zygote`: fd 0 and 1 are /dev/null, 2 is a bounded log that
 * guest_log reads, 3 is a copy of fd3, nothing else is open; capabilities are CAP_SYS_ADMIN (namespaces tier) or none,
 * no_new_privs, dies with the supervisor, cwd is "/" (namespaces, chroot) or the host's "/".
 * Returns the pid, or -1 with errno. The caller keeps (and closes) fd3. */
pid_t exec_guest(const struct config *cfg, const char *role, int fd3);

/* The kernel counts processes per user and, since 5.14, per user namespace. Where the count would take in the rest of
 * the user's processes, a limit would fail at random: then the supervisor counts threads itself (player.c). */
static inline bool nproc_counts_only_the_worker(const struct config *cfg)
{
    return cfg->identity != IDENTITY_CALLER || cfg->view == VIEW_MOUNTS;
}

/* What the guest last wrote to its standard error, NUL-terminated: for the message when it does not start. */
size_t guest_log(const char *role, char *buffer, size_t size);

/* A new network with nothing in it but a loopback device that is up, as a descriptor (close on exec); -1 with errno.
 * Notes in `cfg` whether the buffers of its sockets could be bounded. */
int network_fresh(struct config *cfg);

/* What a program has more of in the scratch than it may, in words; NULL: nothing, or the scratch is a file system of its
 * own that bounds it. */
const char *scratch_excess(const struct config *cfg);

/* True if the scratch (with /dev/shm, where there is one) holds nothing, told without walking it where it is a file
 * system of its own. */
int scratch_is_clean(const struct config *cfg);

/* Empties or replaces the scratch, whatever is in it. 0, or -1 with errno: then nothing may run there again. */
int scratch_renew(const struct config *cfg);

/* Processes the kernel killed for want of memory in the worker's cgroup so far; 0 without a cgroup. */
unsigned long long cgroup_oom_kills(const struct config *cfg);

/* The cgroup's peak memory use in bytes; 0 where it cannot be told. */
unsigned long long cgroup_peak(const struct config *cfg);

/* Members of the READY object (without braces): "tier": ..., "mechanisms": {...}. Static memory. */
const char *ready_mechanisms_json(const struct config *cfg);

const char *tier_name(enum tier tier);
const char *profile_name(enum profile profile);

/* ---- provided by supervisor.c ---- */

/* Runs in the jail's first process once everything is built; its result is the exit status. */
int supervise(struct config *cfg, int host_fd);

/* ---- between the jail's own files ---- */

/* The `C` frame; NULL if the host closed its end before it said anything. Freed by config_free. */
struct config *config_read(int fd);
void config_free(struct config *cfg);

#endif
