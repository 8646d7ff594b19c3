/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Two jobs in one launch, and a rank that belongs to none: ranks 0 and 1 are job 0, the next two job 1, the others outside.
 * parts write|read prefix|task: each job has a prefix, or they share one and are tasks of it.
 */
#include "check.h"
#include <scr_mpi.h>
#include <scr_mpi.h> /* twice does no harm */

static int job, rank;

/* bad: rank 0 of the job says that its files are not valid, and the other ranks of the job learn it. */
static void write_checkpoint(const char *name, int bad)
{
    char path[SCR_MAX_FILENAME], file[SCR_MAX_FILENAME] = "";
    ANSWERS(SCR_SUCCESS, SCR_Start_output(name, SCR_FLAG_CHECKPOINT));
    snprintf(path, sizeof(path), "%s/rank.%d", name, rank);
    ANSWERS(SCR_SUCCESS, SCR_Route_file(path, file));
    FILE *out = fopen(file, "w");
    CHECK(out != NULL);
    if (out != NULL) {
        fprintf(out, "job %d rank %d\n", job, rank);
        CHECK(fclose(out) == 0);
    }
    int expected = !bad ? SCR_SUCCESS : rank == 0 ? SCR_E_INVALID : SCR_E_PEER_FAILED;
    ANSWERS(expected, SCR_Complete_output(!bad || rank != 0));
}

static void read_back(const char *expected)
{
    int flag = 7;
    char name[SCR_MAX_FILENAME] = "", path[SCR_MAX_FILENAME + 32], file[SCR_MAX_FILENAME] = "";
    char text[64] = "", wanted[64];
    ANSWERS(SCR_SUCCESS, SCR_Have_restart(&flag, name));
    CHECK(flag == 1 && strcmp(name, expected) == 0);
    ANSWERS(SCR_SUCCESS, SCR_Start_restart(name));
    snprintf(path, sizeof(path), "%s/rank.%d", name, rank);
    ANSWERS(SCR_SUCCESS, SCR_Route_file(path, file));
    FILE *in = fopen(file, "r");
    CHECK(in != NULL);
    if (in != NULL) {
        CHECK(fgets(text, sizeof(text), in) != NULL);
        fclose(in);
    }
    snprintf(wanted, sizeof(wanted), "job %d rank %d\n", job, rank);
    CHECK(strcmp(text, wanted) == 0);
    ANSWERS(SCR_SUCCESS, SCR_Complete_restart(1));
}

/* What is no communicator of ours is refused, and the right one is taken afterwards. */
static void refused(MPI_Comm comm, MPI_Comm world)
{
    MPI_Comm inter;
    ANSWERS(SCR_E_MISUSE, SCR_Init_comm(MPI_COMM_NULL));
    CHECK(strstr(SCR_Last_error(), "MPI_COMM_NULL") != NULL);
    MPI_Intercomm_create(comm, 0, world, job == 0 ? 3 : 1, 5, &inter);
    ANSWERS(SCR_E_MISUSE, SCR_Init_comm(inter));
    CHECK(strstr(SCR_Last_error(), "intercommunicator") != NULL);
    MPI_Comm_free(&inter);
}

int main(int argc, char **argv)
{
    int world_rank;
    MPI_Comm comm;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
    job = world_rank / 2;
    /* The highest rank of the world is the lowest of its job. */
    MPI_Comm_split(MPI_COMM_WORLD, job < 2 ? job : MPI_UNDEFINED, -world_rank, &comm);
    if (comm == MPI_COMM_NULL) {
        ANSWERS(SCR_E_MISUSE, SCR_Init_comm(comm));
    } else {
        refused(comm, MPI_COMM_WORLD);
        MPI_Comm_rank(comm, &rank);
        CHECK(rank == (world_rank % 2 == 0));
        if (argc > 2 && strcmp(argv[2], "task") == 0) {
            CHECK(SCR_Configf("SCR_TASK=%d", job) == NULL);
        } else {
            CHECK(SCR_Configf("SCR_PREFIX=job.%d", job) == NULL);
        }
        ANSWERS(SCR_SUCCESS, SCR_Init_comm(comm));
        ANSWERS(SCR_E_MISUSE, SCR_Init_comm(comm));
        ANSWERS(SCR_E_MISUSE, SCR_Init());
        MPI_Comm_free(&comm);
        /* The jobs make different calls, and different numbers of them: only ranks of one job wait for each other. */
        if (argc > 1 && strcmp(argv[1], "write") == 0) {
            for (int i = 0; i <= 2 * job; i++) {
                char name[32];
                snprintf(name, sizeof(name), "job.%d/step.%d", job, i);
                write_checkpoint(name, 0);
            }
            if (job == 1) {
                write_checkpoint("job.1/bad", 1);
            }
        } else {
            read_back(job == 0 ? "job.0/step.0" : "job.1/step.2");
        }
        ANSWERS(SCR_SUCCESS, SCR_Finalize());
    }
    MPI_Finalize();
    return failures != 0;
}
