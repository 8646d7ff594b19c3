/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The application of the cluster tests: computes, writes checkpoints with SCR, verifies every byte at a restart, and fails
 * where it is told to. Its arguments are name=value:
 *
 *   log=DIR      where ranks keep their logs and look for signs; on the shared file system
 *   steps=N      steps to compute                 every=K     a checkpoint after each K-th
 *   bytes=N      of a rank per checkpoint         files=N     that they are spread over
 *   pause_ms=N   rest in every step               seed=N      of the computation
 *   dir=NAME     the directory of all files below the prefix
 *   need=1       a checkpoint when SCR_Need_checkpoint says so, instead of every=
 *   output=K     after each K-th step also an output dataset
 *   hold=N       before step N every rank leaves the sign at.N.<rank>, and goes on when it finds go.N
 *   fail=HOW     crash, exit, abort, hang, or stop (all ranks, without SCR_Finalize): unless it finds the sign failed
 *   at=N rank=R  in step N, rank R fails          always=1    in every launch
 *   stubborn=1   goes on when SCR_Should_exit says to stop
 *
 * Each rank appends to DIR/log.<rank>: LAUNCH n node, RESTART step launch, START step, SUCCESS step, OUTPUT step,
 * FAILED words, WRONG words, EXIT step, END step. Rank 0 writes the result to DIR/result.
 *
 * A rank's state is a number that each step mixes with its neighbours'. So the state of every rank after any step can be
 * computed by anybody, and what a checkpoint holds is computed from the state.
 */
#include <errno.h>
#include <inttypes.h>
#include <mpi.h>
#include <scr.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int rank, ranks, arg_count;
static char **args;

/* ---- arguments, logs, signs ---- */

static const char *text(const char *name, const char *fallback) {
  size_t length = strlen(name);
  for (int i = 1; i < arg_count; i++)
    if (strncmp(args[i], name, length) == 0 && args[i][length] == '=') return args[i] + length + 1;
  return fallback;
}

static long number(const char *name, long fallback) {
  const char *value = text(name, NULL);
  return value ? atol(value) : fallback;
}

static const char *place(const char *format, ...) {
  static char path[4096];
  int length = snprintf(path, sizeof path, "%s/", text("log", "."));
  va_list rest;
  va_start(rest, format);
  vsnprintf(path + length, sizeof path - (size_t)length, format, rest);
  va_end(rest);
  return path;
}

/* One line, in one write: a line that is there is whole. */
static void say(const char *format, ...) {
  char line[2048];
  va_list rest;
  va_start(rest, format);
  vsnprintf(line, sizeof line - 1, format, rest);
  va_end(rest);
  strcat(line, "\n");
  FILE *log = fopen(place("log.%d", rank), "a");
  if (log) {
    fputs(line, log);
    fclose(log);
  }
}

static int is_there(const char *path) { return access(path, F_OK) == 0; }

static void leave(const char *path) {
  FILE *sign = fopen(path, "w");
  if (sign) fclose(sign);
}

static void rest(long ms) {
  struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
  nanosleep(&time, NULL);
}

/* ---- the computation ---- */

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t state) {
  uint64_t z = state + UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static uint64_t first_state(int of) { return mix((uint64_t)number("seed", 1) + (uint64_t)of); }
static uint64_t next_state(uint64_t left, uint64_t own) { return mix(own ^ (left << 1 | left >> 63)); }

/* The state of this rank after `step`, computed from the beginning for all ranks: the judge of what was read. */
static uint64_t true_state(long step) {
  uint64_t *now = calloc((size_t)ranks, sizeof *now), *next = calloc((size_t)ranks, sizeof *next);
  for (int r = 0; r < ranks; r++) now[r] = first_state(r);
  for (long s = 0; s < step; s++) {
    for (int r = 0; r < ranks; r++) next[r] = next_state(now[(r + ranks - 1) % ranks], now[r]);
    memcpy(now, next, (size_t)ranks * sizeof *now);
  }
  uint64_t mine = now[rank];
  free(now);
  free(next);
  return mine;
}

static uint64_t step_forward(uint64_t state) {
  uint64_t left = 0;
  MPI_Sendrecv(&state, 1, MPI_UINT64_T, (rank + 1) % ranks, 0, &left, 1, MPI_UINT64_T, (rank + ranks - 1) % ranks, 0,
               MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  return next_state(left, state);
}

/* ---- files: a header, then words that follow from the state ---- */

struct header {
  int64_t launch, step, rank, file, bytes;
  uint64_t state;
};

static struct header header_of(long launch, long step, int file, uint64_t state) {
  long files = number("files", 1), bytes = number("bytes", 100000) / files;
  return (struct header){.launch = launch, .step = step, .rank = rank, .file = file, .bytes = bytes, .state = state};
}

/* Fills `words` with the content of a file from the word `from` on. */
static void fill(uint64_t *words, size_t count, size_t from, const struct header *header) {
  for (size_t i = 0; i < count; i++)
    words[i] = mix(header->state ^ (uint64_t)header->file << 56 ^ (uint64_t)(from + i));
}

enum { WORDS = 8192 };

/* Writes, or reads and compares, the file at `path`. On reading, the launch may be any. Returns 1 if all is well. */
static int pass_over(const char *path, struct header *header, int writes) {
  uint64_t words[WORDS], found[WORDS];
  FILE *file = fopen(path, writes ? "wb" : "rb");
  if (!file) {
    say("%s open %s: %s", writes ? "FAILED" : "WRONG", path, strerror(errno));
    return 0;
  }
  int good;
  if (writes) {
    good = fwrite(header, sizeof *header, 1, file) == 1;
  } else {
    struct header there;
    good = fread(&there, sizeof there, 1, file) == 1;
    header->launch = there.launch;
    good = good && memcmp(&there, header, sizeof there) == 0;
  }
  size_t all = (size_t)header->bytes / sizeof *words;
  for (size_t from = 0; good && from < all; from += WORDS) {
    size_t count = all - from < WORDS ? all - from : WORDS;
    fill(words, count, from, header);
    good = writes ? fwrite(words, sizeof *words, count, file) == count
                  : fread(found, sizeof *found, count, file) == count && memcmp(words, found, count * sizeof *words) == 0;
  }
  if (!writes) good = good && fgetc(file) == EOF;
  good = fclose(file) == 0 && good;
  if (!good) say("%s content of %s", writes ? "FAILED" : "WRONG", path);
  return good;
}

/* All files of a dataset of this rank. Sets *launch to the launch that wrote them. */
static int pass_over_dataset(const char *dataset, long *launch, long step, uint64_t state, int writes) {
  int good = 1;
  for (int f = 0; f < number("files", 1); f++) {
    char name[256], path[SCR_MAX_FILENAME];
    struct header header = header_of(*launch, step, f, state);
    snprintf(name, sizeof name, "%s/%s/rank.%d/part.%d", text("dir", "."), dataset, rank, f);
    if (SCR_Route_file(name, path) != SCR_SUCCESS) {
      say("FAILED to route %s: %s", name, SCR_Last_error());
      return 0;
    }
    good = pass_over(path, &header, writes) && good;
    *launch = (long)header.launch;
  }
  return good;
}

/* ---- SCR ---- */

static void write_dataset(const char *name, int flags, const char *success, long launch, long step, uint64_t state) {
  say("START %ld", step);
  int code = SCR_Start_output(name, flags);
  if (code == SCR_SUCCESS) code = SCR_Complete_output(pass_over_dataset(name, &launch, step, state, 1));
  if (code == SCR_SUCCESS)
    say("%s %ld", success, step);
  else
    say("FAILED %s: %d %s", name, code, SCR_Last_error());
}

/* Reads the newest checkpoint. Returns the step after which it was written, 0 without one, -1 if there should be one. */
static long restart(uint64_t *state) {
  for (;;) {
    int found = 0;
    char name[SCR_MAX_FILENAME];
    long step = 0, writer = 0;
    if (SCR_Have_restart(&found, name) != SCR_SUCCESS) {
      say("FAILED no restart: %s", SCR_Last_error());
      return -1;
    }
    if (!found) {
      say("RESTART 0 0");
      return 0;
    }
    int good = SCR_Start_restart(name) == SCR_SUCCESS && sscanf(name, "ckpt.%ld", &step) == 1;
    *state = true_state(step);
    good = good && pass_over_dataset(name, &writer, step, *state, 0);
    /* Of one dataset: the same step and the same launch on all ranks. */
    long mine[] = {step, writer, -step, -writer}, most[4];
    MPI_Allreduce(mine, most, 4, MPI_LONG, MPI_MAX, MPI_COMM_WORLD);
    if (memcmp(mine, most, sizeof mine) != 0) say("WRONG %s of launch %ld is not what all ranks have", name, writer);
    if (SCR_Complete_restart(good) == SCR_SUCCESS) {
      say("RESTART %ld %ld", step, writer);
      return step;
    }
  }
}

/* ---- trouble ---- */

static void fail_if_told(long step) {
  const char *how = text("fail", "");
  if (step != number("at", -1) || *how == '\0') return;
  if (is_there(place("failed")) && !number("always", 0)) return;
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == number("rank", 0)) {
    leave(place("failed"));
    say("TROUBLE %s in step %ld", how, step);
    if (strcmp(how, "crash") == 0) raise(SIGSEGV);
    if (strcmp(how, "exit") == 0) _exit(3);
    if (strcmp(how, "abort") == 0) MPI_Abort(MPI_COMM_WORLD, 4);
    if (strcmp(how, "hang") == 0)
      for (;;) pause();
  }
  if (strcmp(how, "stop") == 0) {
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    exit(5);
  }
}

static void hold_if_told(long step) {
  if (step != number("hold", -1) || is_there(place("go.%ld", step))) return;
  leave(place("at.%ld.%d", step, rank));
  while (!is_there(place("go.%ld", step))) rest(5);
}

/* ---- the program ---- */

/*
 * Waits until all ranks have left MPI_Init, without a message: a rank of Open MPI 4.1 dies in MPI_Init, now and then on a busy
 * machine, when a peer that is done with it sends one over TCP. Each launch has its own namespace of PMIx.
 */
static void meet(void) {
  const char *launch = getenv("PMIX_NAMESPACE");
  if (!launch) return;
  leave(place("init.%s.%d", launch, rank));
  for (int other = 0, waits = 0; other < ranks && waits < 2000;) {
    if (is_there(place("init.%s.%d", launch, other))) {
      other++;
    } else {
      rest(5);
      waits++;
    }
  }
}

static int is_due(long step, const char *name) {
  long every = number(name, 0);
  return every > 0 && step % every == 0;
}

static int run(void) {
  uint64_t state = first_state(rank);
  long launch = 1, steps = number("steps", 10);
  FILE *log = fopen(place("log.0"), "r");
  for (char line[2048]; log && rank == 0 && fgets(line, sizeof line, log);) launch += strncmp(line, "LAUNCH", 6) == 0;
  if (log) fclose(log);
  MPI_Bcast(&launch, 1, MPI_LONG, 0, MPI_COMM_WORLD);
  char node[256] = "";
  gethostname(node, sizeof node - 1);
  say("LAUNCH %ld %s", launch, node);

  if (SCR_Init() != SCR_SUCCESS) {
    say("FAILED SCR_Init: %s", SCR_Last_error());
    return 1;
  }
  long step = restart(&state);
  if (step < 0) return 1;
  int stop = 0;
  while (step < steps && !stop) {
    step++;
    hold_if_told(step);
    rest(number("pause_ms", 0));
    state = step_forward(state);
    fail_if_told(step);
    int due = is_due(step, "every");
    if (number("need", 0)) SCR_Need_checkpoint(&due);
    char name[64];
    snprintf(name, sizeof name, "ckpt.%ld", step);
    if (due) write_dataset(name, SCR_FLAG_CHECKPOINT, "SUCCESS", launch, step, state);
    snprintf(name, sizeof name, "out.%ld", step);
    if (is_due(step, "output")) write_dataset(name, SCR_FLAG_OUTPUT, "OUTPUT", launch, step, state);
    SCR_Should_exit(&stop);
    stop = stop && !number("stubborn", 0);
  }
  if (stop && step < steps) {
    say("EXIT %ld", step);
  } else {
    uint64_t sum = 0, part = mix(state ^ (uint64_t)rank);
    MPI_Reduce(&part, &sum, 1, MPI_UINT64_T, MPI_BXOR, 0, MPI_COMM_WORLD);
    FILE *result = rank == 0 ? fopen(place("result"), "w") : NULL;
    if (result) {
      fprintf(result, "%016" PRIx64 " after step %ld\n", sum, step);
      fclose(result);
    }
  }
  if (SCR_Finalize() != SCR_SUCCESS) say("FAILED SCR_Finalize: %s", SCR_Last_error());
  say("END %ld", step);
  return 0;
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  arg_count = argc;
  args = argv;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  meet();
  int status = run();
  MPI_Finalize();
  return status;
}
