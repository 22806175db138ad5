//! Gives the linker the memory of the board and the script of `cortex-m-rt`.

use std::{env, fs, io, path::PathBuf};

/// The board's two SRAMs: code and constants are loaded into the first as if it were flash.
const MEMORY: &str = "
MEMORY {
    FLASH : ORIGIN = 0x00000000, LENGTH = 4M
    RAM   : ORIGIN = 0x20000000, LENGTH = 4M
}
";

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("memory.x"), MEMORY)?;
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg=-Tlink.x");
    // Without it the linker aligns segments to pages and the image gets a hole.
    println!("cargo:rustc-link-arg=--nmagic");
    Ok(())
}
