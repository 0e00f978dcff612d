//! What of a parsed request is refused because it could be read in more than one way.
//!
//! The rows of the ambiguity table and who answers them (`tests/it/ambiguity.rs` sends them all):
//!
//! | row | answer | by |
//! | --- | --- | --- |
//! | `Content-Length` and `Transfer-Encoding` | 400, close | the gate: hyper drops the length and forwards chunked |
//! | `Content-Length: 1, 1`, twice, `+1`, differing | 400, close | hyper; the gate for equal ones |
//! | `Transfer-Encoding: gzip, chunked`, twice | 400, close | the gate |
//! | `Transfer-Encoding` other than chunked, or on HTTP/1.0 | 400, close | hyper |
//! | continuation line, space before the colon, bare CR or NUL in a value | 400, close | hyper |
//! | bare line feed in a head or in chunk framing | 400, close (in a body: cut upstream) | the gate |
//! | chunk extension | dropped: the body is framed anew | hyper |
//! | two `Host` | 400, close | the gate, and this module |
//! | absolute-form with another `Host` | routed by the target, `Host` rewritten | this module |
//! | `Connection: X-Forwarded-For` | own headers are added after stripping | `headers` |
//! | head over the limit | 431, close | hyper |
//!
//! Not rejectable, and safe upstream: leading empty lines before a request line (RFC 9112, section
//! 2.2 asks to skip them; they are never forwarded), and a trailer field that names framing or
//! routing (dropped, never forwarded). What reaches an app is always serialized anew by hyper with
//! exactly one framing, so that an app cannot see what the client wrote.

use std::borrow::Cow;

use http::{Method, Request, header};

use crate::{
    host::{self, HostError},
    refusal::Refusal,
};

/// Where a request wants to go.
pub(crate) struct Target<'a> {
    /// As the client wrote it, for messages and the access log.
    pub(crate) raw_host: &'a str,
    pub(crate) host: Cow<'a, str>,
    /// The `Host` must become the authority of the request target.
    pub(crate) is_absolute: bool,
}

pub(crate) fn target<B>(request: &Request<B>) -> Result<Target<'_>, Refusal> {
    if *request.method() == Method::CONNECT {
        return Err(Refusal::UnsupportedMethod);
    }
    check_transfer_encoding(request)?;
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Ambiguous("There is more than one Host header."));
    }
    let authority = request.uri().authority();
    let raw_host = match (authority, host) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => {
            host.to_str().map_err(|_| Refusal::Ambiguous("The Host header is not a name."))?
        }
        (None, None) => return Err(Refusal::EmptyHost),
    };
    let host = host::normalise(raw_host).map_err(|error| match error {
        HostError::Empty => Refusal::EmptyHost,
        HostError::Invalid => Refusal::Ambiguous("The Host header is not a name."),
    })?;
    Ok(Target { raw_host, host, is_absolute: authority.is_some() })
}

fn check_transfer_encoding<B>(request: &Request<B>) -> Result<(), Refusal> {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), None) => Err(Refusal::UnknownTransferCoding),
        (Some(_), Some(_)) => {
            Err(Refusal::Ambiguous("There is more than one Transfer-Encoding header."))
        }
    }
}
