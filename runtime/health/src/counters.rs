//! Plain counts: what happened, how often.

/// Kinds of errors that are counted apart.
pub const N_ERROR_KINDS: usize = 8;

/// What went wrong in an inference. The order is that of reports and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorKind {
    /// The application gave an input of another length or shape.
    Input = 0,
    /// The engine refused to run.
    Engine = 1,
    /// There was no memory.
    Memory = 2,
    /// It took longer than the application waits.
    Timeout = 3,
    /// A golden vector or a self-check gave another answer.
    Golden = 4,
    /// The bundle could not be read or opened.
    Bundle = 5,
    /// The process died in the model.
    Crash = 6,
    /// The application refused the answer.
    Answer = 7,
}

/// Counts of one version of one model. All saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Inferences that gave an answer.
    pub inferences: u32,
    /// Inferences that gave none, by [`ErrorKind`].
    pub errors: [u32; N_ERROR_KINDS],
    /// Times that another version had to take over.
    pub fallbacks: u32,
    /// Inferences that ran in the shadow of another version.
    pub shadow: u32,
    /// Of these, the ones whose answer agreed.
    pub agree: u32,
    /// Inferences with a NaN among the values looked at.
    pub nan: u32,
    /// Inferences with a value outside of what calibration saw.
    pub out_of_range: u32,
    /// Inferences whose outputs were those of the inference before, in the bytes that are looked at.
    pub constant: u32,
}

impl Counters {
    /// Adds another device's, thread's or hour's counts.
    pub fn add(&mut self, other: &Self) {
        for (to, from) in self.errors.iter_mut().zip(&other.errors) {
            *to = to.saturating_add(*from);
        }
        let pairs = [
            (&mut self.inferences, other.inferences),
            (&mut self.fallbacks, other.fallbacks),
            (&mut self.shadow, other.shadow),
            (&mut self.agree, other.agree),
            (&mut self.nan, other.nan),
            (&mut self.out_of_range, other.out_of_range),
            (&mut self.constant, other.constant),
        ];
        for (to, from) in pairs {
            *to = to.saturating_add(from);
        }
    }

    /// Errors of all kinds.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.iter().map(|&n| u64::from(n)).sum()
    }
}
