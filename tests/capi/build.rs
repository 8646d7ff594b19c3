// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the library and C programs against it, and runs them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// The top of the source tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the root")
}

/// What a variable of the test run says, or `default`.
#[expect(clippy::disallowed_methods, reason = "switches of the test suite, not configuration")]
pub(crate) fn choice(variable: &str, default: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| default.into())
}

/// The directory that holds libscr, built once for this run of the tests.
pub(crate) fn library() -> &'static Path {
    static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
        // target/<profile>/deps/<this test>
        let exe = std::env::current_exe().expect("the path of this test");
        let target = exe.ancestors().nth(3).expect("the target directory");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "-q", "-p", "scr-capi", "--target-dir"]).arg(target);
        succeed(cargo.current_dir(root()));
        target.join("debug")
    });
    &PLACE
}

/// Runs a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A C program, in a directory that is its working directory and prefix.
pub(crate) struct Program {
    exe: PathBuf,
    place: tempfile::TempDir,
}

impl Program {
    /// Compiles `source`, a path below the root.
    pub(crate) fn compile(source: &str) -> Self {
        Self::link(source, "-lscr")
    }

    /// Compiles `source` with the library in it.
    pub(crate) fn compile_static(source: &str) -> Self {
        Self::link(source, "-l:libscr.a")
    }

    fn link(source: &str, library_flag: &str) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let exe = place.path().join("program");
        let mut compiler = Command::new(choice("MPICC", "mpicc"));
        compiler
            .args(["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-O2", "-g"])
            .args(["-Wall", "-Wextra", "-Werror", "-pedantic"])
            .arg(root().join(source))
            .arg("-I")
            .arg(root().join("include"))
            .arg("-I")
            .arg(root().join("tests/capi"))
            .arg("-o")
            .arg(&exe)
            .arg("-L")
            .arg(library())
            .arg(library_flag);
        succeed(&mut compiler);
        // The program asks for the library by its SONAME; that link is made at installation.
        let link = place.path().join("libscr.so.4");
        std::os::unix::fs::symlink(library().join("libscr.so"), link).expect("a link");
        Self { exe, place }
    }

    /// The program as a job of `ranks`, with cache and control directories of its own and nothing else set.
    pub(crate) fn job(&self, ranks: usize) -> Command {
        let cache = self.place.path().join("cache");
        let mut job = Command::new(choice("MPIRUN", "mpirun"));
        job.args(["-n", &ranks.to_string()])
            .arg(&self.exe)
            .current_dir(self.place.path())
            .env("LD_LIBRARY_PATH", self.place.path())
            .env("SCR_CACHE_BASE", &cache)
            .env("SCR_CNTL_BASE", &cache)
            // More ranks than cores, and root in a container, are everyday in tests.
            .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        job
    }

    /// The directory in which it runs.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }
}
