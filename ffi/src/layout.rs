//! The structs of the header, field for field. `tests/layout.rs` holds sizes and offsets against what a C compiler makes of the header.

use std::ffi::{c_char, c_void};

/// A struct whose first field says how large its caller believes it to be, so that later versions can add fields at its end.
///
/// # Safety
/// `repr(C)`, begins with a `u32`, and any bytes are a value of it.
pub(crate) unsafe trait Versioned: Copy {
    const NAME: &'static str;
    /// Its length in the first version of the interface: no caller has a shorter one.
    const FIRST_LEN: u32;
    /// All zero, which is also what a field that a caller does not know gets.
    const ZERO: Self;
}

/// Bytes of a field.
const fn field_len<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// Declares structs: `Copy`, `Versioned`, each field documented, and which field was the last one in the first version.
macro_rules! structs {
    ($($(#[$doc:meta])* $name:ident, at first up to $last:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug)]
            pub struct $name {
                /// `sizeof` of this struct, as its caller knows it.
                pub struct_size: u32,
                $($(#[$field_doc])* pub $field: $type,)*
            }

            // SAFETY: `repr(C)`, a `u32` first, and only numbers, arrays of numbers and raw pointers.
            unsafe impl Versioned for $name {
                const NAME: &'static str = stringify!($name);
                const FIRST_LEN: u32 = (std::mem::offset_of!($name, $last) + field_len(|s: &$name| &s.$last))
                    .next_multiple_of(align_of::<$name>()) as u32;
                // SAFETY: zeros are a value of numbers and of raw pointers.
                const ZERO: Self = unsafe { std::mem::zeroed() };
            }
        )*

        /// In the first version all fields are of the first version.
        const _: () = assert!(crate::ABI_VERSION & 0xffff > 0 || true $(&& size_of::<$name>() == <$name>::FIRST_LEN as usize)*);

        /// Name, length, and offsets and lengths of all fields of every struct: for the test that compares them with the header, and for skins.
        pub const LAYOUTS: &[(&str, usize, &[(&str, usize, usize)])] = &[
            $((stringify!($name), size_of::<$name>(), &[
                $((stringify!($field), std::mem::offset_of!($name, $field), field_len(|s: &$name| &s.$field)),)*
            ]),)*
        ];
    };
}

structs! {
    /// What a failed call tells; the caller owns it.
    ff_error, at first up to message {
        /// The status that the function returned.
        status: i32,
        /// The error number of the operating system, or 0.
        os_errno: i32,
        /// The input or output at fault, or `FF_NO_TENSOR`.
        tensor_index: u32,
        /// What happened, for people.
        message: [c_char; 240],
    }
    /// A model's names and numbers.
    ff_model_info, at first up to sha256 {
        /// Inputs.
        n_inputs: u32,
        /// Outputs.
        n_outputs: u32,
        /// Release number.
        number: u64,
        /// Bytes of arena of a session with one thread.
        arena_len: u64,
        /// Name of the model.
        name: *const c_char,
        /// Release label.
        version: *const c_char,
        /// SHA-256 of the bundle.
        sha256: [u8; 32],
    }
    /// An input or an output.
    ff_tensor_info, at first up to name {
        /// `FF_INT8` and so on.
        dtype: i32,
        /// Dimensions in use.
        rank: u32,
        /// Extents, outermost first; 0 beyond `rank`.
        dims: [u32; 6],
        /// Real value of one quantized step.
        scale: f32,
        /// Quantized value of real 0.
        zero_point: i32,
        /// Bytes of the whole tensor.
        byte_len: u64,
        /// Name in the source model.
        name: *const c_char,
    }
    /// How a session is made.
    ff_session_options, at first up to arena_len {
        /// Threads that run, the caller's among them; 0 is 1.
        threads: u32,
        /// `FF_SESSION_TIMED` or 0.
        flags: u32,
        /// For later versions.
        reserved: u32,
        /// Memory of the caller for the arena, or NULL.
        arena: *mut c_void,
        /// Its bytes.
        arena_len: usize,
    }
    /// What a session counted.
    ff_run_metrics, at first up to max_ns {
        /// How many runs `p50_ns` and the others come from; 0 where the session is not timed.
        timed_runs: u32,
        /// Runs that came to their end.
        runs: u64,
        /// Bytes of arena.
        arena_len: u64,
        /// The last run.
        last_ns: u64,
        /// The fastest.
        min_ns: u64,
        /// The median.
        p50_ns: u64,
        /// 95 of 100 are not slower.
        p95_ns: u64,
        /// 99 of 100 are not slower.
        p99_ns: u64,
        /// The slowest.
        max_ns: u64,
    }
    /// An image in memory.
    ff_image, at first up to std {
        /// `FF_RGBA8888` and so on.
        format: i32,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes from one row to the next, of each plane.
        stride: [u32; 2],
        /// Turn of the image before it is used, clockwise: 0, 90, 180 or 270.
        rotation_degrees: u32,
        /// `FF_NEAREST` or `FF_BILINEAR`.
        filter: i32,
        /// 1: luma and chroma use all of 0 to 255, as cameras of phones give them; 0: those of video.
        full_range: u32,
        /// For later versions.
        reserved: u32,
        /// The planes; the second only where the format has one.
        plane: [*const u8; 2],
        /// Subtracted from each channel, of 0 to 255.
        mean: [f32; 3],
        /// Divides each channel then. All 0: the model takes pixels as they are.
        std: [f32; 3],
    }
    /// A model of a runtime.
    ff_model_options, at first up to slots {
        /// Deaths of the process that a new version may cause; 0: 2.
        attempts: u32,
        /// Good inferences that a trial needs; 0: 500.
        min_inferences: u32,
        /// Seconds that a trial takes at least; 0: 6 hours, `FF_NONE`: none.
        health_window_s: u32,
        /// Name of the model.
        name: *const c_char,
        /// The repository, or NULL where its files are fed.
        repository: *const c_char,
        /// The first root metadata.
        root_json: *const u8,
        /// Its bytes.
        root_json_len: usize,
        /// The bundle that came with the application, or NULL.
        factory_path: *const c_char,
        /// Its keys, 32 bytes each.
        factory_keys: *const u8,
        /// How many.
        n_factory_keys: u32,
        /// How many of them must have signed.
        factory_threshold: u32,
        /// Good inferences after which a trial is made durable; 0: at its end.
        checkpoint: u32,
        /// Versions that the device keeps, the candidate among them; 0: 6.
        slots: u32,
    }
    /// A store and its models.
    ff_runtime_options, at first up to reserved {
        /// How many models.
        n_models: u32,
        /// Folder that only this runtime writes.
        store_dir: *const c_char,
        /// The models.
        models: *const ff_model_options,
        /// For later versions.
        reserved: u64,
    }
    /// What a poll came to.
    ff_update_result, at first up to text {
        /// `FF_UPDATE_UP_TO_DATE` and so on.
        kind: i32,
        /// Why, where it was rejected, put off, or failed; or 0.
        code: i32,
        /// For later versions.
        reserved: u32,
        /// Release number of the version that it is about.
        number: u64,
        /// When a version that waits is looked at again, seconds since 1970.
        retry_at: i64,
        /// Release label of the version that it is about.
        version: [c_char; 72],
        /// The same for people.
        text: [c_char; 248],
    }
    /// A file that a poll asks for.
    ff_request, at first up to etag {
        /// For later versions.
        reserved: u32,
        /// Bytes at the front that are there already.
        offset: u64,
        /// Bytes that the whole file may have.
        max_len: u64,
        /// Path in the repository, or NULL: the poll is over.
        path: *const c_char,
        /// The tag of a copy that is there already, or NULL.
        etag: *const c_char,
    }
    /// Something that happened.
    ff_event, at first up to text {
        /// `FF_EVENT_REFRESHED` and so on; the set is open.
        kind: i32,
        /// Number of this event; one that was dropped is missing.
        seq: u64,
        /// Why, or 0.
        code: i32,
        /// For later versions.
        reserved: u32,
        /// Release number of the version that it is about.
        number: u64,
        /// By kind.
        a: u64,
        /// By kind.
        b: u64,
        /// The model.
        model: [c_char; 72],
        /// Release label of the version that it is about.
        version: [c_char; 72],
        /// The same for people.
        text: [c_char; 240],
    }
}

/// Declares the opaque types that handles point to in C.
macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $($(#[$doc])* #[repr(C)] #[derive(Debug)] pub struct $name { _opaque: [u8; 0] })*
    };
}

handles! {
    /// A store and its models.
    ff_runtime
    /// A model, immutable.
    ff_model
    /// A model, an arena and what is bound.
    ff_session
    /// A flag that ends runs.
    ff_cancel
    /// A poll whose files are fed.
    ff_update
    /// Events that wait to be taken.
    ff_event_queue
}

/// A handle as it goes to C.
pub(crate) const fn pointer<T>(handle: usize) -> *mut T {
    std::ptr::without_provenance_mut(handle)
}

/// `ff_session_options.flags`: the clock is read before and after every run.
pub const FF_SESSION_TIMED: u32 = 1;
/// A number that means none where 0 means the default.
pub const FF_NONE: u32 = u32::MAX;
