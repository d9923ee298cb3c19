// SPDX-License-Identifier: Apache-2.0
// The kernel's own price of a scrape: asks for the same things as the collectors, keeps every descriptor,
// parses nothing. Reads a list from the file named in argv[1], one thing a line:
//   f PATH   one pread gives all      r PATH   seq_file of many records: a page a read, until it returns 0
//   d PATH   list the directory       s PATH   statfs       n   rtnetlink dump of all links       u   uname
// Then, for each line "N" on stdin, makes N passes and prints the CPU time they took in ns.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

struct thing {
  char kind;
  int fd;
  char path[256];
};
static struct thing things[4096];
static int count;
static char buffer[1 << 18];

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void dump_links(int fd) {
  struct {
    struct nlmsghdr header;
    struct ifinfomsg body;
  } ask = {.header = {.nlmsg_len = sizeof ask, .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};

  if (send(fd, &ask, sizeof ask, 0) < 0) die("netlink send");
  for (;;) {
    ssize_t size = recv(fd, buffer, sizeof buffer, 0);
    if (size < 0) die("netlink recv");
    for (struct nlmsghdr* h = (struct nlmsghdr*)buffer; NLMSG_OK(h, size); h = NLMSG_NEXT(h, size))
      if (h->nlmsg_type == NLMSG_DONE) return;
  }
}

static void pass(void) {
  struct statfs fs;
  struct utsname name;

  for (struct thing* t = things; t < things + count; ++t) {
    off_t at = 0;
    ssize_t size;
    switch (t->kind) {
      case 'f': size = pread(t->fd, buffer, sizeof buffer, 0); break;
      case 'r':
        while ((size = pread(t->fd, buffer, sizeof buffer, at)) > 0) at += size;
        break;
      case 'd':
        lseek(t->fd, 0, SEEK_SET);
        while (getdents64(t->fd, buffer, sizeof buffer) > 0) {}
        break;
      case 's': statfs(t->path, &fs); break;
      case 'n': dump_links(t->fd); break;
      case 'u': uname(&name); break;
    }
  }
}

static long long cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char** argv) {
  FILE* list = argc == 2 ? fopen(argv[1], "r") : NULL;
  char line[300];

  if (!list) die("floor LIST");
  while (fgets(line, sizeof line, list) && count < (int)(sizeof things / sizeof *things)) {
    struct thing* t = &things[count];
    line[strcspn(line, "\n")] = 0;
    t->kind = line[0];
    t->fd = -1;
    if (line[0] && line[1]) snprintf(t->path, sizeof t->path, "%s", line + 2);
    if (t->kind == 'n') t->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (strchr("frd", t->kind)) t->fd = open(t->path, O_RDONLY | O_CLOEXEC);
    if (strchr("frdn", t->kind) && t->fd < 0) die(t->path);
    ++count;
  }
  fclose(list);
  while (fgets(line, sizeof line, stdin)) {
    long passes = atol(line);
    long long before = cpu_ns();
    for (long i = 0; i < passes; ++i) pass();
    printf("%lld\n", cpu_ns() - before);
    fflush(stdout);
  }
  return 0;
}
