! SPDX-License-Identifier: MIT OR Apache-2.0
!
! heat1d: heat spreads along a rod, with checkpoints through SCR, in Fortran.
!
!   mpifort -O2 heat1d.f90 -o heat1d -I<prefix>/include -L<prefix>/lib -lscr
!   mpirun -n 2 ./heat1d [steps [checkpoint every [pause in ms]]]
!
! With a compiler that cannot read the scr.mod that was installed, compile <prefix>/include/scr.f90 before it.
! Kill it, run it again: it goes on from the last checkpoint and ends with the same checksum.
program heat1d
  use, intrinsic :: iso_fortran_env, only: int64, output_unit, real64
  use mpi
  use scr
  implicit none

  integer, parameter :: cells = 1000 ! of each rank
  real(real64) :: now(0:cells + 1), next(cells)
  character(len=1024) :: why
  integer :: rank, ranks, step, steps, every, pause_ms, flag, ierror

  steps = argument(1, 60)
  every = argument(2, 10)
  pause_ms = argument(3, 0)

  call MPI_Init(ierror)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierror)

  call scr_init(ierror) ! after MPI_Init
  if (ierror /= SCR_SUCCESS) call give_up('SCR does not start')

  step = 0
  call heat_up()
  call restart()

  do while (step < steps)
    call step_forward()
    step = step + 1
    call pause_for(pause_ms)
    call scr_need_checkpoint(flag, ierror)
    if (flag == 1 .or. mod(step, every) == 0) then
      call write_checkpoint()
      call scr_should_exit(flag, ierror)
      if (flag == 1) exit
    end if
  end do

  call print_checksum()
  call scr_finalize(ierror) ! before MPI_Finalize
  call MPI_Finalize(ierror)

contains

  ! Writes a checkpoint. If that fails the program goes on: it still has the one before.
  subroutine write_checkpoint()
    character(len=32) :: dataset
    character(len=SCR_MAX_FILENAME) :: file
    integer :: unit, status, valid

    write (dataset, '(a, i0)') 'heat.', step
    ! Every rank starts the dataset, with the same name and flags.
    call scr_start_output(dataset, SCR_FLAG_CHECKPOINT, ierror)
    if (ierror /= SCR_SUCCESS) then
      call say_why('no checkpoint')
      return
    end if

    ! Every rank asks where to write its file, writes it there, and says whether all went well.
    valid = 0
    call scr_route_file(file_of(dataset), file, ierror)
    if (ierror == SCR_SUCCESS) then
      open (newunit=unit, file=trim(file), form='unformatted', access='stream', status='replace', iostat=status)
      if (status == 0) write (unit, iostat=status) step, now(1:cells)
      if (status == 0) close (unit, iostat=status)
      if (status == 0) valid = 1
    end if

    ! The checkpoint counts only if the files of all ranks are good.
    call scr_complete_output(valid, ierror)
    if (ierror == SCR_SUCCESS) then
      if (rank == 0) print '(a, i0, 2a)', 'heat1d: step ', step, ' checkpoint ', trim(dataset)
      flush (output_unit)
    else
      call say_why('checkpoint failed')
    end if
  end subroutine write_checkpoint

  ! Goes back to the newest checkpoint that can be read, if there is one.
  subroutine restart()
    character(len=SCR_MAX_FILENAME) :: dataset, file
    integer :: unit, status, valid

    do
      call scr_have_restart(flag, dataset, ierror)
      ! An error means that there are checkpoints and none can be used: to start from zero would hide a loss.
      if (ierror /= SCR_SUCCESS) call give_up('cannot restart')
      if (flag == 0) return

      call scr_start_restart(dataset, ierror)
      if (ierror /= SCR_SUCCESS) call give_up('cannot restart')
      valid = 0
      call scr_route_file(file_of(dataset), file, ierror)
      if (ierror == SCR_SUCCESS) then
        open (newunit=unit, file=trim(file), form='unformatted', access='stream', status='old', iostat=status)
        if (status == 0) read (unit, iostat=status) step, now(1:cells)
        if (status == 0) close (unit, iostat=status)
        if (status == 0) valid = 1
      end if
      ! Success only if every rank read its file. If not, SCR offers the checkpoint before.
      call scr_complete_restart(valid, ierror)
      if (ierror == SCR_SUCCESS) exit
      step = 0
      call heat_up()
    end do
    if (rank == 0) print '(3a, i0)', 'heat1d: restarted from ', trim(dataset), ' at step ', step
  end subroutine restart

  ! The file of this rank as the program calls it; where it ends up if SCR copies it to the file system.
  function file_of(dataset) result(name)
    character(len=*), intent(in) :: dataset
    character(len=SCR_MAX_FILENAME) :: name
    write (name, '(3a, i0)') 'ckpt/', trim(dataset), '/rank.', rank
  end function file_of

  subroutine say_why(what)
    character(len=*), intent(in) :: what
    integer :: ignored
    call scr_last_error(why, ignored)
    if (rank == 0) print '(4a)', 'heat1d: ', what, ': ', trim(why)
  end subroutine say_why

  subroutine give_up(what)
    character(len=*), intent(in) :: what
    call say_why(what)
    call MPI_Abort(MPI_COMM_WORLD, 1, ierror)
  end subroutine give_up

  ! A warm hill, different on every rank.
  subroutine heat_up()
    integer :: i
    now = 0
    do i = 1, cells
      now(i) = sin(0.01_real64 * real(i, real64)) + real(rank, real64)
    end do
  end subroutine heat_up

  ! One explicit step; the ends of the rod are kept cold.
  subroutine step_forward()
    integer :: left, right, status(MPI_STATUS_SIZE)
    left = merge(rank - 1, MPI_PROC_NULL, rank > 0)
    right = merge(rank + 1, MPI_PROC_NULL, rank < ranks - 1)
    call MPI_Sendrecv(now(1), 1, MPI_DOUBLE_PRECISION, left, 1, &
                      now(cells + 1), 1, MPI_DOUBLE_PRECISION, right, 1, MPI_COMM_WORLD, status, ierror)
    call MPI_Sendrecv(now(cells), 1, MPI_DOUBLE_PRECISION, right, 2, &
                      now(0), 1, MPI_DOUBLE_PRECISION, left, 2, MPI_COMM_WORLD, status, ierror)
    next = now(1:cells) + 0.25_real64 * (now(0:cells - 1) - 2 * now(1:cells) + now(2:cells + 1))
    now(1:cells) = next
  end subroutine step_forward

  ! The exclusive or of all bits, so that nothing depends on the order of a sum.
  subroutine print_checksum()
    integer(int64) :: mine, whole
    integer :: i
    mine = 0
    do i = 1, cells
      mine = ieor(ishftc(mine, 5), transfer(now(i), mine))
    end do
    call MPI_Reduce(mine, whole, 1, MPI_INTEGER8, MPI_BXOR, 0, MPI_COMM_WORLD, ierror)
    if (rank == 0) print '(a, z16.16, a, i0)', 'heat1d: final checksum 0x', whole, ' after step ', step
  end subroutine print_checksum

  integer function argument(place, default)
    integer, intent(in) :: place, default
    character(len=32) :: text
    integer :: status
    call get_command_argument(place, text, status=status)
    argument = default
    if (status == 0) read (text, *) argument
  end function argument

  subroutine pause_for(ms)
    use, intrinsic :: iso_c_binding, only: c_int
    integer, intent(in) :: ms
    integer :: ignored
    interface
      integer(c_int) function usleep(us) bind(c)
        import :: c_int
        integer(c_int), value :: us
      end function usleep
    end interface
    if (ms > 0) ignored = usleep(1000 * ms)
  end subroutine pause_for

end program heat1d
