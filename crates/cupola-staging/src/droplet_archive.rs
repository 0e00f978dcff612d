//! What is where in the archive of a droplet.
//!
//! It has the shape of Cloud Foundry's: `app`, `deps` and so on, relative to an instance's home.
//! Beside them lies the metadata of the droplet, with the digests of its layers. Cloud Foundry takes
//! that file for one of the app's; a Cupola checks the digests and knows the droplet again.

use cupola_domain::droplets::DropletContents;

/// The metadata: [`DropletContents`] as JSON, which carries its version.
pub(crate) const RECORD: &str = ".cupola-droplet.json";
pub(crate) const RECORD_BYTES_MAX: u64 = 512 << 10;
/// What Cloud Foundry's own launcher reads.
pub(crate) const STAGING_INFO: &str = "staging_info.yml";
/// What becomes layers, of all that an archive has.
pub(crate) const KEPT: [&str; 5] = ["app", "deps", "logs", "profile.d", STAGING_INFO];

/// The metadata of an archive; none if it is of another form or of a newer platform.
pub(crate) fn parse_record(text: &str) -> Option<DropletContents> {
    serde_json::from_str(text).ok()
}
