// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the library and programs in C, C++ and Fortran against it, and runs them and programs in Python.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

/// The top of the source tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the root")
}

/// What a variable of the test run says, or `default`.
#[expect(clippy::disallowed_methods, reason = "switches of the test suite, not configuration")]
pub fn choice(variable: &str, default: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| default.into())
}

/// The directory that holds libscr, built once for this run of the tests.
pub fn library() -> &'static Path {
    static PLACE: LazyLock<PathBuf> = LazyLock::new(|| build(&target(), &[]));
    &PLACE
}

/// The directory that holds the library without MPI, which is called libscr there too.
pub fn single_library() -> &'static Path {
    static PLACE: LazyLock<PathBuf> =
        LazyLock::new(|| build(&target().join("single"), &["--no-default-features"]));
    &PLACE
}

/// What starts ranks of the MPI that is tested: the kin of `MPICC`, or what `MPIRUN` names.
pub fn launcher() -> OsString {
    let mpicc = choice("MPICC", "mpicc").into_string().expect("MPICC is UTF-8");
    choice("MPIRUN", &mpicc.replace("mpicc", "mpirun"))
}

/// Whether the MPI that is tested is the one that this machine calls `mpicc`; what others there are is then tested beside it.
pub fn is_default_mpi() -> bool {
    choice("MPICC", "mpicc") == "mpicc"
}

/// Debian's name for the compiler of MPICH, the second MPI.
pub const MPICH_COMPILER: &str = "mpicc.mpich";
/// Its launcher.
pub const MPICH_LAUNCHER: &str = "mpiexec.mpich";

/// The directory that holds libscr for MPICH, built once for this run of the tests; `None` where there is no MPICH.
pub fn mpich_library() -> Option<&'static Path> {
    static PLACE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let is_there = |name: &str| Command::new(name).arg("--version").output().is_ok();
        if !is_there(MPICH_COMPILER) || !is_there(MPICH_LAUNCHER) {
            return None;
        }
        let target = target().join("mpich");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "-q", "--locked", "-p", "scr-capi", "--target-dir"]).arg(&target);
        // It shall be there soon, not run fast.
        cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
        succeed(cargo.env("MPICC", MPICH_COMPILER).current_dir(root()));
        Some(target.join("debug"))
    });
    PLACE.as_deref()
}

/// The command `scr`, built once for this run of the tests.
pub fn scr() -> &'static Path {
    static EXE: LazyLock<PathBuf> = LazyLock::new(|| {
        let target = target();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "-q", "--locked", "-p", "scr-commands", "--target-dir"]).arg(&target);
        succeed(cargo.current_dir(root()));
        target.join("debug/scr")
    });
    &EXE
}

fn target() -> PathBuf {
    // target/<profile>/deps/<this test>
    let exe = std::env::current_exe().expect("the path of this test");
    exe.ancestors().nth(3).expect("the target directory").to_path_buf()
}

fn build(target: &Path, options: &[&str]) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "-q", "--locked", "-p", "scr-capi"]).args(options);
    succeed(cargo.arg("--target-dir").arg(target).current_dir(root()));
    target.join("debug")
}

/// Runs a command that must succeed.
pub fn succeed(command: &mut Command) -> Output {
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

/// Runs the command that is added to it, and ends it when it takes much longer than any test: ranks that wait for each
/// other for ever are a failure, not a test that never ends.
fn within_deadline() -> Command {
    let mut timeout = Command::new("timeout");
    // In this process group, so that whoever kills the group has all of it.
    timeout.args(["--foreground", "--kill-after=10", "300"]);
    timeout
}

/// A Python that has `modules`, named as in an import: the one that `PYTHON` names, that of the path, or the system's.
pub fn python(modules: &str) -> Option<OsString> {
    let candidates = [choice("PYTHON", "python3"), "/usr/bin/python3".into()];
    candidates.into_iter().find(|python| {
        let mut probe = Command::new(python);
        probe.args(["-c", &format!("import {modules}")]);
        probe.output().is_ok_and(|output| output.status.success())
    })
}

/// Links the libraries with and without MPI to `place`, by the names by which programs ask for them.
pub fn link_libraries(place: &Path) {
    let there = [("libscr.so.4", library()), ("libscr_single.so.4", single_library())];
    for (name, built) in there {
        std::os::unix::fs::symlink(built.join("libscr.so"), place.join(name)).expect("a link");
    }
}

/// Root in a container, and more ranks than cores, are everyday in tests; Open MPI must be told.
pub const OPEN_MPI: [(&str, &str); 3] = [
    ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
    ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
    ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
];

/// Whether ranks that are Python programs find each other by the MPI that is tested.
pub fn has_mpi4py(python: &OsString) -> bool {
    let mut job = Command::new(launcher());
    job.args(["-n", "2"]).arg(python).arg("-c");
    job.arg("from mpi4py import MPI; raise SystemExit(MPI.COMM_WORLD.size != 2)").envs(OPEN_MPI);
    job.output().is_ok_and(|output| output.status.success())
}

/// The language that a program is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// C99.
    C,
    /// C++17.
    Cpp,
    /// Fortran 2008, in free form.
    Fortran,
    /// Fortran in fixed form, as old programs are.
    FixedFortran,
}

impl Language {
    /// The language of a source file, by its name.
    pub fn of(source: &str) -> Self {
        match Path::new(source).extension().and_then(|extension| extension.to_str()) {
            Some("c") => Self::C,
            Some("cpp") => Self::Cpp,
            Some("f90") => Self::Fortran,
            Some("f") => Self::FixedFortran,
            _ => panic!("{source}: no language of ours"),
        }
    }

    /// The compiler of the MPI that is tested. `MPICC` names its kin, `MPICXX` and `MPIFORT` name others.
    pub fn compiler(self) -> OsString {
        let mpicc = choice("MPICC", "mpicc").into_string().expect("MPICC is UTF-8");
        match self {
            Self::C => mpicc.into(),
            Self::Cpp => choice("MPICXX", &mpicc.replace("mpicc", "mpicxx")),
            Self::Fortran | Self::FixedFortran => {
                choice("MPIFORT", &mpicc.replace("mpicc", "mpifort"))
            }
        }
    }

    /// Whether the compiler is on this machine, and what it compiles with: a wrapper may be there alone.
    pub fn is_there(self) -> bool {
        let mut command = Command::new(self.compiler());
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// The compiler, with the strictest rules for the source, and module files in `place`.
    fn command(self, place: &Path) -> Command {
        let mut command = Command::new(self.compiler());
        command.args(["-O2", "-g", "-Wall", "-Wextra", "-Werror"]);
        match self {
            Self::C => command.args(["-std=c99", "-pedantic", "-D_POSIX_C_SOURCE=200809L"]),
            // Some MPIs come with C++ bindings that no longer compile without warnings.
            Self::Cpp => command.args([
                "-std=c++17",
                "-pedantic",
                "-DOMPI_SKIP_MPICXX",
                "-DMPICH_SKIP_MPICXX",
            ]),
            Self::Fortran => command
                .args(["-std=f2008", "-pedantic", "-J"])
                .arg(place)
                .arg(root().join("include/scr.f90")),
            // Old programs pass anything to MPI; what mpif.h declares, no program uses all.
            Self::FixedFortran => command.args(["-std=legacy", "-Wno-unused-parameter"]),
        };
        command
    }
}

/// A program, in a directory that is its working directory and prefix.
#[derive(Debug)]
pub struct Program {
    exe: PathBuf,
    /// What the interpreter `exe` runs.
    script: Option<PathBuf>,
    place: tempfile::TempDir,
}

impl Program {
    /// Compiles `source`, a path below the root.
    pub fn compile(source: &str) -> Self {
        Self::compile_with(source, &[])
    }

    /// Compiles `source` with more options.
    pub fn compile_with(source: &str, options: &[&str]) -> Self {
        Self::link(source, options, "-lscr")
    }

    /// Compiles `source` with the library in it.
    pub fn compile_static(source: &str) -> Self {
        Self::link(source, &[], "-l:libscr.a")
    }

    /// Compiles `source`, in C, for one process, without MPI and with `WITHOUT_MPI` defined.
    pub fn compile_single(source: &str) -> Self {
        Self::compile_single_with(source, &[])
    }

    /// The same, with more options.
    pub fn compile_single_with(source: &str, options: &[&str]) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let exe = place.path().join("program");
        let mut compiler = Command::new(choice("CC", "cc"));
        compiler.args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-std=c99"]);
        compiler
            .args(["-D_POSIX_C_SOURCE=200809L", "-DWITHOUT_MPI"])
            .args(options)
            .arg(root().join(source));
        compiler.arg("-I").arg(root().join("include")).arg("-I").arg(root().join("tests/capi"));
        succeed(compiler.arg("-o").arg(&exe).arg("-L").arg(single_library()).arg("-lscr"));
        let link = place.path().join("libscr_single.so.4");
        std::os::unix::fs::symlink(single_library().join("libscr.so"), link).expect("a link");
        Self { exe, script: None, place }
    }

    fn link(source: &str, options: &[&str], library_flag: &str) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let exe = place.path().join("program");
        let mut compiler = Language::of(source).command(place.path());
        compiler
            .args(options)
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
        Self::in_place(exe, place)
    }

    /// A program that cargo has built.
    pub fn built(exe: &Path) -> Self {
        Self::in_place(exe.to_path_buf(), tempfile::tempdir().expect("a directory"))
    }

    /// A program in Python, `source` below the root, that uses the package `scr`.
    pub fn script(python: &OsString, source: &str) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        link_libraries(place.path());
        Self { exe: python.into(), script: Some(root().join(source)), place }
    }

    fn in_place(exe: PathBuf, place: tempfile::TempDir) -> Self {
        // The program asks for the library by its SONAME; that link is made at installation.
        let link = place.path().join("libscr.so.4");
        std::os::unix::fs::symlink(library().join("libscr.so"), link).expect("a link");
        Self { exe, script: None, place }
    }

    /// The program as a job of `ranks`, with cache and control directories of its own and nothing else set.
    pub fn job(&self, ranks: usize) -> Command {
        self.job_in(self.place.path(), ranks)
    }

    /// The same, with another directory for all it writes.
    pub fn job_in(&self, place: &Path, ranks: usize) -> Command {
        let mut job = within_deadline();
        job.arg(launcher()).args(["-n", &ranks.to_string()]);
        job.arg(&self.exe).envs(OPEN_MPI);
        self.settle(job, place)
    }

    /// The program as one process without a launcher, with this directory for all it writes.
    pub fn alone_in(&self, place: &Path) -> Command {
        let mut alone = within_deadline();
        alone.arg(&self.exe);
        self.settle(alone, place)
    }

    fn settle(&self, mut job: Command, place: &Path) -> Command {
        let cache = place.join("cache");
        if let Some(script) = &self.script {
            job.arg(script)
                .env("PYTHONPATH", root().join("python"))
                .env("PYTHONDONTWRITEBYTECODE", "1");
        }
        job.current_dir(place)
            .env("LD_LIBRARY_PATH", self.place.path())
            .env("SCR_CACHE_BASE", &cache)
            .env("SCR_CNTL_BASE", &cache);
        job
    }

    /// The program itself.
    pub fn exe(&self) -> &Path {
        &self.exe
    }

    /// The directory in which it runs.
    pub fn place(&self) -> &Path {
        self.place.path()
    }
}
