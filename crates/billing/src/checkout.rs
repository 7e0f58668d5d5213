//! Stripe's hosted checkout: <https://docs.stripe.com/payments/checkout>.

use crate::answer::Named;
use crate::{Stripe, StripeError};
use miniserde::Deserialize;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionAutomaticTax, CreateCheckoutSessionCustomerUpdate,
    CreateCheckoutSessionCustomerUpdateAddress, CreateCheckoutSessionLineItems, CreateCheckoutSessionSubscriptionData,
    ExpireCheckoutSession,
};

/// A checkout to open.
pub struct NewCheckout<'a> {
    /// Who pays.
    pub customer_id: &'a str,
    /// What for.
    pub price_id: &'a str,
    /// Days that are free; zero is no trial.
    pub trial_days: u32,
    /// Whether Stripe works out taxes.
    pub automatic_tax: bool,
    /// Where a paid checkout leads back to.
    pub success_url: &'a str,
    /// Where one that was left leads back to.
    pub cancel_url: &'a str,
}

/// An open checkout.
#[derive(Clone, Debug, Deserialize)]
pub struct Checkout {
    /// Stripe's id.
    pub id: String,
    /// Where it is paid.
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
            // Taxes need an address, which the checkout asks for and keeps.
            let mut update = CreateCheckoutSessionCustomerUpdate::new();
            update.address = Some(CreateCheckoutSessionCustomerUpdateAddress::Auto);
            request = request.automatic_tax(CreateCheckoutSessionAutomaticTax::new(true)).customer_update(update);
        }
        self.post(&request).await
    }

    /// Closes a checkout that nobody has paid; false where it was paid or closed before.
    ///
    /// # Errors
    /// Returns an error if Stripe can't be reached.
    pub async fn close_checkout(&self, session_id: &str) -> Result<bool, StripeError> {
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
