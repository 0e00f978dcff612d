//! `GET /cupola/v1/apps/{guid}/dora`: the five figures of DORA.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dora {
    pub app: String,
    pub since: String,
    pub until: String,
    /// Throughput first: frequency, lead time, recovery time, fail rate, rework rate.
    pub figures: Vec<DoraFigure>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DoraFigure {
    pub name: String,
    /// Null where there is nothing to derive it from.
    pub value: Option<f64>,
    /// `per_day`, `seconds` or `share` (from 0 to 1); null with the value.
    pub unit: Option<String>,
    /// In one sentence.
    pub derivation: String,
    /// How many deployments it is derived from.
    pub sample: usize,
    /// What is not known, in sentences.
    pub unknown: Vec<String>,
}
