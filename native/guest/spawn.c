/* Frames on fd 3, and cloning a process out of a warm interpreter.
 *
 * Who calls this: the zygote (serve), the judge (read_frame, write_frame, spawn), players and test processes
 * (read_frame, write_frame). The frame format is docs/protocol.md's.
 *
 * Why not os.fork(): the child must be a child of the *supervisor* (CLONE_PARENT: exact reaping and rusage there),
 * init of a pid namespace of its own (CLONE_NEWPID: when it dies everything it started is dead), and must not share
 * any file description with its siblings. glibc's fork can do none of that, so the clone is raw, and this file makes
 * good what a raw clone leaves undone:
 *   - the thread id that glibc caches in its thread block is stale: CLONE_CHILD_SETTID rewrites it. The address of
 *     that word is not public; it is found once by looking for our own tid at the start of the block (find_tid_word).
 *   - pthread_atfork handlers do not run: the zygote is single-threaded when it clones (it refuses otherwise), so no
 *     lock can be held by a thread that the child lacks.
 *   - CPython's own after-fork work: PyOS_AfterFork_Child.
 *
 * A child after the clone, in this order, before any byte of the program is read:
 *   descriptors -> network -> resource limits -> session -> /proc -> working directory -> capabilities -> seal (filter.c).
 * Network and /proc come with the profile `system` only: a network namespace is entered by the supervisor's descriptor,
 * and a player, cloned into a mount namespace of its own, mounts the /proc of its pid namespace there. */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define CONTROL_FD   3
#define MAX_FDS      5 /* control, stdout, stderr, stdin, and a network */
#define HAS_NETWORK  1 /* flag of a request: its last descriptor is the network namespace to enter */
#define READER_BYTES 65536
#define MAX_PAYLOAD  (512u << 20)

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT           47
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif

struct header {
    uint32_t length;
    uint8_t type;
    uint8_t flags;
    uint16_t index;
};

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* One reader per process: every guest process talks on exactly one socket, fd 3. */
static struct {
    size_t start, end;
    int fds[MAX_FDS];
    int nfds;
    unsigned char bytes[READER_BYTES];
} reader;

static void drop_received_fds(void)
{
    for (int i = 0; i < reader.nfds; i++)
        close(reader.fds[i]);
    reader.nfds = 0;
}

/* Receive more bytes (and descriptors). Returns the byte count, 0 at end of file, -1 with errno. */
static ssize_t receive(int fd, void *into, size_t room)
{
    union {
        char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {into, room};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (got < 0)
        return -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        int fds[MAX_FDS];
        memcpy(fds, CMSG_DATA(c), (size_t)n * sizeof(int));
        for (int i = 0; i < n; i++) {
            if (reader.nfds < MAX_FDS)
                reader.fds[reader.nfds++] = fds[i];
            else
                close(fds[i]);
        }
    }
    return got;
}

/* Read one header. Returns 1, 0 at end of file, -1 with errno (or EPROTO for a torn frame). */
static int read_header(int fd, struct header *out)
{
    while (reader.end - reader.start < sizeof *out) {
        if (reader.start > 0) {
            memmove(reader.bytes, reader.bytes + reader.start, reader.end - reader.start);
            reader.end -= reader.start;
            reader.start = 0;
        }
        ssize_t got = receive(fd, reader.bytes + reader.end, READER_BYTES - reader.end);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0) {
            if (reader.end == reader.start)
                return 0;
            errno = EPROTO;
            return -1;
        }
        reader.end += (size_t)got;
    }
    memcpy(out, reader.bytes + reader.start, sizeof *out);
    reader.start += sizeof *out;
    return 1;
}

/* Read `length` payload bytes into `to`: what is buffered first, the rest straight into place. */
static int read_payload(int fd, unsigned char *to, size_t length)
{
    size_t have = reader.end - reader.start;
    size_t take = have < length ? have : length;
    memcpy(to, reader.bytes + reader.start, take);
    reader.start += take;
    while (take < length) {
        ssize_t got = receive(fd, to + take, length - take);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            if (got == 0)
                errno = EPROTO;
            return -1;
        }
        take += (size_t)got;
    }
    return 0;
}

static PyObject *py_read_frame(PyObject *self, PyObject *args)
{
    (void)self;
    int fd;
    if (!PyArg_ParseTuple(args, "i:read_frame", &fd))
        return NULL;
    struct header h;
    drop_received_fds();
    int ok = read_header(fd, &h);
    if (ok == 0)
        Py_RETURN_NONE;
    if (ok < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (h.length > MAX_PAYLOAD) {
        PyErr_Format(PyExc_ValueError, "frame of %u bytes is over the limit", (unsigned)h.length);
        return NULL;
    }
    PyObject *payload = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)h.length);
    if (payload == NULL)
        return NULL;
    if (read_payload(fd, (unsigned char *)PyBytes_AsString(payload), h.length) < 0) {
        Py_DECREF(payload);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    PyObject *fds = PyTuple_New(reader.nfds);
    if (fds == NULL) {
        Py_DECREF(payload);
        return NULL;
    }
    for (int i = 0; i < reader.nfds; i++)
        PyTuple_SetItem(fds, i, PyLong_FromLong(reader.fds[i]));
    reader.nfds = 0;
    return Py_BuildValue("iiiNN", (int)h.type, (int)h.flags, (int)h.index, payload, fds);
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

static int write_parts(int fd, struct iovec *parts, int n)
{
    while (n > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
        ssize_t put = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (put < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        size_t left = (size_t)put;
        while (n > 0 && left >= parts->iov_len) {
            left -= parts->iov_len;
            parts++;
            n--;
        }
        if (n > 0) {
            parts->iov_base = (char *)parts->iov_base + left;
            parts->iov_len -= left;
        }
    }
    return 0;
}

/* write_frame(fd, type, flags, index, *bytes_parts). Tuple-at-a-time so that the hot path builds no format string. */
static PyObject *py_write_frame(PyObject *self, PyObject *args)
{
    (void)self;
    enum { FIXED = 4, MAX_PARTS = 8 };
    Py_ssize_t n = PyTuple_Size(args);
    if (n < FIXED || n > FIXED + MAX_PARTS) {
        PyErr_SetString(PyExc_TypeError, "write_frame(fd, type, flags, index, *parts): 0 to 8 parts");
        return NULL;
    }
    long fixed[FIXED];
    for (Py_ssize_t i = 0; i < FIXED; i++) {
        fixed[i] = PyLong_AsLong(PyTuple_GetItem(args, i));
        if (fixed[i] == -1 && PyErr_Occurred())
            return NULL;
    }
    struct header h = {0, (uint8_t)fixed[1], (uint8_t)fixed[2], (uint16_t)fixed[3]};
    struct iovec parts[1 + MAX_PARTS];
    parts[0].iov_base = &h;
    parts[0].iov_len = sizeof h;
    size_t total = 0;
    for (Py_ssize_t i = FIXED; i < n; i++) {
        char *data;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(args, i), &data, &length) < 0)
            return NULL;
        parts[1 + i - FIXED].iov_base = data;
        parts[1 + i - FIXED].iov_len = (size_t)length;
        total += (size_t)length;
    }
    if (total > MAX_PAYLOAD) {
        PyErr_Format(PyExc_ValueError, "frame of %zu bytes is over the limit", total);
        return NULL;
    }
    h.length = (uint32_t)total;
    if (write_parts((int)fixed[0], parts, (int)(1 + n - FIXED)) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* ---- cloning ------------------------------------------------------------------------------------------------- */

static unsigned long clone_flags = CLONE_PARENT | CLONE_NEWPID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
static const char *start_directory = "/tmp";
static int mounts_proc;

/* Where glibc caches this thread's id: the first word of the thread block that holds it. NULL where it is not found
 * (another libc): then the clone leaves the cache stale, which only matters to error-checking mutexes. */
static pid_t *find_tid_word(void)
{
    static pid_t *found;
    if (found != NULL)
        return found;
    pid_t tid = (pid_t)syscall(SYS_gettid);
    char *block = (char *)pthread_self();
    for (size_t at = 0x80; at < 0x600; at += sizeof(pid_t)) {
        pid_t value;
        memcpy(&value, block + at, sizeof value);
        if (value == tid) {
            found = (pid_t *)(void *)(block + at);
            return found;
        }
    }
    return NULL;
}

static _Noreturn void child_failed(int fd, const char *step)
{
    struct header h = {(uint32_t)strlen(step), 'E', 0, (uint16_t)errno};
    struct iovec parts[2] = {{&h, sizeof h}, {(void *)(uintptr_t)step, strlen(step)}};
    (void)write_parts(fd, parts, 2);
    _exit(111);
}

/* fds: control, stdout, stderr, stdin; missing ones are /dev/null. The control socket is not for programs that this one
 * executes: a test may execute what the program under test wrote. */
static void setup_descriptors(const int *fds, int n, int network)
{
    enum { PLACES = 4 };
    static const int places[PLACES] = {CONTROL_FD, 1, 2, 0};
    for (int i = 0; i < n; i++)
        if (fds[i] != places[i] && dup3(fds[i], places[i], i == 0 ? O_CLOEXEC : 0) < 0)
            child_failed(fds[0], "dup3");
    for (int i = n < 1 ? 1 : n; i < PLACES; i++) {
        /* a fresh description: the zygote's own /dev/null would be shared with every later player */
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0 || dup2(null, places[i]) < 0)
            child_failed(CONTROL_FD, "open /dev/null");
        close(null);
    }
    /* the filter lets this one descriptor through, and the kernel whoever has CAP_SYS_ADMIN: us, until further down */
    if (network >= 0 &&
        ((network != ACE_NETWORK_FD && dup2(network, ACE_NETWORK_FD) < 0) || setns(ACE_NETWORK_FD, CLONE_NEWNET) < 0))
        child_failed(CONTROL_FD, "the program's network");
    /* old kernels (before 5.9) lack close_range: 1024 is above RLIMIT_NOFILE of a guest */
    if (syscall(SYS_close_range, 4U, ~0U, 0U) < 0)
        for (int fd = 4; fd < 1024; fd++)
            close(fd);
}

static void setup_limits(uint64_t cpu_seconds, uint64_t address_space)
{
    /* soft = hard: init of a pid namespace ignores SIGXCPU, so only the hard limit's SIGKILL works */
    struct rlimit cpu = {cpu_seconds, cpu_seconds};
    if (cpu_seconds > 0 && setrlimit(RLIMIT_CPU, &cpu) < 0)
        child_failed(CONTROL_FD, "RLIMIT_CPU");
    struct rlimit space = {address_space, address_space};
    if (address_space > 0 && setrlimit(RLIMIT_AS, &space) < 0)
        child_failed(CONTROL_FD, "RLIMIT_AS");
}

/* A session of its own: kill(0) means the process group, which would be the worker's. */
static void setup_session(void)
{
    if (syscall(SYS_setsid) < 0)
        child_failed(CONTROL_FD, "setsid");
}

/* Read-only, and without what tells of the host's users and their sessions, which no program needs. */
static void setup_proc(void)
{
    static const char *const masked[] = {"/proc/keys", "/proc/key-users", "/proc/cmdline"};
    if (!mounts_proc)
        return;
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) < 0)
        child_failed(CONTROL_FD, "/proc");
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++)
        if (mount("/dev/null", masked[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
            child_failed(CONTROL_FD, masked[i]);
}

static void setup_directory(void)
{
    if (chdir(start_directory) < 0)
        child_failed(CONTROL_FD, "chdir to the scratch directory");
}

static void setup_capabilities(void)
{
    struct __user_cap_header_struct who = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &who, none) < 0)
        child_failed(CONTROL_FD, "capset");
}

/* Clone one child with the given descriptors and limits, in `network` or in ours (-1). Returns 0 in the child, its pid (in the supervisor's pid
 * namespace) in the parent, -errno on failure. */
static long clone_child(const int *fds, int n, int network, uint64_t cpu_seconds, uint64_t address_space)
{
    pid_t *tid_word = find_tid_word();
    unsigned long flags = clone_flags;
    if (tid_word == NULL)
        flags &= ~(unsigned long)(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID);
#if defined(__aarch64__)
    /* argument order on arm64: flags, stack, parent_tid, tls, child_tid. Untested: no such machine at hand. */
    long pid = syscall(SYS_clone, flags, 0, 0, 0, tid_word);
#else
    long pid = syscall(SYS_clone, flags, 0, 0, tid_word, 0);
#endif
    if (pid < 0)
        return -errno;
    if (pid > 0)
        return pid;
    setup_descriptors(fds, n, network);
    setup_limits(cpu_seconds, address_space);
    setup_session();
    setup_proc();
    setup_directory();
    setup_capabilities();
    int sealed = ace_seal();
    if (sealed < 0) {
        errno = -sealed;
        child_failed(CONTROL_FD, "second seccomp filter");
    }
    reader.start = reader.end = 0;
    reader.nfds = 0;
    return 0;
}

/* Make clones inherit the page tables of loaded libraries.
 *
 * fork(2) copies page tables only of mappings that hold anonymous pages; the text of libpython is file-backed, so every
 * player would fault its way through it again (some sixty faults, a tenth of its life). One written page per mapping
 * makes the kernel copy the mapping's entries with all others, in batches, which costs far less. The page is written
 * with its own content. Small mappings are left alone: each would cost every clone more than its few faults. One that cannot be made writable is left as it is: only speed is lost. */
enum { WORTH_SHARING = 256 << 10 };

static int inherit_mapping(struct dl_phdr_info *info, size_t size, void *count)
{
    (void)size;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (strstr(info->dlpi_name, "vdso") != NULL)
        return 0; /* the kernel's, not a file's */
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) || segment->p_filesz < WORTH_SHARING)
            continue;
        uintptr_t start = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        int protection = PROT_READ | ((segment->p_flags & PF_X) ? PROT_EXEC : 0);
        size_t length = (info->dlpi_addr + segment->p_vaddr + segment->p_filesz + page - 1 - start) & ~(page - 1);
        /* The whole mapping, or it would be split for good; still executable meanwhile, as this code may lie in it. */
        if (mprotect((void *)start, length, protection | PROT_WRITE) < 0)
            continue;
        volatile char *byte = (volatile char *)start;
        *byte = *byte;
        if (mprotect((void *)start, length, protection) < 0)
            return -1; /* a library's page that cannot be executed any more */
        ++*(int *)count;
    }
    return 0;
}

static PyObject *py_share_libraries(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    int count = 0;
    if (dl_iterate_phdr(inherit_mapping, &count) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(count);
}

static int count_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL)
        return -1; /* no /proc in the jail: threading.active_count() is asked instead, by the caller */
    int n = 0;
    for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks))
        n += entry->d_name[0] != '.';
    closedir(tasks);
    return n;
}

/* configure(pid_namespace: bool, directory: str, own_proc: bool = False): what a clone gets in this tier and profile. */
static PyObject *py_configure(PyObject *self, PyObject *args)
{
    (void)self;
    int pid_namespace, own_proc = 0;
    const char *directory;
    if (!PyArg_ParseTuple(args, "ps|p:configure", &pid_namespace, &directory, &own_proc))
        return NULL;
    mounts_proc = own_proc;
    if (own_proc)
        clone_flags |= CLONE_NEWNS;
    if (pid_namespace)
        clone_flags |= CLONE_NEWPID;
    else
        clone_flags &= ~(unsigned long)CLONE_NEWPID;
    char *copy = strdup(directory);
    if (copy == NULL)
        return PyErr_NoMemory();
    start_directory = copy;
    (void)find_tid_word();
    int threads = count_threads();
    if (threads > 1) {
        PyErr_Format(PyExc_RuntimeError, "%d threads in a process that is to be cloned: a preloaded module starts them",
                     threads);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* spawn(fds, cpu_seconds, address_space, network=-1) -> pid, or 0 in the child. Closes the descriptors in the parent. */
static PyObject *py_spawn(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *tuple;
    unsigned long long cpu_seconds, address_space;
    int network = -1;
    if (!PyArg_ParseTuple(args, "O!KK|i:spawn", &PyTuple_Type, &tuple, &cpu_seconds, &address_space, &network))
        return NULL;
    int fds[MAX_FDS];
    Py_ssize_t n = PyTuple_Size(tuple);
    if (n < 1 || n > MAX_FDS - 1) {
        PyErr_SetString(PyExc_ValueError, "spawn: 1 to 4 descriptors");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        fds[i] = (int)PyLong_AsLong(PyTuple_GetItem(tuple, i));
        if (PyErr_Occurred())
            return NULL;
    }
    PyOS_BeforeFork();
    long pid = clone_child(fds, (int)n, network, cpu_seconds, address_space);
    if (pid == 0) {
        PyOS_AfterFork_Child();
        return PyLong_FromLong(0);
    }
    PyOS_AfterFork_Parent();
    for (Py_ssize_t i = 0; i < n; i++)
        close(fds[i]);
    if (network >= 0)
        close(network);
    if (pid < 0) {
        errno = (int)-pid;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromLong(pid);
}

/* serve(fd): the zygote's life. Returns only in a player; ends the process when the supervisor is gone. */
static PyObject *py_serve(PyObject *self, PyObject *args)
{
    (void)self;
    int fd;
    if (!PyArg_ParseTuple(args, "i:serve", &fd))
        return NULL;
#ifdef __GLIBC__
    /* Free chunks hold pages that every clone would copy the table entries of, and copy whole when it allocates there. */
    (void)malloc_trim(0);
#endif
    PyOS_BeforeFork();
    for (;;) {
        struct header h;
        uint64_t limits[2] = {0, 0};
        drop_received_fds();
        if (read_header(fd, &h) <= 0 || h.type != 'S' || h.length != sizeof limits ||
            read_payload(fd, (unsigned char *)limits, sizeof limits) < 0)
            _exit(0);
        int has_network = (h.flags & HAS_NETWORK) != 0 && reader.nfds > 1;
        int n = reader.nfds - has_network;
        long pid = clone_child(reader.fds, n, has_network ? reader.fds[n] : -1, limits[0], limits[1]);
        if (pid == 0)
            break;
        drop_received_fds();
        int32_t answer = (int32_t)pid;
        struct header reply = {sizeof answer, 'S', 0, 0};
        struct iovec parts[2] = {{&reply, sizeof reply}, {&answer, sizeof answer}};
        if (write_parts(fd, parts, 2) < 0)
            _exit(0);
    }
    PyOS_AfterFork_Child();
    Py_RETURN_NONE;
}

/* send_ready(fd, type, payload, fds): one frame that carries descriptors (the seccomp listener). */
static PyObject *py_send_with_fd(PyObject *self, PyObject *args)
{
    (void)self;
    int fd, type, carried;
    const char *payload;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(args, "iiy#i:send_with_fd", &fd, &type, &payload, &length, &carried))
        return NULL;
    struct header h = {(uint32_t)length, (uint8_t)type, 0, 0};
    struct iovec parts[2] = {{&h, sizeof h}, {(void *)(uintptr_t)payload, (size_t)length}};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (carried >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &carried, sizeof carried);
    }
    if (sendmsg(fd, &message, MSG_NOSIGNAL) != (ssize_t)(sizeof h + (size_t)length))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

PyMethodDef ace_spawn_methods[] = {
    {"read_frame", py_read_frame, METH_VARARGS,
     "read_frame(fd) -> (type, flags, index, payload, fds) or None at end of file."},
    {"write_frame", py_write_frame, METH_VARARGS, "write_frame(fd, type, flags, index, *parts) -> None."},
    {"configure", py_configure, METH_VARARGS,
     "configure(pid_namespace, directory, own_proc=False): how this process clones children."},
    {"spawn", py_spawn, METH_VARARGS, "spawn(fds, cpu_seconds, address_space, network=-1) -> pid, or 0 in the child."},
    {"serve", py_serve, METH_VARARGS, "serve(fd): clone a player for every request; returns only in a player."},
    {"share_libraries", py_share_libraries, METH_NOARGS,
     "share_libraries() -> int: clones inherit the page tables of this many mappings of loaded libraries."},
    {"send_with_fd", py_send_with_fd, METH_VARARGS, "send_with_fd(fd, type, payload, carried_fd) -> None."},
    {NULL, NULL, 0, NULL},
};
