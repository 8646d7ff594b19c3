// SPDX-License-Identifier: MIT OR Apache-2.0
//! CMake: the installed tree from outside of the source tree, and the source tree within another project.

use crate::install::install;
use scr_tests::program::{Language, choice, library, root, succeed};
use scr_tests::skip;
use std::path::{Path, PathBuf};
use std::process::Command;

const USE_C: &str = "#include <scr.h>\n#include <stdio.h>\n\
                     int main(void) { return puts(SCR_Get_version()) < 0; }\n";

const USE_FORTRAN: &str = "program p\n  use scr\n  implicit none\n  character(len=20) :: version\n  \
                           integer :: ierror\n  call scr_get_version(version, ierror)\n  \
                           print '(a)', trim(version)\nend program p\n";

/// A project that someone else has.
pub(crate) struct Project {
    place: tempfile::TempDir,
    mpicc: String,
}

impl Project {
    #[expect(clippy::disallowed_methods, reason = "source files for a compiler")]
    pub(crate) fn new(mpicc: &str, cmake: &str) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text);
        write("use.c", USE_C).expect("writes");
        write("use.f90", USE_FORTRAN).expect("writes");
        let text = format!("cmake_minimum_required(VERSION 3.16)\n{cmake}");
        write("CMakeLists.txt", &text).expect("writes");
        Self { place, mpicc: mpicc.to_string() }
    }

    fn configure(&self, options: &[String]) -> Command {
        let mut cmake = Command::new("cmake");
        cmake.arg("-S").arg(self.place.path()).arg("-B").arg(self.build()).args(options);
        cmake.arg(format!("-DCMAKE_C_COMPILER={}", self.mpicc));
        let fortran = self.mpicc.replace("mpicc", "mpifort");
        cmake.arg(format!("-DCMAKE_Fortran_COMPILER={fortran}"));
        cmake
    }

    /// Where its programs are.
    pub(crate) fn build(&self) -> PathBuf {
        self.place.path().join("build")
    }

    /// Builds the project.
    pub(crate) fn make(&self, options: &[String]) {
        succeed(&mut self.configure(options));
        succeed(Command::new("cmake").arg("--build").arg(self.build()));
    }

    /// Builds the project; each of its programs says the version of libscr.
    fn runs(&self, options: &[String], programs: &[&str]) {
        self.make(options);
        for program in programs {
            let output = succeed(&mut Command::new(self.build().join(program)));
            assert_eq!(String::from_utf8_lossy(&output.stdout), "v4.0.0\n", "{program}");
        }
    }
}

/// Whether there is CMake; that there is none is noted.
pub(crate) fn has_cmake(test: &str) -> bool {
    let is_there = Command::new("cmake").arg("--version").output().is_ok();
    if !is_there {
        skip(test, "no CMake");
    }
    is_there
}

fn mpicc() -> String {
    choice("MPICC", "mpicc").into_string().expect("UTF-8")
}

/// Finds the package in an installed tree, and builds and runs a program for each of its targets.
pub(crate) fn finds(mpicc: &str, tree: &Path, package: &str) {
    let has_fortran = Language::Fortran.is_there();
    let mut text = format!(
        "project(outside C)\nfind_package(MPI REQUIRED COMPONENTS C)\nfind_package({package} REQUIRED)\n\
         if(NOT SCR_VERSION VERSION_EQUAL 4.0.0 OR NOT SCR_LIBRARIES STREQUAL \"scr::scr\")\n  \
         message(FATAL_ERROR \"${{SCR_VERSION}} ${{SCR_LIBRARIES}}\")\nendif()\n"
    );
    let mut programs = vec!["scr", "SCR", "single", "scr_static"];
    for (program, target) in [
        ("scr", "scr::scr"),
        ("SCR", "SCR::SCR"),
        ("single", "scr::single"),
        ("scr_static", "scr::scr_static"),
    ] {
        text += &["add_executable(", program, " use.c)\n"].concat();
        text += &["target_link_libraries(", program, " ", target, ")\n"].concat();
    }
    if has_fortran {
        programs.push("fortran");
        text += "enable_language(Fortran)\nadd_executable(fortran use.f90)\n\
                 target_link_libraries(fortran scr::scrf)\n";
    }
    let project = Project::new(mpicc, &text);
    project.runs(&[format!("-DCMAKE_PREFIX_PATH={}", tree.display())], &programs);
}

#[test]
fn cmake_finds_the_installed_tree_by_both_names() {
    if !has_cmake("cmake_finds_the_installed_tree_by_both_names") {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let tree = install(place.path());
    for package in ["scr", "SCR 3"] {
        finds(&mpicc(), &tree, package);
    }
    // Versions that this is not are refused.
    for package in ["scr 5", "SCR 2", "scr 4.1"] {
        let project = Project::new(
            &mpicc(),
            &format!("project(outside C)\nfind_package({package} REQUIRED)\n"),
        );
        let prefix = format!("-DCMAKE_PREFIX_PATH={}", tree.display());
        let output = project.configure(&[prefix]).output().expect("cmake runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("not accepted"), "{package}: {said}");
    }
}

#[test]
fn a_project_can_carry_the_source_tree() {
    if !has_cmake("a_project_can_carry_the_source_tree") {
        return;
    }
    let target = library().parent().expect("the target directory");
    let text = format!(
        "project(outer C)\nadd_subdirectory(\"{}\" scr)\n\
         add_executable(shared use.c)\ntarget_link_libraries(shared PRIVATE scr::scr)\n\
         add_executable(alone use.c)\ntarget_link_libraries(alone PRIVATE scr::single)\n",
        root().display()
    );
    let project = Project::new(&mpicc(), &text);
    // What the other tests have built is taken.
    let options = [
        "-DSCR_CARGO_PROFILE=dev".to_string(),
        format!("-DSCR_CARGO_TARGET_DIR={}", target.display()),
        format!("-DSCR_CARGO={}", env!("CARGO")),
    ];
    project.runs(&options, &["shared", "alone"]);
}
