// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints the manual page of all parameters: what `docs/parameters.md` holds.

fn main() {
    print!("{}", scr_core::config::manual());
}
