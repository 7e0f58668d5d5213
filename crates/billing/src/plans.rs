//! Plans in Stripe: one product each, prices found by lookup key, and the portal configuration that offers them.

use crate::answer::{Named, Page, RawPrice, period};
use crate::{Stripe, StripeError};
use domain::{Amount, Period, Plan};
use miniserde::Deserialize;
use std::collections::HashMap;
use stripe_billing::billing_portal_configuration::{
    CreateBillingPortalConfiguration, CreateBillingPortalConfigurationFeatures,
    CreateBillingPortalConfigurationFeaturesCustomerUpdate,
    CreateBillingPortalConfigurationFeaturesCustomerUpdateAllowedUpdates,
    CreateBillingPortalConfigurationFeaturesSubscriptionCancel,
    CreateBillingPortalConfigurationFeaturesSubscriptionCancelMode,
    CreateBillingPortalConfigurationFeaturesSubscriptionUpdate,
    CreateBillingPortalConfigurationFeaturesSubscriptionUpdateDefaultAllowedUpdates,
    CreateBillingPortalConfigurationFeaturesSubscriptionUpdateProrationBehavior, InvoiceListParam,
    PaymentMethodUpdateParam, RetrieveBillingPortalConfiguration, SubscriptionUpdateProductParam,
};
use stripe_product::price::{
    CreatePrice, CreatePriceRecurring, CreatePriceRecurringInterval, ListPrice, RetrievePrice,
};
use stripe_product::product::{CreateProduct, RetrieveProduct, UpdateProduct};

/// A plan for sale, and the name of its product in Stripe.
pub struct ForSale<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Product name shown on invoices, such as "Acme Pro".
    pub title: &'a str,
}

/// Ids of a plan in Stripe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtStripe {
    /// Id of the product.
    pub product_id: String,
    /// Id of the monthly price, if the plan has one.
    pub monthly: Option<String>,
    /// Id of the yearly price, if the plan has one.
    pub yearly: Option<String>,
    /// Descriptions of what was created or changed; empty if nothing was.
    pub changes: Vec<String>,
}

/// A plan that users can switch to in the portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalPlan {
    /// Id of its product.
    pub product_id: String,
    /// Ids of its prices.
    pub price_ids: Vec<String>,
}

#[derive(Deserialize)]
struct RawProduct {
    id: String,
    name: String,
    active: Option<bool>,
}

#[derive(Deserialize)]
struct RawConfiguration {
    metadata: Option<HashMap<String, String>>,
    active: Option<bool>,
}

/// Returns the lookup key of a price: <https://docs.stripe.com/products-prices/manage-prices#lookup-keys>.
fn lookup_key(plan: &Plan, period: Period) -> String {
    format!("plan_{}_{}", plan.id, period.as_str())
}

/// Hashes a list of ids to a short string for the portal's metadata.
fn fingerprint(ids: &[&str]) -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(Sha256::digest(ids.join(" ")))
}

impl Stripe {
    /// Finds or creates a plan's product and prices. If an amount has changed, a new price is created and takes over the lookup key;
    /// existing subscribers keep paying the old price.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn push_plan(&self, sold: &ForSale<'_>) -> Result<AtStripe, StripeError> {
        let plan = sold.plan;
        let mut changes = Vec::new();
        let mut at = AtStripe { product_id: self.product(sold, &mut changes).await?, ..AtStripe::default() };
        for (period, slot) in [(Period::Month, &mut at.monthly), (Period::Year, &mut at.yearly)] {
            let Some(amount) = plan.price(period) else { continue };
            let lookup = lookup_key(plan, period);
            let found =
                self.send::<Page<RawPrice>>(&ListPrice::new().lookup_keys(vec![lookup.clone()]).active(true)).await?;
            let existing = found.data.into_iter().find(|price| {
                price.lookup_key.as_deref() == Some(lookup.as_str())
                    && price.product == at.product_id
                    && price.unit_amount == Some(amount.minor)
                    && price.currency == amount.currency
                    && price.recurring.as_ref().map(self::period) == Some(period)
            });
            *slot = Some(match existing {
                Some(price) => price.id,
                None => {
                    changes.push(format!("{lookup}: {amount} a {}", period.as_str()));
                    self.create_price(&at.product_id, &lookup, &amount, period).await?
                }
            });
        }
        at.changes = changes;
        Ok(at)
    }

    /// Loads what a price charges per period.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn price_amount(&self, price_id: &str) -> Result<Amount, StripeError> {
        let price = self.send::<RawPrice>(&RetrievePrice::new(price_id)).await?;
        Ok(Amount { minor: price.unit_amount.unwrap_or(0), currency: price.currency })
    }

    async fn product(&self, sold: &ForSale<'_>, changes: &mut Vec<String>) -> Result<String, StripeError> {
        // With an id of our own the product is found without Stripe's search, which lags.
        let id = format!("plan_{}", sold.plan.id);
        match self.send::<RawProduct>(&RetrieveProduct::new(id.as_str())).await {
            Ok(product) if product.name == sold.title && product.active.unwrap_or(true) => Ok(product.id),
            Ok(product) => {
                changes.push(format!("{id}: named {}", sold.title));
                let update = UpdateProduct::new(id.as_str()).name(sold.title).active(true);
                self.post::<Named>(&update).await?;
                Ok(product.id)
            }
            Err(error) if error.is_missing() => {
                changes.push(format!("{id}: made"));
                let create = CreateProduct::new(sold.title).id(id.as_str());
                Ok(self.post::<Named>(&create).await?.id)
            }
            Err(error) => Err(error),
        }
    }

    async fn create_price(
        &self,
        product: &str,
        lookup: &str,
        amount: &Amount,
        period: Period,
    ) -> Result<String, StripeError> {
        let currency: stripe_types::Currency =
            amount.currency.parse().map_err(|_| StripeError::Unreadable("the plan's currency"))?;
        let interval = match period {
            Period::Year => CreatePriceRecurringInterval::Year,
            Period::Month | Period::Other => CreatePriceRecurringInterval::Month,
        };
        let create = CreatePrice::new(currency)
            .product(product)
            .unit_amount(amount.minor)
            .recurring(CreatePriceRecurring::new(interval))
            .lookup_key(lookup)
            .transfer_lookup_key(true);
        Ok(self.post::<Named>(&create).await?.id)
    }

    /// Creates the portal's configuration unless `existing` is active and offers exactly these prices. Returns its id, and whether it
    /// was created.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn push_portal(
        &self,
        existing: Option<&str>,
        plans: &[PortalPlan],
        return_url: &str,
    ) -> Result<(String, bool), StripeError> {
        let mut offered: Vec<&str> = plans.iter().flat_map(|plan| plan.price_ids.iter().map(String::as_str)).collect();
        offered.sort_unstable();
        let offered = fingerprint(&offered);
        if let Some(id) = existing {
            match self.send::<RawConfiguration>(&RetrieveBillingPortalConfiguration::new(id)).await {
                Ok(found)
                    if found.active.unwrap_or(true)
                        && found.metadata.as_ref().is_some_and(|data| data.get("offered") == Some(&offered)) =>
                {
                    return Ok((id.to_owned(), false));
                }
                Ok(_) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        let mut cancel = CreateBillingPortalConfigurationFeaturesSubscriptionCancel::new(true);
        cancel.mode = Some(CreateBillingPortalConfigurationFeaturesSubscriptionCancelMode::AtPeriodEnd);
        let mut update = CreateBillingPortalConfigurationFeaturesSubscriptionUpdate::new(true);
        update.default_allowed_updates = Some(vec![
            CreateBillingPortalConfigurationFeaturesSubscriptionUpdateDefaultAllowedUpdates::Price,
            CreateBillingPortalConfigurationFeaturesSubscriptionUpdateDefaultAllowedUpdates::PromotionCode,
        ]);
        // Upgrades are invoiced immediately; otherwise the larger plan could be used for a month before it is paid.
        update.proration_behavior =
            Some(CreateBillingPortalConfigurationFeaturesSubscriptionUpdateProrationBehavior::AlwaysInvoice);
        update.products = Some(
            plans
                .iter()
                .map(|plan| SubscriptionUpdateProductParam::new(plan.price_ids.clone(), plan.product_id.clone()))
                .collect(),
        );
        let mut user = CreateBillingPortalConfigurationFeaturesCustomerUpdate::new(true);
        user.allowed_updates = Some(vec![
            CreateBillingPortalConfigurationFeaturesCustomerUpdateAllowedUpdates::Address,
            CreateBillingPortalConfigurationFeaturesCustomerUpdateAllowedUpdates::Name,
            CreateBillingPortalConfigurationFeaturesCustomerUpdateAllowedUpdates::TaxId,
        ]);
        let mut features = CreateBillingPortalConfigurationFeatures::new();
        features.customer_update = Some(user);
        features.invoice_history = Some(InvoiceListParam::new(true));
        features.payment_method_update = Some(PaymentMethodUpdateParam::new(true));
        features.subscription_cancel = Some(cancel);
        features.subscription_update = Some(update);
        let create = CreateBillingPortalConfiguration::new(features)
            .default_return_url(return_url)
            .metadata(HashMap::from([("offered".to_owned(), offered)]));
        Ok((self.post::<Named>(&create).await?.id, true))
    }
}
