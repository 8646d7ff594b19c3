/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The life of a checkpoint through C: written, offered again by the next launch, refused, gone.
 * `life write` writes a.1 and a.2. `life read` must find a.2, call it bad, and get a.1.
 */
#include "check.h"

static int rank, size = 1;

static void write_checkpoint(const char *name)
{
    char path[64], file[SCR_MAX_FILENAME];
    ANSWERS(SCR_SUCCESS, SCR_Start_output(name, SCR_FLAG_CHECKPOINT));
    ANSWERS(SCR_E_MISUSE, SCR_Start_output(name, SCR_FLAG_CHECKPOINT));
    ANSWERS(SCR_E_MISUSE, SCR_Complete_checkpoint(1));
    snprintf(path, sizeof(path), "%s/rank.%d", name, rank);
    ANSWERS(SCR_SUCCESS, SCR_Route_file(path, file));
    FILE *out = fopen(file, "w");
    CHECK(out != NULL);
    if (out != NULL) {
        fprintf(out, "%s %d\n", name, rank);
        fclose(out);
    }
    int code = SCR_Complete_output(out != NULL);
    CHECK(code == SCR_SUCCESS || code == SCR_E_DEGRADED);
}

static void write_two(void)
{
    int flag = 7;
    ANSWERS(SCR_SUCCESS, SCR_Have_restart(&flag, NULL));
    CHECK(flag == 0);
    ANSWERS(SCR_E_MISUSE, SCR_Start_restart(NULL));
    write_checkpoint("a.1");

    /* One rank says no: an error on all, and a.1 is still there. */
    ANSWERS(SCR_SUCCESS, SCR_Start_output("bad", SCR_FLAG_CHECKPOINT));
    CHECK(SCR_Complete_output(rank != 0) != SCR_SUCCESS);

    /* Names that differ: an error on all ranks, and nothing was started. */
    if (size > 1) {
        CHECK(SCR_Start_output(rank == 0 ? "x" : "y", SCR_FLAG_CHECKPOINT) != SCR_SUCCESS);
        CHECK(SCR_Start_output(rank == 0 ? "\xff" : "y", SCR_FLAG_CHECKPOINT) != SCR_SUCCESS);
    }
    ANSWERS(SCR_E_MISUSE, SCR_Complete_output(1));
    write_checkpoint("a.2");
}

static void read_back(const char *expected, int valid)
{
    int flag = 7;
    char name[SCR_MAX_FILENAME], path[2 * SCR_MAX_FILENAME], file[SCR_MAX_FILENAME], text[64] = "", wanted[64];
    ANSWERS(SCR_SUCCESS, SCR_Have_restart(&flag, name));
    CHECK(flag == 1 && strcmp(name, expected) == 0);
    ANSWERS(SCR_SUCCESS, SCR_Start_restart(name));
    CHECK(strcmp(name, expected) == 0);
    snprintf(path, sizeof(path), "%s/rank.%d", name, rank);
    ANSWERS(SCR_SUCCESS, SCR_Route_file(path, file));
    FILE *in = fopen(file, "r");
    CHECK(in != NULL);
    if (in != NULL) {
        CHECK(fgets(text, sizeof(text), in) != NULL);
        fclose(in);
    }
    snprintf(wanted, sizeof(wanted), "%s %d\n", expected, rank);
    CHECK(strcmp(text, wanted) == 0);
    CHECK((SCR_Complete_restart(valid) == SCR_SUCCESS) == valid);
}

int main(int argc, char **argv)
{
#ifndef WITHOUT_MPI
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
#endif
    ANSWERS(SCR_SUCCESS, SCR_Init());
    if (argc > 1 && strcmp(argv[1], "write") == 0) {
        write_two();
    } else {
        read_back("a.2", 0);
        read_back("a.1", 1);
    }
    ANSWERS(SCR_SUCCESS, SCR_Finalize());
#ifndef WITHOUT_MPI
    MPI_Finalize();
#endif
    return failures != 0;
}
