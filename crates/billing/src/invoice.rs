//! Invoices as Stripe returns them, and what they charge compared with list prices.

use crate::answer::moment;
use domain::{Amount, Invoice, Invoiced};
use miniserde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct RawInvoice {
    id: Option<String>,
    customer: Option<String>,
    number: Option<String>,
    status: Option<String>,
    amount_due: i64,
    amount_paid: i64,
    currency: String,
    total: Option<i64>,
    total_excluding_tax: Option<i64>,
    total_discount_amounts: Option<Vec<RawDiscount>>,
    total_taxes: Option<Vec<RawTax>>,
    pre_payment_credit_notes_amount: Option<i64>,
    post_payment_credit_notes_amount: Option<i64>,
    hosted_invoice_url: Option<String>,
    created: i64,
    // On the invoice until API version 2025-03-31, since then under its parent.
    subscription: Option<String>,
    parent: Option<RawParent>,
}

#[derive(Deserialize)]
struct RawDiscount {
    amount: i64,
}

#[derive(Deserialize)]
struct RawTax {
    amount: i64,
    tax_behavior: Option<String>,
}

#[derive(Deserialize)]
struct RawParent {
    subscription_details: Option<RawDetails>,
}

#[derive(Deserialize)]
struct RawDetails {
    subscription: Option<String>,
}

impl RawInvoice {
    /// Converts to a domain invoice; `None` if it has no id yet or no customer.
    pub fn kept(self) -> Option<Invoice> {
        let invoiced = self.invoiced();
        Some(Invoice {
            id: self.id?,
            customer_id: self.customer?,
            subscription_id: self
                .parent
                .and_then(|parent| parent.subscription_details)
                .and_then(|details| details.subscription)
                .or(self.subscription),
            number: self.number,
            status: self.status.unwrap_or_else(|| "draft".to_owned()),
            due: Amount { minor: self.amount_due, currency: self.currency },
            paid_minor: self.amount_paid,
            invoiced,
            url: self.hosted_invoice_url,
            created_at: moment(self.created),
        })
    }

    /// Returns what the invoice charges; `None` if Stripe doesn't say. List prices are computed from the total instead of read from `subtotal`,
    /// which leaves out the discounts of single items (<https://docs.stripe.com/api/invoices/object>). A customer's balance changes what is due,
    /// not what is charged.
    fn invoiced(&self) -> Option<Invoiced> {
        let without_taxes = self.total_excluding_tax?;
        let discounts: i64 = self.total_discount_amounts.iter().flatten().map(|discount| discount.amount).sum();
        let taxes = self.total_taxes.iter().flatten();
        let inclusive = taxes.filter(|tax| tax.tax_behavior.as_deref() == Some("inclusive"));
        let list_minor = without_taxes + discounts + inclusive.map(|tax| tax.amount).sum::<i64>();
        // Credit notes include taxes.
        let credited =
            self.pre_payment_credit_notes_amount.unwrap_or(0) + self.post_payment_credit_notes_amount.unwrap_or(0);
        let credited = match self.total {
            Some(total) if total > 0 => i128::from(credited) * i128::from(without_taxes) / i128::from(total),
            _ => 0,
        };
        let credited_minor = i64::try_from(credited).ok()?;
        Some(Invoiced { list_minor, net_minor: without_taxes - credited_minor, credited_minor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoiced(fields: &str) -> Option<(i64, i64, i64)> {
        let text = format!(
            r#"{{"id":"in_1","customer":"cus_1","amount_due":0,"amount_paid":0,"currency":"usd","created":5{fields}}}"#
        );
        let raw: RawInvoice = miniserde::json::from_str(&text).unwrap();
        raw.kept().unwrap().invoiced.map(|found| (found.list_minor, found.net_minor, found.credited_minor))
    }

    /// Field note 90: discounts, taxes and credit notes are subtracted from what is charged, and not from the list price.
    #[test]
    fn an_invoice_says_what_it_charges_and_what_the_list_price_is() {
        let tax = |amount: i64, behavior: &str| {
            format!(r#","total_taxes":[{{"amount":{amount},"tax_behavior":"{behavior}","type":"tax_rate_details"}}]"#)
        };
        let cases = [
            (String::new(), None),
            (r#","total":2000,"total_excluding_tax":2000"#.to_owned(), Some((2_000, 2_000, 0))),
            (
                r#","total":1500,"total_excluding_tax":1500,"subtotal":2000,
                    "total_discount_amounts":[{"amount":300,"discount":"di_1"},{"amount":200,"discount":"di_2"}]"#
                    .to_owned(),
                Some((2_000, 1_500, 0)),
            ),
            (format!(r#","total":2400,"total_excluding_tax":2000{}"#, tax(400, "exclusive")), Some((2_000, 2_000, 0))),
            (format!(r#","total":2400,"total_excluding_tax":2000{}"#, tax(400, "inclusive")), Some((2_400, 2_000, 0))),
            // Half of the invoice was credited later, with its tax.
            (
                r#","total":2400,"total_excluding_tax":2000,"post_payment_credit_notes_amount":1200"#.to_owned(),
                Some((2_000, 1_000, 1_000)),
            ),
            // A trial, and a downgrade whose difference goes to the customer's balance.
            (r#","total":0,"total_excluding_tax":0"#.to_owned(), Some((0, 0, 0))),
            (r#","total":-500,"total_excluding_tax":-500,"total_taxes":null"#.to_owned(), Some((-500, -500, 0))),
        ];
        for (fields, expected) in cases {
            assert_eq!(invoiced(&fields), expected, "{fields}");
        }
    }
}
