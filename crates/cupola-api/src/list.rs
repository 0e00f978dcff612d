//! Lists: query parameters in, pages with links out.

pub(crate) mod labels;

use axum::{
    extract::FromRequestParts,
    http::{Uri, request::Parts},
};
use cupola_control::{ControlError, ListRequest, Owners, order_by};
use cupola_ports::store::{Condition, Direction, Page, Value};
use cupola_wire::list::{Link, List, Pagination};
use serde::Serialize;

use crate::{Api, error::ApiFailure};

/// The query parameters of a list, each read once. What is left over when it is turned into a
/// request is an unknown parameter, and refused as upstream does.
pub(crate) struct ListQuery {
    uri: Uri,
    pairs: Vec<(String, String)>,
    conditions: Vec<Condition>,
}

impl FromRequestParts<Api> for ListQuery {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiFailure> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(pairs)| pairs)
            .map_err(|error| ControlError::BadQuery(error.to_string()))?;
        Ok(Self { uri: parts.uri.clone(), pairs, conditions: Vec::new() })
    }
}

impl ListQuery {
    /// Removes and returns a parameter.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(key, _)| key == name)?;
        Some(self.pairs.remove(at).1)
    }

    /// Removes and returns a parameter that is a comma-separated list. Commas inside a value are
    /// encoded twice by clients.
    pub(crate) fn take_list(&mut self, name: &str) -> Option<Vec<String>> {
        let text = self.take(name)?;
        Some(text.split(',').map(|item| item.trim().replace("%2C", ",")).collect())
    }

    /// Keeps only rows whose `column` has one of the values of the parameter `name`, if it is given.
    pub(crate) fn filter(mut self, name: &str, column: &'static str) -> Self {
        if let Some(values) = self.take_list(name) {
            let values = values.into_iter().map(Value::Text).collect();
            self.conditions.push(Condition::In(column, values));
        }
        self
    }

    /// As `filter`, for columns that hold the lower case of a name.
    pub(crate) fn filter_lower(mut self, name: &str, column: &'static str) -> Self {
        if let Some(values) = self.take_list(name) {
            let values = values.into_iter().map(|text| Value::Text(text.to_lowercase())).collect();
            self.conditions.push(Condition::In(column, values));
        }
        self
    }

    /// Keeps only what hangs from one other thing.
    pub(crate) fn only(self, column: &'static str, id: impl ToString) -> Self {
        self.and(Condition::In(column, vec![id.to_string().into()]))
    }

    pub(crate) fn and(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Keeps only rows with the labels that the selector asks for, if there is one.
    pub(crate) fn labels(mut self) -> Result<Self, ApiFailure> {
        let conditions = self.take_labels()?;
        self.conditions.extend(conditions);
        Ok(self)
    }

    /// Removes and returns the conditions of the label selector.
    pub(crate) fn take_labels(&mut self) -> Result<Vec<Condition>, ApiFailure> {
        let selector = self.take("label_selector");
        Ok(selector.map_or(Ok(Vec::new()), |selector| labels::conditions(&selector))?)
    }

    /// Removes and returns the spaces and organisations that the list is asked for.
    pub(crate) fn take_owners(&mut self) -> Owners {
        Owners { spaces: self.take_list("space_guids"), orgs: self.take_list("organization_guids") }
    }

    /// Matches nothing, for a filter whose values no row can have.
    pub(crate) fn nothing(self, column: &'static str) -> Self {
        self.and(Condition::In(column, Vec::new()))
    }

    /// Forgets the parameters that are left: a list that is always empty accepts every filter.
    pub(crate) fn ignore_rest(mut self) -> Self {
        let kept = ["page", "per_page"];
        self.pairs.retain(|(name, _)| kept.contains(&name.as_str()));
        self
    }

    /// Removes and returns what to include, each of which must be one of `known`.
    pub(crate) fn take_include(&mut self, known: &[&str]) -> Result<Vec<String>, ApiFailure> {
        let wanted = self.take_list("include").unwrap_or_default();
        match wanted.iter().find(|wanted| !known.contains(&wanted.as_str())) {
            None => Ok(wanted),
            Some(unknown) => {
                let known = known.join("', '");
                let detail = format!(
                    "Invalid included resource: '{unknown}'. Valid included resources are: \
                     '{known}'"
                );
                Err(ControlError::BadQuery(detail).into())
            }
        }
    }

    /// Reads `created_ats` and `updated_ats` with their operators, as every list has them.
    fn times(&mut self) -> Result<(), ApiFailure> {
        for (name, column) in [("created_ats", "created_at"), ("updated_ats", "updated_at")] {
            while let Some(at) = self.pairs.iter().position(|(key, _)| {
                key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('['))
            }) {
                let (key, text) = self.pairs.remove(at);
                let operator = key[name.len()..].trim_matches(['[', ']']).to_owned();
                let condition = time_condition(column, &operator, &text);
                self.conditions.extend(condition.map_err(ControlError::BadQuery)?);
            }
        }
        Ok(())
    }

    /// The request for control, and what is needed to present its page.
    pub(crate) fn finish(
        mut self,
        orderable: &'static [&'static str],
        default: (&'static str, Direction),
    ) -> Result<(ListRequest, Presenter), ApiFailure> {
        self.times()?;
        let page = self.number("page", 1, u64::MAX / 5000)?;
        let per_page = self.number("per_page", 50, 5000)?;
        let order = match self.take("order_by") {
            Some(text) => order_by(&text, orderable)?,
            None => default,
        };
        if let Some((name, _)) = self.pairs.first() {
            let detail = format!("Unknown query parameter(s): '{name}'");
            return Err(ControlError::BadQuery(detail).into());
        }
        let presenter = Presenter { uri: self.uri, page, per_page };
        let conditions = self.conditions;
        Ok((ListRequest { page, per_page, order: Some(order), conditions }, presenter))
    }

    fn number(&mut self, name: &str, default: u64, max: u64) -> Result<u64, ApiFailure> {
        let Some(text) = self.take(name) else { return Ok(default) };
        text.parse().ok().filter(|number| (1..=max).contains(number)).ok_or_else(|| {
            let capital = if name == "page" { "Page" } else { "Per page" };
            ControlError::BadQuery(format!("{capital} must be between 1 and {max}")).into()
        })
    }
}

/// Times have whole seconds on the wire and microseconds in the store: `=` and `>` mean the second.
fn time_condition(
    column: &'static str,
    operator: &str,
    text: &str,
) -> Result<Vec<Condition>, String> {
    let point: jiff::Timestamp = text.parse().map_err(|_| {
        format!("'{text}' is not a time such as 2030-01-31T23:59:59Z (one per parameter)")
    })?;
    let begin = point.as_second().saturating_mul(1_000_000);
    let end = begin.saturating_add(1_000_000);
    match operator {
        "" => Ok(vec![Condition::Greater(column, begin - 1), Condition::Less(column, end)]),
        "gt" => Ok(vec![Condition::Greater(column, end - 1)]),
        "gte" => Ok(vec![Condition::Greater(column, begin - 1)]),
        "lt" => Ok(vec![Condition::Less(column, begin)]),
        "lte" => Ok(vec![Condition::Less(column, end)]),
        other => Err(format!("Invalid relational operator: '{other}'")),
    }
}

/// Writes a page of a list with its links.
pub(crate) struct Presenter {
    uri: Uri,
    page: u64,
    per_page: u64,
}

impl Presenter {
    pub(crate) fn present<T, R: Serialize>(
        &self,
        api: &Api,
        page: Page<T>,
        mut present: impl FnMut(T) -> R,
    ) -> List<R> {
        let total_pages = page.total.div_ceil(self.per_page).max(1);
        let link = |number| Link::to(self.href(api, number));
        List {
            pagination: Pagination {
                total_results: page.total,
                total_pages,
                first: link(1),
                last: link(total_pages),
                next: (self.page < total_pages).then(|| link(self.page + 1)),
                previous: (self.page > 1).then(|| link(self.page - 1)),
            },
            resources: page.items.into_iter().map(&mut present).collect(),
            included: None,
        }
    }

    /// The same request for another page, absolute, because clients follow it as it is.
    fn href(&self, api: &Api, page: u64) -> String {
        let rest = self.uri.query().unwrap_or_default().split('&');
        let kept = rest.filter(|pair| {
            !pair.is_empty() && !pair.starts_with("page=") && !pair.starts_with("per_page=")
        });
        let mut query: Vec<String> = kept.map(str::to_owned).collect();
        query.push(format!("page={page}"));
        query.push(format!("per_page={}", self.per_page));
        let base = &api.control.settings().external_url;
        format!("{base}{}?{}", self.uri.path(), query.join("&"))
    }
}
