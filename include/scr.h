/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * scr.h: checkpoints for MPI applications.
 *
 * Made from scr-capi/src/api.rs; do not edit.
 *
 * For all functions:
 * - The result is SCR_SUCCESS or one of SCR_E_*, unless said otherwise. No function ends the program, except where
 *   SCR_HALT_EXIT=1 asks for it. SCR_Last_error() says what went wrong and what to do.
 * - "Collective": all ranks of MPI_COMM_WORLD, or of the communicator that SCR_Init_comm was given, call it, in the same
 *   order. Between MPI_Init and MPI_Finalize only, from a thread that may call MPI, and from one thread at a time; a second
 *   one is refused with SCR_E_MISUSE.
 * - What a function writes through a pointer, it writes on success only, unless said otherwise. Texts are never cut.
 * - A pointer to a text is NULL or points to a string that ends in NUL. NULL where something is needed is SCR_E_MISUSE.
 */

#ifndef SCR_H
#define SCR_H

/**
 * The version of this header.
 */
#define SCR_MAJOR_VERSION "4"
#define SCR_MINOR_VERSION "0"
#define SCR_PATCH_VERSION "0"
#define SCR_VERSION "v4.0.0"

#ifdef __GNUC__
#define SCR_PRINTF_LIKE __attribute__((format(printf, 1, 2)))
#else
#define SCR_PRINTF_LIKE
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * SCR_Config with a text made as by printf: SCR_Configf("SCR_CACHE_SIZE=%d", 2).
 */
const char *SCR_Configf(const char *format, ...) SCR_PRINTF_LIKE;

#ifdef __cplusplus
}
#endif

#undef SCR_PRINTF_LIKE

/**
 * What a function returns that did what it should.
 */
#define SCR_SUCCESS 0

/**
 * Call not allowed here, or a wrong argument.
 */
#define SCR_E_MISUSE 1

/**
 * A configuration value that is not allowed.
 */
#define SCR_E_CONFIG 2

/**
 * Ranks passed different arguments.
 */
#define SCR_E_MISMATCH 3

/**
 * Another rank failed; the cause is told there.
 */
#define SCR_E_PEER_FAILED 4

/**
 * Input or output failed.
 */
#define SCR_E_IO 5

/**
 * Not enough room.
 */
#define SCR_E_NO_SPACE 6

/**
 * Data do not match their checksum.
 */
#define SCR_E_CORRUPT 7

/**
 * There is no such thing.
 */
#define SCR_E_NOT_FOUND 8

/**
 * A rule forbids it: another job holds the prefix, another number of ranks wrote the dataset, ...
 */
#define SCR_E_REFUSED 9

/**
 * The dataset cannot be completed from what is left.
 */
#define SCR_E_LOST 10

/**
 * A rank said that the dataset is not valid, or its files cannot be read.
 */
#define SCR_E_INVALID 11

/**
 * Done: the dataset is whole and can be used, but has less protection than configured.
 */
#define SCR_E_DEGRADED 12

/**
 * MPI failed or a process died: libscr communicates no more.
 */
#define SCR_E_COMMUNICATION 13

/**
 * It took longer than it may.
 */
#define SCR_E_TIMEOUT 14

/**
 * Room that a buffer for a file name or the name of a dataset must have, the NUL included.
 */
#define SCR_MAX_FILENAME 1024

/**
 * Neither a checkpoint nor output.
 */
#define SCR_FLAG_NONE 0

/**
 * The application can restart from the dataset.
 */
#define SCR_FLAG_CHECKPOINT (1 << 0)

/**
 * The dataset is a result: it must reach the parallel file system.
 */
#define SCR_FLAG_OUTPUT (1 << 1)

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * Starts SCR, and rebuilds in the cache what the last run left there. Call it after MPI_Init, and again only after
 * SCR_Finalize.
 *
 * Collective over MPI_COMM_WORLD; scr_mpi.h has SCR_Init_comm for fewer ranks.
 */
int SCR_Init(void);

/**
 * Ends SCR: brings the newest checkpoint to the parallel file system where so configured. Call it before MPI_Finalize.
 *
 * Collective. Ends SCR even if it returns an error.
 */
int SCR_Finalize(void);

/**
 * Sets or asks for a configuration parameter.
 *
 * "NAME=VALUE" sets, "NAME=" unsets: before SCR_Init only, with the same text on every rank. "NAME" asks, at any time.
 * "STORE=/ssd GROUP=NODE COUNT=2" sets an entry with its fields, "STORE=/ssd COUNT" asks for one of them.
 *
 * Returns a copy of the value that was asked for, which the caller must free(), or NULL: for a set, and where there is
 * no value. A wrong text returns NULL too, leaves a message for SCR_Last_error, and makes SCR_Init fail.
 */
const char *SCR_Config(const char *config);

/**
 * Sets *flag to 1 if the application should write a checkpoint now, to 0 if not.
 *
 * Collective; the answer is the same on all ranks.
 */
int SCR_Need_checkpoint(int *flag);

/**
 * Starts a dataset: a checkpoint, output, or both (SCR_FLAG_CHECKPOINT | SCR_FLAG_OUTPUT).
 *
 * name: shorter than SCR_MAX_FILENAME; NULL or "" for a name that SCR makes.
 *
 * Collective, with the same arguments on every rank. After an error nothing was started.
 */
int SCR_Start_output(const char *name, int flags);

/**
 * Writes to file where to open the file that the application calls name.
 *
 * Between SCR_Start_output and SCR_Complete_output: where to write it; each rank asks for every file it writes.
 * Between SCR_Start_restart and SCR_Complete_restart: where to read it. Elsewhere: name itself.
 *
 * file: room for SCR_MAX_FILENAME bytes; may be the same as name. Untouched on error.
 *
 * Not collective.
 */
int SCR_Route_file(const char *name, char *file);

/**
 * Ends the dataset: SCR protects it, and copies it to the parallel file system where it is due.
 *
 * valid: 1 if this rank wrote all its files, closed, without error; otherwise 0.
 *
 * Collective. Returns SCR_SUCCESS on all ranks or an error on all. SCR_E_DEGRADED: the dataset is whole but not
 * protected as configured. After any other error it is no restart point; earlier ones still are, and the application
 * can go on.
 */
int SCR_Complete_output(int valid);

/**
 * Sets *flag to 1 if there is a checkpoint to restart from, and writes its name to name.
 *
 * name: room for SCR_MAX_FILENAME bytes, or NULL; untouched without a checkpoint.
 *
 * Collective; the answer is the same on all ranks. The checkpoint was verified. On error *flag is 0: there may be
 * checkpoints that this run cannot use, and SCR_Last_error says why.
 */
int SCR_Have_restart(int *flag, char *name);

/**
 * Starts reading the checkpoint that SCR_Have_restart named, or would name, and writes its name to name.
 *
 * name: room for SCR_MAX_FILENAME bytes, or NULL.
 *
 * Collective. After an error, as that there is no checkpoint, nothing was started.
 */
int SCR_Start_restart(char *name);

/**
 * Ends reading the checkpoint.
 *
 * valid: 1 if this rank read all it needs, otherwise 0.
 *
 * Collective. Unless every rank passed 1, an error is returned on all, the checkpoint is set aside, and
 * SCR_Have_restart offers the next one.
 */
int SCR_Complete_restart(int valid);

/**
 * Sets *flag to 1 if the application should stop: the allocation ends soon, or someone asked for it. Otherwise to 0.
 *
 * Collective; the answer is the same on all ranks.
 */
int SCR_Should_exit(int *flag);

/**
 * Tells SCR that the application restarted from the checkpoint name without asking SCR.
 *
 * Collective, with the same name on every rank.
 */
int SCR_Current(const char *name);

/**
 * Takes the dataset name out of the index; its files stay.
 *
 * Collective, with the same name on every rank.
 */
int SCR_Drop(const char *name);

/**
 * Deletes the dataset name: its files in the cache and on the parallel file system, and its entry in the index.
 *
 * Collective, with the same name on every rank.
 */
int SCR_Delete(const char *name);

/**
 * Returns SCR_VERSION of the library that is running. Static: do not free or change it.
 *
 * Not collective; at any time.
 */
char *SCR_Get_version(void);

/**
 * Returns a few words on a code. Static: do not free it.
 *
 * Not collective; at any time. Not in SCR 3.
 */
const char *SCR_Strerror(int code);

/**
 * Returns why the last call of SCR in this thread failed and what to do, or "" if it did not fail.
 *
 * Never NULL. Do not free it; valid until the next call of SCR in this thread.
 *
 * Not collective; at any time. Not in SCR 3.
 */
const char *SCR_Last_error(void);

/**
 * Old name for SCR_Start_output(NULL, SCR_FLAG_CHECKPOINT); ended by SCR_Complete_checkpoint.
 *
 * Collective.
 */
int SCR_Start_checkpoint(void);

/**
 * Old name for SCR_Complete_output after SCR_Start_checkpoint.
 *
 * Collective.
 */
int SCR_Complete_checkpoint(int valid);

#ifdef __cplusplus
}  // extern "C"
#endif  /* __cplusplus */

#endif  /* SCR_H */
