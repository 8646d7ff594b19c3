/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Every wrong call that needs no session: answered with a code, nothing written, nothing crashed. */
#include "check.h"

/* All calls that need SCR_Init, where it was not called or SCR was ended. */
static void calls_without_init(void)
{
    int flag = 7;
    char name[SCR_MAX_FILENAME] = "as before";
    ANSWERS(SCR_E_MISUSE, SCR_Finalize());
    ANSWERS(SCR_E_MISUSE, SCR_Need_checkpoint(&flag));
    ANSWERS(SCR_E_MISUSE, SCR_Should_exit(&flag));
    CHECK(flag == 7);
    ANSWERS(SCR_E_MISUSE, SCR_Have_restart(&flag, name));
    CHECK(flag == 0); /* the one output that is written on error */
    ANSWERS(SCR_E_MISUSE, SCR_Start_restart(name));
    CHECK(strcmp(name, "as before") == 0);
    ANSWERS(SCR_E_MISUSE, SCR_Complete_restart(1));
    ANSWERS(SCR_E_MISUSE, SCR_Start_output("a", SCR_FLAG_CHECKPOINT));
    ANSWERS(SCR_E_MISUSE, SCR_Complete_output(1));
    ANSWERS(SCR_E_MISUSE, SCR_Start_checkpoint());
    ANSWERS(SCR_E_MISUSE, SCR_Complete_checkpoint(1));
    ANSWERS(SCR_E_MISUSE, SCR_Current("a"));
    ANSWERS(SCR_E_MISUSE, SCR_Drop("a"));
    ANSWERS(SCR_E_MISUSE, SCR_Delete("a"));
    ANSWERS(SCR_E_MISUSE, SCR_Need_checkpoint(NULL));
    ANSWERS(SCR_E_MISUSE, SCR_Should_exit(NULL));
    ANSWERS(SCR_E_MISUSE, SCR_Have_restart(NULL, NULL));
    ANSWERS(SCR_E_MISUSE, SCR_Start_restart(NULL));
    ANSWERS(SCR_E_MISUSE, SCR_Start_output(NULL, -1));
    ANSWERS(SCR_E_MISUSE, SCR_Current(NULL));
    ANSWERS(SCR_E_MISUSE, SCR_Drop(NULL));
    ANSWERS(SCR_E_MISUSE, SCR_Delete(NULL));
}

/* Outside any phase SCR_Route_file copies the name, before SCR_Init too. */
static void route_copies(void)
{
    char file[SCR_MAX_FILENAME] = "as before";
    char just[SCR_MAX_FILENAME], too_long[SCR_MAX_FILENAME + 1];
    memset(just, 'x', sizeof(just));
    just[sizeof(just) - 1] = '\0';
    memset(too_long, 'x', sizeof(too_long));
    too_long[sizeof(too_long) - 1] = '\0';

    ANSWERS(SCR_E_MISUSE, SCR_Route_file(NULL, file));
    ANSWERS(SCR_E_MISUSE, SCR_Route_file("", file));
    ANSWERS(SCR_E_MISUSE, SCR_Route_file(too_long, file));
    CHECK(strcmp(file, "as before") == 0);
    ANSWERS(SCR_E_MISUSE, SCR_Route_file("a", NULL));
    ANSWERS(SCR_E_MISUSE, SCR_Route_file(NULL, NULL));
    ANSWERS(SCR_SUCCESS, SCR_Route_file(just, file));
    CHECK(strcmp(file, just) == 0);
    ANSWERS(SCR_SUCCESS, SCR_Route_file("../a//b \xff", file));
    CHECK(strcmp(file, "../a//b \xff") == 0);
    ANSWERS(SCR_SUCCESS, SCR_Route_file(file, file));
    CHECK(strcmp(file, "../a//b \xff") == 0);
}

int main(int argc, char **argv)
{
    CHECK(strcmp(SCR_Get_version(), SCR_VERSION) == 0);
    CHECK(strcmp(SCR_VERSION, "v" SCR_MAJOR_VERSION "." SCR_MINOR_VERSION "." SCR_PATCH_VERSION) == 0);
    CHECK(strcmp(SCR_Strerror(SCR_SUCCESS), "success") == 0);
    CHECK(strcmp(SCR_Strerror(-1), "unknown code") == 0);
    for (int code = SCR_E_MISUSE; code <= SCR_E_TIMEOUT; code++) {
        CHECK(strcmp(SCR_Strerror(code), "unknown code") != 0);
    }
    CHECK(SCR_Last_error()[0] == '\0');

    calls_without_init();
    route_copies();
    ANSWERS(SCR_E_MISUSE, SCR_Init()); /* MPI is not there yet */
    calls_without_init();

    MPI_Init(&argc, &argv);
    calls_without_init();
    route_copies();
    MPI_Finalize();

    ANSWERS(SCR_E_MISUSE, SCR_Init()); /* MPI is gone */
    calls_without_init();
    return failures != 0;
}
