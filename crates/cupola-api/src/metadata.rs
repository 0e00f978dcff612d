//! Labels and annotations in bodies.

use cupola_control::{ControlError, orgs::MetadataChange};
use cupola_domain::orgs::Metadata;
use cupola_wire::metadata::{MetadataBody, MetadataPatch};

const LABELS_MAX: usize = 50;
const ANNOTATIONS_MAX: usize = 200;

/// The metadata of something new.
pub(crate) fn initial(patch: Option<MetadataPatch>) -> Result<Metadata, ControlError> {
    let mut metadata = Metadata::default();
    let patch = checked(patch.unwrap_or_default())?;
    metadata.labels.extend(patch.labels.into_iter().filter_map(|(key, value)| Some((key, value?))));
    let annotations = patch.annotations.into_iter();
    metadata.annotations.extend(annotations.filter_map(|(key, value)| Some((key, value?))));
    Ok(metadata)
}

/// What a client wants changed.
pub(crate) fn change(patch: Option<MetadataPatch>) -> Result<MetadataChange, ControlError> {
    let patch = checked(patch.unwrap_or_default())?;
    Ok(MetadataChange {
        labels: patch.labels.into_iter().collect(),
        annotations: patch.annotations.into_iter().collect(),
    })
}

pub(crate) fn present(metadata: &Metadata) -> MetadataBody {
    MetadataBody { labels: metadata.labels.clone(), annotations: metadata.annotations.clone() }
}

fn checked(patch: MetadataPatch) -> Result<MetadataPatch, ControlError> {
    let limits = [
        ("labels", patch.labels.len(), LABELS_MAX),
        ("annotations", patch.annotations.len(), ANNOTATIONS_MAX),
    ];
    for (what, count, max) in limits {
        if count > max {
            let detail =
                format!("Failed to add {count} {what} because it would exceed maximum of {max}");
            return Err(ControlError::Unprocessable(detail));
        }
    }
    Ok(patch)
}
