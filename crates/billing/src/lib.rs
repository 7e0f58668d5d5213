//! Stripe client. Requests are typed by async-stripe; responses and events are parsed into small structs of our own that name only the
//! fields we use, so that a field Stripe adds or removes doesn't affect paying users (field note 36).

mod answer;
mod checkout;
mod client;
mod customer;
mod invoice;
mod plans;
mod portal;
pub mod webhook;

pub use answer::{Charge, Customer, Fetched, Found};
pub use checkout::{Checkout, NewCheckout};
pub use client::{Stripe, StripeError};
pub use customer::NewCustomer;
pub use plans::{AtStripe, ForSale, PortalPlan};
pub use portal::PortalFlow;
