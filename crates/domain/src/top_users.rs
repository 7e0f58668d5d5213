//! The owner's report of usage, cost and revenue by user: its rows, and the filter that selects and sorts them.

use crate::model::names;
use crate::{ModelName, Picos, PlanId, Problem, ReportPeriod, Tokens, UnknownName, UsageSum, UserId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A row of the top users. Account fields are `None` once the account is deleted, and for the demo on the site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserUsage {
    /// Key of the rollups.
    pub subject_id: i32,
    /// Key of the ledger.
    pub subject: String,
    /// The account.
    pub user_id: Option<UserId>,
    /// The user's email.
    pub email: Option<String>,
    /// The user's plan.
    pub plan: Option<PlanId>,
    /// The user's usage.
    pub sum: UsageSum,
    /// Input tokens as estimated before the calls.
    pub estimated: Tokens,
    /// Number of refused requests.
    pub refusals: u64,
    /// What the user's subscriptions pay for the period, prorated.
    pub paid: Picos,
    /// Cost on each day of the sparkline; empty until it is loaded.
    pub line: Vec<Picos>,
}

/// The subject under which the rollups sum the calls of the demo on the site.
const DEMO: &str = "demo";

impl UserUsage {
    /// Returns whether these are the calls of the demo on the site, which are no user's.
    #[must_use]
    pub fn is_demo(&self) -> bool {
        self.subject == DEMO
    }
}

/// Sort order of the top users: descending, except the margin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Cost.
    #[default]
    Cost,
    /// All tokens.
    Tokens,
    /// Turns.
    Requests,
    /// Revenue less cost, smallest first. With a model filter the cost, because a subscription pays for all models.
    Margin,
    /// Refusals.
    Refusals,
    /// Relative error of the input estimates.
    Estimate,
}

names!(
    Order,
    "cost, tokens, requests, margin, refusals, estimate",
    Cost => "cost",
    Tokens => "tokens",
    Requests => "requests",
    Margin => "margin",
    Refusals => "refusals",
    Estimate => "estimate"
);

impl Order {
    /// Parses the value of the `by` query parameter. Unknown and missing values are [`Cost`](Self::Cost).
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

/// Period, order, filters and page of the top users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageFilter {
    /// The period. A standard one is read as of the last refresh, a custom one as of now.
    pub period: ReportPeriod,
    /// The sort order.
    pub order: Order,
    /// Only users who are on this plan now.
    pub plan: Option<PlanId>,
    /// Only usage of this model.
    pub model: Option<ModelName>,
    /// Only users whose email contains this text; empty for all users.
    pub search: String,
    /// Page number, starting at 1.
    pub page: u32,
}

impl UsageFilter {
    /// Number of users on a page.
    pub const ROWS: u32 = 50;

    /// Returns whether no filter is set besides the period, so that all users and all their usage are included.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.plan.is_none() && self.model.is_none() && self.search.is_empty()
    }

    /// Parses query parameters, which `query` returns by name.
    ///
    /// # Errors
    /// Returns a problem if the dates are no valid period.
    pub fn parse(query: impl Fn(&str) -> Option<String>) -> Result<Self, Problem> {
        // Names and email addresses contain no control characters, and Postgres rejects NUL.
        let plain = |value: String| value.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
        let of = |name: &str| query(name).map(plain).filter(|value| !value.is_empty());
        Ok(Self {
            period: ReportPeriod::parse(of("period").as_deref(), of("from").as_deref(), of("to").as_deref())
                .map_err(|why| Problem::invalid("period", why))?,
            order: Order::parse(of("by").as_deref()),
            plan: of("plan").map(PlanId),
            model: of("model").map(ModelName),
            search: of("q").unwrap_or_default().chars().take(200).collect(),
            page: of("page").and_then(|page| page.parse().ok()).unwrap_or(1).clamp(1, 100_000),
        })
    }

    /// Returns the query parameters that [`parse`](Self::parse) reads, without empty ones.
    #[must_use]
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("period", self.period.as_str().to_owned())];
        if let ReportPeriod::Custom(from, to) = self.period {
            query.extend([("from", from.to_string()), ("to", to.to_string())]);
        }
        query.push(("by", self.order.as_str().to_owned()));
        for (name, value) in [
            ("plan", self.plan.as_ref().map(|plan| plan.0.as_str())),
            ("model", self.model.as_ref().map(|model| model.0.as_str())),
            ("q", Some(self.search.as_str())),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                query.push((name, value.to_owned()));
            }
        }
        if self.page > 1 {
            query.push(("page", self.page.to_string()));
        }
        query
    }

    /// Normalizes a filter from an untrusted source by parsing its own query parameters.
    ///
    /// # Errors
    /// Returns a problem if the dates are no valid period.
    pub fn checked(&self) -> Result<Self, Problem> {
        let query = self.query();
        Self::parse(|name| query.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn a_filter_is_read_from_its_own_query() {
        let filter = UsageFilter {
            period: ReportPeriod::Custom(date!(2026 - 01 - 05), date!(2026 - 02 - 01)),
            order: Order::Estimate,
            plan: Some(PlanId("pro".to_owned())),
            model: Some(ModelName("a/b c".to_owned())),
            search: "ann&q=x".to_owned(),
            page: 3,
        };
        assert_eq!(filter.checked(), Ok(filter));
        let whole = UsageFilter { page: 1, ..UsageFilter::default() };
        assert_eq!(whole.checked(), Ok(whole));
    }

    #[test]
    fn a_checked_filter_has_no_control_characters_and_a_valid_page() {
        let filter = UsageFilter { search: "\0 ann\n".to_owned(), page: u32::MAX, ..UsageFilter::default() };
        let checked = filter.checked().unwrap();
        assert_eq!((checked.search.as_str(), checked.page), ("ann", 100_000));
        let reversed = UsageFilter {
            period: ReportPeriod::Custom(date!(2026 - 02 - 01), date!(2026 - 01 - 05)),
            ..UsageFilter::default()
        };
        assert!(reversed.checked().is_err());
    }
}
