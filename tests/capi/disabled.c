/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Run with SCR_ENABLE=0: every right call succeeds and changes nothing, every wrong one is still told. */
#include "check.h"

int main(int argc, char **argv)
{
    int flag = 7;
    char text[SCR_MAX_FILENAME] = "as before";

    MPI_Init(&argc, &argv);
    ANSWERS(SCR_SUCCESS, SCR_Init());
    ANSWERS(SCR_E_MISUSE, SCR_Init());

    ANSWERS(SCR_SUCCESS, SCR_Have_restart(&flag, text));
    CHECK(flag == 0 && strcmp(text, "as before") == 0);
    ANSWERS(SCR_SUCCESS, SCR_Have_restart(&flag, NULL));
    ANSWERS(SCR_E_MISUSE, SCR_Have_restart(NULL, text));
    ANSWERS(SCR_E_MISUSE, SCR_Start_restart(text));
    ANSWERS(SCR_E_MISUSE, SCR_Complete_restart(1));

    flag = 7;
    ANSWERS(SCR_SUCCESS, SCR_Need_checkpoint(&flag));
    CHECK(flag == 0);
    ANSWERS(SCR_E_MISUSE, SCR_Need_checkpoint(NULL));
    flag = 7;
    ANSWERS(SCR_SUCCESS, SCR_Should_exit(&flag));
    CHECK(flag == 0);
    ANSWERS(SCR_E_MISUSE, SCR_Should_exit(NULL));

    ANSWERS(SCR_E_MISUSE, SCR_Start_output("a", 4));
    ANSWERS(SCR_E_MISUSE, SCR_Start_output("\xff", SCR_FLAG_NONE));
    ANSWERS(SCR_E_MISUSE, SCR_Complete_output(1)); /* nothing was started */
    ANSWERS(SCR_SUCCESS, SCR_Start_output("a", SCR_FLAG_CHECKPOINT | SCR_FLAG_OUTPUT));
    ANSWERS(SCR_E_MISUSE, SCR_Start_output("b", SCR_FLAG_NONE));
    ANSWERS(SCR_E_MISUSE, SCR_Need_checkpoint(&flag));
    ANSWERS(SCR_E_MISUSE, SCR_Complete_checkpoint(1));
    ANSWERS(SCR_E_MISUSE, SCR_Finalize());
    ANSWERS(SCR_SUCCESS, SCR_Route_file("dir/file", text));
    CHECK(strcmp(text, "dir/file") == 0);
    ANSWERS(SCR_SUCCESS, SCR_Complete_output(1));

    ANSWERS(SCR_SUCCESS, SCR_Start_checkpoint());
    ANSWERS(SCR_E_MISUSE, SCR_Complete_output(1));
    ANSWERS(SCR_SUCCESS, SCR_Complete_checkpoint(1));
    ANSWERS(SCR_SUCCESS, SCR_Start_output(NULL, SCR_FLAG_NONE));
    ANSWERS(SCR_SUCCESS, SCR_Complete_output(1));

    ANSWERS(SCR_SUCCESS, SCR_Current("a"));
    ANSWERS(SCR_SUCCESS, SCR_Drop("a"));
    ANSWERS(SCR_SUCCESS, SCR_Delete("a"));
    ANSWERS(SCR_E_MISUSE, SCR_Current(NULL));
    ANSWERS(SCR_E_MISUSE, SCR_Drop(""));
    ANSWERS(SCR_E_MISUSE, SCR_Delete(NULL));

    CHECK(SCR_Config("SCR_CACHE_SIZE=3") == NULL); /* too late */
    CHECK(SCR_Last_error()[0] != '\0');

    ANSWERS(SCR_SUCCESS, SCR_Finalize());
    ANSWERS(SCR_E_MISUSE, SCR_Finalize());
    MPI_Finalize();
    return failures != 0;
}
