//! `/sign-up`: an HTML form that works without wasm.

use crate::api;
use crate::components::auth_card::{AuthCard, NextField};
use crate::components::captcha::CaptchaField;
use crate::components::field::{Field, FormError, PasswordField};
use crate::components::loaded::loaded;
use crate::components::provider_button::ServiceRow;
use crate::components::terms_notice::{TermsField, TermsNotice};
use crate::page_context::page_context;
use crate::view::identity::ProviderButton;
use crate::view::plan::PlanCatalog;
use domain::{Period, Plan};
use leptos::prelude::*;

/// Help text of every field for a new password.
pub(super) const PASSWORD_HINT: &str = "12 to 128 characters. A few random words are easy to remember.";

/// Renders the sign-up page.
#[component]
pub fn SignUp() -> impl IntoView {
    view! {
        <AuthCard title="Create account">
            <ChosenPlan/>
            <form method="post" action="/sign-up" class="stack">
                <FormError/>
                <NextField/>
                <TermsField/>
                <Field name="name" label="Name" kind="text" autocomplete="name" optional=true/>
                <Field name="email" label="Email" kind="email" autocomplete="username"/>
                <PasswordField name="password" label="Password" autocomplete="new-password" hint=PASSWORD_HINT/>
                <CaptchaField/>
                <button>"Create account"</button>
            </form>
            <Services/>
            <TermsNotice/>
            <p class="auth-links">"Already have an account? " <a href=page_context().with_next("/sign-in")>"Sign in"</a></p>
        </AuthCard>
    }
}

/// The services with which anyone can sign up. Renders nothing if none is configured.
#[component]
fn Services() -> impl IntoView {
    loaded(api::identity::options(), |providers: Vec<ProviderButton>| view! { <ServiceRow providers/> })
}

/// Parses the plan and billing period out of the path to return to, if it leads back to a plan on the pricing page.
fn chosen(next: &str) -> Option<(String, Period)> {
    let query = next.strip_prefix("/pricing?")?;
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let period = value("interval").and_then(|text| text.parse().ok()).filter(|period| *period != Period::Other);
    Some((value("plan")?, period.unwrap_or_default()))
}

/// A summary of the plan that the visitor chose on the pricing page. Renders nothing if none was chosen.
#[component]
pub(super) fn ChosenPlan() -> impl IntoView {
    page_context().return_path().as_deref().and_then(chosen).map(|(plan, period)| {
        loaded(api::plan::catalog(), move |catalog: PlanCatalog| {
            let offer = catalog.offers.into_iter().find(|offer| offer.plan.id.0 == plan && !offer.plan.is_free());
            offer.map(|offer| summary(&offer.plan, period))
        })
    })
}

fn summary(plan: &Plan, period: Period) -> impl IntoView + use<> {
    // A plan that isn't sold yearly is shown with its monthly price.
    let period = if plan.price(period).is_some() { period } else { Period::Month };
    let every = if period == Period::Year { "year" } else { "month" };
    let price = plan.price(period).map(|price| format!("{price} a {every}"));
    view! {
        <div class="chosen">
            <p><strong>{plan.name.clone()}</strong><span>{price}</span></p>
            <p class="hint">{format!("{} tokens per day. You confirm the plan in the next step.", plan.tokens_per_day)}</p>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::chosen;
    use domain::Period;

    #[test]
    fn chosen_reads_the_plan_of_the_pricing_page() {
        assert_eq!(chosen("/pricing?plan=pro&interval=year"), Some(("pro".to_owned(), Period::Year)));
        assert_eq!(chosen("/pricing?plan=max"), Some(("max".to_owned(), Period::Month)));
        for other in ["/pricing", "/usage?plan=pro", "/pricing?interval=year", "//pricing?plan=pro"] {
            assert_eq!(chosen(other), None, "{other}");
        }
    }
}
