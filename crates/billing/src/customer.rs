//! Customers, their subscriptions and invoices.

use crate::answer::{Charge, Customer, Fetched, Found, Named, Page, RawInvoice, RawSubscription};
use crate::{Stripe, StripeError};
use domain::{Invoice, UserId};
use std::collections::HashMap;
use stripe_billing::invoice::ListInvoice;
use stripe_billing::subscription::{CancelSubscription, ListSubscription, ListSubscriptionStatus};
use stripe_core::charge::RetrieveCharge;
use stripe_core::customer::{CreateCustomer, RetrieveCustomer};

/// The name under which a customer carries whose they are.
pub(crate) const USER_ID: &str = "user_id";

/// What a new customer is told to Stripe.
pub struct NewCustomer<'a> {
    /// Whose.
    pub user_id: UserId,
    /// Where receipts go.
    pub email: &'a str,
    /// May be empty.
    pub name: &'a str,
}

impl Stripe {
    /// Makes a customer. The caller sees to it that a user has one: a key made of the user would, for a day after
    /// their customer was deleted, answer with the deleted one.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn create_customer(&self, new: &NewCustomer<'_>) -> Result<String, StripeError> {
        let metadata = HashMap::from([(USER_ID.to_owned(), new.user_id.to_string())]);
        let mut request = CreateCustomer::new().email(new.email).metadata(metadata);
        if !new.name.trim().is_empty() {
            request = request.name(new.name.trim());
        }
        Ok(self.post::<Named>(&request).await?.id)
    }

    /// What Stripe knows of a customer. It remembers those that were deleted.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn customer(&self, id: &str) -> Result<Found, StripeError> {
        match self.ask::<Customer>(&RetrieveCustomer::new(id)).await {
            Ok(customer) if customer.deleted.unwrap_or(false) => Ok(Found::Deleted),
            Ok(customer) => Ok(Found::Here(customer)),
            Err(error) if error.is_missing() => Ok(Found::Never),
            Err(error) => Err(error),
        }
    }

    /// All subscriptions of a customer, those that are over too.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn subscriptions(&self, customer_id: &str) -> Result<Vec<Fetched>, StripeError> {
        self.all_subscriptions(Some(customer_id)).await
    }

    /// Every subscription of the account, or of one customer, page by page; those that are over too.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn all_subscriptions(&self, customer_id: Option<&str>) -> Result<Vec<Fetched>, StripeError> {
        let mut all: Vec<Fetched> = Vec::new();
        loop {
            let mut request = ListSubscription::new().limit(100).status(ListSubscriptionStatus::All);
            if let Some(customer) = customer_id {
                request = request.customer(customer);
            }
            if let Some(last) = all.last() {
                request = request.starting_after(last.id.clone());
            }
            let page = self.ask::<Page<RawSubscription>>(&request).await?;
            let (more, before) = (page.has_more.unwrap_or(false), all.len());
            all.extend(page.data.into_iter().map(Fetched::from));
            if !more || all.len() == before {
                return Ok(all);
            }
        }
    }

    /// A customer's newest invoices, two dozen at most.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn invoices(&self, customer_id: &str) -> Result<Vec<Invoice>, StripeError> {
        let page = self.ask::<Page<RawInvoice>>(&ListInvoice::new().customer(customer_id).limit(24)).await?;
        Ok(page.data.into_iter().filter_map(RawInvoice::kept).collect())
    }

    /// Ends a subscription now. One that is over is fine.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn cancel(&self, subscription_id: &str) -> Result<(), StripeError> {
        match self.ask::<Named>(&CancelSubscription::new(subscription_id)).await {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// A charge.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn charge(&self, id: &str) -> Result<Charge, StripeError> {
        self.ask(&RetrieveCharge::new(id)).await
    }
}
