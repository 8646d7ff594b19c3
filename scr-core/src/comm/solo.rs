// SPDX-License-Identifier: MIT OR Apache-2.0
//! One process without MPI: every collective is trivial, and messages to itself are copied.

use super::{Comm, In, Out, Reduce, check_color, check_rank};
use crate::error::{Error, ErrorKind, Result};

/// The communicator of a process that is alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Solo;

impl Comm for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn barrier(&self) -> Result<()> {
        Ok(())
    }

    fn broadcast(&self, root: usize, _data: &mut [u8]) -> Result<()> {
        check_rank(self, root)
    }

    fn all_reduce(&self, _op: Reduce, _values: &mut [u64]) -> Result<()> {
        Ok(())
    }

    fn split(&self, color: Option<u32>, _key: u32) -> Result<Option<Box<dyn Comm>>> {
        check_color(color)?;
        Ok(color.map(|_| Box::new(Self) as Box<dyn Comm>))
    }

    fn transfer(
        &self,
        outs: &[Out<'_>],
        ins: &mut [In<'_>],
        meanwhile: &mut dyn FnMut(),
    ) -> Result<()> {
        meanwhile();
        let peers = outs.iter().map(|out| out.to).chain(ins.iter().map(|inp| inp.from));
        for rank in peers {
            check_rank(self, rank)?;
        }
        let lengths_match = outs.len() == ins.len()
            && outs.iter().zip(ins.iter()).all(|(out, inp)| out.data.len() == inp.data.len());
        if !lengths_match {
            let message = "messages sent by the only rank do not match those it receives";
            return Err(Error::new(ErrorKind::Misuse, message));
        }
        for (out, inp) in outs.iter().zip(ins) {
            inp.data.copy_from_slice(out.data);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::conformance;

    #[test]
    fn conforms() {
        conformance::check(&Solo).unwrap();
    }

    #[test]
    fn a_message_nobody_receives_is_refused_and_meanwhile_still_runs() {
        let mut runs = 0;
        let result = Solo.transfer(&[Out { to: 0, data: b"x" }], &mut [], &mut || runs += 1);
        assert_eq!((result.unwrap_err().kind(), runs), (ErrorKind::Misuse, 1));
    }
}
