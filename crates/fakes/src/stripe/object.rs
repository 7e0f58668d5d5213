//! Stripe objects with the fields that clients require.

use super::form::{flag, number};
use serde_json::{Map, Value, json};

fn text(form: &Value, name: &str) -> Value {
    form[name].as_str().filter(|text| !text.is_empty()).map_or(Value::Null, |text| json!(text))
}

fn metadata(form: &Value) -> Value {
    if form["metadata"].is_object() { form["metadata"].clone() } else { Value::Object(Map::new()) }
}

pub(super) fn page(data: Vec<Value>, has_more: bool, url: &str) -> Value {
    json!({"object": "list", "data": data, "has_more": has_more, "url": url})
}

pub(super) fn customer(id: &str, form: &Value, now: i64) -> Value {
    json!({"id": id, "object": "customer", "address": null, "balance": 0, "created": now, "currency": null, "default_source": null,
        "delinquent": false, "description": text(form, "description"), "discount": null, "email": text(form, "email"),
        "invoice_prefix": "FAKE", "invoice_settings": {"custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null},
        "livemode": false, "metadata": metadata(form), "name": text(form, "name"), "next_invoice_sequence": 1, "phone": null,
        "preferred_locales": [], "shipping": null, "tax_exempt": "none", "test_clock": text(form, "test_clock")})
}

pub(super) fn product(id: &str, form: &Value, now: i64) -> Value {
    json!({"id": id, "object": "product", "active": flag(&form["active"]).unwrap_or(true), "created": now, "default_price": null,
        "description": text(form, "description"), "images": [], "livemode": false, "marketing_features": [], "metadata": metadata(form),
        "name": text(form, "name"), "package_dimensions": null, "shippable": null, "statement_descriptor": null, "tax_code": null,
        "type": "service", "unit_label": null, "updated": now, "url": null})
}

pub(super) fn price(id: &str, form: &Value, now: i64) -> Value {
    let amount = number(&form["unit_amount"]).unwrap_or(0);
    let interval = form["recurring"]["interval"].as_str().unwrap_or("month");
    let count = number(&form["recurring"]["interval_count"]).unwrap_or(1);
    json!({"id": id, "object": "price", "active": true, "billing_scheme": "per_unit", "created": now, "currency": text(form, "currency"),
        "custom_unit_amount": null, "livemode": false, "lookup_key": text(form, "lookup_key"), "metadata": metadata(form),
        "nickname": text(form, "nickname"), "product": text(form, "product"),
        "recurring": {"interval": interval, "interval_count": count, "meter": null, "trial_period_days": null, "usage_type": "licensed"},
        "tax_behavior": "unspecified", "tiers_mode": null, "transform_quantity": null, "type": "recurring",
        "unit_amount": amount, "unit_amount_decimal": amount.to_string()})
}

fn plan(price: &Value) -> Value {
    json!({"id": price["id"], "object": "plan", "active": true, "amount": price["unit_amount"], "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit", "created": price["created"], "currency": price["currency"], "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"], "livemode": false, "metadata": {}, "meter": null, "nickname": null,
        "product": price["product"], "tiers_mode": null, "transform_usage": null, "trial_period_days": null, "usage_type": "licensed"})
}

pub(super) fn item(id: &str, subscription: &str, price: &Value, from: i64, to: i64) -> Value {
    json!({"id": id, "object": "subscription_item", "billing_thresholds": null, "created": from, "current_period_start": from, "current_period_end": to,
        "discounts": [], "metadata": {}, "plan": plan(price), "price": price, "quantity": 1, "subscription": subscription, "tax_rates": []})
}

/// Builds a subscription to one price; its item already has the current period.
pub(super) fn subscription(id: &str, customer: &Value, item: &Value, status: &str, trial_end: Option<i64>) -> Value {
    let (from, price) = (&item["current_period_start"], &item["price"]);
    json!({"id": id, "object": "subscription", "application": null, "application_fee_percent": null,
        "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null}, "billing_cycle_anchor": item["current_period_end"],
        "billing_cycle_anchor_config": null, "billing_mode": {"flexible": null, "type": "classic"}, "billing_schedules": [], "billing_thresholds": null,
        "cancel_at": null, "cancel_at_period_end": false, "canceled_at": null, "cancellation_details": {"comment": null, "feedback": null, "reason": null},
        "collection_method": "charge_automatically", "created": from, "currency": price["currency"], "customer": customer["id"], "days_until_due": null,
        "default_payment_method": null, "default_source": null, "default_tax_rates": [], "description": null, "discounts": [], "ended_at": null,
        "invoice_settings": {"account_tax_ids": null, "issuer": {"type": "self"}},
        "items": page(vec![item.clone()], false, &format!("/v1/subscription_items?subscription={id}")), "latest_invoice": null, "livemode": false,
        "metadata": {}, "next_pending_invoice_item_invoice": null, "on_behalf_of": null, "pause_collection": null,
        "payment_settings": {"payment_method_options": null, "payment_method_types": null, "save_default_payment_method": "off"},
        "pending_invoice_item_interval": null, "pending_setup_intent": null, "pending_update": null, "schedule": null, "start_date": from,
        "status": status, "test_clock": customer["test_clock"], "transfer_data": null, "trial_end": trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}}, "trial_start": trial_end.map(|_| from)})
}

pub(super) struct Bill<'a> {
    pub id: &'a str,
    pub customer: &'a Value,
    pub subscription: &'a Value,
    /// What is charged at list prices.
    pub amount: i64,
    /// What the customer's coupon takes off.
    pub discount: i64,
    pub reason: &'a str,
    pub number: u64,
    pub url: &'a str,
    pub now: i64,
}

pub(super) fn invoice(bill: &Bill<'_>) -> Value {
    let Bill { id, customer, subscription, amount, discount, reason, number, url, now } = *bill;
    let total = amount - discount;
    let discounts = match discount {
        0 => json!([]),
        _ => json!([{"amount": discount, "discount": format!("di_{}", customer["id"].as_str().unwrap_or_default())}]),
    };
    let item = &subscription["items"]["data"][0];
    let (from, to) = (&item["current_period_start"], &item["current_period_end"]);
    let line = json!({"id": format!("il_{id}"), "object": "line_item", "amount": amount, "currency": subscription["currency"], "description": "Plan",
        "discount_amounts": discounts, "discountable": true, "discounts": [], "invoice": id, "livemode": false, "metadata": {}, "parent": null,
        "period": {"start": from, "end": to}, "pretax_credit_amounts": [], "pricing": null, "quantity": 1, "subtotal": amount, "taxes": []});
    json!({"id": id, "object": "invoice", "account_country": "US", "account_name": "Fake", "account_tax_ids": null, "amount_due": total,
        "amount_overpaid": 0, "amount_paid": 0, "amount_remaining": total, "amount_shipping": 0, "application": null, "attempt_count": 0, "attempted": false,
        "auto_advance": true, "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null, "provider": null, "status": null},
        "automatically_finalizes_at": null, "billing_reason": reason, "collection_method": "charge_automatically", "created": now,
        "currency": subscription["currency"], "custom_fields": null, "customer": customer["id"], "customer_address": null, "customer_email": customer["email"],
        "customer_name": customer["name"], "customer_phone": null, "customer_shipping": null, "customer_tax_exempt": "none", "customer_tax_ids": [],
        "default_payment_method": null, "default_source": null, "default_tax_rates": [], "description": null, "discounts": [], "due_date": null,
        "effective_at": now, "ending_balance": 0, "footer": null, "from_invoice": null, "hosted_invoice_url": format!("{url}/invoice/{id}"),
        "invoice_pdf": null, "issuer": {"type": "self"}, "last_finalization_error": null, "latest_revision": null,
        "lines": page(vec![line], false, &format!("/v1/invoices/{id}/lines")), "livemode": false, "metadata": {}, "next_payment_attempt": null,
        "number": format!("FAKE-{number:04}"), "on_behalf_of": null,
        "parent": {"quote_details": null, "subscription_details": {"metadata": {}, "subscription": subscription["id"]}, "type": "subscription_details"},
        "payment_settings": {"default_mandate": null, "payment_method_options": null, "payment_method_types": null}, "period_end": to, "period_start": from,
        "post_payment_credit_notes_amount": 0, "pre_payment_credit_notes_amount": 0, "receipt_number": null, "rendering": null, "shipping_cost": null,
        "shipping_details": null, "starting_balance": 0, "statement_descriptor": null, "status": "open",
        "status_transitions": {"finalized_at": now, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null}, "subtotal": amount,
        "subtotal_excluding_tax": amount, "test_clock": subscription["test_clock"], "threshold_reason": null, "total": total, "total_discount_amounts": discounts,
        "total_excluding_tax": total, "total_pretax_credit_amounts": [], "total_taxes": [], "webhooks_delivered_at": now})
}

pub(super) fn charge(id: &str, invoice: &Value, now: i64) -> Value {
    json!({"id": id, "object": "charge", "amount": invoice["amount_due"], "amount_captured": invoice["amount_due"], "amount_refunded": 0,
        "application": null, "application_fee": null, "balance_transaction": null,
        "billing_details": {"address": null, "email": null, "name": null, "phone": null, "tax_id": null}, "calculated_statement_descriptor": null,
        "captured": true, "created": now, "currency": invoice["currency"], "customer": invoice["customer"], "description": "Subscription", "disputed": false,
        "failure_code": null, "failure_message": null, "fraud_details": {}, "livemode": false, "metadata": {}, "outcome": null, "paid": true,
        "payment_intent": null, "payment_method": null, "receipt_email": null, "receipt_url": null, "refunded": false, "review": null, "shipping": null,
        "source": null, "status": "succeeded", "fake_invoice": invoice["id"]})
}

pub(super) fn session(id: &str, form: &Value, now: i64, url: &str) -> Value {
    json!({"id": id, "object": "checkout.session", "allow_promotion_codes": flag(&form["allow_promotion_codes"]), "amount_subtotal": null, "amount_total": null,
        "automatic_tax": {"enabled": flag(&form["automatic_tax"]["enabled"]).unwrap_or(false), "liability": null, "provider": null, "status": null},
        "cancel_url": text(form, "cancel_url"), "client_reference_id": text(form, "client_reference_id"), "created": now, "currency": "usd", "custom_fields": [],
        "custom_text": {"after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null},
        "customer": text(form, "customer"), "customer_email": null, "expires_at": now + 86_400, "invoice": null, "livemode": false, "locale": null,
        "metadata": metadata(form), "mode": text(form, "mode"), "payment_intent": null, "payment_link": null, "payment_method_collection": "always",
        "payment_method_types": ["card"], "payment_status": "unpaid", "shipping_options": [], "status": "open", "subscription": null,
        "success_url": text(form, "success_url"), "total_details": null, "ui_mode": "hosted", "url": format!("{url}/pay/{id}"),
        "fake_price": form["line_items"]["0"]["price"], "fake_trial": number(&form["subscription_data"]["trial_period_days"])})
}

pub(super) fn configuration(id: &str, form: &Value, now: i64) -> Value {
    let update = &form["features"]["subscription_update"];
    let products: Vec<Value> = super::form::list(&update["products"])
        .into_iter()
        .map(|product| {
            json!({"product": product["product"], "prices": super::form::list(&product["prices"]),
                "adjustable_quantity": {"enabled": false, "maximum": null, "minimum": 1}})
        })
        .collect();
    json!({"id": id, "object": "billing_portal.configuration", "active": true, "application": null,
        "business_profile": {"headline": null, "privacy_policy_url": null, "terms_of_service_url": null}, "created": now,
        "default_return_url": text(form, "default_return_url"),
        "features": {
            "customer_update": {"allowed_updates": [], "enabled": false}, "invoice_history": {"enabled": true},
            "payment_method_update": {"enabled": true, "payment_method_configuration": null},
            "subscription_cancel": {"cancellation_reason": {"enabled": false, "feedback_options": [], "options": []}, "enabled": true, "mode": "at_period_end", "proration_behavior": "none"},
            "subscription_update": {"billing_cycle_anchor": null, "default_allowed_updates": ["price"], "enabled": true, "products": products,
                "proration_behavior": "always_invoice", "schedule_at_period_end": {"conditions": []}, "trial_update_behavior": "end_trial"}},
        "is_default": false, "livemode": false, "login_page": {"enabled": false, "url": null}, "metadata": metadata(form), "name": null, "updated": now})
}

pub(super) fn portal(id: &str, form: &Value, configuration: &Value, now: i64, url: &str) -> Value {
    let confirm = &form["flow_data"]["subscription_update_confirm"];
    let flow = if confirm.is_object() {
        let items: Vec<Value> = super::form::list(&confirm["items"]).into_iter().cloned().collect();
        json!({"type": "subscription_update_confirm", "after_completion": {"type": "redirect", "hosted_confirmation": null,
                "redirect": {"return_url": form["flow_data"]["after_completion"]["redirect"]["return_url"]}},
            "subscription_cancel": null, "subscription_update": null,
            "subscription_update_confirm": {"discounts": null, "items": items, "subscription": confirm["subscription"]}})
    } else {
        Value::Null
    };
    json!({"id": id, "object": "billing_portal.session", "configuration": configuration, "created": now, "customer": text(form, "customer"),
        "flow": flow, "livemode": false, "locale": null, "on_behalf_of": null, "return_url": text(form, "return_url"), "url": format!("{url}/portal/{id}")})
}
