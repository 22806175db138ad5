//! Answers that say what is wrong: RFC 9457, `application/problem+json`.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use fleetfoot_repository::RepositoryError;
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use crate::{error::ControlError, reports::ReportError};

/// What is wrong with a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:fleetfoot:error:CODE`, or `about:blank`.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What happened, for people.
    detail: String,
    /// The number of the error, as `docs/errors.md` lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    /// Problems of a policy, each with its line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: Option<u16>, detail: impl Into<String>) -> Self {
        Self {
            kind: code.map_or_else(|| "about:blank".into(), |code| format!("urn:fleetfoot:error:{code}")),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            problems: Vec::new(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        use ControlError as E;
        let status = match &error {
            E::Unauthorized => StatusCode::UNAUTHORIZED,
            E::Forbidden { .. } | E::SamePerson { .. } => StatusCode::FORBIDDEN,
            E::UnknownRollout { .. } => StatusCode::NOT_FOUND,
            E::NotNow { .. } | E::InTheWay { .. } | E::Digest { .. } | E::NoKeys => StatusCode::CONFLICT,
            E::Policy(_) | E::NeedsReason { .. } | E::NotMeasured { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            E::Repository(RepositoryError::Unpublished { .. } | RepositoryError::UnknownModel { .. }) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            E::BadRequest(_) | E::Body(_) => StatusCode::BAD_REQUEST,
            E::Database(_) | E::Layout { .. } | E::Audit { .. } | E::Repository(_) => {
                tracing::error!(%error, "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let mut problem = Self::new(status, Some(error.code()), error.to_string());
        if let E::Policy(problems) = error {
            problem.problems = problems.iter().map(ToString::to_string).collect();
        }
        problem
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        let status = match error {
            ReportError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            ReportError::Full => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, Some(error.code()), error.to_string())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), None, rejection.body_text())
    }
}

/// A body of JSON, whatever its type is said to be. It is read once it is known who sends it.
pub(crate) struct Body(Bytes);

impl Body {
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ControlError> {
        serde_json::from_slice(&self.0).map_err(|error| ControlError::Body(error.to_string()))
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Ok(Self(Bytes::from_request(request, state).await?))
    }
}
