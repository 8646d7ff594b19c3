/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The routines for Fortran, called as compilers call them. LENGTH is the type of hidden lengths: int, size_t, or a wide one
 * whose high half is dirty, which is what an int may look like in a register. NAME(x) is x, or x with an underscore.
 */
#include "check.h"

#include <malloc.h>
#include <stddef.h>

#ifdef DIRTY
#define LENGTH unsigned long
#define LEN(n) (0xdeadbeef00000000ul | (n))
#else
#define LEN(n) ((LENGTH)(n))
#endif

void NAME(scr_init)(int *ierror);
void NAME(scr_init_comm)(const int *comm, int *ierror);
void NAME(scr_finalize)(int *ierror);
void NAME(scr_config)(const char *config, char *value, int *ierror, LENGTH, LENGTH);
void NAME(scr_need_checkpoint)(int *flag, int *ierror);
void NAME(scr_start_output)(const char *name, const int *flags, int *ierror, LENGTH);
void NAME(scr_route_file)(const char *name, char *file, int *ierror, LENGTH, LENGTH);
void NAME(scr_complete_output)(const int *valid, int *ierror);
void NAME(scr_have_restart)(int *flag, char *name, int *ierror, LENGTH);
void NAME(scr_start_restart)(char *name, int *ierror, LENGTH);
void NAME(scr_complete_restart)(const int *valid, int *ierror);
void NAME(scr_should_exit)(int *flag, int *ierror);
void NAME(scr_current)(const char *name, int *ierror, LENGTH);
void NAME(scr_drop)(const char *name, int *ierror, LENGTH);
void NAME(scr_delete)(const char *name, int *ierror, LENGTH);
void NAME(scr_get_version)(char *version, int *ierror, LENGTH);
void NAME(scr_strerror)(const int *code, char *words, int *ierror, LENGTH);
void NAME(scr_last_error)(char *message, int *ierror, LENGTH);
void NAME(scr_start_checkpoint)(int *ierror);
void NAME(scr_complete_checkpoint)(const int *valid, int *ierror);

static int ierror;
static char text[64];

/* The call gives this code. */
#define GIVES_CODE(expected, call)                                                                \
    do {                                                                                          \
        ierror = -7;                                                                              \
        call;                                                                                     \
        if (ierror != (expected)) {                                                               \
            fprintf(stderr, "%s:%d: %s is %d, not %s; last error: %s\n", __FILE__, __LINE__, #call, \
                    ierror, #expected, SCR_Last_error());                                         \
            failures++;                                                                           \
        }                                                                                         \
    } while (0)

static void mark(void)
{
    memset(text, '#', sizeof(text));
}

/* text is this, then blanks up to room, then as it was. */
static int is_padded(const char *expected, size_t room)
{
    size_t length = strlen(expected);
    for (size_t i = 0; i < sizeof(text); i++) {
        char wanted = i < length ? expected[i] : i < room ? ' ' : '#';
        if (text[i] != wanted) {
            fprintf(stderr, "\"%.*s\" is not \"%s\" in %zu\n", (int)sizeof(text), text, expected, room);
            return 0;
        }
    }
    return 1;
}

static void texts(void)
{
    mark();
    GIVES_CODE(SCR_SUCCESS, NAME(scr_route_file)("dir/a   ???", text, &ierror, LEN(8), LEN(40)));
    CHECK(is_padded("dir/a", 40));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_route_file)(text, text, &ierror, LEN(40), LEN(50)));
    CHECK(is_padded("dir/a", 50));
    mark();
    GIVES_CODE(SCR_SUCCESS, NAME(scr_route_file)("dir/a", text, &ierror, LEN(5), LEN(5)));
    CHECK(is_padded("dir/a", 5));
    mark();
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_route_file)("dir/a", text, &ierror, LEN(5), LEN(4)));
    CHECK(is_padded("", 0));
    CHECK(strstr(SCR_Last_error(), "CHARACTER(4)") != NULL);
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_route_file)("     ", text, &ierror, LEN(5), LEN(40)));
    CHECK(is_padded("", 0));

    GIVES_CODE(SCR_SUCCESS, NAME(scr_get_version)(text, &ierror, LEN(20)));
    CHECK(is_padded(SCR_VERSION, 20));
    mark();
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_get_version)(text, &ierror, LEN(5)));
    CHECK(is_padded("", 0));

    int code = SCR_SUCCESS;
    GIVES_CODE(SCR_SUCCESS, NAME(scr_strerror)(&code, text, &ierror, LEN(20)));
    CHECK(is_padded("success", 20));
}

static void config(void)
{
    mark();
    GIVES_CODE(SCR_SUCCESS, NAME(scr_config)("SCR_JOB_NAME=heat  ", text, &ierror, LEN(19), LEN(30)));
    CHECK(is_padded("", 30));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_config)("SCR_JOB_NAME", text, &ierror, LEN(12), LEN(30)));
    CHECK(is_padded("heat", 30));
    mark();
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_config)("SCR_JOB_NAME", text, &ierror, LEN(12), LEN(3)));
    CHECK(is_padded("", 0));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_config)("SCR_JOB_NAME=", text, &ierror, LEN(13), LEN(30)));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_config)("SCR_JOB_NAME", text, &ierror, LEN(12), LEN(30)));
    CHECK(is_padded("", 30));

    /* What is asked for is not left behind on the heap. */
    char large[1000], value[1000];
    memset(large, 'x', sizeof(large));
    memcpy(large, "SCR_JOB_NAME=", 13);
    GIVES_CODE(SCR_SUCCESS, NAME(scr_config)(large, value, &ierror, LEN(sizeof(large)), LEN(sizeof(value))));
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 500; i++) {
        NAME(scr_config)("SCR_JOB_NAME", value, &ierror, LEN(12), LEN(sizeof(value)));
    }
    CHECK(memcmp(value, large + 13, sizeof(large) - 13) == 0);
    CHECK(mallinfo2().uordblks < before + 256 * 1024);
}

static void without_init(void)
{
    int flag = 7, one = 1, flags = SCR_FLAG_CHECKPOINT;
    mark();
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_finalize)(&ierror));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_need_checkpoint)(&flag, &ierror));
    CHECK(flag == 0);
    flag = 7;
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_should_exit)(&flag, &ierror));
    CHECK(flag == 0);
    flag = 7;
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_have_restart)(&flag, text, &ierror, LEN(64)));
    CHECK(flag == 0);
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_start_restart)(text, &ierror, LEN(64)));
    CHECK(is_padded("", 0));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_complete_restart)(&one, &ierror));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_start_output)("a", &flags, &ierror, LEN(1)));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_complete_output)(&one, &ierror));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_start_checkpoint)(&ierror));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_complete_checkpoint)(&one, &ierror));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_current)("a", &ierror, LEN(1)));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_drop)("a", &ierror, LEN(1)));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_delete)("a", &ierror, LEN(1)));

    char sentence[200];
    GIVES_CODE(SCR_SUCCESS, NAME(scr_last_error)(sentence, &ierror, LEN(sizeof(sentence))));
    CHECK(strncmp(sentence, "SCR_Delete: ", 12) == 0 && sentence[199] == ' ');
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_last_error)(text, &ierror, LEN(10)));
    CHECK(is_padded("SCR_Delete", 10));
}

/* A dataset of which each rank writes one file. */
static void write_checkpoint(const char *name, int rank)
{
    int flags = SCR_FLAG_CHECKPOINT, one = 1;
    char own[32], file[SCR_MAX_FILENAME + 1] = "";
    snprintf(own, sizeof(own), "%s/rank.%-10d", name, rank);
    GIVES_CODE(SCR_SUCCESS, NAME(scr_start_output)(name, &flags, &ierror, LEN(strlen(name))));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_route_file)(own, file, &ierror, LEN(strlen(own)), LEN(SCR_MAX_FILENAME)));
    *strchr(file, ' ') = '\0';
    FILE *out = fopen(file, "w");
    CHECK(out != NULL && fclose(out) == 0);
    GIVES_CODE(SCR_SUCCESS, NAME(scr_complete_output)(&one, &ierror));
}

/* What is wrong on one of two ranks is an error on both, and begins nothing on either. */
static void differ(int rank)
{
    for (int odd = 0; odd < 2; odd++) {
        int expected = rank == odd ? SCR_E_MISUSE : SCR_E_PEER_FAILED, room = rank == odd ? 2 : 20;
        int flag = 7, one = 1, *place = rank == odd ? NULL : &flag;
        mark();
        GIVES_CODE(expected, NAME(scr_have_restart)(&flag, text, &ierror, LEN(room)));
        CHECK(flag == 0 && is_padded("", 0));
        GIVES_CODE(expected, NAME(scr_have_restart)(place, text, &ierror, LEN(20)));
        GIVES_CODE(expected, NAME(scr_start_restart)(text, &ierror, LEN(room)));
        CHECK(is_padded("", 0));
        GIVES_CODE(SCR_E_MISUSE, NAME(scr_complete_restart)(&one, &ierror));
        GIVES_CODE(expected, NAME(scr_need_checkpoint)(place, &ierror));
        GIVES_CODE(expected, NAME(scr_should_exit)(place, &ierror));
    }
}

int main(int argc, char **argv)
{
    int rank, flag = 7, one = 1, zero = 0;
    texts();
    config();
    without_init();
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);

    GIVES_CODE(SCR_SUCCESS, NAME(scr_init)(&ierror));
    mark();
    GIVES_CODE(SCR_SUCCESS, NAME(scr_have_restart)(&flag, text, &ierror, LEN(20)));
    CHECK(flag == 0 && is_padded("", 0));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_need_checkpoint)(&flag, &ierror));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_should_exit)(&flag, &ierror));
    CHECK(flag == 0);
    write_checkpoint("one", rank);
    write_checkpoint("two", rank);
    GIVES_CODE(SCR_SUCCESS, NAME(scr_start_checkpoint)(&ierror));
    GIVES_CODE(SCR_E_INVALID, NAME(scr_complete_checkpoint)(&zero, &ierror));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_finalize)(&ierror));

    /* After the end it may begin again, here with a communicator. */
    MPI_Fint null = MPI_Comm_c2f(MPI_COMM_NULL), world = MPI_Comm_c2f(MPI_COMM_WORLD);
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_init_comm)(&null, &ierror));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_init_comm)(&world, &ierror));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_init_comm)(&world, &ierror));
    /* No room for the name: no restart is offered, and none is started. */
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_have_restart)(&flag, text, &ierror, LEN(2)));
    CHECK(flag == 0 && is_padded("", 0));
    differ(rank);
    GIVES_CODE(SCR_SUCCESS, NAME(scr_have_restart)(&flag, text, &ierror, LEN(20)));
    CHECK(flag == 1 && is_padded("two", 20));
    mark();
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_start_restart)(text, &ierror, LEN(2)));
    CHECK(is_padded("", 0));
    GIVES_CODE(SCR_E_MISUSE, NAME(scr_complete_restart)(&one, &ierror));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_start_restart)(text, &ierror, LEN(20)));
    CHECK(is_padded("two", 20));
    GIVES_CODE(SCR_E_INVALID, NAME(scr_complete_restart)(&zero, &ierror));
    mark();
    GIVES_CODE(SCR_SUCCESS, NAME(scr_have_restart)(&flag, text, &ierror, LEN(20)));
    CHECK(flag == 1 && is_padded("one", 20));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_start_restart)(text, &ierror, LEN(20)));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_complete_restart)(&one, &ierror));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_delete)("one   ", &ierror, LEN(6)));
    GIVES_CODE(SCR_SUCCESS, NAME(scr_finalize)(&ierror));
    MPI_Finalize();
    return failures != 0;
}
