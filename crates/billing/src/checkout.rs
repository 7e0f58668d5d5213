//! Stripe's hosted checkout: <https://docs.stripe.com/payments/checkout>.

use crate::answer::Named;
use crate::{Stripe, StripeError};
use miniserde::Deserialize;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionAutomaticTax, CreateCheckoutSessionCustomerUpdate,
    CreateCheckoutSessionCustomerUpdateAddress, CreateCheckoutSessionLineItems, CreateCheckoutSessionSubscriptionData,
    ExpireCheckoutSession,
};

/// Parameters of a new checkout.
pub struct NewCheckout<'a> {
    /// Id of the customer who pays.
    pub customer_id: &'a str,
    /// Price that is subscribed to.
    pub price_id: &'a str,
    /// Length of the free trial in days; 0 for no trial.
    pub trial_days: u32,
    /// Whether Stripe calculates taxes.
    pub automatic_tax: bool,
    /// URL that Stripe redirects to after payment.
    pub success_url: &'a str,
    /// URL that the checkout links back to if it is abandoned.
    pub cancel_url: &'a str,
}

/// An open checkout.
#[derive(Clone, Debug, Deserialize)]
pub struct Checkout {
    /// Stripe's id.
    pub id: String,
    /// URL of Stripe's payment page.
    pub url: Option<String>,
}

impl Stripe {
    /// Opens a checkout for a subscription.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn open_checkout(&self, new: &NewCheckout<'_>) -> Result<Checkout, StripeError> {
        let mut line = CreateCheckoutSessionLineItems::new();
        line.price = Some(new.price_id.to_owned());
        line.quantity = Some(1);
        let mut request = CreateCheckoutSession::new()
            .mode(stripe_checkout_mode())
            .customer(new.customer_id)
            .line_items(vec![line])
            .allow_promotion_codes(true)
            .success_url(new.success_url)
            .cancel_url(new.cancel_url);
        if new.trial_days > 0 {
            let mut data = CreateCheckoutSessionSubscriptionData::new();
            data.trial_period_days = Some(new.trial_days);
            request = request.subscription_data(data);
        }
        if new.automatic_tax {
            // Taxes require an address, which the checkout collects and saves on the customer.
            let mut update = CreateCheckoutSessionCustomerUpdate::new();
            update.address = Some(CreateCheckoutSessionCustomerUpdateAddress::Auto);
            request = request.automatic_tax(CreateCheckoutSessionAutomaticTax::new(true)).customer_update(update);
        }
        self.post(&request).await
    }

    /// Expires an open checkout. Returns `false` if Stripe refuses because it was already paid or closed.
    ///
    /// # Errors
    /// Returns an error if Stripe can't be reached.
    pub async fn expire_checkout(&self, session_id: &str) -> Result<bool, StripeError> {
        match self.post::<Named>(&ExpireCheckoutSession::new(session_id)).await {
            Ok(_) => Ok(true),
            Err(StripeError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn stripe_checkout_mode() -> stripe_checkout::CheckoutSessionMode {
    stripe_checkout::CheckoutSessionMode::Subscription
}
