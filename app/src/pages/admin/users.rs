//! `/admin/users`: a searchable list of all users.

use crate::api;
use crate::components::duration::day;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::pages::admin::{AdminTabs, Pager};
use crate::view::admin::{AccountList, USER_ROWS};
use domain::AccountSummary;
use domain::money::count;
use leptos::prelude::*;

/// Renders the users page.
#[component]
pub fn Users() -> impl IntoView {
    let context = page_context();
    let search = context.query("q").unwrap_or_default();
    let is_risky = context.query("risky").is_some();
    let page = context.query("page").and_then(|page| page.parse().ok()).unwrap_or(1_u32).clamp(1, 100_000);
    let pager_search = search.clone();
    let shown = move |list: AccountList| {
        let AccountList { rows, all, page } = list;
        let search = pager_search.clone();
        let page_url = move |page: u32| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("q", &search).append_pair("page", &page.to_string());
            if is_risky {
                query.append_pair("risky", "yes");
            }
            format!("/admin/users?{}", query.finish())
        };
        view! {
            <p class="hint">{count(all, "account", "accounts")}</p>
            <Table rows/>
            <Pager page pages=all.div_ceil(u64::from(USER_ROWS)) href=page_url/>
        }
    };
    let is_set = is_risky || !search.is_empty();
    view! {
        <Frame title="Users" wide=true>
            <header class="page-head split">
                <h1>"Users"</h1>
                <AdminTabs current="/admin/users"/>
            </header>
            <form method="get" action="/admin/users" class="filter" role="search">
                <label>"Email" <input type="search" name="q" value=search.clone() maxlength="200" placeholder="any part"/></label>
                <label class="check"><input type="checkbox" name="risky" value="yes" checked=is_risky/>"Risky only"</label>
                <button class="secondary">"Apply"</button>
                {is_set.then(|| view! { <a class="button quiet" href="/admin/users">"Clear"</a> })}
            </form>
            {loaded(api::admin::users(search, is_risky, page), shown)}
        </Frame>
    }
}

#[component]
fn Table(rows: Vec<AccountSummary>) -> impl IntoView {
    if rows.is_empty() {
        return view! {
            <section class="empty"><h2>"No users found"</h2><p>"No account matches this filter."</p></section>
        }
        .into_any();
    }
    let drawn = rows
        .into_iter()
        .map(|row| {
            let state = match (row.is_admin, row.is_paused) {
                (true, true) => "Admin, paused",
                (true, false) => "Admin",
                (false, true) => "Paused",
                (false, false) => "",
            };
            view! {
                <tr>
                    <th scope="row" class="who"><a href=format!("/admin/users/{}", row.user_id) title=row.email.clone()>{row.email.clone()}</a></th>
                    <td data-label="Plan">{row.plan.0}</td><td data-label="State">{state}</td><td data-label="Since">{day(row.created_at)}</td>
                    <td class="text short" data-label="Risk">{shared_origin(row.same_block, row.same_address)}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <div class="table-scroll" tabindex="0" role="region" aria-label="Users">
            <table class="compact sticky opens stacks">
                <thead><tr><th scope="col">"User"</th><th scope="col">"Plan"</th><th scope="col">"State"</th><th scope="col">"Since"</th><th scope="col">"Risk"</th></tr></thead>
                <tbody>{drawn}</tbody>
            </table>
        </div>
    }
    .into_any()
}

/// Describes why accounts may belong to the same user. Empty if nothing suggests it.
fn shared_origin(same_block: Option<u64>, same_address: Option<u64>) -> String {
    // The server counts no further.
    let number = |n: u64| if n < 1_000 { n.to_string() } else { "1,000 or more".to_owned() };
    let block = same_block.map(|n| format!("{} accounts from this address block", number(n)));
    let address = same_address.map(|n| format!("{} with the same normalized address", number(n)));
    block.into_iter().chain(address).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::shared_origin;

    #[test]
    fn risks_name_what_accounts_share() {
        assert_eq!(shared_origin(None, None), "");
        assert_eq!(shared_origin(Some(3), None), "3 accounts from this address block");
        assert_eq!(shared_origin(None, Some(2)), "2 with the same normalized address");
        let both = "1,000 or more accounts from this address block; 2 with the same normalized address";
        assert_eq!(shared_origin(Some(1_000), Some(2)), both);
    }
}
