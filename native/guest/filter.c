/* The seccomp filter of judge and players.
 *
 * Who installs it: zygote and judge, each in itself, warm and single-threaded, as the last thing before they serve.
 * Players and test processes inherit it, which costs them nothing (installing one per process costs 0.1 to 0.2 ms).
 *
 * What it answers, call by call, is the table in native/common/syscalls.h. The policies there:
 *
 *   ALLOW          runs. Where no argument matters the kernel remembers that per number and does not run the filter.
 *   REFUSE         EPERM: a program that tries gets an ordinary PermissionError and may go on.
 *   ABSENT         ENOSYS: the caller falls back to something simpler (clone3 -> clone, openat2 -> openat).
 *   PRETEND        0, and nothing happens. flock and record locks: the read-only files are shared by all workers, and a
 *                  lock on one would be a channel between programs. sync: would stall the whole machine.
 *   NO_XATTR       EOPNOTSUPP, as on a file system without extended attributes.
 *   ATTACK         no honest program does this. Players: handed to the supervisor, which names the call in the verdict
 *                  and kills the program. Judge, or where the kernel has no listener: the process is killed.
 *   CHANGES_FILES  runs in the namespaces tier, where everything but the scratch is read-only. EPERM without mounts:
 *                  Landlock does not cover chmod, chown, utime and (before ABI 3) truncate.
 *   OPEN, OPENAT, MKDIR, MKDIRAT, UMASK, PREALLOCATES
 *                  run. Without mounts the supervisor adds up the files that a program has, so there is no O_TMPFILE
 *                  (a file without a name), no directory that its owner cannot read (EPERM; a mask that would make one
 *                  is not taken), and no fallocate (EOPNOTSUPP), which takes 64 MB at once.
 *   SIGNALS        runs where a pid namespace holds its targets. Without one see below.
 *   PIDFD          the same, but ENOSYS or EPERM without a pid namespace: the target cannot be seen in the arguments.
 *   NETWORK        runs in the profile `system`, where each player has a network of its own; else EPERM.
 *   MOUNT          an attack; but in the zygote of that profile it runs, for its clones mount their /proc. See below.
 *   and one function per call whose arguments decide: CLONE, FORK, EXEC, IOCTL, FCNTL, PRCTL, SOCKET, SETNS, ...
 *
 * Foreign system call tables (32 bit, x32) are fatal: their numbers mean other calls.
 *
 * Cloning. Threads are exactly what pthread_create asks for. The zygote's own clone of a player is one exact word of
 * flags; a program that tries the same word has no CAP_SYS_ADMIN any more, and the kernel refuses it CLONE_NEWPID.
 *
 * Without pid namespaces that argument is missing: the zygote's word is then an ordinary fork, and signals reach
 * siblings. So there each clone stacks a second filter of a dozen instructions on itself before any byte of the program
 * is read (ace_seal): no process but threads, no signal but to itself, no further filter, and it dies with the
 * supervisor, which PR_SET_PDEATHSIG being refused from then on makes final. It costs
 * 0.1 ms per player, in that tier only. A marker in the arguments would be free, and useless: a program can pass it too.
 * Children of a sealed process (processes > 0) can be signalled by nobody there, not even by themselves.
 *
 * In the profile `system` a clone of the zygote has a file system to mount before it reads its program, so the zygote's
 * filter lets `mount` through, and each player stacks another seal that makes it fatal: no process that runs a byte of a
 * program has the call, nor CAP_SYS_ADMIN. The judge, whose memory holds what others wrote, never has it, and so test
 * processes see no /proc. Both may enter a network by the one descriptor that is named in guest.h. */
#define _GNU_SOURCE
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../common/syscalls.h"

#if defined(__x86_64__)
#define THIS_ARCH               AUDIT_ARCH_X86_64
#define NUMBER(x86_64, aarch64) (x86_64)
#elif defined(__aarch64__)
#define THIS_ARCH               AUDIT_ARCH_AARCH64
#define NUMBER(x86_64, aarch64) (aarch64)
#endif

/* Numbers that older headers lack. */
#ifndef SECCOMP_FILTER_FLAG_NEW_LISTENER
#define SECCOMP_FILTER_FLAG_NEW_LISTENER (1UL << 3)
#endif
#ifndef SECCOMP_RET_USER_NOTIF
#define SECCOMP_RET_USER_NOTIF 0x7fc00000U
#endif
#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000U
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47
#endif

#define X32_BIT 0x40000000u
#define ALL_NAMESPACES                                                                                                 \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
/* what glibc's pthread_create passes; musl adds the obsolete CLONE_DETACHED */
#define THREAD_FLAGS                                                                                                   \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |                 \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
#define PLAYER_FLAGS               (CLONE_PARENT | CLONE_NEWPID | SIGCHLD)
#define PLAYER_FLAGS_WITHOUT_PIDNS (CLONE_PARENT | SIGCHLD)
#define PLAYER_FLAGS_WITH_PROC     (CLONE_PARENT | CLONE_NEWPID | CLONE_NEWNS | SIGCHLD)
#define TID_FLAGS                  (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)

enum policy {
    ALLOW,
    REFUSE,
    ABSENT,
    PRETEND,
    NO_XATTR,
    ATTACK,
    CHANGES_FILES,
    OPEN,
    OPENAT,
    MKDIR,
    MKDIRAT,
    UMASK,
    PREALLOCATES,
    SIGNALS,
    PIDFD,
    OWN_LIMITS,
    CLONE,
    FORK,
    EXEC,
    IOCTL,
    FCNTL,
    PRCTL,
    SOCKETPAIR,
    SOCKET,
    SETSOCKOPT,
    NETWORK,
    SETNS,
    MOUNT,
    PERSONALITY,
    MADVISE,
    SECCOMP,
};

/* What the answers depend on. */
struct profile {
    bool player; /* else the judge */
    bool pid_namespace;
    bool system;     /* the profile of that name: networks of their own */
    bool processes;  /* programs may start processes */
    uint32_t attack; /* the filter's answer to an attack */
};

/* ---- a small assembler --------------------------------------------------------------------------------------- */

static struct {
    struct sock_filter code[BPF_MAXINSNS];
    unsigned length;
    bool overflow;
} program;

static unsigned emit(uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t value)
{
    if (program.length == BPF_MAXINSNS) {
        program.overflow = true;
        return 0;
    }
    program.code[program.length] = (struct sock_filter){code, if_true, if_false, value};
    return program.length++;
}

static void answer(uint32_t value)
{
    emit(BPF_RET | BPF_K, 0, 0, value);
}

static uint32_t error_answer(int error)
{
    return SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA);
}

static void load(size_t offset)
{
    emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

/* Little endian: the low half of a 64 bit argument comes first. */
static void load_low(int argument)
{
    load(offsetof(struct seccomp_data, args) + 8 * (size_t)argument);
}

static void load_high(int argument)
{
    load(offsetof(struct seccomp_data, args) + 8 * (size_t)argument + 4);
}

/* Accumulator == value: this answer. */
static void answer_if(uint32_t value, uint32_t result)
{
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
    answer(result);
}

/* Accumulator has one of these bits: this answer. */
static void answer_if_any(uint32_t bits, uint32_t result)
{
    emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
    answer(result);
}

static void answer_if_not(uint32_t value, uint32_t result)
{
    emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value);
    answer(result);
}

/* ---- calls whose arguments decide ---------------------------------------------------------------------------- */

static void check_clone(const struct profile *p)
{
    load_high(0);
    answer_if_not(0, p->attack);
    load_low(0);
    answer_if(THREAD_FLAGS, SECCOMP_RET_ALLOW);
    answer_if(THREAD_FLAGS | 0x00400000 /* CLONE_DETACHED */, SECCOMP_RET_ALLOW);
    uint32_t own = p->pid_namespace ? PLAYER_FLAGS : PLAYER_FLAGS_WITHOUT_PIDNS;
    answer_if(own | TID_FLAGS, SECCOMP_RET_ALLOW);
    answer_if(own, SECCOMP_RET_ALLOW);
    if (p->system && p->player) { /* as with CLONE_NEWPID: the kernel asks for a capability that no program has */
        answer_if(PLAYER_FLAGS_WITH_PROC | TID_FLAGS, SECCOMP_RET_ALLOW);
        answer_if(PLAYER_FLAGS_WITH_PROC, SECCOMP_RET_ALLOW);
    }
    answer_if_any(ALL_NAMESPACES, p->attack);
    if (p->processes) {
        answer_if(SIGCHLD, SECCOMP_RET_ALLOW);
        answer_if(TID_FLAGS | SIGCHLD, SECCOMP_RET_ALLOW);              /* fork */
        answer_if(CLONE_VM | CLONE_VFORK | SIGCHLD, SECCOMP_RET_ALLOW); /* posix_spawn, system */
    }
    answer(error_answer(EPERM));
}

static void check_ioctl(const struct profile *p)
{
    static const uint32_t harmless[] = {
        0x5401 /* TCGETS: isatty */, 0x541B /* FIONREAD */, 0x5421 /* FIONBIO */,
        0x5450 /* FIONCLEX */,       0x5451 /* FIOCLEX */,
    };
    load_low(1);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        answer_if(harmless[i], SECCOMP_RET_ALLOW);
    answer_if(0x5412 /* TIOCSTI: types into a terminal */, p->attack);
    answer_if(0x541C /* TIOCLINUX */, p->attack);
    answer(error_answer(ENOTTY));
}

/* A file without a name is seen by nobody; callers fall back to one that they remove. */
static void check_open(const struct profile *p, unsigned flags)
{
    if (!p->pid_namespace) {
        load_low(flags);
        answer_if_any(O_TMPFILE & ~O_DIRECTORY, error_answer(EOPNOTSUPP));
    }
    answer(SECCOMP_RET_ALLOW);
}

#define READ_AND_SEARCH 0500

static void check_mkdir(const struct profile *p, unsigned mode)
{
    if (!p->pid_namespace) {
        load_low(mode);
        emit(BPF_ALU | BPF_AND | BPF_K, 0, 0, READ_AND_SEARCH);
        answer_if_not(READ_AND_SEARCH, error_answer(EPERM));
    }
    answer(SECCOMP_RET_ALLOW);
}

static void check_umask(const struct profile *p)
{
    if (!p->pid_namespace) {
        load_low(0);
        answer_if_any(READ_AND_SEARCH, error_answer(0));
    }
    answer(SECCOMP_RET_ALLOW);
}

static void check_fcntl(void)
{
    static const uint32_t harmless[] = {
        0 /* F_DUPFD */,         1 /* F_GETFD */, 2 /* F_SETFD */,
        3 /* F_GETFL */,         4 /* F_SETFL */, 1030 /* F_DUPFD_CLOEXEC */,
        1032 /* F_GETPIPE_SZ */,
    };
    static const uint32_t locks[] = {6 /* F_SETLK */, 7 /* F_SETLKW */, 37 /* F_OFD_SETLK */, 38 /* F_OFD_SETLKW */};
    load_low(1);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        answer_if(harmless[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < sizeof locks / sizeof *locks; i++)
        answer_if(locks[i], error_answer(0));
    /* F_GETLK cannot be pretended (it fills a structure); owners, leases and notifications reach other processes */
    answer(error_answer(EPERM));
}

static void check_prctl(const struct profile *p)
{
    static const uint32_t harmless[] = {
        PR_SET_NAME,         PR_GET_NAME,         PR_GET_DUMPABLE,   PR_GET_PDEATHSIG, PR_GET_SECCOMP,
        PR_GET_NO_NEW_PRIVS, PR_SET_NO_NEW_PRIVS, PR_GET_KEEPCAPS,   PR_CAPBSET_READ,  PR_CAPBSET_DROP,
        PR_CAP_AMBIENT,      PR_GET_TIMERSLACK,   PR_SET_TIMERSLACK, PR_GET_TIMING,    PR_GET_CHILD_SUBREAPER,
        PR_GET_THP_DISABLE,  PR_SET_VMA,
    };
    load_low(0);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        answer_if(harmless[i], SECCOMP_RET_ALLOW);
    if (!p->pid_namespace) /* the seal takes it away from programs */
        answer_if(PR_SET_PDEATHSIG, SECCOMP_RET_ALLOW);
    answer(error_answer(EPERM));
}

static void load_socket_type(void)
{
    load_low(1);
    emit(BPF_ALU | BPF_AND | BPF_K, 0, 0, ~(uint32_t)(SOCK_CLOEXEC | SOCK_NONBLOCK));
}

/* Stream pairs only: one end of a datagram pair can sendto any abstract address. Those names belong to a network, so
 * where a player has its own the address is its own too. */
static void check_socketpair(const struct profile *p)
{
    load_low(0);
    answer_if_not(AF_UNIX, error_answer(EPERM));
    load_socket_type();
    answer_if(SOCK_STREAM, SECCOMP_RET_ALLOW);
    if (p->system) {
        answer_if(SOCK_DGRAM, SECCOMP_RET_ALLOW);
        answer_if(SOCK_SEQPACKET, SECCOMP_RET_ALLOW);
    }
    answer(error_answer(EPERM));
}

/* TCP, UDP and Unix sockets. No other family, no raw socket, and no protocol that would load a module. */
static void check_socket(const struct profile *p)
{
    static const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6};
    static const uint32_t protocols[] = {0, IPPROTO_TCP, IPPROTO_UDP};
    if (!p->system) {
        answer(error_answer(EPERM));
        return;
    }
    load_low(0);
    for (uint8_t i = 0; i < 3; i++) /* a match goes on behind the refusal */
        emit(BPF_JMP | BPF_JEQ | BPF_K, (uint8_t)(3 - i), 0, families[i]);
    answer(error_answer(EAFNOSUPPORT));
    load_low(2);
    for (uint8_t i = 0; i < 3; i++)
        emit(BPF_JMP | BPF_JEQ | BPF_K, (uint8_t)(3 - i), 0, protocols[i]);
    answer(error_answer(EPROTONOSUPPORT));
    load_socket_type();
    answer_if(SOCK_STREAM, SECCOMP_RET_ALLOW);
    answer_if(SOCK_DGRAM, SECCOMP_RET_ALLOW);
    answer_if(SOCK_SEQPACKET, SECCOMP_RET_ALLOW); /* of Unix sockets; the internet families have none */
    answer(error_answer(EPERM));
}

/* The everyday options. Larger buffers are pretended, for they are the kernel's memory. Others (packet filters, upper
 * layer protocols, zero copy, flow labels) are as if unknown. */
static void check_setsockopt(const struct profile *p)
{
    static const struct {
        uint32_t level, count, options[18];
    } levels[] = {
        {SOL_SOCKET,
         14,
         {SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE, SO_BROADCAST, SO_LINGER, SO_OOBINLINE, SO_RCVTIMEO, SO_SNDTIMEO,
          SO_RCVLOWAT, SO_PASSCRED, SO_DONTROUTE, SO_TIMESTAMP, 66 /* SO_RCVTIMEO_NEW */, 67 /* SO_SNDTIMEO_NEW */}},
        {IPPROTO_TCP,
         12,
         {TCP_NODELAY, TCP_MAXSEG, TCP_CORK, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_SYNCNT, TCP_LINGER2,
          TCP_DEFER_ACCEPT, TCP_WINDOW_CLAMP, TCP_QUICKACK, TCP_USER_TIMEOUT}},
        {IPPROTO_IP,
         8,
         {IP_TOS, IP_TTL, IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP, IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP,
          IP_RECVERR}},
        {IPPROTO_IPV6,
         9,
         {IPV6_V6ONLY, IPV6_UNICAST_HOPS, IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP,
          IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP, IPV6_RECVERR, IPV6_TCLASS}},
    };
    if (!p->system) {
        answer(error_answer(EPERM));
        return;
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        load_low(1);
        emit(BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)(1 + 2 * levels[i].count), levels[i].level);
        load_low(2);
        for (size_t k = 0; k < levels[i].count; k++)
            answer_if(levels[i].options[k], SECCOMP_RET_ALLOW);
    }
    load_low(1);
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, SOL_SOCKET);
    load_low(2);
    answer_if(SO_SNDBUF, error_answer(0));
    answer_if(SO_RCVBUF, error_answer(0));
    answer(error_answer(ENOPROTOOPT));
}

/* Only what a clone enters as its own network (guest.h). The kernel then asks for CAP_SYS_ADMIN, which programs lack. */
static void check_setns(const struct profile *p)
{
    if (p->system) {
        load_high(0);
        answer_if_not(0, p->attack);
        load_low(0);
        answer_if_not(ACE_NETWORK_FD, p->attack);
        load_low(1);
        answer_if(CLONE_NEWNET, SECCOMP_RET_ALLOW);
    }
    answer(p->attack);
}

static void check_own_limits(void)
{
    load_low(0);
    answer_if(0, SECCOMP_RET_ALLOW);
    answer(error_answer(EPERM));
}

static void check_personality(const struct profile *p)
{
    load_low(0);
    answer_if(0xffffffffu, SECCOMP_RET_ALLOW); /* a question */
    answer(p->attack);
}

/* Merging pages with those of other programs is measurable: a channel. */
static void check_madvise(void)
{
    load_low(2);
    answer_if(12 /* MADV_MERGEABLE */, error_answer(EINVAL));
    answer(SECCOMP_RET_ALLOW);
}

/* Only for the seal, which then takes it away. */
static void check_seccomp(const struct profile *p)
{
    if (!p->pid_namespace || (p->system && p->player)) {
        load_low(0);
        emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, SECCOMP_SET_MODE_FILTER);
        load_low(1);
        answer_if(0, SECCOMP_RET_ALLOW);
    }
    answer(error_answer(EPERM));
}

static void emit_policy(enum policy policy, const struct profile *p)
{
    switch (policy) {
    case ALLOW:
        answer(SECCOMP_RET_ALLOW);
        break;
    case REFUSE:
        answer(error_answer(EPERM));
        break;
    case ABSENT:
        answer(error_answer(ENOSYS));
        break;
    case PRETEND:
        answer(error_answer(0));
        break;
    case NO_XATTR:
        answer(error_answer(EOPNOTSUPP));
        break;
    case ATTACK:
        answer(p->attack);
        break;
    case CHANGES_FILES:
        answer(p->pid_namespace ? SECCOMP_RET_ALLOW : error_answer(EPERM));
        break;
    case OPEN:
    case OPENAT:
        check_open(p, policy == OPEN ? 1 : 2);
        break;
    case MKDIR:
    case MKDIRAT:
        check_mkdir(p, policy == MKDIR ? 1 : 2);
        break;
    case UMASK:
        check_umask(p);
        break;
    case PREALLOCATES:
        answer(p->pid_namespace ? SECCOMP_RET_ALLOW : error_answer(EOPNOTSUPP));
        break;
    case SIGNALS: /* players without a pid namespace are sealed before they run anything */
        answer(p->pid_namespace || p->player ? SECCOMP_RET_ALLOW : error_answer(EPERM));
        break;
    case PIDFD:
        answer(p->pid_namespace ? SECCOMP_RET_ALLOW : error_answer(ENOSYS));
        break;
    case FORK:
    case EXEC:
        answer(p->processes ? SECCOMP_RET_ALLOW : error_answer(EPERM));
        break;
    case CLONE:
        check_clone(p);
        break;
    case IOCTL:
        check_ioctl(p);
        break;
    case FCNTL:
        check_fcntl();
        break;
    case PRCTL:
        check_prctl(p);
        break;
    case SOCKETPAIR:
        check_socketpair(p);
        break;
    case SOCKET:
        check_socket(p);
        break;
    case SETSOCKOPT:
        check_setsockopt(p);
        break;
    case NETWORK:
        answer(p->system ? SECCOMP_RET_ALLOW : error_answer(EPERM));
        break;
    case SETNS:
        check_setns(p);
        break;
    case MOUNT: /* players are sealed before they run anything */
        answer(p->system && p->player ? SECCOMP_RET_ALLOW : p->attack);
        break;
    case OWN_LIMITS:
        check_own_limits();
        break;
    case PERSONALITY:
        check_personality(p);
        break;
    case MADVISE:
        check_madvise();
        break;
    case SECCOMP:
        check_seccomp(p);
        break;
    }
}

/* ---- the filter as a search tree over numbers ---------------------------------------------------------------- */

/* Numbers from `first` up to the next range's first share a policy. */
struct range {
    int first;
    enum policy policy;
};

static const struct call {
    int number;
    enum policy policy;
} calls[] = {
#define CALL(name, x86_64, aarch64, policy) {NUMBER(x86_64, aarch64), policy},
    ACE_SYSCALLS(CALL)
#undef CALL
};
#define CALL_COUNT (sizeof calls / sizeof *calls)

static int by_number(const void *a, const void *b)
{
    return ((const struct call *)a)->number - ((const struct call *)b)->number;
}

/* The table as ranges, gaps included (ABSENT). Returns how many. */
static size_t build_ranges(struct range *out)
{
    struct call sorted[CALL_COUNT];
    memcpy(sorted, calls, sizeof sorted);
    qsort(sorted, CALL_COUNT, sizeof *sorted, by_number);
    size_t count = 0;
    int next = 0;
    for (size_t i = 0; i < CALL_COUNT; i++) {
        if (sorted[i].number < 0)
            continue;
        if (sorted[i].number > next && (count == 0 || out[count - 1].policy != ABSENT))
            out[count++] = (struct range){next, ABSENT};
        if (count == 0 || out[count - 1].policy != sorted[i].policy)
            out[count++] = (struct range){sorted[i].number, sorted[i].policy};
        next = sorted[i].number + 1;
    }
    if (out[count - 1].policy != ABSENT)
        out[count++] = (struct range){next, ABSENT};
    return count;
}

/* Halves the ranges until one is left: eight comparisons for any call. The jump to the upper half may be longer than a
 * conditional jump reaches, so it is an unconditional one that the lower half's condition skips. */
static void emit_tree(const struct range *ranges, size_t count, const struct profile *p)
{
    if (count == 1) {
        emit_policy(ranges->policy, p);
        return;
    }
    size_t half = count / 2;
    emit(BPF_JMP | BPF_JGE | BPF_K, 0, 1, (uint32_t)ranges[half].first);
    unsigned jump = emit(BPF_JMP | BPF_JA, 0, 0, 0);
    emit_tree(ranges, half, p);
    program.code[jump].k = program.length - jump - 1;
    emit_tree(ranges + half, count - half, p);
}

static void build(const struct profile *p)
{
    struct range ranges[2 * CALL_COUNT + 2];
    size_t count = build_ranges(ranges);
    program.length = 0;
    program.overflow = false;
    load(offsetof(struct seccomp_data, arch));
    answer_if_not(THIS_ARCH, SECCOMP_RET_KILL_PROCESS);
    load(offsetof(struct seccomp_data, nr));
    emit(BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32_BIT);
    answer(SECCOMP_RET_KILL_PROCESS);
    emit_tree(ranges, count, p);
}

/* A listener, 0 (installed without one) or -1 with errno. */
static int install(unsigned long flags)
{
    struct sock_fprog filter = {.len = (unsigned short)program.length, .filter = program.code};
    if (program.overflow) {
        errno = E2BIG;
        return -1;
    }
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
}

/* ---- the seal ------------------------------------------------------------------------------------------------ */

static enum { NO_SEAL, SEAL_WITHOUT_PIDNS, SEAL_OF_MOUNTS } seal;
static pid_t seal_parent; /* the supervisor: whose death ends us where no namespace does it */

static int seal_mounts(void)
{
    static const int calls_made[] = {SYS_mount, SYS_setns};
    program.length = 0;
    program.overflow = false;
    load(offsetof(struct seccomp_data, nr));
    answer_if(SYS_seccomp, error_answer(EPERM));
    for (size_t i = 0; i < sizeof calls_made / sizeof *calls_made; i++)
        answer_if((uint32_t)calls_made[i], SECCOMP_RET_KILL_PROCESS);
    answer(SECCOMP_RET_ALLOW);
    return install(0) < 0 ? -errno : 0;
}

int ace_seal(void)
{
    static const int signals[] = {SYS_kill, SYS_tgkill, SYS_tkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo};
    if (seal == NO_SEAL)
        return 0;
    if (seal == SEAL_OF_MOUNTS)
        return seal_mounts();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return -errno;
    if (getppid() != seal_parent)
        return -ESRCH;
    uint32_t self = (uint32_t)syscall(SYS_getpid);
    program.length = 0;
    program.overflow = false;
    load(offsetof(struct seccomp_data, nr));
    answer_if(SYS_seccomp, error_answer(EPERM));
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, (uint32_t)signals[i]);
        load_low(0);
        answer_if(self, SECCOMP_RET_ALLOW);
        answer(error_answer(EPERM));
    }
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, SYS_prctl);
    load_low(0);
    answer_if(PR_SET_PDEATHSIG, error_answer(EPERM));
    answer(SECCOMP_RET_ALLOW);
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, SYS_clone);
    load_low(0);
    answer_if_any(CLONE_PARENT, error_answer(EPERM));
    answer(SECCOMP_RET_ALLOW);
    answer(SECCOMP_RET_ALLOW);
    return install(0) < 0 ? -errno : 0;
}

/* ---- for Python ---------------------------------------------------------------------------------------------- */

static bool parse_profile(const char *name, struct profile *p)
{
    static const struct {
        const char *name;
        bool player, pid_namespace, system;
    } known[] = {
        {"player", true, true, false},           {"judge", false, true, false},
        {"player-system", true, true, true},     {"judge-system", false, true, true},
        {"player-no-pidns", true, false, false}, {"judge-no-pidns", false, false, false},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) == 0) {
            p->player = known[i].player;
            p->pid_namespace = known[i].pid_namespace;
            p->system = known[i].system;
            return true;
        }
    }
    return false;
}

static PyObject *py_lockdown(PyObject *self, PyObject *args)
{
    (void)self;
    const char *name;
    int processes;
    struct profile profile = {.attack = SECCOMP_RET_KILL_PROCESS};
    if (!PyArg_ParseTuple(args, "si:lockdown", &name, &processes))
        return NULL;
    if (!parse_profile(name, &profile)) {
        PyErr_Format(PyExc_ValueError, "lockdown: no profile is called %s", name);
        return NULL;
    }
    profile.processes = (profile.player || profile.system) && processes > 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    /* no core dumps, and no ptrace between processes of one uid; clones inherit it, and the filter keeps it */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    seal = !profile.pid_namespace ? SEAL_WITHOUT_PIDNS : profile.system && profile.player ? SEAL_OF_MOUNTS : NO_SEAL;
    seal_parent = getppid();

    if (profile.player) {
        profile.attack = SECCOMP_RET_USER_NOTIF;
        build(&profile);
        int listener = install(SECCOMP_FILTER_FLAG_NEW_LISTENER);
        if (listener >= 0)
            return PyLong_FromLong(listener);
        /* EINVAL: before Linux 5.0; EBUSY: a container's runtime listens already. The attack is stopped either way */
        if (errno != EINVAL && errno != EBUSY)
            return PyErr_SetFromErrno(PyExc_OSError);
        profile.attack = SECCOMP_RET_KILL_PROCESS;
    }
    build(&profile);
    if (install(0) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(-1);
}

static PyObject *py_syscall_name(PyObject *self, PyObject *args)
{
    (void)self;
    int number;
    if (!PyArg_ParseTuple(args, "i:syscall_name", &number))
        return NULL;
    const char *name = syscall_name(number);
    if (name == NULL)
        Py_RETURN_NONE;
    return PyUnicode_FromString(name);
}

PyMethodDef ace_filter_methods[] = {
    {"lockdown", py_lockdown, METH_VARARGS,
     "lockdown(profile, processes) -> listener fd or -1. Installs the filter; profiles: player, judge, and both with "
     "-system for the profile of that name or -no-pidns for tiers without a pid namespace. Single-threaded processes "
     "only. Raises OSError."},
    {"syscall_name", py_syscall_name, METH_VARARGS, "syscall_name(number) -> str or None."},
    {NULL, NULL, 0, NULL},
};
