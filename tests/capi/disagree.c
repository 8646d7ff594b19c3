/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Calls that are wrong on one rank only, or differ from rank to rank: an error on every rank, the same one where it was seen
 * and SCR_E_PEER_FAILED elsewhere, nothing begun, and nobody waits. For at least 2 ranks.
 * `disagree config N` does so before SCR_Init.
 */
#include "check.h"

static int rank, size;

/* The call fails on all ranks: with this code, or because it failed on another. */
static void fails(int expected, int code, int line)
{
    int counts[3] = {code == expected, code == SCR_E_PEER_FAILED, code == SCR_SUCCESS}, sums[3];
    CHECK(SCR_Last_error()[0] != '\0');
    MPI_Allreduce(counts, sums, 3, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (sums[0] == 0 || sums[0] + sums[1] != size || sums[2] != 0) {
        fprintf(stderr, "line %d: rank %d got %d, expected %d or a peer's; last error: %s\n", line, rank, code,
                expected, SCR_Last_error());
        failures++;
    }
}
#define FAILS(expected, call) fails(expected, call, __LINE__)

/* A name of so many bytes. */
static const char *name_of(size_t length)
{
    static char name[6000];
    memset(name, 'x', length);
    name[length] = '\0';
    return name;
}

static void nothing_is_open(void)
{
    ANSWERS(SCR_E_MISUSE, SCR_Complete_output(1));
    ANSWERS(SCR_E_MISUSE, SCR_Complete_checkpoint(1));
    ANSWERS(SCR_E_MISUSE, SCR_Complete_restart(1));
}

static void start_output(int odd)
{
    FAILS(SCR_E_MISMATCH, SCR_Start_output(odd ? "a" : "b", SCR_FLAG_CHECKPOINT));
    FAILS(SCR_E_MISMATCH, SCR_Start_output(odd ? "a" : NULL, SCR_FLAG_CHECKPOINT));
    FAILS(SCR_E_MISMATCH, SCR_Start_output("a", odd ? SCR_FLAG_CHECKPOINT : SCR_FLAG_OUTPUT));
    FAILS(SCR_E_MISUSE, SCR_Start_output("a", odd ? 4 : SCR_FLAG_OUTPUT));
    FAILS(SCR_E_MISUSE, SCR_Start_output("a", odd ? -1 : SCR_FLAG_OUTPUT));
    FAILS(SCR_E_MISUSE, SCR_Start_output(odd ? "\xff" : "a", SCR_FLAG_CHECKPOINT));
    FAILS(SCR_E_MISUSE, SCR_Start_output(odd ? name_of(1024) : "a", SCR_FLAG_CHECKPOINT));
    FAILS(SCR_E_MISUSE, SCR_Start_output(odd ? name_of(5000) : "a", SCR_FLAG_CHECKPOINT));
    FAILS(SCR_E_MISUSE, SCR_Start_output(name_of(5000), SCR_FLAG_CHECKPOINT));
    nothing_is_open();
}

static void names(int odd)
{
    int (*const calls[])(const char *) = {SCR_Current, SCR_Drop, SCR_Delete};
    for (int i = 0; i < 3; i++) {
        FAILS(SCR_E_MISMATCH, calls[i](odd ? "here" : "there"));
        FAILS(SCR_E_MISUSE, calls[i](odd ? NULL : "here"));
        FAILS(SCR_E_MISUSE, calls[i](odd ? "" : "here"));
        FAILS(SCR_E_MISUSE, calls[i](odd ? "\xff" : "here"));
        FAILS(SCR_E_MISUSE, calls[i](odd ? name_of(1024) : "here"));
        FAILS(SCR_E_MISUSE, calls[i](name_of(5000)));
        FAILS(SCR_E_MISUSE, calls[i](NULL));
    }
    for (int i = 1; i < 3; i++) {
        FAILS(SCR_E_NOT_FOUND, calls[i]("no such dataset"));
        FAILS(SCR_E_NOT_FOUND, calls[i](name_of(1023)));
    }
}

static void flags(int odd)
{
    int flag = 7;
    char name[SCR_MAX_FILENAME] = "as before";
    FAILS(SCR_E_MISUSE, SCR_Need_checkpoint(odd ? NULL : &flag));
    FAILS(SCR_E_MISUSE, SCR_Should_exit(odd ? NULL : &flag));
    CHECK(flag == 7);
    FAILS(SCR_E_MISUSE, SCR_Have_restart(odd ? NULL : &flag, name));
    CHECK(flag == (odd ? 7 : 0) && strcmp(name, "as before") == 0);
    FAILS(SCR_E_MISUSE, SCR_Start_restart(name));
    nothing_is_open();
}

/* What SCR_Route_file refuses is refused on this rank only, and the dataset can go on. */
static void routes(void)
{
    static char longest[SCR_MAX_FILENAME];
    char file[SCR_MAX_FILENAME] = "as before", own[64];
    const char *const outside[] = {"../a", "/a", "/tmp/a", "x/../../a", "/", ".", "..", "x/..", "/../a"};
    memset(longest, 'x', sizeof(longest) - 1);

    ANSWERS(SCR_SUCCESS, SCR_Start_output("routes", SCR_FLAG_CHECKPOINT));
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        ANSWERS(SCR_E_MISUSE, SCR_Route_file(outside[i], file));
    }
    ANSWERS(SCR_E_MISUSE, SCR_Route_file(NULL, file));
    ANSWERS(SCR_E_MISUSE, SCR_Route_file("", file));
    ANSWERS(SCR_E_MISUSE, SCR_Route_file(longest, file)); /* fits, but not what it becomes */
    ANSWERS(SCR_E_MISUSE, SCR_Route_file(name_of(1024), file));
    ANSWERS(SCR_E_MISUSE, SCR_Route_file(name_of(5000), file));
    CHECK(strcmp(file, "as before") == 0);
    sprintf(own, "\xff.%d", rank); /* files may be called anything */
    ANSWERS(SCR_SUCCESS, SCR_Route_file(own, file));
    FILE *out = fopen(file, "w");
    CHECK(out != NULL && fputs("x", out) >= 0 && fclose(out) == 0);
    ANSWERS(SCR_SUCCESS, SCR_Complete_output(1));

    /* One rank has not written what it said. */
    sprintf(own, "missing.%d", rank);
    ANSWERS(SCR_SUCCESS, SCR_Start_output("missing", SCR_FLAG_CHECKPOINT));
    if (rank == size - 1) {
        ANSWERS(SCR_SUCCESS, SCR_Route_file(own, file));
    }
    FAILS(SCR_E_NOT_FOUND, SCR_Complete_output(1));
    nothing_is_open();
}

/* A NULL where a file was asked for, after all was routed. */
static void null_buffer(void)
{
    ANSWERS(SCR_SUCCESS, SCR_Start_output("buffer", SCR_FLAG_CHECKPOINT));
    ANSWERS(SCR_E_MISUSE, SCR_Route_file(NULL, NULL));
    ANSWERS(SCR_SUCCESS, SCR_Complete_output(1));
}

static void said(const char *config)
{
    free((void *)SCR_Config(config));
}

/* Different settings: SCR_Init fails on every rank. */
static void settings(int way, int odd)
{
    int expected = SCR_E_MISMATCH;
    switch (way) {
    case 0:
        said(odd ? "SCR_FLUSH=3" : "SCR_FLUSH=4");
        break;
    case 1:
        if (odd) {
            said("SCR_FLUSH=3");
        }
        break;
    case 2:
        said(odd ? "SCR_FLUSH=3" : "SCR_CACHE_SIZE=3");
        break;
    case 3:
        said(odd ? "NO FORM" : "SCR_CACHE_SIZE=3");
        expected = SCR_E_MISUSE;
        break;
    case 4:
        said(odd ? "SCR_JOB_NAME=\xff" : "SCR_JOB_NAME=a");
        break;
    case 5: {
        char text[7000];
        sprintf(text, "SCR_JOB_NAME=%s", name_of(odd ? 5000 : 4999));
        said(text);
        break;
    }
    default:
        said("SCR_FLUSH=many");
        expected = SCR_E_CONFIG;
    }
    FAILS(expected, SCR_Init());
    FAILS(SCR_E_MISUSE, SCR_Finalize());
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    /* The last rank differs, then the first: neither may be trusted more than the other. */
    if (argc > 2) {
        settings(atoi(argv[2]), rank == (argc > 3 ? 0 : size - 1));
    } else {
        ANSWERS(SCR_SUCCESS, SCR_Init());
        for (int other = size - 1; other >= 0; other -= size - 1) {
            start_output(rank == other);
            names(rank == other);
            flags(rank == other);
        }
        routes();
        null_buffer();
        ANSWERS(SCR_SUCCESS, SCR_Finalize());
        ANSWERS(SCR_E_MISUSE, SCR_Finalize());
    }
    MPI_Finalize();
    return failures != 0;
}
