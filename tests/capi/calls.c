/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Every function in every state: prints what each answers and which state follows, as a table that is committed
 * (calls.txt, and calls_disabled.txt for SCR_ENABLE=0). `calls write` leaves the checkpoint that `calls table` reads;
 * a third argument starts SCR with SCR_Init_comm instead, which must make no difference.
 */
#include "check.h"
#ifndef WITHOUT_MPI
#include <scr_mpi.h>
#endif

/* OFFERED is IDLE after SCR_Have_restart found something. RESTART comes before what makes newer checkpoints. */
enum state { OFF, IDLE, OFFERED, RESTART, OUTPUT, CHECKPOINT, FINALIZED, STATES };
static const char *const STATE[] = {"OFF", "IDLE", "OFFERED", "RESTART", "OUTPUT", "CHECKPOINT", "FINALIZED"};

static const char *const CODE[] = {"ok", "misuse", "config", "mismatch", "peer", "io", "no-space", "corrupt",
                                   "not-found", "refused", "lost", "invalid", "degraded", "communication", "timeout"};

static int by_comm, rank;

/* For functions that return no code: whether there is a message. */
static int told(void)
{
    return SCR_Last_error()[0] == '\0' ? SCR_SUCCESS : SCR_E_MISUSE;
}

static int call_init(void)
{
#ifndef WITHOUT_MPI
    if (by_comm) {
        return SCR_Init_comm(MPI_COMM_WORLD);
    }
#endif
    return SCR_Init();
}

static int call_set(void)
{
    free((void *)SCR_Config("SCR_JOB_NAME=table"));
    return told();
}

static int call_setf(void)
{
    free((void *)SCR_Configf("SCR_JOB_NAME=%s", "table"));
    return told();
}

static int call_ask(void)
{
    free((void *)SCR_Config("SCR_FLUSH"));
    return told();
}

static int call_need(void)
{
    int flag;
    return SCR_Need_checkpoint(&flag);
}

static int call_exit(void)
{
    int flag;
    return SCR_Should_exit(&flag);
}

static int call_have(void)
{
    int flag;
    return SCR_Have_restart(&flag, NULL);
}

static int call_start_output(void)
{
    return SCR_Start_output(NULL, SCR_FLAG_OUTPUT);
}

static int call_route(void)
{
    char name[64], file[SCR_MAX_FILENAME];
    sprintf(name, "file.%d", rank);
    return SCR_Route_file(name, file);
}

static int call_complete_output(void)
{
    return SCR_Complete_output(1);
}

static int call_complete_checkpoint(void)
{
    return SCR_Complete_checkpoint(1);
}

static int call_start_restart(void)
{
    return SCR_Start_restart(NULL);
}

static int call_complete_restart(void)
{
    return SCR_Complete_restart(1);
}

static int call_current(void)
{
    return SCR_Current("kept");
}

static int call_drop(void)
{
    return SCR_Drop("none");
}

static int call_delete(void)
{
    return SCR_Delete("none");
}

static int call_version(void)
{
    return SCR_Get_version() == NULL;
}

static int call_strerror(void)
{
    return SCR_Strerror(SCR_E_IO) == NULL;
}

static int call_last_error(void)
{
    return SCR_Last_error() == NULL;
}

/* SCR_Init is the last: until it was called, OFF is not FINALIZED. */
static const struct {
    const char *name;
    int (*call)(void);
} CALLS[] = {
    {"Finalize", SCR_Finalize},
    {"Config (set)", call_set},
    {"Configf (set)", call_setf},
    {"Config (ask)", call_ask},
    {"Need_checkpoint", call_need},
    {"Should_exit", call_exit},
    {"Have_restart", call_have},
    {"Start_restart", call_start_restart},
    {"Complete_restart", call_complete_restart},
    {"Start_output", call_start_output},
    {"Complete_output", call_complete_output},
    {"Start_checkpoint", SCR_Start_checkpoint},
    {"Complete_checkpoint", call_complete_checkpoint},
    {"Route_file", call_route},
    {"Current", call_current},
    {"Drop", call_drop},
    {"Delete", call_delete},
    {"Get_version", call_version},
    {"Strerror", call_strerror},
    {"Last_error", call_last_error},
    {"Init", call_init},
};
enum { CALLED = sizeof(CALLS) / sizeof(CALLS[0]) };

/* From before SCR_Init to a state; 0 where there is no way to it. */
static int reach(enum state state)
{
    int flag = 0;
    if (state == OFF) {
        return 1;
    }
    ANSWERS(SCR_SUCCESS, call_init());
    switch (state) {
    case OFFERED:
    case RESTART:
        ANSWERS(SCR_SUCCESS, SCR_Have_restart(&flag, NULL));
        if (flag && state == RESTART) {
            ANSWERS(SCR_SUCCESS, SCR_Start_restart(NULL));
        } else if (!flag) {
            ANSWERS(SCR_SUCCESS, SCR_Finalize());
        }
        return flag;
    case OUTPUT:
        ANSWERS(SCR_SUCCESS, SCR_Start_output(NULL, SCR_FLAG_OUTPUT));
        return 1;
    case CHECKPOINT:
        ANSWERS(SCR_SUCCESS, SCR_Start_checkpoint());
        return 1;
    case FINALIZED:
        ANSWERS(SCR_SUCCESS, SCR_Finalize());
        return 1;
    default:
        return 1;
    }
}

/* Which state it is, told by what is missing to finalize; ends it. */
static enum state leave(void)
{
    static const struct {
        const char *missing;
        enum state state;
        int (*complete)(int);
    } HINTS[] = {
        {"SCR_Complete_output()", OUTPUT, SCR_Complete_output},
        {"SCR_Complete_checkpoint()", CHECKPOINT, SCR_Complete_checkpoint},
        {"SCR_Complete_restart()", RESTART, SCR_Complete_restart},
    };
    if (SCR_Finalize() == SCR_SUCCESS) {
        return IDLE;
    }
    for (size_t i = 0; i < sizeof(HINTS) / sizeof(HINTS[0]); i++) {
        if (strstr(SCR_Last_error(), HINTS[i].missing) != NULL) {
            /* What was begun to see whether it begins is worth nothing; what was read is good. */
            (void)HINTS[i].complete(HINTS[i].state == RESTART);
            ANSWERS(SCR_SUCCESS, SCR_Finalize());
            return HINTS[i].state;
        }
    }
    CHECK(strstr(SCR_Last_error(), "SCR_Init()") != NULL);
    return OFF;
}

static void fill(char cell[32], enum state state, int called)
{
    if (!reach(state)) {
        strcpy(cell, "-");
        return;
    }
    int code = CALLS[called].call();
    CHECK(code >= SCR_SUCCESS && code <= SCR_E_TIMEOUT);
    enum state next = leave();
    enum state before = state == OFFERED ? IDLE : state == FINALIZED ? OFF : state;
    if (next == before) {
        strcpy(cell, CODE[code]);
    } else {
        sprintf(cell, "%s>%s", CODE[code], STATE[next]);
    }
}

static void print_table(FILE *out)
{
    static char cells[CALLED][STATES][32];
    for (int state = OFF; state < STATES; state++) {
        for (int called = 0; called < CALLED; called++) {
            fill(cells[called][state], (enum state)state, called);
        }
    }
    fprintf(out, "%-20s", "SCR_");
    for (int state = OFF; state < STATES; state++) {
        fprintf(out, state + 1 < STATES ? "%-15s" : "%s\n", STATE[state]);
    }
    for (int called = 0; called < CALLED; called++) {
        fprintf(out, "%-20s", CALLS[called].name);
        for (int state = OFF; state < STATES; state++) {
            fprintf(out, state + 1 < STATES ? "%-15s" : "%s\n", cells[called][state]);
        }
    }
}

static void write_checkpoint(void)
{
    char name[64], file[SCR_MAX_FILENAME] = "";
    ANSWERS(SCR_SUCCESS, call_init());
    ANSWERS(SCR_SUCCESS, SCR_Start_output("kept", SCR_FLAG_CHECKPOINT));
    sprintf(name, "file.%d", rank);
    ANSWERS(SCR_SUCCESS, SCR_Route_file(name, file));
    FILE *out = fopen(file, "w");
    CHECK(out != NULL && fputs("kept\n", out) >= 0 && fclose(out) == 0);
    ANSWERS(SCR_SUCCESS, SCR_Complete_output(1));
    ANSWERS(SCR_SUCCESS, SCR_Finalize());
}

int main(int argc, char **argv)
{
#ifndef WITHOUT_MPI
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
#endif
    by_comm = argc > 2;
    if (argc > 1 && strcmp(argv[1], "write") == 0) {
        write_checkpoint();
    } else {
        char name[32];
        sprintf(name, "table.%d", rank);
        FILE *out = fopen(name, "w");
        CHECK(out != NULL);
        if (out != NULL) {
            print_table(out);
            CHECK(fclose(out) == 0);
        }
    }
#ifndef WITHOUT_MPI
    MPI_Finalize();
#endif
    return failures != 0;
}
