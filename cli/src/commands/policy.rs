//! `policy`: the presets that a rollout policy can begin from.

use fleetfoot_rollout::{
    POLICY_SCHEMA,
    presets::{self, Preset},
};
use serde_json::json;

use crate::{
    failure::Failure,
    output::{Output, table},
};

/// Policies to begin from, after the published practice of companies that ship models.
///
/// Example: fleetfoot policy list
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List the presets.
    ///
    /// Example: fleetfoot policy list
    List,
    /// Print the stages and guardrails of a preset, to read or to copy into a policy.
    ///
    /// Example: fleetfoot policy show stripe
    Show {
        /// Its name.
        name: String,
    },
    /// Print the JSON Schema of a policy, for editors that complete and check YAML.
    ///
    /// Example: fleetfoot policy schema > policy.schema.json
    Schema,
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::List => {
            let rows = || presets::ALL.iter().map(|preset| vec![preset.name.into(), preset.about.into()]);
            let all = || presets::ALL.iter().map(|p| json!({ "name": p.name, "about": p.about })).collect();
            output.result(|| table(&["preset", "what it does"], rows()), all)
        }
        Command::Schema => {
            output.result(|| POLICY_SCHEMA.into(), || serde_json::from_str(POLICY_SCHEMA).unwrap_or_default())
        }
        Command::Show { name } => {
            let names = || presets::ALL.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
            let Preset { name, about, yaml, .. } = presets::find(name).ok_or_else(|| {
                Failure::usage(format!("there is no preset '{name}'")).help(format!("one of {}", names()))
            })?;
            output.result(|| (*yaml).into(), || json!({ "name": name, "about": about, "yaml": yaml }))
        }
    }
}
