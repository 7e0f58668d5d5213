//! Webhook events: verifies signatures and parses events leniently.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

/// Maximum difference between a signature's timestamp and our clock, in seconds, in either direction.
pub const TOLERANCE_SECONDS: i64 = 300;

/// Why a webhook request fails verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The header is missing, or has no timestamp or no `v1`.
    #[error("the Stripe-Signature header is missing or can't be read")]
    Unreadable,
    /// The timestamp is outside the tolerance: a replay, or a wrong clock.
    #[error("the signature is too old or too new; check this server's clock")]
    OutsideTolerance,
    /// No signature matches this body and secret.
    #[error("the signature isn't of this body; check STRIPE_WEBHOOK_SECRET")]
    Mismatch,
}

/// Verifies a body against its `Stripe-Signature` header: <https://docs.stripe.com/webhooks/signature>. While a secret is being rolled,
/// the header has a `v1` for each secret, and one match is sufficient.
///
/// # Errors
/// Returns an error if the header can't be parsed, no signature matches, or the timestamp is too old or too new.
pub fn verify(secret: &str, header: &str, body: &[u8], now: OffsetDateTime) -> Result<(), BadSignature> {
    let (mut at, mut signatures) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) => at = value.parse::<i64>().ok(),
            Some(("v1", value)) => signatures.extend(hex::decode(value).ok()),
            _ => {}
        }
    }
    let at = at.ok_or(BadSignature::Unreadable)?;
    if signatures.is_empty() {
        return Err(BadSignature::Unreadable);
    }
    let expected = sign(secret, at, body);
    let valid = signatures.iter().fold(subtle::Choice::from(0), |any, given| any | given.as_slice().ct_eq(&expected));
    if !bool::from(valid) {
        return Err(BadSignature::Mismatch);
    }
    if now.unix_timestamp().saturating_sub(at).saturating_abs() > TOLERANCE_SECONDS {
        return Err(BadSignature::OutsideTolerance);
    }
    Ok(())
}

fn sign(secret: &str, at: i64, body: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return Vec::new() };
    mac.update(at.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

#[derive(Deserialize)]
struct RawEvent {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    // Any JSON value is accepted, so that an event in an unknown format is still stored, as `EventObject::Other`.
    #[serde(default)]
    created: Value,
    #[serde(default)]
    data: Value,
}

/// A webhook event. Its copy of the object may be outdated when it is processed, so the event only identifies the customer, whose current
/// state is then fetched (field note 35).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillingEvent {
    /// Stripe's id.
    pub id: String,
    /// Stripe's event type, such as `invoice.paid`.
    pub kind: String,
    /// When it happened, by Stripe's clock.
    pub created_at: OffsetDateTime,
    /// Id of the customer it concerns, if the object names one.
    pub customer_id: Option<String>,
    /// The object it concerns.
    pub object: EventObject,
}

/// The object that an event concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventObject {
    /// A customer, or their subscriptions, invoices or credit notes, which must be fetched.
    Customer,
    /// A checkout that can no longer be paid, and its customer.
    Checkout {
        /// Id of the checkout session.
        session_id: String,
    },
    /// A charge was refunded.
    Refund {
        /// Id of the charge.
        charge_id: String,
    },
    /// A charge was disputed (chargeback).
    Dispute {
        /// Stripe's id.
        dispute_id: String,
        /// Id of the disputed charge.
        charge_id: Option<String>,
        /// Disputed amount in the currency's smallest unit.
        minor: i64,
        /// Currency code, three lower-case letters.
        currency: String,
        /// Whether it was decided for us, so that the amount is ours again.
        is_won: bool,
    },
    /// An event that is not handled.
    Other,
}

/// The body can't be parsed as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body isn't an event")]
pub struct InvalidEvent;

impl BillingEvent {
    /// Parses an event of any API version.
    ///
    /// # Errors
    /// Returns an error if the body isn't JSON, or its id or type is missing, empty or longer than 255 bytes.
    pub fn read(body: &str) -> Result<Self, InvalidEvent> {
        let raw: RawEvent = serde_json::from_str(body).map_err(|_| InvalidEvent)?;
        if raw.id.is_empty() || raw.id.len() > 255 || raw.kind.is_empty() || raw.kind.len() > 255 {
            return Err(InvalidEvent);
        }
        let raw_object = &raw.data["object"];
        let id_of = |value: &Value| value.as_str().or_else(|| value["id"].as_str()).map(str::to_owned);
        let own = raw_object["id"].as_str().unwrap_or_default().to_owned();
        let is_customer = raw_object["object"] == "customer";
        let customer_id = if is_customer { Some(own.clone()) } else { id_of(&raw_object["customer"]) };
        let object = match raw.kind.as_str() {
            "charge.refunded" => EventObject::Refund { charge_id: own },
            kind if kind.starts_with("charge.dispute.") => EventObject::Dispute {
                dispute_id: own,
                charge_id: id_of(&raw_object["charge"]),
                minor: raw_object["amount"].as_i64().unwrap_or(0),
                currency: raw_object["currency"].as_str().unwrap_or("usd").to_owned(),
                is_won: raw_object["status"] == "won",
            },
            kind if kind.starts_with("checkout.session.") => EventObject::Checkout { session_id: own },
            kind if ["customer.", "invoice.", "credit_note."].iter().any(|start| kind.starts_with(start)) => {
                EventObject::Customer
            }
            _ => EventObject::Other,
        };
        let known = match object {
            EventObject::Customer => customer_id.is_some(),
            _ => true,
        };
        Ok(Self {
            id: raw.id,
            kind: raw.kind,
            created_at: crate::answer::moment(raw.created.as_i64().unwrap_or(0)),
            customer_id: customer_id.filter(|id| !id.is_empty() && id.len() <= 255),
            object: if known { object } else { EventObject::Other },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(secret: &str, at: i64, body: &[u8]) -> String {
        format!("t={at},v1={}", hex::encode(sign(secret, at, body)))
    }

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    #[test]
    fn signature_must_match_body_secret_and_time() {
        let (secret, body, now) = ("whsec_a", br#"{"id":"evt_1"}"#.as_slice(), 1_700_000_000);
        let good = header(secret, now, body);
        assert_eq!(verify(secret, &good, body, at(now)), Ok(()));
        assert_eq!(verify(secret, &good, body, at(now + 300)), Ok(()));
        assert_eq!(verify(secret, &good, body, at(now + 301)), Err(BadSignature::OutsideTolerance));
        assert_eq!(verify(secret, &good, body, at(now - 301)), Err(BadSignature::OutsideTolerance));
        assert_eq!(verify("whsec_b", &good, body, at(now)), Err(BadSignature::Mismatch));
        for bad in ["", "t=1", "v1=ab", "t=x,v1=ab", &good.replace("v1", "v0"), &good.replace("t=", "T=")] {
            assert_eq!(verify(secret, bad, body, at(now)), Err(BadSignature::Unreadable), "{bad}");
        }
        // While a secret is being rolled, the header has two signatures.
        let other = hex::encode(sign("whsec_old", now, body));
        assert_eq!(
            verify(secret, &format!("t={now},v1={other},v1={},v0=zz", &good[good.len() - 64..]), body, at(now)),
            Ok(())
        );
        assert_eq!(verify(secret, &format!("t={now},v1={other}"), body, at(now)), Err(BadSignature::Mismatch));
    }

    proptest! {
        #[test]
        fn changed_byte_invalidates_the_signature(body in proptest::collection::vec(any::<u8>(), 1..200), at_byte in 0_usize..200, flip in 1_u8..) {
            let now = 1_700_000_000;
            let good = header("whsec", now, &body);
            let mut changed = body.clone();
            let index = at_byte % changed.len();
            changed[index] ^= flip;
            prop_assert_eq!(verify("whsec", &good, &changed, at(now)), Err(BadSignature::Mismatch));
        }

        #[test]
        fn arbitrary_input_never_panics(header in ".*", body in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(verify("whsec", &header, &body, at(0)).is_err());
            let _ = BillingEvent::read(&String::from_utf8_lossy(&body));
        }

        /// Headers that are made of the right parts.
        #[test]
        fn no_header_without_the_secret_verifies(
            parts in proptest::collection::vec(("(t|v1|v0|T| v1)", "(=|==|)", "([0-9]{1,20}|[0-9a-f]{0,64}|-1)"), 0..6),
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let header: Vec<String> = parts.into_iter().map(|(name, sign, value)| format!("{name}{sign}{value}")).collect();
            prop_assert!(verify("whsec", &header.join(","), &body, at(1_700_000_000)).is_err());
        }

        /// Bodies that are JSON of the right shape with values of any kind.
        #[test]
        fn events_with_values_of_any_kind_never_panic(
            kind in "(charge.refunded|charge.dispute.created|checkout.session.completed|customer.updated|invoice.paid|.{0,20})",
            value in "(null|1|-1.5e300|true|\"[a-z]{0,300}\"|\\[\\]|\\{\"id\":(1|\"x\")\\})",
        ) {
            let object = format!(r#"{{"object":"customer","id":{value},"customer":{value},"charge":{value},"amount":{value},"currency":{value}}}"#);
            let body = format!(r#"{{"id":"evt","type":{},"created":{value},"data":{{"object":{object}}}}}"#, Value::from(kind));
            let event = BillingEvent::read(&body);
            prop_assert!(event.is_err() || event.is_ok_and(|event| event.customer_id.is_none_or(|id| !id.is_empty() && id.len() <= 255)));
        }
    }

    /// Field note 36: other API versions, unknown fields and expanded objects are accepted.
    #[test]
    fn events_are_parsed_leniently() {
        let read = |text: &str| BillingEvent::read(text).unwrap();
        let old = read(
            r#"{"id":"evt_1","type":"invoice.paid","api_version":"2016-07-06","created":1,"data":{"object":{"object":"invoice","customer":"cus_1","new_field":[1]}}}"#,
        );
        assert_eq!((old.customer_id.as_deref(), &old.object), (Some("cus_1"), &EventObject::Customer));
        let expanded =
            read(r#"{"id":"e","type":"customer.subscription.updated","data":{"object":{"customer":{"id":"cus_2"}}}}"#);
        assert_eq!(expanded.customer_id.as_deref(), Some("cus_2"));
        let gone = read(r#"{"id":"e","type":"customer.deleted","data":{"object":{"object":"customer","id":"cus_3"}}}"#);
        assert_eq!(gone.customer_id.as_deref(), Some("cus_3"));
        // A credit note changes what an invoice charges (field note 90).
        let credit =
            read(r#"{"id":"e","type":"credit_note.created","data":{"object":{"id":"cn_1","customer":"cus_4"}}}"#);
        assert_eq!((credit.customer_id.as_deref(), &credit.object), (Some("cus_4"), &EventObject::Customer));
        for other in [
            r#"{"id":"e","type":"v2.core.event","created":"2026-11-23T00:00:00Z","data":null}"#,
            r#"{"id":"e","type":"payout.paid","data":{"object":{}}}"#,
        ] {
            assert_eq!(read(other).object, EventObject::Other);
        }
        for bad in ["", "[]", "{}", r#"{"id":1,"type":"x"}"#, r#"{"id":"","type":"x"}"#] {
            assert_eq!(BillingEvent::read(bad), Err(InvalidEvent), "{bad}");
        }
    }
}
