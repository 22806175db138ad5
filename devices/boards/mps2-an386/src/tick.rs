//! Counts instructions: SysTick under `qemu-system-arm -icount shift=0`, where an instruction takes one nanosecond.
//!
//! The timer counts down with the 25 MHz of the board, one tick every 40 instructions, and interrupts when its 24 bits
//! are through. On a real board the same code counts time in units of 40 ns. QEMU gives the same number in every run.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::exception;

const RELOAD: u32 = 0x00FF_FFFF;
const INSTRUCTIONS_PER_TICK: u64 = 40;

static WRAPS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    // The only writer, on one core: a plain load and store would do.
    WRAPS.fetch_add(1, Ordering::Relaxed);
}

/// Starts the timer.
pub(crate) fn start(mut timer: SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(RELOAD);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
    // Cleared, it stands at 0 until the first tick loads it.
    while SYST::get_current() == 0 {}
}

/// Instructions since [`start`], to the nearest 40 below.
pub(crate) fn now() -> u64 {
    loop {
        let before = WRAPS.load(Ordering::SeqCst);
        let left = SYST::get_current();
        if before == WRAPS.load(Ordering::SeqCst) {
            return (u64::from(before) * u64::from(RELOAD + 1) + u64::from(RELOAD - left)) * INSTRUCTIONS_PER_TICK;
        }
    }
}
