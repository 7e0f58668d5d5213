//! The users of the demo company: when each joined, what they pay and how much they use. The same every time, relative to now.

use domain::Period;
use time::{Duration, OffsetDateTime};

/// Address of the admin.
pub(super) const ADMIN: &str = "admin@example.com";
/// Address of the user whose account is shown in screenshots: on Pro, with conversations and invoices.
pub(super) const DEMO_USER: &str = "demo@example.com";

const FIRST: [&str; 20] = [
    "Ada", "Ben", "Chloe", "Deniz", "Eva", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kira", "Liam", "Mina", "Noor",
    "Olga", "Pavel", "Quinn", "Rosa", "Sven", "Tara",
];
const LAST: [&str; 16] = [
    "Abadi",
    "Berger",
    "Costa",
    "Dahl",
    "Ekwueme",
    "Fournier",
    "Garcia",
    "Haddad",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Nakamura",
    "Okafor",
    "Petrov",
];
const HOSTS: [&str; 4] = ["example.com", "example.org", "studio.example", "harbor.example"];

/// A purchase of a plan.
pub(super) struct Purchase {
    pub plan: &'static str,
    pub period: Period,
    pub began_at: OffsetDateTime,
    /// When the user cancels, at the end of the paid period.
    pub cancels_at: Option<OffsetDateTime>,
    /// When their card stops paying.
    pub card_fails_at: Option<OffsetDateTime>,
}

/// Why a user has their plan.
pub(super) enum Access {
    /// They are on the free plan.
    Free,
    /// The admin has granted the plan.
    Granted(&'static str),
    /// They have bought it.
    Bought(Purchase),
}

/// A user of the demo company.
pub(super) struct Member {
    pub name: String,
    pub email: String,
    pub is_verified: bool,
    pub joined_at: OffsetDateTime,
    /// When they lost interest.
    pub left_at: Option<OffsetDateTime>,
    pub access: Access,
    /// How often they write and how much; 0 for nothing but the fixed conversations.
    pub weight: u64,
}

impl Member {
    /// Returns the plan that they have at an instant.
    pub(super) fn plan_at(&self, at: OffsetDateTime) -> &'static str {
        match &self.access {
            Access::Granted(plan) => plan,
            Access::Bought(bought) if bought.began_at <= at && bought.cancels_at.is_none_or(|end| at < end) => {
                bought.plan
            }
            Access::Free | Access::Bought(_) => "free",
        }
    }
}

/// Returns the admin, the demo user, and `users` more who joined within the last `days` days, ever more of them a day. One of the payers is
/// overdue. `trial_days` is the length of Pro's trial.
pub(super) fn members(users: i64, days: i64, trial_days: i64, now: OffsetDateTime) -> Vec<Member> {
    let fixed = |name: &str, email: &str, joined_at: OffsetDateTime, access: Access, weight: u64| Member {
        name: name.to_owned(),
        email: email.to_owned(),
        is_verified: true,
        joined_at,
        left_at: None,
        access,
        weight,
    };
    let began = now - Duration::days(days / 2);
    let mut members = vec![
        fixed("Olive Marsh", ADMIN, now - Duration::days(days + 5), Access::Granted("max"), 1),
        fixed("Dana Whitfield", DEMO_USER, began - Duration::days(2), Access::Bought(monthly("pro", began)), 0),
    ];
    members.extend((1..=users).map(|n| member(n, users, days, now)));
    let candidates = members.iter_mut().skip(2).rev().filter(|member| member.joined_at < now - Duration::days(60));
    let mut bought = candidates.filter_map(|member| match &mut member.access {
        Access::Bought(bought) if bought.plan == "pro" && bought.period == Period::Month => Some(bought),
        _ => None,
    });
    if let Some(bought) = bought.find(|bought| bought.cancels_at.is_none()) {
        // The second payment fell due in the last days, and failed.
        bought.began_at = now - Duration::days(33 + trial_days);
        bought.card_fails_at = Some(now - Duration::days(20));
    }
    members
}

fn monthly(plan: &'static str, began_at: OffsetDateTime) -> Purchase {
    Purchase { plan, period: Period::Month, began_at, cancels_at: None, card_fails_at: None }
}

/// Returns the nth of `users` users. The square root makes the number of users grow with the square of the time.
fn member(n: i64, users: i64, days: i64, now: OffsetDateTime) -> Member {
    let permille = 1_000 - (n * 1_000_000 / users).isqrt();
    let joined_at = now - Duration::minutes((days * 1_440 * permille / 1_000).max(90));
    let name = |names: &[&'static str], index: i64| names[usize::try_from(index).unwrap_or(0) % names.len()];
    let (first, last) = (name(&FIRST, n), name(&LAST, n % 20 + 3 * (n / 20)));
    let access = access(n, joined_at, now);
    let is_free = matches!(access, Access::Free);
    let weight = match &access {
        Access::Bought(bought) if bought.plan == "max" => 6,
        Access::Bought(_) | Access::Granted(_) => 3,
        Access::Free if n % 13 == 4 => 4,
        Access::Free => 1,
    };
    Member {
        name: format!("{first} {last}"),
        email: format!("{}.{}@{}", first.to_lowercase(), last.to_lowercase(), name(&HOSTS, n / 3)),
        is_verified: !is_free || n % 9 != 5,
        joined_at,
        left_at: (is_free && n % 6 == 2).then_some(joined_at + Duration::days(20)),
        access,
        weight,
    }
}

/// Returns how the nth user came to their plan. A fifth are on Pro, some of them by the year; one in sixteen is on Max.
fn access(n: i64, joined_at: OffsetDateTime, now: OffsetDateTime) -> Access {
    let began_at = joined_at + Duration::days(1 + n % 5) + Duration::minutes(n * 37 % 600);
    if n % 29 == 13 {
        return Access::Granted("pro");
    }
    if now - began_at < Duration::hours(2) {
        return Access::Free;
    }
    match n {
        n if n % 16 == 7 => Access::Bought(monthly("max", began_at)),
        n if n % 20 == 6 => Access::Bought(Purchase { period: Period::Year, ..monthly("pro", began_at) }),
        n if n % 20 == 16 => {
            let cancels_at = Some(began_at + (now - began_at) / 2_i32);
            Access::Bought(Purchase { cancels_at, ..monthly("pro", began_at) })
        }
        n if n % 5 == 1 => Access::Bought(monthly("pro", began_at)),
        _ => Access::Free,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_company_grows_and_has_users_of_every_kind() {
        let (now, days) = (OffsetDateTime::UNIX_EPOCH + Duration::days(20_000), 240);
        let members = members(80, days, 7, now);
        assert_eq!(members.len(), 82);
        assert_eq!(members.iter().map(|member| member.email.as_str()).collect::<BTreeSet<_>>().len(), 82);
        let joined = |from: i64, to: i64| {
            let age = |member: &&Member| (now - member.joined_at).whole_days();
            members.iter().skip(2).filter(|member| (from..to).contains(&age(member))).count()
        };
        assert!(joined(0, 120) > 2 * joined(120, 241), "{} and {}", joined(0, 120), joined(120, 241));
        assert!(members.iter().all(|member| member.joined_at < now));
        let bought: Vec<&Purchase> = members
            .iter()
            .filter_map(|member| match &member.access {
                Access::Bought(bought) => Some(bought),
                _ => None,
            })
            .collect();
        assert!((15..40).contains(&bought.len()), "{}", bought.len());
        assert!(bought.iter().all(|bought| bought.began_at < now));
        assert_eq!(bought.iter().filter(|bought| bought.card_fails_at.is_some()).count(), 1);
        assert!(bought.iter().any(|bought| bought.period == Period::Year));
        assert!(bought.iter().any(|bought| bought.cancels_at.is_some_and(|at| at < now)));
        assert!(members.iter().any(|member| !member.is_verified));
        assert!(members.iter().any(|member| matches!(member.access, Access::Granted("pro"))));
    }
}
