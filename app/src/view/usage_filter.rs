//! The period, order, filters and page of the top users, parsed from and written as a query string.

use domain::{ModelName, PlanId, Problem, ReportPeriod};
use serde::{Deserialize, Serialize};

/// Sort order of the top users: descending, except the margin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Cost.
    #[default]
    Cost,
    /// Tokens.
    Tokens,
    /// Turns.
    Requests,
    /// Revenue less cost, smallest first.
    Margin,
    /// Refusals.
    Refusals,
    /// Relative error of the input estimates.
    Estimate,
}

impl Order {
    const ALL: [Self; 6] = [Self::Cost, Self::Tokens, Self::Requests, Self::Margin, Self::Refusals, Self::Estimate];

    /// Returns the value of the `by` query parameter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
            Self::Margin => "margin",
            Self::Refusals => "refusals",
            Self::Estimate => "estimate",
        }
    }

    /// Parses the value of the `by` query parameter. Unknown and missing values are [`Cost`](Self::Cost).
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|order| Some(order.as_str()) == text).unwrap_or_default()
    }
}

/// Period, order, filters and page of the top users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageFilter {
    /// The period.
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

    /// Normalizes a filter from an untrusted source by writing it as a query string and parsing that.
    ///
    /// # Errors
    /// Returns a problem if the dates are no valid period.
    pub fn checked(&self) -> Result<Self, Problem> {
        Self::of_query(self.href("").trim_start_matches('?'))
    }

    /// Parses a URL-encoded query string.
    ///
    /// # Errors
    /// Returns a problem if the dates are no valid period.
    pub fn of_query(query: &str) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self::parse(|name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }

    /// Returns whether no filter is set besides the period, so that all users and all their usage are included.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.plan.is_none() && self.model.is_none() && self.search.is_empty()
    }

    /// Returns a URL with this filter as its query string, for the page at `path` or its export.
    #[must_use]
    pub fn href(&self, path: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("period", self.period.as_str());
        if let ReportPeriod::Custom(from, to) = self.period {
            query.append_pair("from", &from.to_string()).append_pair("to", &to.to_string());
        }
        query.append_pair("by", self.order.as_str());
        for (name, value) in [
            ("plan", self.plan.as_ref().map(|plan| plan.0.as_str())),
            ("model", self.model.as_ref().map(|model| model.0.as_str())),
            ("q", Some(self.search.as_str())),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                query.append_pair(name, value);
            }
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        format!("{path}?{}", query.finish())
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
}
