/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * SCR_EXIT_SIGNALS=USR1: a signal that one rank receives stops all, and kills nobody, also if the others receive it only
 * after SCR_Finalize (`signals late`); `signals again` and `signals after` must be killed by it.
 */
#include "check.h"
#include <signal.h>

static void asks(int expected)
{
    int flag = 7;
    ANSWERS(SCR_SUCCESS, SCR_Should_exit(&flag));
    CHECK(flag == expected);
    flag = 7;
    ANSWERS(SCR_SUCCESS, SCR_Need_checkpoint(&flag));
    CHECK(flag == expected);
}

int main(int argc, char **argv)
{
    int rank = 0, size = 1;
    const char *what = argc > 1 ? argv[1] : "";
#ifndef WITHOUT_MPI
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
#endif
    for (int life = 0; life < 2; life++) {
        ANSWERS(SCR_SUCCESS, SCR_Init());
        asks(0);
        if (rank == size - 1) {
            raise(SIGUSR1);
            if (strcmp(what, "again") == 0) {
                raise(SIGUSR1);
            }
        }
        asks(1);
        ANSWERS(SCR_SUCCESS, SCR_Finalize());
    }
    /* On its way to the other ranks it may be late. */
    if (strcmp(what, "after") == 0 || (strcmp(what, "late") == 0 && rank != size - 1)) {
        raise(SIGUSR1);
    }
#ifndef WITHOUT_MPI
    MPI_Finalize();
#endif
    return failures != 0;
}
