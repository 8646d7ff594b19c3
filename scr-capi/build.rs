// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles the one C file (a variadic function) and names the shared library.

fn main() {
    cc::Build::new().file("src/configf.c").warnings(true).compile("scr_configf");
    println!("cargo:rerun-if-changed=src/configf.c");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libscr.so.4");
}
