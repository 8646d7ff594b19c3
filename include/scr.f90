! SPDX-License-Identifier: MIT OR Apache-2.0
!> Checkpoints for MPI applications: what scr.h says, for Fortran.
!!
!! Compile this file with the application, or take the scr.mod that was installed; link with -lscr. There is no code here.
!!
!! For all routines:
!! - IERROR is SCR_SUCCESS or one of SCR_E_*. No routine ends the program, except where SCR_HALT_EXIT=1 asks for it.
!!   scr_last_error says what went wrong and what to do.
!! - "Collective": all ranks of MPI_COMM_WORLD, or of the communicator of scr_init_comm, call it, in the same order,
!!   between MPI_Init and MPI_Finalize.
!! - Trailing blanks of a text that is passed do not count. A name or value that is returned is padded with blanks; where
!!   it does not fit, IERROR is SCR_E_MISUSE and the variable keeps what it had. SCR_MAX_FILENAME is always enough.
!! - A flag is 1 or 0, and 0 after an error.
module scr
  use, intrinsic :: iso_c_binding, only: c_int
  implicit none
  private :: c_int

  !> What a routine gives that did what it should.
  integer(c_int), parameter :: SCR_SUCCESS = 0
  !> Call not allowed here, or a wrong argument.
  integer(c_int), parameter :: SCR_E_MISUSE = 1
  !> A configuration value that is not allowed.
  integer(c_int), parameter :: SCR_E_CONFIG = 2
  !> Ranks passed different arguments.
  integer(c_int), parameter :: SCR_E_MISMATCH = 3
  !> Another rank failed; the cause is told there.
  integer(c_int), parameter :: SCR_E_PEER_FAILED = 4
  !> Input or output failed.
  integer(c_int), parameter :: SCR_E_IO = 5
  !> Not enough room.
  integer(c_int), parameter :: SCR_E_NO_SPACE = 6
  !> Data do not match their checksum.
  integer(c_int), parameter :: SCR_E_CORRUPT = 7
  !> There is no such thing.
  integer(c_int), parameter :: SCR_E_NOT_FOUND = 8
  !> A rule forbids it.
  integer(c_int), parameter :: SCR_E_REFUSED = 9
  !> The dataset cannot be completed from what is left.
  integer(c_int), parameter :: SCR_E_LOST = 10
  !> A rank said that the dataset is not valid.
  integer(c_int), parameter :: SCR_E_INVALID = 11
  !> Done, but with less protection than configured.
  integer(c_int), parameter :: SCR_E_DEGRADED = 12
  !> MPI failed or a process died.
  integer(c_int), parameter :: SCR_E_COMMUNICATION = 13
  !> It took longer than it may.
  integer(c_int), parameter :: SCR_E_TIMEOUT = 14
  !> Room for a file name or the name of a dataset.
  integer(c_int), parameter :: SCR_MAX_FILENAME = 1024
  !> Neither a checkpoint nor output.
  integer(c_int), parameter :: SCR_FLAG_NONE = 0
  !> The application can restart from the dataset.
  integer(c_int), parameter :: SCR_FLAG_CHECKPOINT = 1
  !> The dataset is a result.
  integer(c_int), parameter :: SCR_FLAG_OUTPUT = 2

  interface
    !> Starts SCR, and rebuilds in the cache what the last run left there. Once, after MPI_Init. Collective.
    subroutine scr_init(ierror)
      import :: c_int
      integer(c_int), intent(out) :: ierror
    end subroutine scr_init

    !> As scr_init, over the ranks of a communicator: the others call nothing of SCR, or belong to another job that has its
    !! own prefix or SCR_TASK. With the module mpi_f08, pass COMM%MPI_VAL. Not in the library without MPI.
    subroutine scr_init_comm(comm, ierror)
      import :: c_int
      integer(c_int), intent(in) :: comm
      integer(c_int), intent(out) :: ierror
    end subroutine scr_init_comm

    !> Ends SCR, even if it gives an error. Before MPI_Finalize. Collective.
    subroutine scr_finalize(ierror)
      import :: c_int
      integer(c_int), intent(out) :: ierror
    end subroutine scr_finalize

    !> "NAME=VALUE" sets, "NAME=" unsets: before scr_init only, the same on every rank. "NAME" asks, at any time.
    !! The value is blank for a set, and where there is none. A wrong text makes scr_init fail, too.
    subroutine scr_config(config, value, ierror)
      import :: c_int
      character(len=*), intent(in) :: config
      character(len=*), intent(inout) :: value
      integer(c_int), intent(out) :: ierror
    end subroutine scr_config

    !> Whether the application should write a checkpoint now. Collective.
    subroutine scr_need_checkpoint(flag, ierror)
      import :: c_int
      integer(c_int), intent(out) :: flag
      integer(c_int), intent(out) :: ierror
    end subroutine scr_need_checkpoint

    !> Starts a dataset: SCR_FLAG_CHECKPOINT, SCR_FLAG_OUTPUT or their sum. A blank name: SCR makes one. Collective.
    subroutine scr_start_output(name, flags, ierror)
      import :: c_int
      character(len=*), intent(in) :: name
      integer(c_int), intent(in) :: flags
      integer(c_int), intent(out) :: ierror
    end subroutine scr_start_output

    !> Where to write the file that the application calls name, after scr_start_output; where to read it, after
    !! scr_start_restart; elsewhere name itself. Not collective.
    subroutine scr_route_file(name, file, ierror)
      import :: c_int
      character(len=*), intent(in) :: name
      character(len=*), intent(inout) :: file
      integer(c_int), intent(out) :: ierror
    end subroutine scr_route_file

    !> Ends the dataset: 1 if this rank wrote all its files, closed, without error; otherwise 0. Collective.
    !! SCR_E_DEGRADED: it is whole but not protected as configured. After any other error it is no restart point.
    subroutine scr_complete_output(valid, ierror)
      import :: c_int
      integer(c_int), intent(in) :: valid
      integer(c_int), intent(out) :: ierror
    end subroutine scr_complete_output

    !> Whether there is a checkpoint to restart from, and its name. Collective. After an error there may be checkpoints
    !! that this run cannot use.
    subroutine scr_have_restart(flag, name, ierror)
      import :: c_int
      integer(c_int), intent(out) :: flag
      character(len=*), intent(inout) :: name
      integer(c_int), intent(out) :: ierror
    end subroutine scr_have_restart

    !> Starts reading the checkpoint that scr_have_restart named. Collective. After an error nothing was started.
    subroutine scr_start_restart(name, ierror)
      import :: c_int
      character(len=*), intent(inout) :: name
      integer(c_int), intent(out) :: ierror
    end subroutine scr_start_restart

    !> Ends reading: 1 if this rank read all it needs, otherwise 0. Collective. Unless every rank passed 1, the checkpoint
    !! is set aside and scr_have_restart offers the next one.
    subroutine scr_complete_restart(valid, ierror)
      import :: c_int
      integer(c_int), intent(in) :: valid
      integer(c_int), intent(out) :: ierror
    end subroutine scr_complete_restart

    !> Whether the application should stop. Collective.
    subroutine scr_should_exit(flag, ierror)
      import :: c_int
      integer(c_int), intent(out) :: flag
      integer(c_int), intent(out) :: ierror
    end subroutine scr_should_exit

    !> Tells SCR that the application restarted from this checkpoint without asking SCR. Collective.
    subroutine scr_current(name, ierror)
      import :: c_int
      character(len=*), intent(in) :: name
      integer(c_int), intent(out) :: ierror
    end subroutine scr_current

    !> Takes the dataset out of the index; its files stay. Collective.
    subroutine scr_drop(name, ierror)
      import :: c_int
      character(len=*), intent(in) :: name
      integer(c_int), intent(out) :: ierror
    end subroutine scr_drop

    !> Deletes the dataset, its files and its entry in the index. Collective.
    subroutine scr_delete(name, ierror)
      import :: c_int
      character(len=*), intent(in) :: name
      integer(c_int), intent(out) :: ierror
    end subroutine scr_delete

    !> The version of the library that is running. Not collective; at any time.
    subroutine scr_get_version(version, ierror)
      import :: c_int
      character(len=*), intent(inout) :: version
      integer(c_int), intent(out) :: ierror
    end subroutine scr_get_version

    !> A few words on a code; cut where they do not fit, IERROR is SCR_E_MISUSE then. At any time.
    subroutine scr_strerror(code, words, ierror)
      import :: c_int
      integer(c_int), intent(in) :: code
      character(len=*), intent(inout) :: words
      integer(c_int), intent(out) :: ierror
    end subroutine scr_strerror

    !> Why the last call failed and what to do, or blanks if it did not fail; cut where it does not fit, IERROR is
    !! SCR_E_MISUSE then. At any time.
    subroutine scr_last_error(message, ierror)
      import :: c_int
      character(len=*), intent(inout) :: message
      integer(c_int), intent(out) :: ierror
    end subroutine scr_last_error

    !> Old name for scr_start_output(" ", SCR_FLAG_CHECKPOINT, ierror); ended by scr_complete_checkpoint.
    subroutine scr_start_checkpoint(ierror)
      import :: c_int
      integer(c_int), intent(out) :: ierror
    end subroutine scr_start_checkpoint

    !> Old name for scr_complete_output after scr_start_checkpoint.
    subroutine scr_complete_checkpoint(valid, ierror)
      import :: c_int
      integer(c_int), intent(in) :: valid
      integer(c_int), intent(out) :: ierror
    end subroutine scr_complete_checkpoint
  end interface
end module scr
