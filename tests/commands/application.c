/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* An MPI program that does, or suffers, what its first argument says; the second one is a directory for signs. */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t told_to_stop = 0;

static void stop(int signal) { told_to_stop = signal; }

static const char *sign(const char *directory, const char *name, int rank) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/%s.%d", directory, name, rank);
  return path;
}

static void leave_sign(const char *directory, const char *name, int rank) {
  FILE *file = fopen(sign(directory, name, rank), "w");
  if (file) {
    fprintf(file, "%s\n", getenv("SCR_NODE") ? getenv("SCR_NODE") : "none");
    fclose(file);
  }
}

int main(int argc, char **argv) {
  const char *task = argc > 1 ? argv[1] : "";
  const char *directory = argc > 2 ? argv[2] : ".";
  int rank = 0;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (strcmp(task, "handle") == 0) {
    signal(SIGTERM, stop);
    signal(SIGUSR2, stop);
  }
  printf("rank %d on %s\n", rank, getenv("SCR_NODE") ? getenv("SCR_NODE") : "none");
  fflush(stdout);
  MPI_Barrier(MPI_COMM_WORLD);
  int is_last_launch = strcmp(task, "ok") == 0 || access(sign(directory, "finish", 0), F_OK) == 0;
  if (is_last_launch) {
    leave_sign(directory, "done", rank);
    MPI_Finalize();
    return 0;
  }
  leave_sign(directory, "ready", rank);
  if (rank == 1 && strcmp(task, "exit3") == 0) _exit(3);
  if (rank == 1 && strcmp(task, "segv") == 0) raise(SIGSEGV);
  if (rank == 1 && strcmp(task, "grandchild") == 0) {
    if (fork() == 0) execlp("sleep", "sleep", "1000", (char *)NULL);
    raise(SIGKILL);
  }
  for (;;) {
    int mine = told_to_stop, all = 0;
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    if (all != 0) {
      MPI_Finalize();
      return 40 + all;
    }
    usleep(1000);
  }
}
