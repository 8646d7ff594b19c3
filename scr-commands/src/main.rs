//! The commands of scr.
fn main() {}
