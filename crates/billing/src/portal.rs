//! Stripe's hosted customer portal: <https://docs.stripe.com/customer-management>.

use crate::{Stripe, StripeError};
use miniserde::Deserialize;
use stripe_billing::billing_portal_session::{
    CreateBillingPortalSession, CreateBillingPortalSessionFlowData, CreateBillingPortalSessionFlowDataAfterCompletion,
    CreateBillingPortalSessionFlowDataAfterCompletionRedirect, CreateBillingPortalSessionFlowDataAfterCompletionType,
    CreateBillingPortalSessionFlowDataSubscriptionUpdateConfirm,
    CreateBillingPortalSessionFlowDataSubscriptionUpdateConfirmItems, CreateBillingPortalSessionFlowDataType,
};

#[derive(Deserialize)]
struct Session {
    url: String,
}

/// What a portal session is opened for.
pub enum PortalFlow<'a> {
    /// The portal's home page: card, invoices, plan and cancellation.
    Overview,
    /// The confirmation of a switch to another price.
    Switch {
        /// Id of the subscription.
        subscription_id: &'a str,
        /// Id of the subscription item to change.
        item_id: &'a str,
        /// Id of the new price.
        price_id: &'a str,
    },
}

impl Stripe {
    /// Opens a portal session and returns its URL, which is valid for a few minutes for anyone who has it.
    ///
    /// # Errors
    /// Returns an error if Stripe refuses the request or can't be reached.
    pub async fn open_portal(
        &self,
        customer_id: &str,
        configuration: Option<&str>,
        return_url: &str,
        flow: &PortalFlow<'_>,
    ) -> Result<String, StripeError> {
        let mut request = CreateBillingPortalSession::new().customer(customer_id).return_url(return_url);
        if let Some(configuration) = configuration {
            request = request.configuration(configuration);
        }
        if let PortalFlow::Switch { subscription_id, item_id, price_id } = flow {
            let mut item = CreateBillingPortalSessionFlowDataSubscriptionUpdateConfirmItems::new(*item_id);
            item.price = Some((*price_id).to_owned());
            item.quantity = Some(1);
            let confirm =
                CreateBillingPortalSessionFlowDataSubscriptionUpdateConfirm::new(vec![item], *subscription_id);
            let mut after = CreateBillingPortalSessionFlowDataAfterCompletion::new(
                CreateBillingPortalSessionFlowDataAfterCompletionType::Redirect,
            );
            after.redirect = Some(CreateBillingPortalSessionFlowDataAfterCompletionRedirect::new(return_url));
            let mut flow_data = CreateBillingPortalSessionFlowData::new(
                CreateBillingPortalSessionFlowDataType::SubscriptionUpdateConfirm,
            );
            flow_data.subscription_update_confirm = Some(confirm);
            flow_data.after_completion = Some(after);
            request = request.flow_data(flow_data);
        }
        Ok(self.post::<Session>(&request).await?.url)
    }
}
