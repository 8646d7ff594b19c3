// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a dataset must reach the prefix now.

/// Returns why a dataset that was just committed is to be flushed, or `None` if it is not.
///
/// `checkpoint_number` counts checkpoints from 1 (`None`: not a checkpoint); `flush_every` is `SCR_FLUSH`, 0 = never.
pub fn due(is_output: bool, checkpoint_number: Option<u64>, flush_every: u32) -> Option<String> {
    if is_output {
        return Some("outputs are always flushed".into());
    }
    let number = checkpoint_number?;
    (flush_every > 0 && number.is_multiple_of(flush_every.into()))
        .then(|| format!("checkpoint {number}, one in {flush_every} is flushed"))
}

/// Returns whether Finalize flushes the newest checkpoint, of which `newest_is_flushed` tells (`None`: there is none).
pub fn due_at_finalize(newest_is_flushed: Option<bool>, flush_every: u32) -> bool {
    flush_every > 0 && newest_is_flushed == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_always_and_every_nth_checkpoint() {
        let cases = [
            (true, None, 0, true),
            (true, Some(1), 10, true),
            (false, None, 1, false),
            (false, Some(9), 10, false),
            (false, Some(10), 10, true),
            (false, Some(20), 10, true),
            (false, Some(10), 0, false),
            (false, Some(1), 1, true),
        ];
        for (is_output, number, every, expected) in cases {
            assert_eq!(
                due(is_output, number, every).is_some(),
                expected,
                "{is_output} {number:?} {every}"
            );
        }
    }

    #[test]
    fn finalize_flushes_what_is_left_unless_flushing_is_off() {
        let cases = [
            (Some(false), 10, true),
            (Some(true), 10, false),
            (Some(false), 0, false),
            (None, 10, false),
        ];
        for (flushed, every, expected) in cases {
            assert_eq!(due_at_finalize(flushed, every), expected, "{flushed:?} {every}");
        }
    }
}
