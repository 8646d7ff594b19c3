/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the C tests share: a check that says where it failed, and goes on. */
#ifndef CHECK_H
#define CHECK_H

#ifndef WITHOUT_MPI
#include <mpi.h>
#endif
#include <scr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                                              \
    do {                                                                                              \
        if (!(condition)) {                                                                           \
            fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition,            \
                    SCR_Last_error());                                                                \
            failures++;                                                                               \
        }                                                                                             \
    } while (0)

/* The call answers with this code, and says why in words if it is an error. */
#define ANSWERS(expected, call)                                                  \
    do {                                                                         \
        int answer = (call);                                                     \
        if (answer != (expected)) {                                              \
            fprintf(stderr, "%s:%d: %s is %d, not %s; last error: %s\n",         \
                    __FILE__, __LINE__, #call, answer, #expected, SCR_Last_error()); \
            failures++;                                                          \
        }                                                                        \
        CHECK((SCR_Last_error()[0] == '\0') == (answer == SCR_SUCCESS));         \
    } while (0)

/* SCR_Config gives this value, or none. */
static inline void gives(const char *config, const char *expected, int line)
{
    const char *value = SCR_Config(config);
    int same = (value == NULL || expected == NULL) ? value == expected : strcmp(value, expected) == 0;
    if (!same) {
        fprintf(stderr, "line %d: SCR_Config(\"%s\") gives %s, not %s\n", line, config ? config : "(null)",
                value ? value : "(null)", expected ? expected : "(null)");
        failures++;
    }
    free((void *)value);
}
#define GIVES(config, expected) gives(config, expected, __LINE__)

#endif
