// SPDX-License-Identifier: MIT OR Apache-2.0
//! `include/scr.h` is what cbindgen makes of the source, and every compiler takes it.

use scr_tests::program::{choice, root, succeed};
use std::process::Command;

/// The header as the source has it now.
fn generate() -> String {
    let capi = root().join("scr-capi");
    let config = cbindgen::Config::from_file(capi.join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(capi.join("src/api.rs"))
        .generate()
        .expect("a header");
    let mut text = Vec::new();
    bindings.write(&mut text);
    // cbindgen knows no C older than C99; programs that use SCR are.
    String::from_utf8(text).expect("UTF-8").replace("// __cplusplus", "/* __cplusplus */")
}

#[test]
fn the_header_is_that_of_the_source() {
    let path = root().join("include/scr.h");
    let generated = generate();
    if choice("SCR_BLESS", "") == "1" {
        #[expect(clippy::disallowed_methods, reason = "a file of the source tree, not a record")]
        std::fs::write(&path, &generated).expect("writes the header");
    }
    let committed = std::fs::read_to_string(&path).expect("include/scr.h");
    assert!(committed == generated, "include/scr.h is old: run this test with SCR_BLESS=1");
}

#[test]
fn the_header_says_the_version_of_the_library() {
    let committed = std::fs::read_to_string(root().join("include/scr.h")).expect("include/scr.h");
    for (name, value) in [
        ("MAJOR", env!("CARGO_PKG_VERSION_MAJOR")),
        ("MINOR", env!("CARGO_PKG_VERSION_MINOR")),
        ("PATCH", env!("CARGO_PKG_VERSION_PATCH")),
    ] {
        let line = format!("#define SCR_{name}_VERSION \"{value}\"\n");
        assert!(committed.contains(&line), "no {line}");
    }
}

#[test]
fn c_and_cpp_take_the_header() {
    let place = tempfile::tempdir().expect("a directory");
    for (compiler, standard, suffix) in [
        ("cc", "c90", "c"),
        ("cc", "c99", "c"),
        ("cc", "c17", "c"),
        ("c++", "c++11", "cpp"),
        ("c++", "c++20", "cpp"),
    ] {
        let source = place.path().join(format!("use.{suffix}"));
        // Included twice: SCR's own header has no guard, so programs have learned to do without.
        let text = "#include <scr.h>\n#include <scr.h>\nint main(void) { return SCR_Init(); }\n";
        #[expect(clippy::disallowed_methods, reason = "a source file for a compiler")]
        std::fs::write(&source, text).expect("writes");
        succeed(
            Command::new(compiler)
                .arg(format!("-std={standard}"))
                .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"])
                .arg("-I")
                .arg(root().join("include"))
                .arg(&source),
        );
    }
}
