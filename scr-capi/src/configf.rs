// SPDX-License-Identifier: MIT OR Apache-2.0
//! `SCR_Configf`, which is variadic: a jump that leaves every argument where it is, to the C function that takes them.
//!
//! Rust cannot define variadic functions, and a C function compiled into a cdylib is not exported from it.
#![expect(unsafe_code, reason = "a naked function and a symbol of C")]

use std::ffi::c_char;

unsafe extern "C" {
    fn scr_configf_impl(format: *const c_char, ...) -> *const c_char;
}

/// SCR_Config with a text made as by printf; its prototype is written by hand in cbindgen.toml.
///
/// # Safety
/// The arguments fit the format, as for `printf`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SCR_Configf(_format: *const c_char) -> *const c_char {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!("jmp {body}", body = sym scr_configf_impl);
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!("b {body}", body = sym scr_configf_impl);
}
