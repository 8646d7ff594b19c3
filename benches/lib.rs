//! Shared by the measurements of scr.
