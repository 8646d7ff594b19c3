! SPDX-License-Identifier: MIT OR Apache-2.0
!
! legacy: the least that an old program in fixed form needs: scrf.h and
! calls without a module. The state is one number on each rank.
!
!   mpifort legacy.f -o legacy -I<prefix>/include -L<prefix>/lib -lscrf -lscr
!   mpirun -n 2 ./legacy [steps [checkpoint every [pause in ms]]]
!
      PROGRAM LEGACY
      IMPLICIT NONE
      INCLUDE 'mpif.h'
      INCLUDE 'scrf.h'
      INTEGER RANK, STEP, STEPS, EVERY, PAUSE, FLAG, VALID, IERR, IOS
      INTEGER NARGS, TOTAL, STATE
      CHARACTER*32 ARG, NAME
      CHARACTER*64 OWN
      CHARACTER*(SCR_MAX_FILENAME) DSET, FILE

      STEPS = 60
      EVERY = 10
      PAUSE = 0
      NARGS = IARGC()
      IF (NARGS .GE. 1) THEN
        CALL GETARG(1, ARG)
        READ (ARG, *) STEPS
      END IF
      IF (NARGS .GE. 2) THEN
        CALL GETARG(2, ARG)
        READ (ARG, *) EVERY
      END IF
      IF (NARGS .GE. 3) THEN
        CALL GETARG(3, ARG)
        READ (ARG, *) PAUSE
      END IF

      CALL MPI_INIT(IERR)
      CALL MPI_COMM_RANK(MPI_COMM_WORLD, RANK, IERR)
      CALL SCR_INIT(IERR)
      IF (IERR .NE. SCR_SUCCESS) CALL MPI_ABORT(MPI_COMM_WORLD, 1, IERR)

! Go back to the newest checkpoint that all ranks can read.
   10 CONTINUE
      STEP = 0
      STATE = RANK + 1
      CALL SCR_HAVE_RESTART(FLAG, DSET, IERR)
      IF (IERR .NE. SCR_SUCCESS) CALL MPI_ABORT(MPI_COMM_WORLD, 1, IERR)
      IF (FLAG .EQ. 1) THEN
        VALID = 0
        CALL SCR_START_RESTART(DSET, IERR)
        WRITE (OWN, '(A,A,I4.4)') TRIM(DSET), '.', RANK
        CALL SCR_ROUTE_FILE(OWN, FILE, IERR)
        OPEN (10, FILE=FILE, STATUS='OLD', IOSTAT=IOS)
        IF (IOS .EQ. 0) READ (10, *, IOSTAT=IOS) STEP, STATE
        IF (IOS .EQ. 0) CLOSE (10, IOSTAT=IOS)
        IF (IOS .EQ. 0) VALID = 1
        CALL SCR_COMPLETE_RESTART(VALID, IERR)
        IF (IERR .NE. SCR_SUCCESS) GOTO 10
        IF (RANK .EQ. 0) WRITE (*, '(3A,I6)')
     &    'legacy: restarted from ', TRIM(DSET), ' at step ', STEP
      END IF

   20 IF (STEP .GE. STEPS) GOTO 30
      STEP = STEP + 1
      STATE = MOD(STATE * 75 + 74 + STEP, 65537)
      IF (PAUSE .GT. 0) CALL SLEEP((PAUSE + 999) / 1000)
      IF (MOD(STEP, EVERY) .EQ. 0) THEN
        VALID = 0
        WRITE (NAME, '(A,I6.6)') 'state.', STEP
        CALL SCR_START_OUTPUT(NAME, SCR_FLAG_CHECKPOINT, IERR)
        IF (IERR .NE. SCR_SUCCESS) GOTO 20
        WRITE (OWN, '(A,A,I4.4)') TRIM(NAME), '.', RANK
        CALL SCR_ROUTE_FILE(OWN, FILE, IERR)
        OPEN (10, FILE=FILE, IOSTAT=IOS)
        IF (IOS .EQ. 0) WRITE (10, *, IOSTAT=IOS) STEP, STATE
        IF (IOS .EQ. 0) CLOSE (10, IOSTAT=IOS)
        IF (IOS .EQ. 0) VALID = 1
        CALL SCR_COMPLETE_OUTPUT(VALID, IERR)
        IF (RANK .EQ. 0 .AND. IERR .EQ. SCR_SUCCESS) THEN
          WRITE (*, '(A,I6,2A)')
     &      'legacy: step ', STEP, ' checkpoint ', NAME
          FLUSH (6)
        END IF
      END IF
      GOTO 20

   30 CALL MPI_REDUCE(STATE, TOTAL, 1, MPI_INTEGER, MPI_SUM, 0,
     &  MPI_COMM_WORLD, IERR)
      IF (RANK .EQ. 0) WRITE (*, '(A,I8,A,I6)')
     &  'legacy: final checksum ', TOTAL, ' after step ', STEP
      CALL SCR_FINALIZE(IERR)
      CALL MPI_FINALIZE(IERR)
      END
