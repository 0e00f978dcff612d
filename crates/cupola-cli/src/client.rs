//! HTTP to the API: over the administrator's socket, plain or with TLS.

mod tls;

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::Mutex,
};

use crate::credentials::Login;

/// A body that is sent as it is read.
pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// One platform, as one user.
pub(crate) struct Client {
    place: Place,
    login: Mutex<Login>,
}

enum Place {
    Socket(PathBuf),
    Tcp { host: String, port: u16, tls: Option<tls::Settings> },
}

/// An answer, whole.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a request sends: nothing, JSON or text of another type.
pub(crate) enum Send {
    Nothing,
    Json(Value),
    Text { content_type: &'static str, text: String },
}

impl Client {
    pub(crate) fn on_socket(path: PathBuf) -> Self {
        Self { place: Place::Socket(path), login: Mutex::new(Login::default()) }
    }

    pub(crate) fn logged_in(login: Login) -> anyhow::Result<Self> {
        let place = Place::parse(&login)?;
        Ok(Self { place, login: Mutex::new(login) })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.json(Method::GET, path, Send::Nothing).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Value,
    ) -> anyhow::Result<T> {
        self.json(Method::POST, path, Send::Json(body)).await
    }

    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Value,
    ) -> anyhow::Result<T> {
        self.json(Method::PATCH, path, Send::Json(body)).await
    }

    /// Sends it and reads the JSON of the answer.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        send: Send,
    ) -> anyhow::Result<T> {
        let answer = self.send(method, path, send).await?;
        answer.json()
    }

    /// Sends it; an answer of 400 and above is the error that it tells. An expired token is renewed.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        send: Send,
    ) -> anyhow::Result<Answer> {
        let (content_type, bytes) = match send {
            Send::Nothing => (None, Bytes::new()),
            Send::Json(value) => (Some("application/json"), serde_json::to_vec(&value)?.into()),
            Send::Text { content_type, text } => (Some(content_type), text.into()),
        };
        let body = || Full::new(bytes.clone()).map_err(|never| match never {}).boxed();
        let answer = self.once(method.clone(), path, content_type, body()).await?;
        let answer = if answer.status == 401 && self.renew().await? {
            self.once(method, path, content_type, body()).await?
        } else {
            answer
        };
        answer.checked()
    }

    /// Sends a body that can be sent only once.
    pub(crate) async fn send_stream(
        &self,
        path: &str,
        content_type: &str,
        body: Body,
    ) -> anyhow::Result<Answer> {
        self.once(Method::POST, path, Some(content_type), body).await?.checked()
    }

    /// Waits for the job that an answer names, if it names one.
    pub(crate) async fn finish(&self, answer: &Answer) -> anyhow::Result<()> {
        let Some(location) = answer.headers.get(header::LOCATION) else { return Ok(()) };
        let location = location.to_str().context("the address of a job is not text")?;
        let at = location.find("/v3/jobs/").context("the answer names no job")?;
        loop {
            // The server holds this request until the job has ended or some seconds are over.
            let job: Value = self.get(&location[at..]).await?;
            match job["state"].as_str() {
                Some("COMPLETE") => return Ok(()),
                Some("FAILED") => bail!("{}", first_error(&job).unwrap_or("the job failed")),
                _ => {}
            }
        }
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> anyhow::Result<Answer> {
        let token = self.login.lock().await.access_token.clone();
        let authorization = (!token.is_empty()).then(|| format!("bearer {token}"));
        self.exchange(method, path, content_type, authorization, body).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        authorization: Option<String>,
        body: Body,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::HOST, self.place.host());
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(body).context("the request cannot be written")?;
        match &self.place {
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await.with_context(|| {
                    format!("nothing answers on {}; is `cupola up` running?", path.display())
                })?;
                exchange(stream, request).await
            }
            Place::Tcp { host, port, tls } => {
                let address = tls::resolve(host, *port)?;
                let stream = TcpStream::connect(address)
                    .await
                    .with_context(|| format!("cannot reach the API at {host}:{port}"))?;
                match tls {
                    None => exchange(stream, request).await,
                    Some(tls) => exchange(tls.connect(host, stream).await?, request).await,
                }
            }
        }
    }

    /// Asks for a new access token, and says whether there is one.
    async fn renew(&self) -> anyhow::Result<bool> {
        let refresh_token = self.login.lock().await.refresh_token.clone();
        if refresh_token.is_empty() {
            return Ok(false);
        }
        let form = [("grant_type", "refresh_token"), ("refresh_token", &refresh_token)];
        let answer = self.token(&form).await?;
        let mut login = self.login.lock().await;
        login.take_tokens(&answer)?;
        login.save()?;
        Ok(true)
    }

    /// Asks the token endpoint.
    pub(crate) async fn token(&self, form: &[(&str, &str)]) -> anyhow::Result<Value> {
        let pairs = form.iter().map(|(key, value)| format!("{key}={}", encode(value)));
        let body = Bytes::from(pairs.collect::<Vec<_>>().join("&"));
        let body = Full::new(body).map_err(|never| match never {}).boxed();
        let form = Some("application/x-www-form-urlencoded");
        let authorization = Some(AS_CLIENT.to_owned());
        let answer = self.exchange(Method::POST, "/oauth/token", form, authorization, body);
        answer.await?.checked()?.json()
    }
}

/// The client `cf`, whose secret is empty in every Cloud Foundry.
const AS_CLIENT: &str = "Basic Y2Y6";

impl Place {
    fn parse(login: &Login) -> anyhow::Result<Self> {
        let url = login.api.trim_end_matches('/');
        let unusable =
            || anyhow!("`{url}` is not the address of an API, like https://api.example.com");
        let (is_tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            (None, None) => return Err(unusable()),
        };
        let uri: http::uri::Authority = rest.parse().map_err(|_| unusable())?;
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let host = uri.host().trim_matches(['[', ']']).to_owned();
        let tls = is_tls.then(|| tls::Settings::new(login)).transpose()?;
        Ok(Self::Tcp { host, port, tls })
    }

    fn host(&self) -> String {
        match self {
            Self::Socket(_) => "cupola".to_owned(),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body).context("the API answered with something unexpected")
    }

    fn checked(self) -> anyhow::Result<Self> {
        if self.status < 400 {
            return Ok(self);
        }
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let told = first_error(&body).or_else(|| body["error_description"].as_str());
        match told {
            Some(told) => bail!("{told}"),
            None => bail!("the API answered with status {}", self.status),
        }
    }
}

/// The detail of the first error of an answer.
fn first_error(body: &Value) -> Option<&str> {
    body["errors"].get(0)?["detail"].as_str()
}

async fn exchange<S>(stream: S, request: Request<Body>) -> anyhow::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + std::marker::Send + 'static,
{
    let cut = "the connection to the API broke; try again";
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.context(cut)?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.context(cut)?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.context(cut)?.to_bytes();
    connection.abort();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

/// Percent-encoding for form values and query parameters.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
