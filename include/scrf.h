! SPDX-License-Identifier: MIT OR Apache-2.0
!
! scrf.h: constants of SCR, for INCLUDE in fixed and in free form.
! New programs take the module scr (scr.f90): it checks calls, too.
!
! What a routine gives that did what it should.
      INTEGER SCR_SUCCESS
      PARAMETER (SCR_SUCCESS=0)
! Call not allowed here, or a wrong argument.
      INTEGER SCR_E_MISUSE
      PARAMETER (SCR_E_MISUSE=1)
! A configuration value that is not allowed.
      INTEGER SCR_E_CONFIG
      PARAMETER (SCR_E_CONFIG=2)
! Ranks passed different arguments.
      INTEGER SCR_E_MISMATCH
      PARAMETER (SCR_E_MISMATCH=3)
! Another rank failed; the cause is told there.
      INTEGER SCR_E_PEER_FAILED
      PARAMETER (SCR_E_PEER_FAILED=4)
! Input or output failed.
      INTEGER SCR_E_IO
      PARAMETER (SCR_E_IO=5)
! Not enough room.
      INTEGER SCR_E_NO_SPACE
      PARAMETER (SCR_E_NO_SPACE=6)
! Data do not match their checksum.
      INTEGER SCR_E_CORRUPT
      PARAMETER (SCR_E_CORRUPT=7)
! There is no such thing.
      INTEGER SCR_E_NOT_FOUND
      PARAMETER (SCR_E_NOT_FOUND=8)
! A rule forbids it.
      INTEGER SCR_E_REFUSED
      PARAMETER (SCR_E_REFUSED=9)
! The dataset cannot be completed from what is left.
      INTEGER SCR_E_LOST
      PARAMETER (SCR_E_LOST=10)
! A rank said that the dataset is not valid.
      INTEGER SCR_E_INVALID
      PARAMETER (SCR_E_INVALID=11)
! Done, but with less protection than configured.
      INTEGER SCR_E_DEGRADED
      PARAMETER (SCR_E_DEGRADED=12)
! MPI failed or a process died.
      INTEGER SCR_E_COMMUNICATION
      PARAMETER (SCR_E_COMMUNICATION=13)
! It took longer than it may.
      INTEGER SCR_E_TIMEOUT
      PARAMETER (SCR_E_TIMEOUT=14)
! Room for a file name or the name of a dataset.
      INTEGER SCR_MAX_FILENAME
      PARAMETER (SCR_MAX_FILENAME=1024)
! Neither a checkpoint nor output.
      INTEGER SCR_FLAG_NONE
      PARAMETER (SCR_FLAG_NONE=0)
! The application can restart from the dataset.
      INTEGER SCR_FLAG_CHECKPOINT
      PARAMETER (SCR_FLAG_CHECKPOINT=1)
! The dataset is a result.
      INTEGER SCR_FLAG_OUTPUT
      PARAMETER (SCR_FLAG_OUTPUT=2)
