//! Tells the crate whether the core has Arm's DSP extension: `cfg(target_feature = "dsp")` cannot be seen by stable Rust.
//!
//! Armv7E-M always has it; Armv8-M where `-C target-cpu` or `-C target-feature` says so.

use std::env;

/// Cores of Armv8-M that have the extension.
const CORES: [&str; 5] = ["cortex-m33", "cortex-m35p", "cortex-m52", "cortex-m55", "cortex-m85"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(fleetfoot_arm_dsp, fleetfoot_arm_v8m)");
    let target = env::var("TARGET").unwrap_or_default();
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let stated = flags.split('\x1f').any(|flag| {
        let core = flag.rsplit_once("target-cpu=").is_some_and(|(_, cpu)| CORES.contains(&cpu));
        core || flag.rsplit_once("target-feature=").is_some_and(|(_, list)| list.split(',').any(|f| f == "+dsp"))
    });
    if target.starts_with("thumbv7em") || (target.starts_with("thumbv8m.main") && stated) {
        println!("cargo:rustc-cfg=fleetfoot_arm_dsp");
    }
    if target.starts_with("thumbv8m.main") {
        println!("cargo:rustc-cfg=fleetfoot_arm_v8m");
    }
}
