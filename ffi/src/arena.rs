//! Memory of arenas. Inputs and outputs lie in it, and C writes and reads them there between two runs; so all pointers into it come from one raw pointer, and
//! Rust has references to it only while a call is under way that the header forbids the caller to disturb.

use std::{
    alloc::{self, Layout},
    ptr::NonNull,
    slice,
};

use fleetfoot::engine;

use crate::status::{Fault, Status};

/// `len` bytes at `at`, which are ours, or which a caller lends until it has closed the session.
#[derive(Debug)]
pub(crate) struct Arena {
    at: NonNull<u8>,
    len: usize,
    owned: bool,
}

// SAFETY: it is a run of bytes without ties to a thread; who may touch it when is what sessions take care of.
unsafe impl Send for Arena {}
// SAFETY: as above; `&Arena` only reads.
unsafe impl Sync for Arena {}

impl Arena {
    /// Memory of our own.
    pub(crate) fn new(len: usize) -> Result<Self, Fault> {
        let layout = layout(len).ok_or_else(|| Fault::new(Status::Length, "no arena is so large"))?;
        // SAFETY: the layout has at least `ALIGN` bytes.
        let at = unsafe { alloc::alloc_zeroed(layout) };
        let at = NonNull::new(at).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Ok(Self { at, len, owned: true })
    }

    /// Memory of a caller.
    ///
    /// # Safety
    /// `at` points to `len` bytes that nobody but the session touches during its calls, until it is closed.
    pub(crate) unsafe fn lent(at: *mut u8, len: usize) -> Result<Self, Fault> {
        let at = NonNull::new(at).ok_or_else(|| Fault::new(Status::Null, "arena is NULL"))?;
        if !at.addr().get().is_multiple_of(ALIGN) {
            return Err(Fault::new(Status::Unaligned, format!("the arena does not begin at a multiple of {ALIGN}")));
        }
        if len > isize::MAX as usize {
            return Err(crate::door::too_long("the arena"));
        }
        Ok(Self { at, len, owned: false })
    }

    /// Where the bytes are.
    pub(crate) const fn at(&self) -> NonNull<u8> {
        self.at
    }
}

impl AsRef<[u8]> for Arena {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `len` initialized bytes; nobody writes them while a call of the session is under way.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl AsMut<[u8]> for Arena {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and this session is the only one that has them.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.len).filter(|_| self.owned) {
            // SAFETY: allocated by `new` with this layout.
            unsafe { alloc::dealloc(self.at.as_ptr(), layout) };
        }
    }
}

/// One byte more than nothing, so that there is always memory to point to.
fn layout(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.max(ALIGN), ALIGN).ok()
}

/// A cache line, and enough for every vector load.
const ALIGN: usize = 64;

/// An input or an output: a place in the arena, and the caller's buffer where one is bound.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) at: NonNull<u8>,
    pub(crate) len: usize,
    pub(crate) bound: Option<NonNull<u8>>,
}

// SAFETY: places in an arena (see there), and buffers of a caller, who leaves them alone while a call is under way.
unsafe impl Send for Port {}
// SAFETY: as above.
unsafe impl Sync for Port {}

impl Port {
    /// The port of `tensor` in `arena`, whose session has checked that it lies inside.
    pub(crate) fn new(arena: NonNull<u8>, tensor: &engine::Tensor) -> Self {
        // SAFETY: every tensor lies inside of the arena: the engine proved it when the model was opened, and the session that the arena is long enough.
        let at = unsafe { arena.add(tensor.span.offset as usize) };
        Self { at, len: tensor.span.len as usize, bound: None }
    }

    /// The bound buffer's bytes go into the arena.
    pub(crate) fn take_in(&self) {
        if let Some(from) = self.bound {
            // SAFETY: `len` bytes each: that was checked when it was bound; the caller keeps the buffer as long as it is bound.
            unsafe { self.at.copy_from(from, self.len) };
        }
    }

    /// The arena's bytes go into the bound buffer.
    pub(crate) fn hand_out(&self) {
        if let Some(to) = self.bound {
            // SAFETY: as above.
            unsafe { self.at.copy_to(to, self.len) };
        }
    }
}
