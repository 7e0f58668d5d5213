//! Purchases at the Stripe simulator. Each is written there as of its start and then synced like any customer, so that both sides agree and
//! reconciliation finds nothing.

use super::company::Purchase;
use crate::billing::Billing;
use crate::billing::sync::{UnknownCustomer, sync_customer};
use crate::{AppState, config};
use ::billing::NewCustomer;
use anyhow::{Context as _, ensure};
use domain::Plan;
use std::sync::Arc;

/// The connection to the Stripe simulator.
pub(super) struct Simulator {
    billing: Arc<Billing>,
    client: reqwest::Client,
    url: String,
}

impl Simulator {
    /// Connects to the simulator and creates the plans there. Returns `None` if the server isn't connected to one: nothing is ever bought
    /// at Stripe itself.
    pub(super) async fn connect(app: &AppState) -> anyhow::Result<Option<Self>> {
        let Some(billing) = app.billing.clone() else { return Ok(None) };
        let Some(url) = app.config.stripe_base_url.as_deref().filter(|url| config::is_loopback(url)) else {
            return Ok(None);
        };
        crate::billing::plans::push(&app.db, &billing, &app.config.public_url).await?;
        let (client, url) = (reqwest::Client::builder().build()?, url.trim_end_matches('/').to_owned());
        Ok(Some(Self { billing, client, url }))
    }

    /// Buys a plan in the past, with everything that has happened to the subscription since.
    pub(super) async fn buy(
        &self,
        app: &AppState,
        buyer: &NewCustomer<'_>,
        purchase: &Purchase,
        plan: &Plan,
    ) -> anyhow::Result<()> {
        let price = plan.price_id(purchase.period).with_context(|| format!("plan {} has no price", plan.id))?;
        let customer = self.billing.stripe.create_customer(buyer).await?;
        store::account::link_customer(&app.db, buyer.user_id, &customer).await?;
        let seconds = |at: time::OffsetDateTime| at.unix_timestamp().to_string();
        let mut form = vec![
            ("price", price.to_owned()),
            ("begins_at", seconds(purchase.began_at)),
            ("trial_days", plan.trial_days.to_string()),
        ];
        form.extend(purchase.cancels_at.map(|at| ("cancels_at", seconds(at))));
        form.extend(purchase.card_fails_at.map(|at| ("card_fails_at", seconds(at))));
        let url = format!("{}/_control/history/{customer}", self.url);
        let answer = self.client.post(url).form(&form).send().await.context("the Stripe simulator")?;
        ensure!(answer.status().is_success(), "the Stripe simulator responded with {}", answer.status());
        let mut tx = store::begin(&app.db).await?;
        sync_customer(&mut tx, &self.billing, &customer, UnknownCustomer::Refuse, AppState::now()).await?;
        Ok(tx.commit().await?)
    }
}
