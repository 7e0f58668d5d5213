//! The period, order, filters and page of the top users, parsed from and written as a query string.

use domain::{ModelName, PlanId, Problem, ReportPeriod};
use serde::{Deserialize, Serialize};

/// What a table is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Dollars.
    #[default]
    Cost,
    /// Tokens.
    Tokens,
    /// Turns.
    Requests,
    /// What they pay less what they cost, the least first.
    Margin,
    /// Refusals.
    Refusals,
    /// How far estimates of their input were off.
    Estimate,
}

impl Order {
    const ALL: [Self; 6] = [Self::Cost, Self::Tokens, Self::Requests, Self::Margin, Self::Refusals, Self::Estimate];

    /// As the address says it.
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

    /// Reads the address; anything unknown is cost.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|order| Some(order.as_str()) == text).unwrap_or_default()
    }
}

/// Which part of the top users is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageFilter {
    /// How far back.
    pub period: ReportPeriod,
    /// What it is sorted by.
    pub order: Order,
    /// Only users on this plan now.
    pub plan: Option<PlanId>,
    /// Only use of this model.
    pub model: Option<ModelName>,
    /// Only addresses that hold this; empty for all.
    pub search: String,
    /// Which page, from one.
    pub page: u32,
}

impl UsageFilter {
    /// Users on a page.
    pub const ROWS: u32 = 50;

    /// The same, as an address could say it.
    ///
    /// # Errors
    /// What is wrong with it, where none could.
    pub fn checked(&self) -> Result<Self, Problem> {
        Self::of_query(self.href("").trim_start_matches('?'))
    }

    /// Reads an address's query as it stands there.
    ///
    /// # Errors
    /// Returns a message if the dates are no valid period.
    pub fn of_query(query: &str) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self::parse(|name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }

    /// Whether everybody is asked for, and all they used.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.plan.is_none() && self.model.is_none() && self.search.is_empty()
    }

    /// The address of this part of the table, or of its export.
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

    /// Reads an address's query, field by field.
    ///
    /// # Errors
    /// Returns a message if the dates are no valid period.
    pub fn parse(query: impl Fn(&str) -> Option<String>) -> Result<Self, Problem> {
        // No name or address holds a control character, and Postgres takes no NUL.
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
