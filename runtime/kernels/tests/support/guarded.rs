//! Memory that ends where a page ends, with a page behind it (and one before it) that nobody may touch.
//!
//! ```text
//! | no access | old contents ......... [the slice] | no access |
//! ```
//! A vector load that reads one byte beyond a row, or a store that writes one, ends the test with a fault of the memory
//! system, on every instruction set and without a sanitizer. Where there are no such pages (not Unix), it is a plain vector with room around.
#![allow(unreachable_pub, reason = "the root of a test has no outside")]

use core::ops::{Deref, DerefMut};

/// A slice of plain numbers whose last byte is the last byte of a page.
#[derive(Debug)]
pub struct Guarded<T: Copy> {
    pages: Pages,
    offset: usize,
    len: usize,
    element: core::marker::PhantomData<T>,
}

impl<T: Copy> Guarded<T> {
    /// A copy of `values` against the page behind it.
    pub fn copy_of(values: &[T]) -> Self {
        let bytes = size_of_val(values);
        let pages = Pages::new(bytes);
        let mut this = Self { offset: pages.len - bytes, pages, len: values.len(), element: core::marker::PhantomData };
        this.copy_from_slice(values);
        this
    }
}

impl Guarded<u8> {
    /// `len` bytes `fill` against the page behind it, or against the page before it.
    pub fn filled(fill: u8, len: usize, at_end: bool) -> Self {
        let pages = Pages::new(len);
        let element = core::marker::PhantomData;
        let mut whole = Self { offset: 0, len: pages.len, pages, element };
        whole.fill(fill);
        Self { offset: if at_end { whole.len - len } else { 0 }, len, ..whole }
    }

    /// Whether all bytes of the pages beside the slice are `fill`.
    pub fn untouched_beside(&self, fill: u8) -> bool {
        let all = self.pages.bytes();
        all[..self.offset].iter().chain(&all[self.offset + self.len..]).all(|&byte| byte == fill)
    }
}

impl<T: Copy> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `offset` and `len` lie inside the pages, which are this object's and live as long; a multiple of the size of `T`
        // before the end of a page is aligned, plain numbers may have any bits.
        unsafe { core::slice::from_raw_parts(self.pages.at(self.offset).cast(), self.len) }
    }
}

impl<T: Copy> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; nobody else has the pages.
        unsafe { core::slice::from_raw_parts_mut(self.pages.at(self.offset).cast(), self.len) }
    }
}

#[cfg(unix)]
mod pages {
    use std::ptr::null_mut;

    /// Pages between two that cannot be touched.
    #[derive(Debug)]
    pub struct Pages {
        base: *mut u8,
        page: usize,
        pub len: usize,
    }

    impl Pages {
        /// Room for at least `bytes`.
        pub fn new(bytes: usize) -> Self {
            // SAFETY: a question without arguments that point anywhere.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            let len = bytes.max(1).next_multiple_of(page);
            // SAFETY: new memory, at an address of the system's choice.
            let base = unsafe {
                libc::mmap(null_mut(), len + 2 * page, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANON, -1, 0)
            };
            assert!(base != libc::MAP_FAILED, "no memory");
            let base = base.cast::<u8>();
            let this = Self { base, page, len };
            // SAFETY: the pages in the middle of what was mapped above.
            let done = unsafe { libc::mprotect(this.at(0).cast(), len, libc::PROT_READ | libc::PROT_WRITE) };
            assert_eq!(done, 0, "pages cannot be opened");
            this
        }

        pub fn at(&self, offset: usize) -> *mut u8 {
            self.base.wrapping_add(self.page + offset)
        }

        pub fn bytes(&self) -> &[u8] {
            // SAFETY: these pages were opened in `new` and hold zeros or what was written since.
            unsafe { std::slice::from_raw_parts(self.at(0), self.len) }
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: exactly what `new` mapped; nothing borrows it any more.
            unsafe { libc::munmap(self.base.cast(), self.len + 2 * self.page) };
        }
    }
}

/// The guard holds: the system may read the last byte of a slice, and not the next.
#[cfg(unix)]
#[test]
fn a_byte_beyond_cannot_be_read() {
    use std::os::fd::AsRawFd;
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    for len in [1, 15, 16, 4096, 5000] {
        let guarded = Guarded::filled(7, len, true);
        let end = guarded.pages.at(guarded.offset + len);
        // SAFETY: the system answers with an error where it cannot read; nothing here follows the pointer.
        let write = |at: *const u8| unsafe { libc::write(writer.as_raw_fd(), at.cast(), 1) };
        assert_eq!(write(end.wrapping_sub(1)), 1, "the last byte is ours");
        assert_eq!(write(end), -1, "a byte beyond the slice was read");
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EFAULT));
    }
}

#[cfg(not(unix))]
mod pages {
    use alloc::{vec, vec::Vec};

    /// Words around what was asked for: a write into them is seen, a read is not.
    const AROUND: usize = 8;

    /// Memory without guards, aligned for every element.
    #[derive(Debug)]
    pub struct Pages {
        words: core::cell::UnsafeCell<Vec<u64>>,
        pub len: usize,
    }

    impl Pages {
        pub fn new(bytes: usize) -> Self {
            let words = vec![0u64; bytes.div_ceil(8) + AROUND];
            Self { len: 8 * words.len(), words: words.into() }
        }

        pub fn at(&self, offset: usize) -> *mut u8 {
            // SAFETY: only the address is taken.
            unsafe { (*self.words.get()).as_mut_ptr().cast::<u8>().wrapping_add(offset) }
        }

        pub fn bytes(&self) -> &[u8] {
            // SAFETY: the words of this object, as bytes.
            unsafe { core::slice::from_raw_parts(self.at(0), self.len) }
        }
    }
}

use pages::Pages;
