//! Finds the path template of the contract that a concrete path belongs to.

/// A path with parameters, as in `/v3/apps/{guid}`.
pub(super) struct PathTemplate(String);

impl PathTemplate {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// How many segments are equal, if the path belongs to this template.
    fn literal_segments(&self, path: &str) -> Option<usize> {
        let (template, path) = (segments(&self.0), segments(path));
        if template.len() != path.len() || !matches(&self.0, path.iter().copied()) {
            return None;
        }
        Some(template.iter().filter(|segment| !is_parameter(segment)).count())
    }
}

/// The template with the fewest parameters among those that the path belongs to.
pub(super) fn best_match<'t>(
    templates: &'t [PathTemplate],
    path: &str,
) -> Option<&'t PathTemplate> {
    templates
        .iter()
        .filter_map(|template| Some((template.literal_segments(path)?, template)))
        .max_by_key(|(literal_segments, _)| *literal_segments)
        .map(|(_, template)| template)
}

/// Whether the path belongs to the template.
pub(super) fn is_of_template(template: &str, path: &str) -> bool {
    let path = segments(path);
    segments(template).len() == path.len() && matches(template, path.into_iter())
}

fn matches<'p>(template: &str, path: impl Iterator<Item = &'p str>) -> bool {
    segments(template)
        .into_iter()
        .zip(path)
        .all(|(wanted, found)| wanted == found || (is_parameter(wanted) && !found.is_empty()))
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').collect()
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(path: &str) -> Option<&'static str> {
        let templates: &'static [PathTemplate] = Vec::leak(vec![
            PathTemplate::new("/v3/droplets/{guid}"),
            PathTemplate::new("/v3/droplets/{guid}/{what}"),
            PathTemplate::new("/v3/droplets/{guid}/download"),
        ]);
        best_match(templates, path).map(PathTemplate::text)
    }

    #[test]
    fn literal_segments_win_over_parameters() {
        assert_eq!(best("/v3/droplets/1/download"), Some("/v3/droplets/{guid}/download"));
        assert_eq!(best("/v3/droplets/1/upload"), Some("/v3/droplets/{guid}/{what}"));
    }

    #[test]
    fn longer_paths_and_empty_parameters_do_not_match() {
        assert_eq!(best("/v3/droplets/"), None);
        assert_eq!(best("/v3/droplets/1/download/2"), None);
        assert_eq!(best("/v3/droplets"), None);
    }
}
