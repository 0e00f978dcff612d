//! The answers the router gives itself, with the status, `X-Cf-RouterError` and text of gorouter.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownRoute {
        host: String,
    },
    /// Neither control nor the disk has said yet which routes there are.
    NoTable,
    NoEndpoints {
        host: String,
    },
    ConnectionLimit {
        host: String,
    },
    EmptyHost,
    /// The request can be read in more than one way.
    Ambiguous(&'static str),
    UnknownTransferCoding,
    UnsupportedMethod,
    InvalidAppInstance,
    InvalidProcessInstance,
    UnknownAppInstance {
        host: String,
        id: String,
        index: String,
    },
    UnknownProcessInstance {
        host: String,
        id: String,
        index: String,
    },
    EndpointFailure {
        reason: String,
    },
    EndpointTimeout,
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::UnknownRoute { .. } => StatusCode::NOT_FOUND,
            Self::NoTable | Self::NoEndpoints { .. } | Self::ConnectionLimit { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::EmptyHost
            | Self::Ambiguous(_)
            | Self::InvalidAppInstance
            | Self::InvalidProcessInstance
            | Self::UnknownAppInstance { .. }
            | Self::UnknownProcessInstance { .. } => StatusCode::BAD_REQUEST,
            Self::UnknownTransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::UnsupportedMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::EndpointFailure { .. } => StatusCode::BAD_GATEWAY,
            Self::EndpointTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The value of `X-Cf-RouterError`.
    pub(crate) fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::UnknownRoute { .. }
            | Self::UnknownAppInstance { .. }
            | Self::UnknownProcessInstance { .. } => "unknown_route",
            Self::NoTable => "no_route_table",
            Self::NoEndpoints { .. } => "no_endpoints",
            Self::ConnectionLimit { .. } => "Connection Limit Reached",
            Self::EmptyHost => "empty_host",
            Self::InvalidAppInstance => "invalid_cf_app_instance_header",
            Self::InvalidProcessInstance => "invalid_cf_process_instance_header",
            Self::Ambiguous(_) | Self::UnknownTransferCoding | Self::UnsupportedMethod => {
                "ambiguous_request"
            }
            Self::EndpointFailure { reason } => {
                return Cow::Owned(format!("endpoint_failure ({reason})"));
            }
            Self::EndpointTimeout => "endpoint_failure (context deadline exceeded)",
        })
    }

    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::UnknownRoute { host } => {
                Cow::Owned(format!("Requested route ('{host}') does not exist."))
            }
            Self::NoEndpoints { host } => {
                Cow::Owned(format!("Requested route ('{host}') has no available endpoints."))
            }
            Self::ConnectionLimit { host } => {
                Cow::Owned(format!("Requested route ('{host}') has reached the connection limit."))
            }
            Self::UnknownAppInstance { host, id, index } => Cow::Owned(format!(
                "Requested instance ('{index}') with guid ('{id}') does not exist for route ('{host}')"
            )),
            Self::UnknownProcessInstance { host, id, index } => Cow::Owned(format!(
                "Requested instance ('{index}') with process guid ('{id}') does not exist for route ('{host}')"
            )),
            Self::NoTable => Cow::Borrowed("The router does not know its routes yet."),
            Self::EmptyHost => Cow::Borrowed("Request had empty Host header"),
            Self::Ambiguous(why) => Cow::Borrowed(why),
            Self::UnknownTransferCoding => {
                Cow::Borrowed("The only transfer coding of a request is chunked.")
            }
            Self::UnsupportedMethod => Cow::Borrowed("This is not a forward proxy."),
            Self::InvalidAppInstance => Cow::Borrowed("Invalid X-CF-App-Instance Header"),
            Self::InvalidProcessInstance => Cow::Borrowed("Invalid X-CF-Process-Instance Header"),
            Self::EndpointFailure { .. } | Self::EndpointTimeout => {
                Cow::Borrowed("Registered endpoint failed to handle the request.")
            }
        }
    }

    fn cache_control(&self) -> Option<HeaderValue> {
        match self {
            Self::InvalidAppInstance | Self::InvalidProcessInstance => {
                Some(HeaderValue::from_static("no-cache, no-store"))
            }
            Self::UnknownRoute { .. }
            | Self::UnknownAppInstance { .. }
            | Self::UnknownProcessInstance { .. }
            | Self::NoEndpoints { .. }
            | Self::EmptyHost => Some(HeaderValue::from_static("public,max-age=2")),
            _ => None,
        }
    }

    /// After an ambiguous request the next one may begin anywhere.
    fn must_close(&self) -> bool {
        matches!(self, Self::Ambiguous(_) | Self::UnknownTransferCoding | Self::UnsupportedMethod)
    }

    pub(crate) fn answer(&self) -> Response<Bytes> {
        let status = self.status();
        let reason = status.canonical_reason().unwrap_or_default();
        let text = format!("{} {reason}: {}\n", status.as_u16(), self.message());
        let mut answer = Response::new(Bytes::from(text));
        *answer.status_mut() = status;
        self.fill(answer.headers_mut());
        answer
    }

    fn fill(&self, headers: &mut HeaderMap) {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, text);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let code: String = self.code().chars().filter(|c| (' '..='~').contains(c)).collect();
        if let Ok(code) = HeaderValue::try_from(code) {
            headers.insert("x-cf-routererror", code);
        }
        if let Some(value) = self.cache_control() {
            headers.insert(header::CACHE_CONTROL, value);
        }
        if self.must_close() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}
