/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* SCR_Config and SCR_Configf: what SCR's own tests of them expect. Run with SCR_CACHE_SIZE=5 in the environment. */
#include "check.h"

int main(void)
{
    GIVES(NULL, NULL);
    GIVES("", NULL);

    GIVES("DEBUG", NULL);
    GIVES("SCR_DEBUG=1", NULL);
    GIVES("SCR_DEBUG", "1");
    GIVES("SCR_DEBUG =2", NULL);
    GIVES("SCR_DEBUG", "2");
    GIVES("SCR_DEBUG  = 3", NULL);
    GIVES("SCR_DEBUG", "3");
    GIVES("SCR_DEBUG=", NULL);

    GIVES("STORE= /dev/shm/foo GROUP = NODE COUNT  =1", NULL);
    GIVES("STORE= /dev/shm/foo COUNT", "1");
    GIVES("STORE= /dev/shm/foo GROUP", "NODE");
    GIVES("STORE", "/dev/shm/foo");
    GIVES("STORE=/dev/shm/bar COUNT=2", NULL);
    GIVES("STORE", NULL); /* two of them */
    GIVES("STORE=/dev/shm/bar COUNT", "2");
    GIVES("STORE=", NULL);
    GIVES("STORE=/dev/shm/bar COUNT", NULL);

    GIVES("SCR_CACHE_SIZE=3", NULL);
    GIVES("SCR_CACHE_SIZE", "5"); /* the environment is stronger */
    GIVES("SCR_JOB_NAME==/x", NULL);
    GIVES("SCR_JOB_NAME", "=/x");

    CHECK(SCR_Configf("SCR_%s=%d", "FLUSH", 7) == NULL);
    GIVES("SCR_FLUSH", "7");
    CHECK(SCR_Configf("SCR_CHECKPOINT_OVERHEAD=%.1f", 2.5) == NULL);
    GIVES("SCR_CHECKPOINT_OVERHEAD", "2.5");
    CHECK(SCR_Configf("CKPT=%d INTERVAL=%d GROUP=%s STORE=%s TYPE=%s SET_SIZE=%d SET_FAILURES=%ld", 1, 10,
                      "NODE", "/dev/shm", "RS", 8, 3L) == NULL);
    GIVES("CKPT=1 SET_FAILURES", "3");

    /* A text that is not of any form is remembered: SCR_Last_error says so now, SCR_Init will fail for it. */
    GIVES("KEY VALUE", NULL);
    CHECK(SCR_Last_error()[0] != '\0');
    return failures != 0;
}
