//! How a command fails: the exit code of the contract, what happened, and the way out.

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::Path,
};

use serde_json::json;

use crate::output::Output;

/// Exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Not foreseen.
    Unexpected,
    /// Wrong use, or a bad input file.
    Usage,
    /// Signature, expiry or rollback.
    Trust,
    /// A format or an operator that is not supported.
    Unsupported,
    /// A budget, golden or accuracy gate.
    Refused,
    /// Network or server.
    Network,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Trust => 3,
            Self::Unsupported => 4,
            Self::Refused => 5,
            Self::Network => 6,
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Stable number of the library's error, where there is one.
    pub(crate) code: Option<u16>,
    pub(crate) message: String,
    /// What to do next.
    pub(crate) help: Option<String>,
    /// The command has printed its JSON document already.
    pub(crate) quiet: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, code: None, message: message.to_string(), help: None, quiet: false }
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn io(action: &str, path: &Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof => Exit::Usage,
            _ => Exit::Unexpected,
        };
        let failure = Self::new(exit, format!("cannot {action} {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::StorageFull => {
                failure.help("the disk is full: nothing was changed; make room and try again")
            }
            _ => failure,
        }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    #[must_use]
    pub(crate) const fn code(mut self, code: u16) -> Self {
        self.code = Some(code);
        self
    }

    /// Puts the file at the front of the message.
    #[must_use]
    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }

    pub(crate) fn print(&self, output: &Output) {
        if output.json && !self.quiet {
            let error =
                json!({ "exit": self.exit.code(), "code": self.code, "message": self.message, "help": self.help });
            // Where nobody listens any more, the exit code still tells.
            let _ = writeln!(io::stdout(), "{}", json!({ "error": error }));
        }
        let code = self.code.map_or(String::new(), |code| format!("[{code}]"));
        let help = self.help.as_ref().map_or(String::new(), |help| format!("\n  help: {help}"));
        let _ = writeln!(io::stderr(), "error{code}: {}{help}", self.message);
    }
}

impl From<fleetfoot::Error> for Failure {
    fn from(error: fleetfoot::Error) -> Self {
        use fleetfoot::Error as E;
        let code = error.code();
        let exit = match &error {
            E::File { action, path, source } => return Self::io(action, path, source).code(code),
            E::Trust(inner) => return Self::from(*inner),
            E::HashMismatch { .. } | E::WrongLength { .. } | E::Announcement { .. } | E::NoRole { .. } | E::Tuf(_) => {
                Exit::Trust
            }
            _ if error.is_disk_full() => Exit::Unexpected,
            E::Preprocess(_) | E::NotInBundle { .. } => Exit::Usage,
            E::Format(_) | E::Engine(_) => Exit::Unsupported,
            E::Refused(_) => Exit::Refused,
            E::Transport(_) | E::Missing { .. } => Exit::Network,
            E::StoreBusy { .. }
            | E::BadName { .. }
            | E::NotInstalled { .. }
            | E::NoSuchVersion { .. }
            | E::ThreadCount { .. } => Exit::Usage,
            _ => Exit::Unexpected,
        };
        let failure = Self::new(exit, &error).code(code);
        match &error {
            _ if error.is_disk_full() => {
                failure.help("the disk is full: nothing was lost; make room, a poll ten minutes later goes on")
            }
            E::Transport(_) => failure.help("what serves is untouched; the next poll tries again"),
            E::Tuf(_) => failure.help("nothing new is installed; what serves is untouched"),
            _ => failure,
        }
    }
}

impl From<fleetfoot::TrustError> for Failure {
    fn from(error: fleetfoot::TrustError) -> Self {
        // Bytes that are no bundle at all are a bad input file; anything behind the magic number is a matter of trust.
        let unrecognised = matches!(error.code(), 100 | 101);
        let exit = if unrecognised { Exit::Usage } else { Exit::Trust };
        let failure = Self::new(exit, error).code(error.code());
        if unrecognised {
            failure
        } else {
            failure.help("the file was changed, was cut off, or was not signed by these keys: get it again, or ask who signed it")
        }
    }
}

impl From<fleetfoot_plan::PlanError> for Failure {
    fn from(error: fleetfoot_plan::PlanError) -> Self {
        Self::new(Exit::Unsupported, &error).code(error.code())
    }
}

impl From<fleetfoot_quantize::PackError> for Failure {
    fn from(error: fleetfoot_quantize::PackError) -> Self {
        use fleetfoot_quantize::PackError as E;
        let exit = match &error {
            E::GoldenMismatch { .. } | E::OverBudget { .. } => Exit::Refused,
            E::Name { .. } | E::GoldenLength { .. } | E::GoldenOutputLength { .. } => Exit::Usage,
            _ => Exit::Unsupported,
        };
        Self::new(exit, &error).code(error.code())
    }
}

impl Failure {
    /// A network that cannot be quantized; a fault of the data names its own file.
    pub(crate) fn of_model(error: fleetfoot_quantize::QuantizeError, model: &Path) -> Self {
        use fleetfoot_quantize::QuantizeError as E;
        let islands = error.float_islands();
        let of_model = !error.is_bad_input()
            || matches!(error, E::Quantized | E::Weights { .. } | E::Activations { .. } | E::ConstantOutput { .. });
        let failure = Self::from(error);
        let failure = if of_model { failure.in_file(model) } else { failure };
        match islands {
            0 => failure,
            n => failure.help(format!("float islands: {n}; each node above has no int8 arithmetic here")),
        }
    }
}

impl From<fleetfoot_quantize::QuantizeError> for Failure {
    fn from(error: fleetfoot_quantize::QuantizeError) -> Self {
        use fleetfoot_quantize::QuantizeError as E;
        let exit = match &error {
            E::Data { source, .. } if source.kind() == io::ErrorKind::StorageFull => Exit::Unexpected,
            E::ConstantOutput { .. } => Exit::Refused,
            error if error.is_bad_input() => Exit::Usage,
            _ => Exit::Unsupported,
        };
        Self::new(exit, &error).code(error.code())
    }
}
