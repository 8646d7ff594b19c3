//! Rules of the design that a machine can check.
