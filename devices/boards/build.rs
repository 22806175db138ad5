//! Gives the linker the memory of the board `FF_BOARD` (`mps2-an386` where nothing is said) and the start-up code its scripts.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-env-changed=FF_BOARD");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=memory");
    let board = env::var("FF_BOARD").unwrap_or_else(|_| "mps2-an386".into());
    // A tick of SysTick in picoseconds: 25, 20 and 32 MHz.
    let tick_ps = match &*board {
        "mps2-an505" => 50_000,
        "mps3-an547" => 31_250,
        _ => 40_000,
    };
    println!("cargo:rustc-env=FF_BOARD={board}");
    println!("cargo:rustc-env=FF_TICK_PS={tick_ps}");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::copy(format!("memory/{board}.x"), out.join("memory.x"))?;
    println!("cargo:rustc-link-search={}", out.display());
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv32") {
        println!("cargo:rustc-link-arg=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg=-Tlink.x");
    // Without it the linker aligns segments to pages and the image gets a hole.
    println!("cargo:rustc-link-arg=--nmagic");
    Ok(())
}
