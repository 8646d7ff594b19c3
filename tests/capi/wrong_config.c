/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A wrong value makes SCR_Init fail on every rank; once mended, SCR_Init succeeds. */
#include "check.h"

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    GIVES("SCR_ENABLE=0", NULL);

    GIVES("SCR_CACHE_SIZE=many", NULL);
    ANSWERS(SCR_E_CONFIG, SCR_Init());
    CHECK(strstr(SCR_Last_error(), "SCR_CACHE_SIZE") != NULL);
    ANSWERS(SCR_E_MISUSE, SCR_Finalize());
    GIVES("SCR_CACHE_SIZE=2", NULL);

    GIVES("KEY VALUE", NULL);
    ANSWERS(SCR_E_MISUSE, SCR_Init());
    CHECK(strstr(SCR_Last_error(), "KEY VALUE") != NULL);

    ANSWERS(SCR_SUCCESS, SCR_Init());
    ANSWERS(SCR_SUCCESS, SCR_Finalize());

    /* Not the same on every rank. */
    int rank, ranks;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    SCR_Configf("SCR_FLUSH=%d", rank + 1);
    ANSWERS(ranks == 1 ? SCR_SUCCESS : rank == 0 ? SCR_E_PEER_FAILED : SCR_E_MISMATCH, SCR_Init());
    MPI_Finalize();
    return failures != 0;
}
