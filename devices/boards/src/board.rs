//! What differs between boards: the start, the slot in memory-mapped flash, how deep the stack went.

#[cfg(target_arch = "arm")]
pub(crate) use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
pub(crate) use riscv_rt::entry;

/// Where the bundle begins in the slot; its length stands in the first word, the number of golden cases to run in the second.
const BUNDLE_AT: usize = 64;

unsafe extern "C" {
    static _slot: [u8; BUNDLE_AT];
    static _slot_end: u8;
}

/// The bundle in the slot, as many bytes as its first word says.
pub(crate) fn slot() -> &'static [u8] {
    let room = (&raw const _slot_end).addr() - (&raw const _slot).addr() - BUNDLE_AT;
    // SAFETY: memory of the board that the linker gives to nothing else and nobody writes; the length was cut to it.
    unsafe {
        let len = (&raw const _slot).cast::<u32>().read_volatile() as usize;
        core::slice::from_raw_parts((&raw const _slot).cast::<u8>().add(BUNDLE_AT), len.min(room))
    }
}

/// Golden cases to run at most.
pub(crate) fn cases() -> usize {
    // SAFETY: as in `slot`.
    unsafe { (&raw const _slot).cast::<u32>().add(1).read_volatile() as usize }
}

/// Bytes below the stack pointer that are painted.
const PAINTED: usize = 32 * 1024;
const PAINT: u32 = 0xC0DE_F00D;

/// Runs `work` on a painted stack: what it gives, and the bytes of stack it took.
#[inline(never)]
pub(crate) fn stack_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let top = stack_pointer() - 64;
    for at in (top - PAINTED..top).step_by(4) {
        // SAFETY: below all that is on the stack, and far above the data, which begin at the other end of the RAM.
        unsafe { (at as *mut u32).write_volatile(PAINT) };
    }
    let out = work();
    // SAFETY: as above.
    let untouched =
        (top - PAINTED..top).step_by(4).take_while(|&at| unsafe { (at as *const u32).read_volatile() } == PAINT);
    (out, PAINTED - 4 * untouched.count() + 64)
}

#[inline(always)]
fn stack_pointer() -> usize {
    let at: usize;
    // SAFETY: reads a register.
    unsafe {
        #[cfg(target_arch = "arm")]
        core::arch::asm!("mov {}, sp", out(reg) at, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "riscv32")]
        core::arch::asm!("mv {}, sp", out(reg) at, options(nomem, nostack, preserves_flags));
    }
    at & !3
}
