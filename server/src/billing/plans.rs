//! `plans push`: creates the plans as products and prices in Stripe.

use super::client::Billing;
use ::billing::{ForSale, PortalPlan};
use anyhow::Context as _;
use domain::brand;
use store::plan::{self, AtStripe};

/// Creates what is missing in Stripe and saves its ids. Returns a description of each change; empty on a second run.
pub(crate) async fn push(db: &store::Db, billing: &Billing, public_url: &str) -> anyhow::Result<Vec<String>> {
    let mut changes = Vec::new();
    let mut offered = Vec::new();
    for plan in plan::list(db).await?.iter().filter(|plan| !plan.is_free()) {
        let title = format!("{} {}", brand::NAME, plan.name);
        let sold = ForSale { plan, title: &title };
        let at = billing.stripe.push_plan(&sold).await.with_context(|| format!("plan {}", plan.id))?;
        changes.extend(at.changes);
        offered.push(PortalPlan {
            product_id: at.product_id.clone(),
            price_ids: [&at.monthly, &at.yearly].into_iter().flatten().cloned().collect(),
        });
        let ids =
            AtStripe { product_id: Some(at.product_id), monthly_price_id: at.monthly, yearly_price_id: at.yearly };
        if plan::set_at_stripe(db, &plan.id, &ids).await? {
            changes.push(format!("{}: ids written", plan.id));
        }
    }
    let existing = plan::setting(db, "portal").await?;
    let back = format!("{public_url}/billing/return");
    let (portal, is_new) =
        billing.stripe.push_portal(existing.as_deref(), &offered, &back).await.context("the portal")?;
    if is_new {
        plan::set_setting(db, "portal", &portal).await?;
        changes.push("portal: configured".to_owned());
    }
    Ok(changes)
}
