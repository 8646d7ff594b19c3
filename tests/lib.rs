//! Shared by the tests of scr.
