//! The simulated checkout, portal and invoice pages, each labelled as a simulation.

use super::{Shared, cycle, form};
use axum::Router;
use axum::extract::{Path, RawForm, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde_json::{Value, json};

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/pay/{id}", get(checkout).post(pay))
        .route("/portal/{id}", get(portal).post(act))
        .route("/invoice/{id}", get(invoice))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn page(title: &str, body: &str) -> Html<String> {
    let title = escape(title);
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'><title>{title}</title>\
         <style>body{{font:16px/1.6 system-ui,sans-serif;max-width:30rem;margin:3rem auto;padding:0 1rem;color:#222}}\
         .label{{background:#fff3cd;border:1px solid #8a6d00;padding:.5rem .75rem;border-radius:6px;font-weight:600}}\
         form{{margin:1rem 0}} input,button{{font:inherit;padding:.5rem .75rem;border:1px solid #777;border-radius:6px}} input{{display:block;width:100%;box-sizing:border-box;margin:.25rem 0 .75rem}}\
         button{{background:#222;color:#fff}} .no{{color:#a00}} li{{margin:.25rem 0}}</style>\
         <p class=label>Stripe simulator, no money moves</p><h1>{title}</h1>{body}</html>"
    ))
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, page("Page not found", "<p>This page has expired.</p>")).into_response()
}

fn money(price: &Value) -> String {
    let amount = price["unit_amount"].as_i64().unwrap_or(0);
    let every = price["recurring"]["interval"].as_str().unwrap_or("month");
    format!("${}.{:02} a {every}", amount / 100, amount % 100)
}

const CARD: &str = "<label>Card number<input name=card inputmode=numeric autocomplete=off value='4242 4242 4242 4242' required></label>";

fn draw_checkout(shared: &Shared, id: &str, problem: &str) -> Response {
    let state = shared.lock();
    let Some(session) = state.get(id).filter(|session| session["status"] == "open") else { return missing() };
    let price = session["fake_price"].as_str().and_then(|price| state.get(price)).cloned().unwrap_or_default();
    let product = price["product"].as_str().and_then(|product| state.get(product)).cloned().unwrap_or_default();
    let trial = session["fake_trial"].as_i64().filter(|days| *days > 0);
    let trial = trial.map(|days| format!("<p>{days} days free, then {}.</p>", money(&price))).unwrap_or_default();
    let name = escape(product["name"].as_str().unwrap_or("a plan"));
    let back = escape(session["cancel_url"].as_str().unwrap_or("/"));
    let problem = if problem.is_empty() { String::new() } else { format!("<p class=no role=alert>{problem}</p>") };
    page(
        &format!("Subscribe to {name}"),
        &format!(
            "<p>{}</p>{trial}{problem}<form method=post>{CARD}<p>Other test cards: 4000 0000 0000 0002 is declined; 4000 0000 0000 0341 fails on renewal.</p>\
             <button>Subscribe</button></form><p><a href=\"{back}\">Back</a></p>",
            money(&price)
        ),
    )
    .into_response()
}

async fn checkout(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    draw_checkout(&shared, &id, "")
}

async fn pay(State(shared): State<Shared>, Path(id): Path<String>, RawForm(body): RawForm) -> Response {
    let typed = form::read(&String::from_utf8_lossy(&body));
    let card: String = typed["card"].as_str().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    if card.len() < 12 || card.ends_with("0002") {
        return draw_checkout(&shared, &id, "Your card was declined.");
    }
    let url = shared.url.clone();
    let done = shared.change(|state| {
        let session = state.get(&id).filter(|session| session["status"] == "open").cloned()?;
        let customer = session["customer"].as_str()?.to_owned();
        let price = session["fake_price"].as_str().and_then(|price| state.get(price)).cloned()?;
        // The card that fails later succeeds for the first payment.
        state.cards.insert(customer.clone(), "4242424242424242".to_owned());
        let subscription = state.subscribe(&customer, &price, session["fake_trial"].as_i64().unwrap_or(0), &url);
        state.cards.insert(customer, card);
        let session = state.edit(&id, |session| {
            session["status"] = json!("complete");
            session["payment_status"] = json!("paid");
            session["subscription"] = subscription["id"].clone();
            session["invoice"] = subscription["latest_invoice"].clone();
            session["url"] = Value::Null;
        });
        state.emit("checkout.session.completed", &session);
        Some(session["success_url"].as_str().unwrap_or("/").replace("{CHECKOUT_SESSION_ID}", &id))
    });
    done.map_or_else(missing, |to| Redirect::to(&to).into_response())
}

fn draw_portal(shared: &Shared, id: &str) -> Response {
    let state = shared.lock();
    let Some(session) = state.get(id) else { return missing() };
    let back = escape(session["return_url"].as_str().unwrap_or("/"));
    let customer = session["customer"].as_str().unwrap_or_default();
    let confirm = &session["flow"]["subscription_update_confirm"];
    if confirm.is_object() {
        let price =
            confirm["items"][0]["price"].as_str().and_then(|price| state.get(price)).cloned().unwrap_or_default();
        let product = price["product"].as_str().and_then(|product| state.get(product)).cloned().unwrap_or_default();
        let body = format!(
            "<p>{} from now on. The difference for the rest of this period is charged now.</p>\
             <form method=post><input type=hidden name=do value=switch><input type=hidden name=price value=\"{}\"><button>Confirm</button></form><p><a href=\"{back}\">Back</a></p>",
            money(&price),
            escape(price["id"].as_str().unwrap_or_default())
        );
        return page(&format!("Switch to {}", product["name"].as_str().unwrap_or("a plan")), &body).into_response();
    }
    let mut body = String::new();
    for subscription in state.list("subscription").iter().filter(|found| found["customer"] == customer) {
        let price = &subscription["items"]["data"][0]["price"];
        let product = price["product"].as_str().and_then(|product| state.get(product)).cloned().unwrap_or_default();
        let status = subscription["status"].as_str().unwrap_or_default();
        body.push_str(&format!(
            "<h2>{}</h2><p>{} · {status}</p>",
            escape(product["name"].as_str().unwrap_or("")),
            money(price)
        ));
        if status == "canceled" {
            continue;
        }
        let (what, label) = if subscription["cancel_at_period_end"] == true {
            ("resume", "Resume subscription")
        } else {
            ("cancel", "Cancel at end of period")
        };
        body.push_str(&format!(
            "<form method=post><input type=hidden name=do value={what}><button>{label}</button></form>"
        ));
        let configuration = session["configuration"].as_str().and_then(|id| state.get(id)).cloned().unwrap_or_default();
        for product in configuration["features"]["subscription_update"]["products"].as_array().into_iter().flatten() {
            for other in product["prices"].as_array().into_iter().flatten().filter_map(|id| state.get(id.as_str()?)) {
                if other["id"] != price["id"] {
                    let name = product["product"].as_str().and_then(|id| state.get(id)).cloned().unwrap_or_default();
                    body.push_str(&format!(
                        "<form method=post><input type=hidden name=do value=switch><input type=hidden name=price value=\"{}\"><button>Switch to {}, {}</button></form>",
                        escape(other["id"].as_str().unwrap_or_default()), escape(name["name"].as_str().unwrap_or_default()), money(other)
                    ));
                }
            }
        }
    }
    body.push_str(&format!("<h2>Card</h2><form method=post><input type=hidden name=do value=card>{CARD}<button>Update card</button></form><h2>Invoices</h2><ul>"));
    for invoice in state.list("invoice").iter().filter(|found| found["customer"] == customer) {
        body.push_str(&format!(
            "<li><a href=\"{}\">{}</a> {}</li>",
            escape(invoice["hosted_invoice_url"].as_str().unwrap_or_default()),
            invoice["number"].as_str().unwrap_or_default(),
            invoice["status"].as_str().unwrap_or_default()
        ));
    }
    body.push_str(&format!("</ul><p><a href=\"{back}\">Back</a></p>"));
    page("Your subscription", &body).into_response()
}

async fn portal(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    draw_portal(&shared, &id)
}

async fn act(State(shared): State<Shared>, Path(id): Path<String>, RawForm(body): RawForm) -> Response {
    let typed = form::read(&String::from_utf8_lossy(&body));
    let url = shared.url.clone();
    let leads_to = shared.change(|state| {
        let session = state.get(&id).cloned()?;
        let customer = session["customer"].as_str()?.to_owned();
        let live = state
            .list("subscription")
            .into_iter()
            .find(|found| found["customer"] == customer && found["status"] != "canceled");
        let live = live.and_then(|found| found["id"].as_str().map(str::to_owned)).unwrap_or_default();
        match typed["do"].as_str()? {
            what @ ("cancel" | "resume") => {
                let now = state.now(Some(&customer));
                let subscription =
                    state.edit(&live, |subscription| cycle::set_cancels(subscription, what == "cancel", now));
                state.emit("customer.subscription.updated", &subscription);
            }
            "switch" => {
                let price = typed["price"].as_str().and_then(|price| state.get(price)).cloned()?;
                state.switch(&live, &price, &url);
                if session["flow"].is_object() {
                    return session["flow"]["after_completion"]["redirect"]["return_url"].as_str().map(str::to_owned);
                }
            }
            "card" => {
                let card: String =
                    typed["card"].as_str().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
                let now = state.now(Some(&customer));
                state.cards.insert(customer.clone(), card);
                let open: Vec<String> = state
                    .list("invoice")
                    .into_iter()
                    .filter(|invoice| invoice["customer"] == customer && invoice["status"] == "open")
                    .filter_map(|invoice| invoice["id"].as_str().map(str::to_owned))
                    .collect();
                for invoice in open {
                    state.pay(&invoice, now);
                }
            }
            _ => return None,
        }
        Some(String::new())
    });
    match leads_to {
        Some(to) if !to.is_empty() => Redirect::to(&to).into_response(),
        Some(_) => Redirect::to(&format!("/portal/{id}")).into_response(),
        None => missing(),
    }
}

async fn invoice(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let state = shared.lock();
    let Some(invoice) = state.get(&id) else { return missing() };
    let amount = invoice["amount_due"].as_i64().unwrap_or(0);
    let body =
        format!("<p>${}.{:02}, {}</p>", amount / 100, amount % 100, invoice["status"].as_str().unwrap_or_default());
    page(&format!("Invoice {}", invoice["number"].as_str().unwrap_or_default()), &body).into_response()
}
