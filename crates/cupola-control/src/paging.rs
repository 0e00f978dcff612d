//! Lists: filters, order and the stretch that a client asks for.

use cupola_ports::store::{Condition, Direction, Page, Query};

use crate::ControlError;

/// A list as a client asks for it. Filters that name nothing are left out by the api.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// From 1.
    pub page: u64,
    /// 1 to 5000.
    pub per_page: u64,
    pub order: Option<(&'static str, Direction)>,
    pub conditions: Vec<Condition>,
}

impl ListRequest {
    /// The largest page that there is.
    pub const PER_PAGE_MAX: u64 = 5000;

    /// Everything with one of these ids, for what a list includes.
    pub fn of_ids<Id: ToString>(ids: &[Id]) -> Self {
        let ids = ids.iter().map(|id| id.to_string().into()).collect();
        let conditions = vec![Condition::In("id", ids)];
        Self { page: 1, per_page: Self::PER_PAGE_MAX, order: None, conditions }
    }

    /// The page of a list that was filtered in memory.
    pub fn cut<T>(&self, items: Vec<T>) -> Page<T> {
        let total = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let skip = usize::try_from((self.page - 1).saturating_mul(self.per_page));
        let take = usize::try_from(self.per_page).unwrap_or(usize::MAX);
        let items = items.into_iter().skip(skip.unwrap_or(usize::MAX)).take(take).collect();
        Page { items, total }
    }

    /// The query for it, limited to what `visible` allows.
    pub(crate) fn query(&self, visible: impl IntoIterator<Item = Condition>) -> Query {
        let mut conditions = self.conditions.clone();
        conditions.extend(visible);
        Query {
            conditions,
            order: self.order.into_iter().collect(),
            offset: (self.page - 1).saturating_mul(self.per_page),
            limit: Some(self.per_page),
        }
    }
}

/// Reads `order_by` (`name`, `-created_at`) against the columns that may be named.
pub fn order_by(
    text: &str,
    columns: &'static [&'static str],
) -> Result<(&'static str, Direction), ControlError> {
    let (name, direction) = match text.strip_prefix('-') {
        Some(name) => (name, Direction::Descending),
        None => (text.strip_prefix('+').unwrap_or(text), Direction::Ascending),
    };
    let known = columns.iter().find(|column| **column == name);
    known.map(|column| (*column, direction)).ok_or_else(|| {
        let columns = columns.join("', '");
        ControlError::BadQuery(format!("Order by can only be: '{columns}'"))
    })
}
