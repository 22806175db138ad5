//! `schema`: JSON Schemas of the files that people write.

use crate::{failure::Failure, output::Output};

/// Print the JSON Schema of a file that people write.
///
/// Example: fleetfoot schema bundle > bundle.schema.json
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which file.
    file: File,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum File {
    /// `bundle.yaml`, for `pack --config`.
    Bundle,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let File::Bundle = args.file;
    let schema = fleetfoot_config::SCHEMA;
    let value = serde_json::from_str(schema).map_err(|e| Failure::new(crate::failure::Exit::Unexpected, e))?;
    output.result(|| schema.trim_end().to_owned(), move || value)
}
