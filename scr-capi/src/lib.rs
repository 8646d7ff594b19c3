//! libscr.
