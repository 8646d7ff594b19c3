/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * scr_mpi.h: what of libscr needs mpi.h. What scr.h says for all functions holds here too. Not in libscr_single.
 */

#ifndef SCR_MPI_H
#define SCR_MPI_H

#include <mpi.h>
#include <scr.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * As SCR_Init, over the ranks of comm instead of MPI_COMM_WORLD: for applications that do not own the world, and for
 * several jobs in one launch, each with its own prefix or SCR_TASK (set with SCR_Config before this call).
 *
 * All that is collective is collective over comm from here to SCR_Finalize, and "rank" in messages is that in comm. Other
 * ranks call nothing of SCR, or belong to another job. comm is duplicated: it may be freed.
 *
 * Collective over comm. MPI_COMM_NULL and intercommunicators are SCR_E_MISUSE. Not in SCR 3.
 */
int SCR_Init_comm(MPI_Comm comm);

#ifdef __cplusplus
}
#endif

#endif
