//! `/admin/audit`: the log of admin actions and their reasons.

use crate::api;
use crate::components::browser_name::browser_name;
use crate::components::duration::moment;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::pages::admin::AdminTabs;
use crate::view::admin::AuditList;
use domain::AuditEntry;
use leptos::prelude::*;

/// Renders the audit log page.
#[component]
pub fn Audit() -> impl IntoView {
    let page = page_context().query("page").and_then(|page| page.parse().ok()).unwrap_or(1_u32).clamp(1, 100_000);
    let shown = move |list: AuditList| view! { <Shown list page/> };
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

/// A page of the log, with links to newer and older entries. Their number is unknown, so pages have no total.
#[component]
fn Shown(list: AuditList, page: u32) -> impl IntoView {
    let AuditList { rows, has_more } = list;
    if rows.is_empty() && page > 1 {
        return view! {
            <section class="empty">
                <h2>"No older entries"</h2>
                <p><a href="/admin/audit">"Newest entries"</a></p>
            </section>
        }
        .into_any();
    }
    let link = |page: u32, rel: &'static str, label: &'static str| {
        view! { <a class="button secondary small" rel=rel href=format!("/admin/audit?page={page}")>{label}</a> }
    };
    let newer = (page > 1).then(|| link(page - 1, "prev", "Newer"));
    let older = has_more.then(|| link(page + 1, "next", "Older"));
    let pager = (newer.is_some() || older.is_some())
        .then(|| view! { <nav class="pager" aria-label="Pages">{newer}{older}</nav> });
    view! { <AuditTable rows/> {pager} }.into_any()
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
            <table class="compact sticky stacks">
                <thead><tr>
                    <th scope="col">"When, UTC"</th><th scope="col">"Actor"</th><th scope="col">"Action"</th><th scope="col">"User"</th>
                    <th scope="col">"Change"</th><th scope="col">"Reason"</th>
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
    // Sign-ins have the browser's User-Agent header.
    let after = if row.action == "sign_in" { row.after.map(|text| browser_name(&text)) } else { row.after };
    view! {
        <tr>
            <td data-label="When, UTC">{moment(row.at)}</td>
            <td class="text" data-label="Actor">{row.actor.unwrap_or_else(|| "command line or deleted account".to_owned())}</td>
            <td data-label="Action">{row.action.replace('_', " ")}</td>
            <td class="text" data-label="User"><span>{to}</span></td>
            <td class="text" data-label="Change"><span>{change(row.before, after)}</span></td>
            <td class="text" data-label="Reason">{row.why}</td>
        </tr>
    }
}

/// Renders the value before and after an action, those that there are.
fn change(before: Option<String>, after: Option<String>) -> AnyView {
    match (before, after) {
        (Some(before), Some(after)) => view! {
            {before} " " <Draw icon=Icon::ArrowRight size=12/><span class="unseen">" changed to "</span> " " {after}
        }
        .into_any(),
        (Some(before), None) => view! { <s>{before}</s> }.into_any(),
        (None, after) => after.into_any(),
    }
}
