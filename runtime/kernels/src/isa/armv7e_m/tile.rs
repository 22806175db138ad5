//! The inner loops: pixels times two channels, and one pixel times four.

use core::{arch::naked_asm, ptr};

use super::finish::{Target, core_is, finish_channels, finish2, target};
use crate::params::DType;

/// Adds the products of `R` pixels (1 to 3) with the channels of `weights` and the next; finishes them where there is a target.
///
/// # Safety
/// `quads` is 1 or more; `cells` are `[quads][R][2]`, `weights` two words for each of `quads`, 64 bytes apart and aligned to words;
/// `target` has room for all, and the core an FPU.
#[inline(always)]
pub(super) unsafe fn pixels<const R: usize>(
    sums: &mut [[i32; R]; 2],
    cells: &[u32],
    weights: *const i8,
    quads: usize,
    target: Option<&Target>,
) {
    let (sums, cells) = (sums.as_mut_ptr().cast::<i32>(), cells.as_ptr());
    let target = target.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the caller's.
    unsafe {
        match R {
            1 => pixels1(sums, cells, weights, quads, target),
            2 => pixels2(sums, cells, weights, quads, target),
            _ => pixels3(sums, cells, weights, quads, target),
        }
    }
}

/// The weights of four cells of two channels: r10 and r11 of the first, r12 and lr of the second.
macro_rules! weights {
    () => {
        "ldrd r10, r12, [r2], #64
        sxtb16 r11, r10, ror #8
        sxtb16 r10, r10
        sxtb16 lr, r12, ror #8
        sxtb16 r12, r12"
    };
}

/// Four cells of one pixel times both channels.
macro_rules! pixel {
    ($a:literal, $b:literal) => {
        concat!(
            "ldrd r0, r3, [r1], #8\n",
            "smlad ",
            $a,
            ", r10, r0, ",
            $a,
            "\n",
            "smlad ",
            $b,
            ", r12, r0, ",
            $b,
            "\n",
            "smlad ",
            $a,
            ", r11, r3, ",
            $a,
            "\n",
            "smlad ",
            $b,
            ", lr, r3, ",
            $b,
        )
    };
}

/// A loop over fours of cells, two at a time.
macro_rules! tile {
    ($name:ident, $sums:literal, $len:literal, $finish:expr, $($a:literal $b:literal),+) => {
        /// # Safety
        /// As [`pixels`].
        #[unsafe(naked)]
        unsafe extern "C" fn $name(
            sums: *mut i32,
            cells: *const u32,
            weights: *const i8,
            quads: usize,
            target: *const Target,
        ) {
            naked_asm!(
                core_is!(),
                "push {{r0, r2, r3, r4-r11, lr}}",
                concat!("ldm r0, {{", $sums, "}}"),
                concat!("mov r0, #", $len),
                "mla r0, r3, r0, r1",
                "str r0, [sp, #8]",
                "tst r3, #1",
                "bne 3f",
                "2:",
                weights!(),
                $(pixel!($a, $b),)+
                "3:",
                weights!(),
                $(pixel!($a, $b),)+
                "ldr r0, [sp, #8]",
                "cmp r1, r0",
                "bne 2b",
                "ldr r0, [sp, #48]",
                "cmp r0, #0",
                "beq 4f",
                $finish,
                "add sp, #12",
                "pop {{r4-r11, pc}}",
                "4:",
                "ldr r0, [sp]",
                concat!("stm r0, {{", $sums, "}}"),
                "add sp, #12",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

tile!(
    pixels3, "r4-r9", 24,
    concat!(
        target!("s0-s1"), "\n",
        finish2!("r4", "r7", "s2", "s3", "s0", "s1"),
        finish2!("r5", "r8", "s4", "s5", "s0", "s1"),
        finish2!("r6", "r9", "s6", "s7", "s0", "s1"),
        "strb r4, [r1]\nstrb r7, [r1, #1]\nadd r1, r2\n",
        "strb r5, [r1]\nstrb r8, [r1, #1]\nadd r1, r2\n",
        "strb r6, [r1]\nstrb r9, [r1, #1]",
    ),
    "r4" "r7", "r5" "r8", "r6" "r9"
);
tile!(
    pixels2, "r4-r7", 16,
    concat!(
        target!("s0-s1"), "\n",
        finish2!("r4", "r6", "s2", "s3", "s0", "s1"),
        finish2!("r5", "r7", "s4", "s5", "s0", "s1"),
        "strb r4, [r1]\nstrb r6, [r1, #1]\nadd r1, r2\n",
        "strb r5, [r1]\nstrb r7, [r1, #1]",
    ),
    "r4" "r6", "r5" "r7"
);
tile!(
    pixels1, "r4-r5", 8,
    concat!(target!("s0-s1"), "\n", finish2!("r4", "r5", "s2", "s3", "s0", "s1"), "strb r4, [r1]\nstrb r5, [r1, #1]"),
    "r4" "r5"
);

/// One pixel times up to 16 channels of a block. Read and moved on by assembler.
#[repr(C)]
pub(super) struct Line {
    pub(super) target: Target,
    pub(super) bias: *const i32,
    pub(super) sums: *const i32,
    pub(super) in_zero_point: i32,
    /// Words of the pixel, 1 or more.
    pub(super) n: usize,
    pub(super) words: *const [u8; 4],
    /// Four words of weights for each word of the pixel, 64 bytes apart and aligned to words.
    pub(super) weights: *const i8,
    /// Fours of channels, 1 to 4.
    pub(super) quads: usize,
}

/// Multiplies and finishes.
///
/// # Safety
/// Everything that `line` names is there, and the core has an FPU.
#[inline(always)]
pub(super) unsafe fn line(dtype: DType, line: &mut Line) {
    // SAFETY: the caller's.
    unsafe {
        match dtype {
            DType::Int8 => line_i8(line),
            DType::UInt8 => line_u8(line),
        }
    }
}

/// Four cells times one channel, whose weights are overwritten.
macro_rules! channel {
    ($sum:literal, $w:literal) => {
        concat!(
            "sxtb16 r0, ",
            $w,
            "\n",
            "sxtb16 ",
            $w,
            ", ",
            $w,
            ", ror #8\n",
            "smlad ",
            $sum,
            ", r0, r12, ",
            $sum,
            "\n",
            "smlad ",
            $sum,
            ", ",
            $w,
            ", lr, ",
            $sum,
        )
    };
}

/// Four cells times four channels.
macro_rules! channels {
    ($extend:literal) => {
        concat!(
            "ldr lr, [r1], #4\n",
            "ldrd r10, r11, [r2, #8]\n",
            "ldrd r8, r9, [r2], #64\n",
            $extend,
            " r12, lr\n",
            $extend,
            " lr, lr, ror #8\n",
            channel!("r4", "r8"),
            "\n",
            channel!("r5", "r9"),
            "\n",
            channel!("r6", "r10"),
            "\n",
            channel!("r7", "r11"),
        )
    };
}

macro_rules! line {
    ($name:ident, $extend:literal) => {
        /// # Safety
        /// As [`line`].
        #[unsafe(naked)]
        unsafe extern "C" fn $name(line: &mut Line) {
            naked_asm!(
                core_is!(),
                "push {{r0, r4-r11, lr}}",
                // Bias less what the zero point of the input adds.
                "5:",
                "ldr r0, [sp]",
                "ldrd r1, r2, [r0, #16]",
                "ldm r1!, {{r4-r7}}",
                "ldm r2!, {{r8-r11}}",
                "strd r1, r2, [r0, #16]",
                "ldrd r12, r3, [r0, #24]",
                "mls r4, r8, r12, r4",
                "mls r5, r9, r12, r5",
                "mls r6, r10, r12, r6",
                "mls r7, r11, r12, r7",
                "ldrd r1, r2, [r0, #32]",
                "b 3f",
                "2:",
                channels!($extend),
                "subs r3, #1",
                "3:",
                "tst r3, #3",
                "bne 2b",
                "cmp r3, #0",
                "beq 4f",
                "2:",
                channels!($extend),
                channels!($extend),
                channels!($extend),
                channels!($extend),
                "subs r3, #4",
                "bne 2b",
                "4:",
                "ldr r0, [sp]",
                finish_channels!(),
                "add r1, #4",
                "add r3, #16",
                "str r1, [r0]",
                "str r3, [r0, #8]",
                "ldrd r1, r2, [r0, #36]",
                "add r1, #16",
                "subs r2, #1",
                "strd r1, r2, [r0, #36]",
                "bne 5b",
                "pop {{r0, r4-r11, pc}}",
            )
        }
    };
}

line!(line_i8, "sxtb16");
line!(line_u8, "uxtb16");
