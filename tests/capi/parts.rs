// SPDX-License-Identifier: MIT OR Apache-2.0
//! SCR_Init_comm: several jobs in one launch, and applications that do not own the world.

use scr_tests::program::{Language, Program, root, succeed};
use std::process::Command;

#[test]
fn two_jobs_of_one_launch_restart_each_from_its_own() {
    let program = Program::compile("tests/capi/parts.c");
    for by in ["prefix", "task"] {
        let place = program.place().join(by);
        std::fs::create_dir(&place).expect("a directory");
        for step in ["write", "read"] {
            let mut launch = program.job_in(&place, 5);
            launch.envs([("SCR_CACHE_BYPASS", "0"), ("SCR_CACHE_SIZE", "4"), ("SCR_FLUSH", "1")]);
            let output = succeed(launch.args([step, by]));
            let printed = String::from_utf8_lossy(&output.stdout);
            // Rank 0 of job 1 is rank 3 of the world: nobody speaks by that number.
            for rank in 2..5 {
                assert!(!printed.contains(&format!("rank {rank} on")), "{printed}");
            }
            let told = printed.matches("says that it is not valid").count();
            assert_eq!(told, usize::from(step == "write"), "{printed}");
        }
        for path in ["job.0/step.0/rank.1", "job.1/step.2/rank.1"] {
            assert!(place.join(path).is_file(), "{by}: no {path}");
        }
    }
}

#[test]
fn c_and_cpp_take_the_header_that_needs_mpi() {
    let place = tempfile::tempdir().expect("a directory");
    for (language, name, standard) in
        [(Language::C, "use.c", "-std=c99"), (Language::Cpp, "use.cpp", "-std=c++11")]
    {
        let source = place.path().join(name);
        let text = "#include <scr_mpi.h>\n#include <scr_mpi.h>\n\
                    int main(void) { return SCR_Init_comm(MPI_COMM_SELF); }\n";
        #[expect(clippy::disallowed_methods, reason = "a source file for a compiler")]
        std::fs::write(&source, text).expect("writes");
        let mut compiler = Command::new(language.compiler());
        compiler.args([standard, "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]);
        compiler.args(["-DOMPI_SKIP_MPICXX", "-DMPICH_SKIP_MPICXX", "-I"]);
        succeed(compiler.arg(root().join("include")).arg(&source));
    }
}
