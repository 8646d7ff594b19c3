// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time as a port, so that tests own it: nothing else in the library asks the system what time it is, or sleeps.

use std::sync::Mutex;
use std::time::Duration;

/// A source of time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Time since 1970 (wall clock; may jump).
    fn unix(&self) -> Duration;

    /// Time since some fixed moment of this process (never jumps).
    fn monotonic(&self) -> Duration;

    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The clock of the system.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    fn unix(&self) -> Duration {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A clock that moves only when told, or when somebody sleeps on it.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that shows `unix` since 1970.
    pub fn new(unix: Duration) -> Self {
        Self { now: Mutex::new(unix) }
    }

    /// Moves time forward.
    pub fn advance(&self, duration: Duration) {
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += duration;
    }
}

impl Clock for ManualClock {
    fn unix(&self) -> Duration {
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn monotonic(&self) -> Duration {
        self.unix()
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}
