//! Customers, their subscriptions and invoices.

use crate::answer::{Charge, Customer, Fetched, Found, Named, Page, RawSubscription, USER_ID};
use crate::invoice::RawInvoice;
use crate::{Stripe, StripeError};
use domain::{Invoice, PlanId, UserId};
use std::collections::HashMap;
use stripe_billing::invoice::ListInvoice;
use stripe_billing::subscription::{CancelSubscription, ListSubscription, ListSubscriptionStatus};
use stripe_core::charge::RetrieveCharge;
use stripe_core::customer::{CreateCustomer, ListCustomer, RetrieveCustomer, SearchCustomer};

/// Parameters of a new customer.
pub struct NewCustomer<'a> {
    /// User the customer belongs to.
    pub user_id: UserId,
    /// Address that receipts are sent to.
    pub email: &'a str,
    /// Display name; may be empty.
    pub name: &'a str,
}

impl Stripe {
    /// Creates a customer and returns its id. The caller ensures that a user has only one: an idempotency key derived from the user would
    /// return the deleted customer for a day after it was deleted.
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

    /// Looks up a customer. Stripe also returns deleted ones.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn customer(&self, id: &str) -> Result<Found, StripeError> {
        match self.send::<Customer>(&RetrieveCustomer::new(id)).await {
            Ok(customer) if customer.deleted.unwrap_or(false) => Ok(Found::Deleted),
            Ok(customer) => Ok(Found::Current(customer)),
            Err(error) if error.is_missing() => Ok(Found::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Finds the customers of a user, duplicates included: those whose metadata contain the user's id, and those with the user's address whose
    /// metadata contain no user. Stripe's search may miss customers of the last minute, which the list by address contains.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the list or can't be reached. A refused search finds nothing: it isn't available everywhere.
    pub async fn customers_of(&self, user_id: UserId, email: Option<&str>) -> Result<Vec<String>, StripeError> {
        let query = format!("metadata['{USER_ID}']:'{user_id}'");
        let mut found = match self.send::<Page<Customer>>(&SearchCustomer::new(query).limit(100)).await {
            Ok(page) => page.data,
            Err(StripeError::Refused { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        if let Some(email) = email {
            found.extend(self.send::<Page<Customer>>(&ListCustomer::new().email(email).limit(100)).await?.data);
        }
        let is_theirs = |customer: &Customer| match customer.named_user() {
            Some(named) => named == user_id.to_string(),
            None => customer.email.as_deref().is_some_and(|theirs| Some(theirs) == email),
        };
        let mut ids: Vec<String> = found.into_iter().filter(is_theirs).map(|customer| customer.id).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Loads all subscriptions of a customer, including those that have ended. `products` are those of the plans.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn subscriptions(
        &self,
        customer_id: &str,
        products: &[(String, PlanId)],
    ) -> Result<Vec<Fetched>, StripeError> {
        self.all_subscriptions(Some(customer_id), products).await
    }

    /// Loads every subscription of the account, or of one customer, page by page, including those that have ended.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn all_subscriptions(
        &self,
        customer_id: Option<&str>,
        products: &[(String, PlanId)],
    ) -> Result<Vec<Fetched>, StripeError> {
        let mut all: Vec<Fetched> = Vec::new();
        loop {
            let mut request = ListSubscription::new().limit(100).status(ListSubscriptionStatus::All);
            if let Some(customer) = customer_id {
                request = request.customer(customer);
            }
            if let Some(last) = all.last() {
                request = request.starting_after(last.id.clone());
            }
            let page = self.send::<Page<RawSubscription>>(&request).await?;
            let (more, before) = (page.has_more.unwrap_or(false), all.len());
            all.extend(page.data.into_iter().map(|raw| raw.read(products)));
            if !more || all.len() == before {
                return Ok(all);
            }
        }
    }

    /// Loads a customer's newest invoices, at most 24.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn invoices(&self, customer_id: &str) -> Result<Vec<Invoice>, StripeError> {
        let page = self.send::<Page<RawInvoice>>(&ListInvoice::new().customer(customer_id).limit(24)).await?;
        Ok(page.data.into_iter().filter_map(RawInvoice::kept).collect())
    }

    /// Cancels a subscription immediately. Succeeds if Stripe no longer has it.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn cancel(&self, subscription_id: &str) -> Result<(), StripeError> {
        match self.send::<Named>(&CancelSubscription::new(subscription_id)).await {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// Loads a charge.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn charge(&self, id: &str) -> Result<Charge, StripeError> {
        self.send(&RetrieveCharge::new(id)).await
    }
}
