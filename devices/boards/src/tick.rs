//! Counts instructions under `qemu-system-* -icount shift=0`, where one takes one nanosecond. QEMU gives the same number in every run.
//!
//! On Arm it is SysTick: it counts down with the clock of the board, one tick every 31 to 50 instructions, and interrupts when its
//! 24 bits are through; on a real board the same code counts time. On RISC-V the core counts its instructions itself.

#[cfg(target_arch = "arm")]
pub(crate) use arm::{now, start};
#[cfg(target_arch = "riscv32")]
pub(crate) use riscv32::{now, start};

#[cfg(target_arch = "arm")]
mod arm {
    use core::sync::atomic::{AtomicU32, Ordering};

    use cortex_m::{
        Peripherals,
        peripheral::{SYST, syst::SystClkSource},
    };
    use cortex_m_rt::exception;

    const RELOAD: u32 = 0x00FF_FFFF;
    /// A thousandth of an instruction is a picosecond.
    const TICK_PS: u64 = number(env!("FF_TICK_PS"));

    static WRAPS: AtomicU32 = AtomicU32::new(0);

    #[exception]
    fn SysTick() {
        // The only writer, on one core.
        WRAPS.store(WRAPS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Starts the timer.
    pub(crate) fn start() {
        let Some(board) = Peripherals::take() else { return };
        let mut timer = board.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(RELOAD);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        // Cleared, it stands at 0 until the first tick loads it.
        while SYST::get_current() == 0 {}
    }

    /// Instructions since [`start`], to the nearest tick below.
    pub(crate) fn now() -> u64 {
        loop {
            let before = WRAPS.load(Ordering::SeqCst);
            let left = SYST::get_current();
            if before == WRAPS.load(Ordering::SeqCst) {
                let ticks = u64::from(before) * u64::from(RELOAD + 1) + u64::from(RELOAD - left);
                return ticks * TICK_PS / 1000;
            }
        }
    }

    const fn number(digits: &str) -> u64 {
        let (digits, mut at, mut number) = (digits.as_bytes(), 0, 0);
        while at < digits.len() {
            number = 10 * number + (digits[at] - b'0') as u64;
            at += 1;
        }
        number
    }
}

#[cfg(target_arch = "riscv32")]
mod riscv32 {
    /// The counter always runs.
    pub(crate) fn start() {}

    /// Instructions since the reset.
    pub(crate) fn now() -> u64 {
        riscv::register::minstret::read64()
    }
}
