// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ranks over MPI: the only file of the project that calls it.
//!
//! Through `mpi::ffi`, because the safe wrappers of rsmpi drop return codes, so that a failed receive would look like
//! success. Every code is checked, and our duplicate (only ours) returns errors instead of aborting the job. The first
//! error breaks the communicator and all that were split from the same duplicate.
//!
//! Requests and collectives complete by testing and yielding, never by blocking inside MPI: with more ranks than cores
//! that is 30 times faster. MPI is never initialised or finalised here, and nothing of it is called after it was.
//!
//! Two things that MPI does not give: MPICH (4.0) reports what goes wrong while a request completes to the handler of
//! `MPI_COMM_WORLD`, which usually aborts; and Open MPI (4.1) cuts a message of a rank to itself without an error when
//! the receiver expects less. Both need lengths that do not match, which is a bug of ours.
#![expect(unsafe_code, reason = "MPI is a C library; this file is the boundary")]

use super::{Comm, In, Out, Reduce, check_color, check_rank};
use crate::error::{Error, ErrorKind, Result};
use mpi::ffi;
use std::cell::OnceCell;
use std::ffi::{c_char, c_int};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// Longest piece of a message or collective: MPI counts are `int`.
const PIECE_BYTES: usize = 1 << 30;

const SUCCESS: c_int = ffi::MPI_SUCCESS.cast_signed();

/// Tests without progress before the core is given to another rank.
const IDLE_TESTS: u32 = 50;

/// A communicator as C has it: a pointer in Open MPI, a number in MPICH.
pub type Handle = ffi::MPI_Comm;

/// A communicator of our own.
#[derive(Debug)]
pub struct Mpi {
    raw: ffi::MPI_Comm,
    rank: usize,
    size: usize,
    /// The first error of this communicator or its relatives.
    broken: Rc<OnceCell<String>>,
    /// After a fork the child must not free what it never had.
    process: u32,
    /// Under MPICH the handle is an `int`; a communicator must stay on its thread all the same.
    _not_send: PhantomData<*const ()>,
}

impl Mpi {
    /// Duplicates `MPI_COMM_WORLD`.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] before `MPI_Init`, after `MPI_Finalize`, and when another MPI than that of the build is
    /// loaded; [`ErrorKind::Communication`] when MPI fails.
    ///
    /// # Collective
    /// All ranks.
    pub fn duplicate_world() -> Result<Box<dyn Comm>> {
        check_usable()?;
        // SAFETY: a constant of the library that `check_usable` found loaded and initialised.
        let world = unsafe { ffi::RSMPI_COMM_WORLD };
        // SAFETY: as above, a valid intracommunicator.
        unsafe { Self::duplicate(world) }
    }

    /// Duplicates the communicator of an application.
    ///
    /// # Safety
    /// `raw` must be `MPI_COMM_NULL` or a valid communicator.
    ///
    /// # Errors
    /// As [`duplicate_world`](Self::duplicate_world); [`ErrorKind::Misuse`] for `MPI_COMM_NULL` and for an
    /// intercommunicator, without communication.
    ///
    /// # Collective
    /// All ranks of `raw`.
    pub unsafe fn duplicate(raw: Handle) -> Result<Box<dyn Comm>> {
        check_usable()?;
        // SAFETY: by the contract of this function.
        unsafe { check_intra(raw) }?;
        let broken = Rc::default();
        // SAFETY: a constant of the library.
        let mut ours = unsafe { ffi::RSMPI_COMM_NULL };
        // SAFETY: `raw` is valid by contract, `ours` a place for the result.
        check(&broken, "MPI_Comm_dup", unsafe { ffi::MPI_Comm_dup(raw, &raw mut ours) })?;
        Ok(Box::new(Self::adopt(ours, broken)?))
    }

    /// Duplicates the communicator of an application in Fortran.
    ///
    /// # Safety
    /// As for [`duplicate`](Self::duplicate).
    ///
    /// # Errors
    /// As [`duplicate`](Self::duplicate).
    ///
    /// # Collective
    /// All ranks of the communicator.
    pub unsafe fn duplicate_fortran(handle: c_int) -> Result<Box<dyn Comm>> {
        check_usable()?;
        // SAFETY: MPI is initialised, and takes any number.
        let raw = unsafe { ffi::RSMPI_Comm_f2c(handle) };
        // SAFETY: passed on to the caller.
        unsafe { Self::duplicate(raw) }
    }

    /// Takes over a communicator that was just made.
    fn adopt(raw: ffi::MPI_Comm, broken: Rc<OnceCell<String>>) -> Result<Self> {
        let (mut rank, mut size): (c_int, c_int) = (0, 0);
        // SAFETY: `raw` is a valid communicator; the results go into locals.
        let codes = unsafe {
            [
                (
                    "MPI_Comm_set_errhandler",
                    ffi::MPI_Comm_set_errhandler(raw, ffi::RSMPI_ERRORS_RETURN),
                ),
                ("MPI_Comm_rank", ffi::MPI_Comm_rank(raw, &raw mut rank)),
                ("MPI_Comm_size", ffi::MPI_Comm_size(raw, &raw mut size)),
            ]
        };
        for (call, code) in codes {
            check(&broken, call, code)?;
        }
        let (rank, size, process) = (rank as usize, size as usize, std::process::id());
        Ok(Self { raw, rank, size, broken, process, _not_send: PhantomData })
    }

    fn check(&self, call: &str, code: c_int) -> Result<()> {
        check(&self.broken, call, code)
    }

    fn alive(&self) -> Result<()> {
        match self.broken.get() {
            None if is_finalized() => Err(Error::new(
                ErrorKind::Communication,
                "MPI was finalised: call nothing after it",
            )),
            None => Ok(()),
            Some(reason) => {
                let message = format!("communication failed before: {reason}");
                Err(Error::new(ErrorKind::Communication, message))
            }
        }
    }

    /// Starts one nonblocking collective and tests it until it is complete.
    fn complete(
        &self,
        call: &'static str,
        start: impl FnOnce(ffi::MPI_Comm, *mut ffi::MPI_Request) -> c_int,
    ) -> Result<()> {
        let mut request = Request::new(call, None);
        self.check(call, start(self.raw, &raw mut request.raw))?;
        let mut idle = Idle::default();
        while !request.test(self)? {
            idle.pause();
        }
        Ok(())
    }

    /// Posts all pieces of a transfer, receives first, until one fails.
    fn post(
        &self,
        outs: &[Out<'_>],
        ins: &mut [In<'_>],
        requests: &mut Vec<Request>,
    ) -> Result<()> {
        for inp in ins {
            let from = inp.from;
            for piece in pieces(inp.data.len()) {
                let data = &mut inp.data[piece];
                let (place, len) = (data.as_mut_ptr().cast(), int(data.len()));
                let mut request = Request::new("MPI_Irecv", Some(Receive { from, len }));
                let place_of_request = &raw mut request.raw;
                // SAFETY: `place` has room for `len` bytes and stays borrowed until `transfer` has completed all requests.
                let code = unsafe {
                    ffi::MPI_Irecv(
                        place,
                        len,
                        ffi::RSMPI_UINT8_T,
                        int(from),
                        0,
                        self.raw,
                        place_of_request,
                    )
                };
                self.check("MPI_Irecv", code)?;
                requests.push(request);
            }
        }
        for out in outs {
            for piece in pieces(out.data.len()) {
                let data = &out.data[piece];
                let (place, len, to) = (data.as_ptr().cast(), int(data.len()), int(out.to));
                let mut request = Request::new("MPI_Isend", None);
                let place_of_request = &raw mut request.raw;
                // SAFETY: `place` holds `len` bytes and stays borrowed until `transfer` has completed all requests.
                let code = unsafe {
                    ffi::MPI_Isend(
                        place,
                        len,
                        ffi::RSMPI_UINT8_T,
                        to,
                        0,
                        self.raw,
                        place_of_request,
                    )
                };
                self.check("MPI_Isend", code)?;
                requests.push(request);
            }
        }
        Ok(())
    }

    /// Tests the requests until none is left, whatever fails: MPI may not use the buffers after the borrow has ended.
    ///
    /// After a failure the receives that nobody answers any more are cancelled. A send that nobody receives is waited for
    /// all the same; then a process has died and the job step is lost.
    fn drain(&self, mut requests: Vec<Request>, posted: Result<()>) -> Result<()> {
        let mut outcome = posted;
        let mut is_cancelled = false;
        let mut idle = Idle::default();
        while !requests.is_empty() {
            if outcome.is_err() && !is_cancelled {
                is_cancelled = true;
                requests.iter_mut().for_each(Request::cancel);
            }
            let before = requests.len();
            requests.retain_mut(|request| match request.test(self) {
                Ok(is_complete) => !is_complete,
                Err(error) => {
                    if outcome.is_ok() {
                        outcome = Err(error);
                    }
                    false
                }
            });
            if requests.len() == before {
                idle.pause();
            } else {
                idle = Idle::default();
            }
        }
        outcome
    }
}

impl Comm for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn barrier(&self) -> Result<()> {
        self.alive()?;
        // SAFETY: a valid communicator and a place for the request, which `complete` tests to the end.
        self.complete("MPI_Ibarrier", |comm, request| unsafe { ffi::MPI_Ibarrier(comm, request) })
    }

    fn broadcast(&self, root: usize, data: &mut [u8]) -> Result<()> {
        check_rank(self, root)?;
        self.alive()?;
        for piece in data.chunks_mut(PIECE_BYTES) {
            let (place, len, root) = (piece.as_mut_ptr().cast(), int(piece.len()), int(root));
            // SAFETY: `place` has room for `len` bytes and stays borrowed until `complete` has ended.
            self.complete("MPI_Ibcast", |comm, request| unsafe {
                ffi::MPI_Ibcast(place, len, ffi::RSMPI_UINT8_T, root, comm, request)
            })?;
        }
        Ok(())
    }

    fn all_reduce(&self, op: Reduce, values: &mut [u64]) -> Result<()> {
        self.alive()?;
        // Some MPIs compare unsigned numbers as if they were signed (MPICH issue 6083, Open MPI issue 10525). With the
        // highest bit flipped, the order of signed numbers is that of the unsigned ones.
        // SAFETY: constants of the library.
        let (op, number, flip) = unsafe {
            match op {
                Reduce::Sum => (ffi::RSMPI_SUM, ffi::RSMPI_UINT64_T, 0),
                Reduce::Max => (ffi::RSMPI_MAX, ffi::RSMPI_INT64_T, 1 << 63),
                Reduce::Min => (ffi::RSMPI_MIN, ffi::RSMPI_INT64_T, 1 << 63),
            }
        };
        for piece in values.chunks_mut(PIECE_BYTES / 8) {
            let mine: Vec<u64> = piece.iter().map(|value| value ^ flip).collect();
            let (from, to) = (mine.as_ptr().cast(), piece.as_mut_ptr().cast());
            let len = int(piece.len());
            // SAFETY: both buffers have `len` numbers and outlive `complete`.
            self.complete("MPI_Iallreduce", |comm, request| unsafe {
                ffi::MPI_Iallreduce(from, to, len, number, op, comm, request)
            })?;
            for value in piece {
                *value ^= flip;
            }
        }
        Ok(())
    }

    fn split(&self, color: Option<u32>, key: u32) -> Result<Option<Box<dyn Comm>>> {
        check_color(color)?;
        self.alive()?;
        // SAFETY: constants of the library.
        let (undefined, null) = unsafe { (ffi::RSMPI_UNDEFINED, ffi::RSMPI_COMM_NULL) };
        let color = color.map_or(undefined, |color| int(color as usize));
        let mut part = null;
        // Keys are compared as signed numbers: this keeps their order.
        let key = (key ^ (1 << 31)).cast_signed();
        // SAFETY: a valid communicator and a place for the result.
        let code = unsafe { ffi::MPI_Comm_split(self.raw, color, key, &raw mut part) };
        self.check("MPI_Comm_split", code)?;
        if part == null {
            return Ok(None);
        }
        Ok(Some(Box::new(Self::adopt(part, Rc::clone(&self.broken))?)))
    }

    fn transfer(
        &self,
        outs: &[Out<'_>],
        ins: &mut [In<'_>],
        meanwhile: &mut dyn FnMut(),
    ) -> Result<()> {
        let mut requests = Vec::with_capacity(outs.len() + ins.len());
        let mut peers = outs.iter().map(|out| out.to).chain(ins.iter().map(|inp| inp.from));
        let checked = peers.try_for_each(|rank| check_rank(self, rank)).and_then(|()| self.alive());
        drop(peers);
        let posted = checked.and_then(|()| self.post(outs, ins, &mut requests));
        let ran = catch_unwind(AssertUnwindSafe(meanwhile));
        let outcome = self.drain(requests, posted);
        if let Err(panic) = ran {
            resume_unwind(panic);
        }
        outcome
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // A broken communicator is left alone: to free it might wait for the dead.
        if self.alive().is_ok() && self.process == std::process::id() {
            // SAFETY: ours, not freed before, and MPI is not finalised.
            unsafe { ffi::MPI_Comm_free(&raw mut self.raw) };
        }
    }
}

/// What a receive must turn out to be.
#[derive(Clone, Copy, Debug)]
struct Receive {
    from: usize,
    len: c_int,
}

/// An operation that MPI is working on.
#[derive(Debug)]
struct Request {
    raw: ffi::MPI_Request,
    call: &'static str,
    receive: Option<Receive>,
    is_cancelled: bool,
}

impl Request {
    fn new(call: &'static str, receive: Option<Receive>) -> Self {
        // SAFETY: a constant of the library.
        let raw = unsafe { ffi::RSMPI_REQUEST_NULL };
        Self { raw, call, receive, is_cancelled: false }
    }

    /// Returns whether the operation is complete; after an error it is over too (MPI 4.0, section 3.7.3).
    fn test(&mut self, comm: &Mpi) -> Result<bool> {
        let mut flag = 0;
        let mut status = std::mem::MaybeUninit::<ffi::MPI_Status>::zeroed();
        // SAFETY: a request of ours (or null, which is complete), and places for the results.
        let code = unsafe { ffi::MPI_Test(&raw mut self.raw, &raw mut flag, status.as_mut_ptr()) };
        comm.check(self.call, code)?;
        if let (true, Some(receive), false) = (flag != 0, self.receive, self.is_cancelled) {
            let mut count = 0;
            // SAFETY: the status of a completed receive; the type is a constant of the library.
            let code =
                unsafe { ffi::MPI_Get_count(status.as_ptr(), ffi::RSMPI_UINT8_T, &raw mut count) };
            comm.check("MPI_Get_count", code)?;
            if count != receive.len {
                let (from, len) = (receive.from, receive.len);
                return Err(fail(
                    &comm.broken,
                    format!("rank {from} sent {count} bytes, expected {len}"),
                ));
            }
        }
        Ok(flag != 0)
    }

    fn cancel(&mut self) {
        if self.receive.is_some() {
            self.is_cancelled = true;
            // SAFETY: a receive that is not complete. Should MPI refuse, it is waited for like the others.
            unsafe { ffi::MPI_Cancel(&raw mut self.raw) };
        }
    }
}

/// Counts tests without progress.
#[derive(Default)]
struct Idle(u32);

impl Idle {
    fn pause(&mut self) {
        self.0 = self.0.saturating_add(1);
        if self.0 > IDLE_TESTS {
            std::thread::yield_now();
        }
    }
}

/// A rank, a color or the length of a piece: MPI gave it or we limit it, so it fits.
#[expect(clippy::cast_possible_wrap, reason = "every number that comes here fits")]
fn int(number: usize) -> c_int {
    number as c_int
}

/// Cuts a message; an empty one is one piece.
fn pieces(len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = len.div_ceil(PIECE_BYTES).max(1);
    (0..count).map(move |i| i * PIECE_BYTES..len.min((i + 1) * PIECE_BYTES))
}

fn fail(broken: &OnceCell<String>, reason: String) -> Error {
    let error = Error::new(ErrorKind::Communication, reason.clone());
    let _ = broken.set(reason);
    error
}

fn check(broken: &OnceCell<String>, call: &str, code: c_int) -> Result<()> {
    if code == SUCCESS {
        return Ok(());
    }
    // SAFETY: the text goes into a buffer of at least MPI_MAX_ERROR_STRING bytes.
    let text = text_of(|text, len| unsafe { ffi::MPI_Error_string(code, text, len) });
    Err(fail(broken, format!("{call}: {text} (code {code})")))
}

/// The text that a function of MPI writes.
fn text_of(write: impl FnOnce(*mut c_char, *mut c_int) -> c_int) -> String {
    // Larger than any MPI asks for: the loaded library need not be that of the build.
    let mut text = [0_u8; 16 << 10];
    let mut len = 0;
    write(text.as_mut_ptr().cast(), &raw mut len);
    let len = usize::try_from(len).unwrap_or(0).min(text.len());
    String::from_utf8_lossy(&text[..len]).trim_end_matches('\0').trim_end().to_owned()
}

fn is_finalized() -> bool {
    let mut flag = 0;
    // SAFETY: allowed at any time.
    let code = unsafe { ffi::MPI_Finalized(&raw mut flag) };
    code != SUCCESS || flag != 0
}

fn check_usable() -> Result<()> {
    // SAFETY: allowed at any time; the text goes into a buffer that is large enough.
    let version = text_of(|text, len| unsafe { ffi::MPI_Get_library_version(text, len) });
    let handle_bytes = size_of::<ffi::MPI_Comm>();
    if !is_family_of_build(&version, handle_bytes) {
        let first_line = version.lines().next().unwrap_or_default();
        let message = format!(
            "the library loaded is \"{first_line}\", but this scr was built for another MPI: \
             use the build that belongs to the application's"
        );
        return Err(Error::new(ErrorKind::Misuse, message));
    }
    let mut flag = 0;
    // SAFETY: allowed at any time.
    unsafe { ffi::MPI_Initialized(&raw mut flag) };
    if flag == 0 {
        return Err(Error::new(ErrorKind::Misuse, "MPI is not initialised: call MPI_Init first"));
    }
    if is_finalized() {
        return Err(Error::new(ErrorKind::Misuse, "MPI was finalised: call nothing after it"));
    }
    Ok(())
}

/// Refuses what has no ranks of one group, before MPI sees it: its handler for wrong handles ends the job.
///
/// # Safety
/// `raw` is `MPI_COMM_NULL`, a null pointer or a valid communicator, and MPI is initialised.
unsafe fn check_intra(raw: Handle) -> Result<()> {
    // SAFETY: a constant of the library; a handle of which all bytes are 0 is null, and no number that MPI gives out.
    let is_null = unsafe { raw == ffi::RSMPI_COMM_NULL || raw == std::mem::zeroed::<Handle>() };
    if is_null {
        return Err(Error::new(ErrorKind::Misuse, "the communicator is MPI_COMM_NULL"));
    }
    let mut is_inter = 0;
    // SAFETY: a valid communicator, by contract and the check above; local.
    let code = unsafe { ffi::MPI_Comm_test_inter(raw, &raw mut is_inter) };
    check(&OnceCell::new(), "MPI_Comm_test_inter", code)?;
    if is_inter != 0 {
        return Err(Error::new(ErrorKind::Misuse, "the communicator is an intercommunicator"));
    }
    Ok(())
}

/// Whether a library that says this of itself can have handles of this size.
///
/// Handles are numbers in MPICH and its derivatives, pointers in Open MPI; a mixture crashes in its first call, which
/// happens when two of them meet in one Python process. A library that nobody knows is believed.
fn is_family_of_build(version: &str, handle_bytes: usize) -> bool {
    let is_any = |names: &[&str]| names.iter().any(|name| version.contains(name));
    let is_mpich = is_any(&["MPICH", "MVAPICH", "Intel(R) MPI"]);
    let is_open_mpi = is_any(&["Open MPI", "Spectrum MPI"]);
    !(is_mpich && handle_bytes != size_of::<c_int>()
        || is_open_mpi && handle_bytes == size_of::<c_int>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_message_once() {
        for len in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES + 3] {
            let pieces: Vec<_> = pieces(len).collect();
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
            assert_eq!(pieces.iter().map(ExactSizeIterator::len).sum::<usize>(), len);
            assert_eq!((pieces[0].start, pieces[pieces.len() - 1].end), (0, len));
            assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }

    #[test]
    fn a_library_of_the_other_family_is_recognised() {
        assert!(is_family_of_build("Open MPI v4.1.4, package: Debian", 8));
        assert!(is_family_of_build("MPICH Version:\t4.0.2", 4));
        assert!(is_family_of_build("Some new MPI", 8));
        assert!(!is_family_of_build("Open MPI v4.1.4, package: Debian", 4));
        assert!(!is_family_of_build("MPICH Version:\t4.0.2", 8));
        assert!(!is_family_of_build("Intel(R) MPI Library 2021.9", 8));
    }

    #[test]
    fn nothing_is_called_before_mpi_is_initialised() {
        assert_eq!(Mpi::duplicate_world().unwrap_err().kind(), ErrorKind::Misuse);
    }
}
