/* A supervisor for tests: the real launcher and jail, and instead of judging it
 * does what a test asks.
 *
 *   host -> J source   run Python source in a jailed interpreter; <- O what it
 * wrote, <- L log with index = wait status host -> S          <- S JSON:
 * scratch clean or not, cgroup numbers host -> N          renew the scratch; <-
 * N errno as text, "0" when it worked host -> F          <- F JSON list of the
 * supervisor's open descriptors host -> P          <- P what
 * /proc/self/schedstat says, through cfg->proc_dir host -> E code     end with
 * this exit status */
#define _GNU_SOURCE
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char out[1 << 20];

static void run_guest(const struct config *cfg, int host, const char *source,
                      uint32_t length) {
  int sockets[2], status = 0;
  size_t used = 0;
  ssize_t n;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
    exit(90);
  pid_t pid = exec_guest(cfg, "judge", sockets[1]);
  close(sockets[1]);
  if (pid < 0)
    exit(91);
  (void)write_full(sockets[0], &length, sizeof length);
  (void)write_full(sockets[0], source, length);
  while (used < sizeof out &&
         (n = read(sockets[0], out + used, sizeof out - used)) > 0)
    used += (size_t)n;
  close(sockets[0]);
  (void)waitpid(pid, &status, 0);
  (void)write_frame(host, 'O', 0, 0, out, used);
  used = guest_log("judge", out, sizeof out);
  (void)write_frame(host, 'L', 0, (uint16_t)status, out, used);
}

int supervise(struct config *cfg, int host) {
  const char *mechanisms = ready_mechanisms_json(cfg);
  snprintf(out, sizeof out, "{%s}", mechanisms);
  (void)write_frame(host, 'R', 0, 0, out, strlen(out));
  for (;;) {
    struct frame_header header;
    void *payload = NULL;
    if (read_frame(host, &header, &payload, WIRE_MAX_FROM_HOST) != 1)
      return 0;
    int n = 0;
    switch (header.type) {
    case 'J':
      run_guest(cfg, host, payload, header.length);
      break;
    case 'S':
      n = snprintf(
          out, sizeof out, "{\"clean\": %d, \"oom\": %llu, \"peak\": %llu}",
          scratch_is_clean(cfg), cgroup_oom_kills(cfg), cgroup_peak(cfg));
      (void)write_frame(host, 'S', 0, 0, out, (size_t)n);
      break;
    case 'N':
      n = snprintf(out, sizeof out, "%d", scratch_renew(cfg) < 0 ? errno : 0);
      (void)write_frame(host, 'N', 0, 0, out, (size_t)n);
      break;
    case 'F':
      n = snprintf(out, sizeof out, "[");
      for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
          n += snprintf(out + n, sizeof out - (size_t)n, "%s%d",
                        n > 1 ? ", " : "", fd);
      n += snprintf(out + n, sizeof out - (size_t)n, "]");
      (void)write_frame(host, 'F', 0, 0, out, (size_t)n);
      break;
    case 'P': {
      int fd = openat(cfg->proc_dir, "self/schedstat", O_RDONLY | O_CLOEXEC);
      ssize_t got = fd < 0 ? 0 : read(fd, out, sizeof out);
      close(fd);
      (void)write_frame(host, 'P', 0, 0, out, got < 0 ? 0 : (size_t)got);
      break;
    }
    case 'E':
      return atoi(payload);
    default:
      return 92;
    }
    free(payload);
  }
}
