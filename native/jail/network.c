/* Networks of players, where the profile gives them one: loopback and nothing else, new for every player.
 *
 * One network for all players of a worker would be a channel between programs even with every process of the last one
 * dead: ports in TIME_WAIT, TCP metrics, IPv6 flow labels, sockets in flight inside other sockets. None of it can be
 * proven gone, so the whole network goes. It costs 0.9 ms, most of it waiting; only this profile pays.
 *
 * The supervisor makes it: it steps into a new namespace, brings the loopback device up (the one thing CAP_NET_ADMIN is
 * kept for), takes a descriptor of the namespace and steps back into its own, which stays empty. Player and test
 * process are handed the descriptor by their makers and enter it before they give up their capabilities
 * (native/guest/spawn.c). It ends with the last process or socket in it.
 *
 * Buffers of sockets are the kernel's memory: a control group counts them (version 2 always, version 1 by a limit of its
 * own), without one only their size and number bound them. The size a TCP connection may grow to is a setting of each
 * network and is lowered here; what a socket asks for by itself (SO_SNDBUF, SO_RCVBUF) the filter pretends to give. */
#define _GNU_SOURCE
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C /* the network namespace of a socket, since Linux 4.10 */
#endif

static int raise_loopback(int socket_fd)
{
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
    if (ioctl(socket_fd, SIOCGIFFLAGS, &request) < 0)
        return -1;
    request.ifr_flags |= IFF_UP;
    return ioctl(socket_fd, SIOCSIFFLAGS, &request);
}

static bool write_setting(int proc_dir, const char *name, const char *value)
{
    int fd = openat(proc_dir, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = write(fd, value, strlen(value));
    close(fd);
    return n == (ssize_t)strlen(value);
}

/* Of the network we are in. */
static bool bound_buffers(int proc_dir)
{
    static const struct {
        const char *name, *value;
        bool in_every_kernel;
    } settings[] = {{"sys/net/ipv4/tcp_rmem", "4096 65536 65536", true},
                    {"sys/net/ipv4/tcp_wmem", "4096 16384 65536", true},
                    {"sys/net/core/rmem_default", "212992", false},
                    {"sys/net/core/wmem_default", "212992", false}};
    bool bounded = proc_dir >= 0;
    for (size_t i = 0; bounded && i < sizeof settings / sizeof *settings; i++)
        bounded = write_setting(proc_dir, settings[i].name, settings[i].value) || !settings[i].in_every_kernel;
    return bounded;
}

/* A descriptor of the namespace we are in; with its loopback device up if asked to. */
static int own_network(bool up)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int network = up && raise_loopback(fd) < 0 ? -1 : ioctl(fd, SIOCGSKNS);
    int error = errno;
    close(fd);
    errno = error;
    return network;
}

int network_fresh(struct config *cfg)
{
    static int home = -1;
    if (home < 0 && (home = own_network(false)) < 0)
        return -1;
    if (unshare(CLONE_NEWNET) < 0)
        return -1;
    int network = own_network(true);
    cfg->has_bounded_sockets = bound_buffers(cfg->proc_dir);
    int error = errno;
    if (setns(home, CLONE_NEWNET) < 0)
        _exit(4); /* whoever is started next would start in a player's network */
    errno = error;
    return network;
}
