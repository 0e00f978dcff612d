//! Requests to a test platform through the real router, and what comes back.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use cupola_control::caller::Caller;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    openapi,
    platform::{TestPlatform, URL},
};

/// Someone who sends requests.
#[derive(Clone)]
pub struct Client<'a> {
    platform: &'a TestPlatform,
    caller: Option<Caller>,
    token: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Method and path, for messages.
    pub request: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: bytes::Bytes,
    /// The body, or null where it is no JSON.
    pub body: Value,
}

impl<'a> Client<'a> {
    pub(crate) fn new(platform: &'a TestPlatform, caller: Option<Caller>) -> Self {
        Self { platform, caller, token: None }
    }

    /// The same with a bearer token instead.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.caller = None;
        self.token = Some(token.to_owned());
        self
    }

    /// The id of the user who sends.
    pub fn user_id(&self) -> String {
        self.caller.as_ref().expect("somebody is logged in").user_id.to_string()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::POST, path, &body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::PUT, path, &body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::PATCH, path, &body).await
    }

    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answer {
        let json = [(header::CONTENT_TYPE.as_str(), "application/json")];
        self.send(method, path, &json, body.to_string().into_bytes()).await
    }

    /// Sends anything. Every answer of the v3 API is checked against its contract.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let path = path.strip_prefix(URL).unwrap_or(path);
        let mut request = Request::builder().method(&method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("bearer {token}"));
        }
        let mut request = request.body(Full::from(body)).expect("the request is well-formed");
        if let Some(caller) = &self.caller {
            request.extensions_mut().insert(caller.clone());
        }
        let response = self.platform.router().oneshot(request).await;
        let (parts, body) = response.expect("the router does not fail").into_parts();
        let bytes = body.collect().await.expect("the body is whole").to_bytes();
        let answer = Answer {
            request: format!("{method} {path}"),
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            bytes,
        };
        answer.check_contract(method.as_str(), path);
        answer
    }

    /// Sends the beginning of a body, and nothing more until the task is aborted.
    pub fn begin(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        beginning: &[u8],
    ) -> tokio::task::JoinHandle<()> {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Unfinished { beginning: Some(beginning.to_vec().into()) };
        let mut request = request.body(body).expect("the request is well-formed");
        if let Some(caller) = &self.caller {
            request.extensions_mut().insert(caller.clone());
        }
        let router = self.platform.router();
        tokio::spawn(async move {
            let response = router.oneshot(request).await.expect("the router does not fail");
            panic!("a request that was not whole was answered with {}", response.status());
        })
    }

    /// Runs the jobs that wait, and answers with the job that `answer` is about.
    pub async fn finish(&self, answer: &Answer) -> Answer {
        answer.expect(202);
        let location = answer.location();
        self.platform.run_jobs().await;
        self.get(&location).await
    }
}

/// A body whose end does not come.
struct Unfinished {
    beginning: Option<bytes::Bytes>,
}

impl Body for Unfinished {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Infallible>>> {
        match self.beginning.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

impl Answer {
    /// The body, of an answer with this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> &Value {
        assert_eq!(self.status.as_u16(), status, "{} answered {}", self.request, self.text());
        &self.body
    }

    /// The detail of the error, of an answer with this status.
    #[track_caller]
    pub fn detail(&self, status: u16) -> &str {
        let detail = self.expect(status)["errors"][0]["detail"].as_str();
        detail.unwrap_or_else(|| panic!("{} has no error: {}", self.request, self.text()))
    }

    /// The guid of what came back.
    #[track_caller]
    pub fn guid(&self) -> String {
        let guid = self.body["guid"].as_str();
        guid.unwrap_or_else(|| panic!("{} has no guid: {}", self.request, self.text())).to_owned()
    }

    /// The names of a list's resources.
    #[track_caller]
    pub fn names(&self) -> Vec<&str> {
        self.expect(200)["resources"]
            .as_array()
            .unwrap_or_else(|| panic!("{} is no list: {}", self.request, self.text()))
            .iter()
            .map(|one| one["name"].as_str().unwrap_or_default())
            .collect()
    }

    #[track_caller]
    pub fn location(&self) -> String {
        let location = self.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        location.unwrap_or_else(|| panic!("{} has no location", self.request)).to_owned()
    }

    /// The body for a snapshot, with names in place of ids that differ from run to run.
    pub fn pretty(&self, names: &[(&str, &str)]) -> String {
        let mut text = format!("{:#}", self.body);
        for (id, name) in names {
            text = text.replace(id, name);
        }
        text
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    #[track_caller]
    fn check_contract(&self, method: &str, path: &str) {
        if !path.starts_with("/v3/") || self.is_unknown_request() {
            return;
        }
        // The `cf` CLI ends some paths with a slash.
        let path = path.strip_suffix('/').unwrap_or(path);
        let header = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let answer = openapi::Answer {
            status: self.status.as_u16(),
            content_type: header(header::CONTENT_TYPE),
            location: header(header::LOCATION),
            body: (!self.body.is_null()).then_some(&self.body),
        };
        if let Err(violations) = openapi::Contract::load().check(method, path, &answer) {
            let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
            panic!("not as the contract says:\n{}\n{}", lines.join("\n"), self.text());
        }
    }

    /// What the platform does not have is not in the contract either.
    fn is_unknown_request(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.body["errors"][0]["code"] == 10000
    }
}
