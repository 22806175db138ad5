//! The `/v1` of a release server, as everybody else uses it.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;

use crate::failure::{Exit, Failure};

/// Bytes of an answer at most.
const MAX_LEN: u64 = 64 << 20;

/// The server and who asks.
#[derive(clap::Args, Clone)]
pub(crate) struct ServerArgs {
    /// The release server, such as http://127.0.0.1:8080.
    #[arg(long, env = "FLEETFOOT_SERVER")]
    server: String,
    #[command(flatten)]
    token: TokenArgs,
}

#[derive(clap::Args, Clone, Default)]
pub(crate) struct TokenArgs {
    /// A token that `fleetfoot token new` made. An argument can be seen by others of this machine: better the variable, or --token-file.
    #[arg(long, env = "FLEETFOOT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File with the token.
    #[arg(long, conflicts_with = "token")]
    token_file: Option<PathBuf>,
}

pub(crate) struct Client {
    base: String,
    token: Option<String>,
    agent: ureq::Agent,
}

impl ServerArgs {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.server, &self.token)
    }
}

impl Client {
    pub(crate) fn new(base: &str, token: &TokenArgs) -> Result<Self, Failure> {
        let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error));
        let from_file = token.token_file.as_ref().map(read).transpose()?;
        let token = from_file.or_else(|| token.token.clone()).map(|token| token.trim().to_owned());
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .user_agent(concat!("fleetfoot/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { base: base.trim_end_matches('/').into(), token, agent: config.new_agent() })
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.read(request.call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let mut request = self.agent.post(format!("{}{path}", self.base)).header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.read(request.send(body.to_string().as_bytes()))
    }

    fn read(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Failure> {
        let unreachable = |error| {
            Failure::new(Exit::Network, format!("{}: {error}", self.base))
                .help("is the server there? `fleetfoot serve` says where it listens; devices do not need it")
        };
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let bytes = answer.body_mut().with_config().limit(MAX_LEN).read_to_vec().map_err(unreachable)?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status == 200 { Ok(value) } else { Err(problem(status, &value)) }
    }
}

/// What the server says is wrong, with the exit code of the contract.
fn problem(status: u16, problem: &Value) -> Failure {
    let code = problem["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let exit = match (status, code) {
        (401 | 403, _) => Exit::Trust,
        (_, Some(772 | 773)) => Exit::Refused,
        (400..500, _) => Exit::Usage,
        _ => Exit::Network,
    };
    let detail = problem["detail"].as_str().map_or_else(|| format!("the server answers {status}"), String::from);
    let each = problem["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let lines: String = each.map(|line| format!("\n  {line}")).collect();
    let failure = Failure::new(exit, format!("{detail}{lines}"));
    let failure = match code {
        Some(code) => failure.code(code),
        None => failure,
    };
    match code {
        Some(767) => failure.help("give a token: --token-file, or FLEETFOOT_TOKEN; `fleetfoot token new` makes one"),
        Some(772) => failure.help("look at `fleetfoot rollout plan` again, and give the digest that it prints"),
        Some(773) => failure.help("begin with a stage of at most 5%, or say why with --reason"),
        _ => failure,
    }
}
