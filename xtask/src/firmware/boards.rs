//! The boards: how each is built for and emulated.
//!
//! ```text
//! devices/boards, once for each target and memory map  ->  an ELF file with the public key inside
//! the emulator puts a bundle into the slot beside it       one program runs all networks
//! ```

use std::path::{Path, PathBuf};

use crate::{
    setup::{self, DEBIAN_RUSTC},
    shell::{Cmd, Result, Tree},
};

/// Seconds for one emulated run.
const TIMEOUT_S: u32 = 300;
/// SHA-512 in its compact form: 27 kB less flash for a signature check that takes 7% longer.
const COMPACT: &str = "--cfg sha2_backend_soft=\"compact\"";

/// A board that is emulated.
pub(super) struct Board {
    /// QEMU's name of the machine; also that of the memory map in `devices/boards/memory`.
    pub(super) machine: &'static str,
    /// The board whose program it runs.
    pub(super) program: &'static str,
    emulator: &'static str,
    core: &'static str,
    target: &'static str,
    /// What the compiler is told.
    flags: &'static str,
    /// Address of the slot, as in the memory map.
    slot: u64,
    /// Golden cases of each network that are run.
    cases: u32,
}

/// All that a bundle has.
const ALL: u32 = 1 << 16;
/// A board whose kernels others have run with all.
const SOME: u32 = 3;

/// A Cortex-M7 and an M33 run the instructions of an M4; the memory of the latter lies elsewhere.
pub(super) const BOARDS: &[Board] = &[
    Board {
        machine: "mps2-an386",
        program: "mps2-an386",
        emulator: "qemu-system-arm",
        core: "cortex-m4",
        target: "thumbv7em-none-eabihf",
        flags: "-C target-cpu=cortex-m4",
        slot: 0x0020_0000,
        cases: ALL,
    },
    Board {
        machine: "mps2-an500",
        program: "mps2-an386",
        emulator: "qemu-system-arm",
        core: "cortex-m7",
        target: "thumbv7em-none-eabihf",
        flags: "-C target-cpu=cortex-m4",
        slot: 0x0020_0000,
        cases: SOME,
    },
    Board {
        machine: "mps2-an505",
        program: "mps2-an505",
        emulator: "qemu-system-arm",
        core: "cortex-m33",
        target: "thumbv7em-none-eabihf",
        flags: "-C target-cpu=cortex-m4",
        slot: 0x1020_0000,
        cases: SOME,
    },
    Board {
        machine: "mps3-an547",
        program: "mps3-an547",
        emulator: "qemu-system-arm",
        core: "cortex-m55",
        target: "thumbv8m.main-none-eabihf",
        flags: "-C target-cpu=cortex-m55",
        slot: 0x6000_0000,
        cases: SOME,
    },
    Board {
        machine: "virt",
        program: "virt",
        emulator: "qemu-system-riscv32",
        core: "rv32",
        target: "riscv32imac-unknown-none-elf",
        flags: "",
        slot: 0x8100_0000,
        cases: SOME,
    },
];

impl Board {
    /// Whether another board's program is run.
    pub(super) fn shares(&self) -> bool {
        self.program != self.machine
    }

    /// The command that builds the program `bin`.
    pub(super) fn cargo(&self, tree: &Tree, work: &Path, bin: &str) -> Result<Cmd> {
        // In the folder of the firmware, for the sake of its workspace; flags in the environment take the place of its config.toml.
        Ok(Cmd::cargo(tree, ["build", "--release", "--quiet", "-Zbuild-std=core,alloc", "--target", self.target])
            .args(["-p", "fleetfoot-boards", "--bin", bin])
            .dir(tree.root.join("devices"))
            .arg("--target-dir")
            .arg(work)
            .env("FF_BOARD", self.program)
            .env("RUSTFLAGS", format!("{} {COMPACT}", self.flags))
            .env("RUSTC", DEBIAN_RUSTC)
            // Building `core` ourselves is not stable yet; nothing else here needs it.
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("LD_LIBRARY_PATH")
            .path(&setup::rust_lld_dir()?))
    }

    /// Where the program `bin` is after that.
    pub(super) fn elf(&self, work: &Path, bin: &str) -> PathBuf {
        work.join(self.target).join("release").join(bin)
    }

    /// The emulated board with `elf` in its memory, as fast as it goes. The exit code is that of the firmware.
    pub(super) fn run(&self, elf: &Path) -> Cmd {
        let emulator = Cmd::new("timeout").args(["-k", "5", &TIMEOUT_S.to_string(), self.emulator, "-M", self.machine]);
        let emulator =
            if self.core == "rv32" { emulator.args(["-bios", "none"]) } else { emulator.args(["-cpu", self.core]) };
        emulator
            .args(["-nographic", "-monitor", "none", "-serial", "none"])
            .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
            .arg(elf)
    }

    /// The same with one nanosecond for each instruction, so that a timer counts them.
    pub(super) fn count(&self, elf: &Path) -> Cmd {
        self.run(elf).args(["-icount", "shift=0"])
    }

    /// Counting, with a bundle in the slot: its length in the first word, how many golden cases to run in the second, itself 64 bytes
    /// behind.
    pub(super) fn run_with(&self, elf: &Path, bundle: &Path) -> Result<Cmd> {
        let len = std::fs::metadata(bundle).map_err(|e| format!("{}: {e}", bundle.display()))?.len();
        let file = format!("loader,file={},addr={:#x},force-raw=on", bundle.display(), self.slot + 64);
        let length = format!("loader,addr={:#x},data={len:#x},data-len=4", self.slot);
        let cases = format!("loader,addr={:#x},data={:#x},data-len=4", self.slot + 4, self.cases);
        Ok(self.count(elf).args(["-device", &file, "-device", &length, "-device", &cases]))
    }
}
