/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A program that ends MPI and leaves SCR open, and then calls it: told so, and never crashed, not at exit either. */
#include "check.h"

int main(int argc, char **argv)
{
    int flag;
    MPI_Init(&argc, &argv);
    ANSWERS(SCR_SUCCESS, SCR_Init());
    MPI_Finalize();
    if (argc > 1) {
        CHECK(SCR_Should_exit(&flag) != SCR_SUCCESS);
        CHECK(SCR_Start_output("late", SCR_FLAG_CHECKPOINT) != SCR_SUCCESS);
        CHECK(SCR_Finalize() != SCR_SUCCESS);
        ANSWERS(SCR_E_MISUSE, SCR_Finalize());
    }
    return failures != 0;
}
