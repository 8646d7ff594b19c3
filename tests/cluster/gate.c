/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A gate in front of files: preloaded into a program, it makes every process wait that is about to open for writing, or to
 * rename something to, a path that matches. So a test catches the library, or a command, in the middle of what it does, and
 * lets a node die there.
 *
 * SCR_TEST_GATE=DIR:COUNT:PATTERN: every process waits at the COUNT-th of these operations. Who waits has made the file
 * DIR/at.<host>.<pid>; all go on when there is DIR/go, and nobody waits any more.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void pass(const char *path) {
  static int seen = 0;
  const char *gate = getenv("SCR_TEST_GATE"), *count = gate ? strchr(gate, ':') : NULL;
  const char *pattern = count ? strchr(count + 1, ':') : NULL;
  if (!pattern || fnmatch(pattern + 1, path, 0) != 0) return;
  if (++seen != atoi(count + 1)) return;
  char sign[4096], go[4096], host[256] = "";
  gethostname(host, sizeof host - 1);
  snprintf(go, sizeof go, "%.*s/go", (int)(count - gate), gate);
  snprintf(sign, sizeof sign, "%.*s/at.%s.%d", (int)(count - gate), gate, host, (int)getpid());
  if (access(go, F_OK) == 0) return;
  /* mknod is not one of the calls below. */
  mknod(sign, S_IFREG | 0644, 0);
  struct timespec moment = {.tv_sec = 0, .tv_nsec = 5000000};
  while (access(go, F_OK) != 0) nanosleep(&moment, NULL);
}

/* The function of the C library that `name` would be without us. */
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static int is_write(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

#define OPEN(name)                                          \
  int name(const char *path, int flags, ...) {              \
    va_list rest;                                           \
    va_start(rest, flags);                                  \
    mode_t mode = va_arg(rest, mode_t);                     \
    va_end(rest);                                           \
    int (*next)(const char *, int, mode_t);                 \
    *(void **)&next = real(#name);                          \
    if (is_write(flags)) pass(path);                        \
    return next(path, flags, mode);                         \
  }
OPEN(open)
OPEN(open64)

int rename(const char *from, const char *to) {
  int (*next)(const char *, const char *);
  *(void **)&next = real("rename");
  pass(to);
  return next(from, to);
}
