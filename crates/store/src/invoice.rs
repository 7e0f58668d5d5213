//! Invoices as last fetched from Stripe.

use crate::Result;
use domain::{Amount, Invoice, Invoiced, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

/// Inserts or updates an invoice as just fetched from Stripe.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn put(db: impl PgExecutor<'_>, invoice: &Invoice, user_id: Option<UserId>) -> Result<()> {
    let i = invoice;
    sqlx::query!(
        "insert into invoice (invoice_id, customer_id, user_id, subscription_id, number, status, due_minor, paid_minor, currency, url, created_at,
             list_minor, net_minor, credited_minor)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         on conflict (invoice_id) do update set user_id = excluded.user_id, number = excluded.number, status = excluded.status,
             due_minor = excluded.due_minor, paid_minor = excluded.paid_minor, url = excluded.url,
             list_minor = excluded.list_minor, net_minor = excluded.net_minor, credited_minor = excluded.credited_minor",
        i.id,
        i.customer_id,
        user_id.map(Uuid::from),
        i.subscription_id,
        i.number,
        i.status,
        i.due.minor,
        i.paid_minor,
        i.due.currency,
        i.url,
        i.created_at,
        i.invoiced.map(|invoiced| invoiced.list_minor),
        i.invoiced.map(|invoiced| invoiced.net_minor),
        i.invoiced.map_or(0, |invoiced| invoiced.credited_minor),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lists a user's invoices except drafts, newest first, at most `limit`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId, limit: i64) -> Result<Vec<Invoice>> {
    let rows = sqlx::query!(
        "select * from invoice where user_id = $1 and status <> 'draft' order by created_at desc, invoice_id desc limit $2",
        Uuid::from(owner),
        limit
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Invoice {
            id: row.invoice_id,
            customer_id: row.customer_id,
            subscription_id: row.subscription_id,
            number: row.number,
            status: row.status,
            due: Amount { minor: row.due_minor, currency: row.currency },
            paid_minor: row.paid_minor,
            invoiced: row.list_minor.zip(row.net_minor).map(|(list_minor, net_minor)| Invoiced {
                list_minor,
                net_minor,
                credited_minor: row.credited_minor,
            }),
            url: row.url,
            created_at: row.created_at,
        })
        .collect())
}
