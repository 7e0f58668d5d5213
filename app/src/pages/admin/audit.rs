//! `/admin/audit`: the log of admin actions and their reasons.

use crate::api;
use crate::components::duration::moment;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::pages::admin::{AdminTabs, Pager};
use crate::view::admin::AUDIT_ROWS;
use domain::AuditEntry;
use leptos::prelude::*;

/// Renders the audit log page.
#[component]
pub fn Audit() -> impl IntoView {
    let page = page_context().query("page").and_then(|page| page.parse().ok()).unwrap_or(1_u32).clamp(1, 100_000);
    let shown = move |rows: Vec<AuditEntry>| {
        // The total is unknown: a full page links to the next one, which may be empty.
        let pages = u64::from(page) + u64::from(rows.len() == AUDIT_ROWS as usize);
        view! { <AuditTable rows/> <Pager page pages href=|page| format!("/admin/audit?page={page}")/> }
    };
    view! {
        <Frame title="Audit" wide=true>
            <header class="page-head split">
                <h1>"Audit"</h1>
                <AdminTabs current="/admin/audit"/>
            </header>
            {loaded(api::admin::audit(page), shown)}
        </Frame>
    }
}

/// A table of admin actions. Also used on the page of a user.
#[component]
pub fn AuditTable(
    /// Actions, newest first.
    rows: Vec<AuditEntry>,
) -> impl IntoView {
    if rows.is_empty() {
        return view! { <p class="hint">"Nothing yet. Admin actions appear here."</p> }.into_any();
    }
    let drawn = rows.into_iter().map(draw).collect_view();
    view! {
        <div class="table-scroll" tabindex="0" role="region" aria-label="Audit log">
            <table class="compact">
                <thead><tr>
                    <th scope="col">"When"</th><th scope="col">"Actor"</th><th scope="col">"Action"</th><th scope="col">"User"</th>
                    <th scope="col">"Before"</th><th scope="col">"After"</th><th scope="col">"Reason"</th>
                </tr></thead>
                <tbody>{drawn}</tbody>
            </table>
        </div>
    }
    .into_any()
}

fn draw(row: AuditEntry) -> impl IntoView {
    let to = match (row.target_user_id, row.target) {
        (Some(id), Some(email)) => view! { <a href=format!("/admin/users/{id}")>{email}</a> }.into_any(),
        // The account was deleted.
        (None, Some(email)) => email.into_any(),
        (_, None) => "".into_any(),
    };
    view! {
        <tr>
            <td>{moment(row.at)}</td>
            <td class="who">{row.actor.unwrap_or_else(|| "command line or deleted account".to_owned())}</td>
            <td>{row.action.replace('_', " ")}</td>
            <td class="who">{to}</td>
            <td class="who">{row.before}</td>
            <td class="who">{row.after}</td>
            <td class="who">{row.why}</td>
        </tr>
    }
}
