//! Jobs.

use serde::{Deserialize, Serialize};

use crate::list::Links;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobBody {
    pub guid: String,
    pub operation: String,
    pub state: String,
    pub errors: Vec<JobError>,
    pub warnings: Vec<JobWarning>,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobError {
    pub code: u32,
    pub title: String,
    pub detail: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobWarning {
    pub detail: String,
}
