/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A launch in the prefix of tests/data/scr3. `scr3 ckpt.6 ckpt.2` must be offered ckpt.6, calls it bad, must be offered
 * ckpt.2, goes on from there, and writes a checkpoint of its own.
 */
#include "check.h"

static int rank;

/* Reads this rank's file and compares every byte with what SCR's application had written. */
static void read_file(const char *name, int number)
{
    char path[2 * SCR_MAX_FILENAME], file[SCR_MAX_FILENAME];
    snprintf(path, sizeof(path), "%s/rank_%d", name, rank);
    ANSWERS(SCR_SUCCESS, SCR_Route_file(path, file));
    FILE *in = fopen(file, "rb");
    CHECK(in != NULL);
    if (in != NULL) {
        int byte, count = 0, wrong = 0;
        while ((byte = fgetc(in)) != EOF) {
            wrong += byte != number * 16 + rank;
            count++;
        }
        fclose(in);
        CHECK(wrong == 0 && count == 100 + rank);
    }
}

static void restart_from(const char *expected, int valid)
{
    int flag = 7;
    char name[SCR_MAX_FILENAME];
    ANSWERS(SCR_SUCCESS, SCR_Have_restart(&flag, name));
    CHECK(flag == 1 && strcmp(name, expected) == 0);
    ANSWERS(SCR_SUCCESS, SCR_Start_restart(name));
    if (strncmp(expected, "ckpt.", 5) == 0) {
        read_file(expected, atoi(expected + 5));
    }
    CHECK((SCR_Complete_restart(valid) == SCR_SUCCESS) == valid);
}

int main(int argc, char **argv)
{
    char path[64], file[SCR_MAX_FILENAME];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    ANSWERS(SCR_SUCCESS, SCR_Init());
    for (int i = 1; i < argc; i++) {
        restart_from(argv[i], i == argc - 1);
    }
    ANSWERS(SCR_SUCCESS, SCR_Start_output("ours", SCR_FLAG_CHECKPOINT));
    snprintf(path, sizeof(path), "ours/rank_%d", rank);
    ANSWERS(SCR_SUCCESS, SCR_Route_file(path, file));
    FILE *out = fopen(file, "w");
    CHECK(out != NULL && fputs("ours", out) >= 0 && fclose(out) == 0);
    ANSWERS(SCR_SUCCESS, SCR_Complete_output(1));
    ANSWERS(SCR_SUCCESS, SCR_Finalize());
    MPI_Finalize();
    return failures != 0;
}
