//! What can go wrong in a use case, in the caller's terms and without HTTP.

use cupola_ports::store::StoreError;

/// Why a use case did not do what it was asked. The text is for the user.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No token.
    #[error("{detail}")]
    NotAuthenticated { detail: &'static str },
    /// A token that is expired, forged or of a user who is gone.
    #[error("Invalid Auth Token")]
    InvalidToken,
    /// The caller sees it but may not do this.
    #[error("You are not authorized to perform the requested action")]
    NotAuthorized,
    /// A flag of the platform is off, so that only administrators may do this.
    #[error("Feature Disabled: {}", .message.as_deref().unwrap_or(flag))]
    FeatureDisabled { flag: &'static str, message: Option<String> },
    /// It is not there, or the caller may not know that it is. Clients compare `App not found`.
    #[error("{noun} not found")]
    NotFound { noun: &'static str },
    /// A parameter of the query is wrong.
    #[error("The query parameter is invalid: {0}")]
    BadQuery(String),
    /// The body cannot be read as what it should be.
    #[error("{0}")]
    BadRequest(String),
    /// The request is understood and makes no sense now. Clients compare the whole text.
    #[error("Bad request: {0}")]
    Refused(String),
    /// A package takes one upload.
    #[error("Bits may be uploaded only once. Create a new package to upload different bits.")]
    BitsUploadedAlready,
    /// The request is understood and cannot be followed: a taken name, a wrong value.
    #[error("{0}")]
    Unprocessable(String),
    /// Something with this name is there already. Apart from `Unprocessable` for its own title.
    #[error("{detail}")]
    NameTaken { detail: String },
    /// Something else is going on with the same thing.
    #[error("{0}")]
    Conflict(String),
    /// A limit of the platform is reached for now.
    #[error("{0}")]
    Busy(String),
    #[error("the stored state cannot be used")]
    Store(#[from] StoreError),
    /// A port failed; the source is for the log.
    #[error("{action} failed")]
    Outside {
        action: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ControlError {
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::Unprocessable(detail.into())
    }

    /// Turns a broken unique set into the sentence that clients compare.
    pub(crate) fn taken(error: StoreError, detail: impl FnOnce() -> String) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::NameTaken { detail: detail() },
            other => Self::Store(other),
        }
    }
}

impl ControlError {
    /// Number and name of the error in the Cloud Foundry API (upstream: errors/v2.yml). They are
    /// part of a job's row, so that they are known here and not in the api alone.
    pub const fn code_and_title(&self) -> (u32, &'static str) {
        match self {
            Self::NotAuthenticated { .. } => (10002, "CF-NotAuthenticated"),
            Self::InvalidToken => (1000, "CF-InvalidAuthToken"),
            Self::NotAuthorized => (10003, "CF-NotAuthorized"),
            Self::FeatureDisabled { .. } => (330_002, "CF-FeatureDisabled"),
            Self::NotFound { .. } => (10010, "CF-ResourceNotFound"),
            Self::BadQuery(_) => (10005, "CF-BadQueryParameter"),
            Self::BadRequest(_) => (1001, "CF-MessageParseError"),
            Self::Refused(_) => (1004, "CF-BadRequest"),
            Self::BitsUploadedAlready => (150_004, "CF-PackageBitsAlreadyUploaded"),
            Self::Unprocessable(_) | Self::NameTaken { .. } => (10008, "CF-UnprocessableEntity"),
            Self::Conflict(_) => (10017, "CF-Conflict"),
            Self::Busy(_) => (10015, "CF-ServiceUnavailable"),
            Self::Store(_) | Self::Outside { .. } => (10001, "CF-UnknownError"),
        }
    }
}

impl ControlError {
    /// The same error about `noun`, where what was not found is only the way to it.
    pub(crate) fn not_found_as(self, noun: &'static str) -> Self {
        match self {
            Self::NotFound { .. } => Self::NotFound { noun },
            other => other,
        }
    }
}
