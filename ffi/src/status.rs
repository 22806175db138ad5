//! Numbers that functions return. 0 is success; others are the numbers of `docs/errors.md`, so that C, Kotlin, Swift, reports and the command line
//! mean the same by them. This interface has 600 to 649 of its own.

use std::ffi::{CStr, c_char};

/// What can be wrong with a call, beside what the facade finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "some are only for some systems and features")]
pub(crate) enum Status {
    /// A pointer that is needed is NULL.
    Null,
    /// The handle was closed, or never was one of this kind.
    Closed,
    /// Another call is under way that excludes this one.
    Busy,
    /// The run was cancelled.
    Cancelled,
    /// A fault of this library: the call was ended, and its session is good for nothing else.
    Panic,
    /// A `struct_size` that no version of this struct has.
    StructSize,
    /// A value that is not allowed.
    Argument,
    /// Text that is not UTF-8.
    Text,
    /// Nothing happened in time.
    Timeout,
    /// A buffer has another length than is needed.
    Length,
    /// An address is not aligned as is needed.
    Unaligned,
    /// There are too many handles.
    TooMany,
    /// The runtime has no such model.
    NoModel,
    /// This input takes no image, or this is none.
    Image,
    /// The runtime has no address of a repository: the files have to be fed.
    NoRepository,
    /// The poll was given up because its runtime or its handle was closed.
    Stopped,
    /// There is no more room for an answer of this length.
    TooSmall,
    /// Not possible on this system.
    Unsupported,
    /// Another error of the facade that has no number here.
    Unknown,
}

impl Status {
    /// Its number.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Null => 600,
            Self::Closed => 601,
            Self::Busy => 602,
            Self::Cancelled => 603,
            Self::Panic => 604,
            Self::StructSize => 605,
            Self::Argument => 606,
            Self::Text => 607,
            Self::Timeout => 608,
            Self::Length => 609,
            Self::Unaligned => 610,
            Self::TooMany => 611,
            Self::NoModel => 612,
            Self::Image => 613,
            Self::NoRepository => 614,
            Self::Stopped => 615,
            Self::TooSmall => 616,
            Self::Unsupported => 617,
            Self::Unknown => 649,
        }
    }
}

/// Every status that the header names: the number, and its name there. Those below 600 are the ones that an application is likely to look at.
pub const STATUSES: &[(i32, &CStr)] = &[
    (0, c"FF_OK"),
    (200, c"FF_ERR_NUMBER_OF_KEYS"),
    (204, c"FF_ERR_BAD_SIGNATURE"),
    (205, c"FF_ERR_TOO_FEW_SIGNATURES"),
    (206, c"FF_ERR_SECTION_HASH"),
    (247, c"FF_ERR_ROLLBACK_ATTACK"),
    (251, c"FF_ERR_EXPIRED"),
    (306, c"FF_ERR_ARENA_TOO_SMALL"),
    (307, c"FF_ERR_NO_SUCH_TENSOR"),
    (308, c"FF_ERR_INPUT_LENGTH"),
    (401, c"FF_ERR_GOLDEN_MISMATCH"),
    (402, c"FF_ERR_OVER_LATENCY"),
    (403, c"FF_ERR_OVER_MEMORY"),
    (404, c"FF_ERR_RUNTIME_TOO_OLD"),
    (406, c"FF_ERR_BAD_INFERENCE"),
    (411, c"FF_ERR_ROLLED_BACK"),
    (420, c"FF_ERR_FILE"),
    (423, c"FF_ERR_STORE_BUSY"),
    (428, c"FF_ERR_MISSING"),
    (429, c"FF_ERR_NOT_INSTALLED"),
    (430, c"FF_ERR_NO_SUCH_VERSION"),
    (431, c"FF_ERR_SINK"),
    (432, c"FF_ERR_TRANSPORT"),
    (433, c"FF_ERR_THREAD_COUNT"),
    (600, c"FF_ERR_NULL"),
    (601, c"FF_ERR_CLOSED"),
    (602, c"FF_ERR_BUSY"),
    (603, c"FF_ERR_CANCELLED"),
    (604, c"FF_ERR_PANIC"),
    (605, c"FF_ERR_STRUCT_SIZE"),
    (606, c"FF_ERR_ARGUMENT"),
    (607, c"FF_ERR_TEXT"),
    (608, c"FF_ERR_TIMEOUT"),
    (609, c"FF_ERR_LENGTH"),
    (610, c"FF_ERR_UNALIGNED"),
    (611, c"FF_ERR_TOO_MANY"),
    (612, c"FF_ERR_NO_MODEL"),
    (613, c"FF_ERR_IMAGE"),
    (614, c"FF_ERR_NO_REPOSITORY"),
    (615, c"FF_ERR_STOPPED"),
    (616, c"FF_ERR_TOO_SMALL"),
    (617, c"FF_ERR_UNSUPPORTED"),
    (649, c"FF_ERR_UNKNOWN"),
];

/// The name of a status in the header, such as `FF_ERR_BUSY`: static text. Numbers without a name there are `FF_ERR_UNKNOWN`.
#[unsafe(no_mangle)]
pub extern "C" fn ff_status_name(status: i32) -> *const c_char {
    let found = STATUSES.iter().find(|(code, _)| *code == status);
    found.map_or(c"FF_ERR_UNKNOWN", |(_, name)| name).as_ptr()
}

/// A failed call: a number, and what an `ff_error` tells beside it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) status: i32,
    pub(crate) os_errno: i32,
    pub(crate) tensor: u32,
    pub(crate) message: String,
}

/// No tensor is at fault.
pub(crate) const NO_TENSOR: u32 = u32::MAX;

impl Fault {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status: status.code().into(), os_errno: 0, tensor: NO_TENSOR, message: message.into() }
    }

    pub(crate) fn at(self, tensor: u32) -> Self {
        Self { tensor, ..self }
    }
}

impl From<fleetfoot::Error> for Fault {
    fn from(error: fleetfoot::Error) -> Self {
        use fleetfoot::{Error, engine::EngineError};
        let os_errno = match &error {
            Error::File { source, .. } | Error::Thread { source } => source.raw_os_error().unwrap_or(0),
            _ => 0,
        };
        let tensor = match &error {
            Error::Engine(EngineError::NoSuchTensor { index, .. } | EngineError::InputLength { index, .. }) => {
                u32::try_from(*index).unwrap_or(NO_TENSOR)
            }
            _ => NO_TENSOR,
        };
        let status = match error.code() {
            0 => Status::Unknown.code(),
            code => code,
        };
        Self { status: status.into(), os_errno, tensor, message: error.to_string() }
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        let message = match status {
            Status::Closed => "the handle is closed, or none of this kind",
            Status::Busy => "another call on this handle is under way",
            Status::Cancelled => "the run was cancelled",
            Status::Panic => "an earlier call failed inside of the library: the session is good for nothing else",
            Status::Timeout => "nothing happened in time",
            Status::TooMany => "too many handles are open",
            Status::Stopped => "the poll was given up because its runtime or its handle was closed",
            _ => "",
        };
        Self::new(status, message)
    }
}
