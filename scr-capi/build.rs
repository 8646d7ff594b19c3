// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles the one C file (a variadic function) and names the shared library: without MPI it is another one.

fn main() {
    cc::Build::new().file("src/configf.c").warnings(true).compile("scr_configf");
    println!("cargo:rerun-if-changed=src/configf.c");
    #[expect(clippy::disallowed_methods, reason = "how cargo tells a build script its features")]
    let has_mpi = std::env::var_os("CARGO_FEATURE_MPI").is_some();
    let name = if has_mpi { "libscr.so.4" } else { "libscr_single.so.4" };
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{name}");
}
