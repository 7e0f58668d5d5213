//! `/admin/models`: models, prices, caps, and the global switches.

use crate::api;
use crate::components::chart::Share;
use crate::components::duration::moment;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::pages::admin::AdminTabs;
use crate::view::admin::{ModelRow, ModelsView, PriceRow};
use domain::{ModelName, Picos};
use leptos::prelude::*;

/// Renders the models page.
#[component]
pub fn Models() -> impl IntoView {
    view! {
        <Frame title="Models" wide=true>
            <header class="page-head split">
                <h1>"Models"</h1>
                <AdminTabs current="/admin/models"/>
            </header>
            {loaded(api::admin::models(), |view| view! { <Shown view/> })}
        </Frame>
    }
}

#[component]
fn Shown(view: ModelsView) -> impl IntoView {
    let names: Vec<(ModelName, String)> =
        view.models.iter().map(|model| (model.name.clone(), model.label.clone())).collect();
    let rows = view.models.iter().map(|model| row(model.clone())).collect_view();
    let forms = view.models.iter().map(|model| forms(model.clone(), &names)).collect_view();
    view! {
        {global(&view)}
        <section>
            <h2>"Models"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Models">
                <table class="compact numbers">
                    <thead><tr>
                        <th scope="col">"Model"</th><th scope="col">"State"</th><th scope="col">"Plans"</th>
                        <th scope="col" class="end">"Input"</th><th scope="col" class="end">"Cached input"</th><th scope="col" class="end">"Output"</th>
                        <th scope="col" class="end">"Last 24 hours"</th><th scope="col">"Share of cap"</th><th scope="col">"Fallback"</th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <p class="hint">"Current prices in dollars per million tokens. Past usage keeps its price."</p>
        </section>
        <section class="model-forms">
            <h2>"Edit models"</h2>
            {forms}
        </section>
    }
}

/// Renders the global settings: the daily spend cap and the chat switch.
fn global(view: &ModelsView) -> impl IntoView + use<> {
    let amount = |cap: Option<Picos>| cap.map(Picos::exact).unwrap_or_default();
    let cap = amount(view.daily_spend);
    let effective_cap = [view.daily_spend, view.env_spend].into_iter().flatten().min();
    let spent = view.spent;
    let usage_text = effective_cap.map_or_else(
        || format!("{spent} in the last 24 hours; no cap set."),
        |cap| format!("{spent} of {cap} in the last 24 hours."),
    );
    let env = view.env_spend.map(
        |cap| view! { <p class="hint">{format!("The environment also sets {cap} a day. The smaller cap applies.")}</p> },
    );
    let switch = if view.is_paused {
        view! {
            <p class="form-error">"Chat is switched off. Messages are refused."</p>
            <form method="post" action="/admin/global">
                <button name="state" value="on">"Switch chat on"</button>
            </form>
        }
        .into_any()
    } else {
        view! {
            <details class="confirm">
                <summary class="secondary small">"Switch chat off"</summary>
                <form method="post" action="/admin/global">
                    <p>"Switch chat off for all users? New messages are refused on every server. Responses in progress finish, and conversations can still be read."</p>
                    <button class="danger small" name="state" value="off">"Confirm"</button>
                </form>
            </details>
        }
        .into_any()
    };
    view! {
        <div class="columns">
            <section class="panel">
                <h2>"Global limits"</h2>
                <p>{usage_text}</p>
                {effective_cap.map(|cap| view! { <Share part=spent.0.unsigned_abs() whole=cap.0.unsigned_abs()/> })}
                <form method="post" action="/admin/global" class="stack">
                    <div class="field">
                        <label for="global-cap">"Daily spend cap in dollars " <span class="optional">"empty means no cap"</span></label>
                        <input id="global-cap" name="daily_spend" inputmode="decimal" autocomplete="off" value=cap/>
                    </div>
                    <button class="secondary">"Save"</button>
                </form>
                {env}
            </section>
            <section class="panel">
                <h2>"Chat"</h2>
                {switch}
            </section>
        </div>
    }
}

fn row(model: ModelRow) -> impl IntoView {
    let state = match (model.is_on, model.is_connected, &model.price) {
        (false, ..) => "Off",
        (_, _, None) => "No price: unavailable",
        // The demo model needs no API key; it is inactive while a provider has one.
        (_, false, _) if model.provider == "demo" => "Inactive while a provider has a key",
        (_, false, _) => "No API key",
        _ => "On",
    };
    let PriceRow { input, cache_read, output, .. } = model.price.clone().unwrap_or_default();
    let next = model.next_price.as_ref().map(|(input, output, at)| {
        view! { <br/><small>{format!("${input} input, ${output} output from {}", moment(*at))}</small> }
    });
    view! {
        <tr>
            <th scope="row">{model.label.clone()}<br/><code>{model.name.0.clone()}</code>{next}</th>
            <td>{state}</td>
            <td>{model.plans.join(", ")}</td>
            <td class="end">{input}</td>
            <td class="end">{cache_read}</td>
            <td class="end">{output}</td>
            <td class="end">{model.spent.to_string()}</td>
            <td>{model.daily_spend.map(|cap| view! { <Share part=model.spent.0.unsigned_abs() whole=cap.0.unsigned_abs()/> })}</td>
            <td>{model.fallback.map(|name| name.0)}{model.hedge_after_s.map(|s| view! { <br/><small>{format!("also after {s} s of silence")}</small> })}</td>
        </tr>
    }
}

/// Renders the forms of a model: on/off switch, spend cap, fallback and hedging, and a price that applies from a date.
fn forms(model: ModelRow, names: &[(ModelName, String)]) -> impl IntoView + use<> {
    let id = |what: &str| format!("{what}-{}", model.name.0.replace('.', "-"));
    let (cap_id, other_id, hedge_id) = (id("cap"), id("other"), id("hedge"));
    let (in_id, cached_id, out_id, from_id) = (id("in"), id("cached"), id("out"), id("from"));
    let (write_id, above_id) = (id("write"), id("above"));
    let others = names.iter().filter(|(name, _)| *name != model.name).map(|(name, label)| {
        let picked = model.fallback.as_ref() == Some(name);
        view! { <option value=name.0.clone() selected=picked>{label.clone()}</option> }
    });
    let others = others.collect_view();
    let cap = model.daily_spend.map(Picos::exact).unwrap_or_default();
    let PriceRow { input, cache_read, cache_write, output } = model.price.clone().unwrap_or_default();
    let switch = if model.is_on {
        view! {
            <p>"On. If you switch it off, new messages to it are refused. Responses in progress finish."</p>
            <button class="secondary" name="state" value="off">{format!("Switch {} off", model.label)}</button>
        }
        .into_any()
    } else {
        view! { <p>"Off. The model can't be used."</p> <button name="state" value="on">{format!("Switch {} on", model.label)}</button> }.into_any()
    };
    view! {
        <details class="model-form">
            <summary>{model.label.clone()}</summary>
            <div class="columns">
                <div class="stack">
                <form method="post" action=format!("/admin/models/{}", model.name) class="stack" aria-label=format!("On/off switch of {}", model.label)>
                    {switch}
                </form>
                <form method="post" action=format!("/admin/models/{}", model.name) class="stack" aria-label=format!("Rules of {}", model.label)>
                    <div class="field">
                        <label for=cap_id.clone()>"Daily spend cap in dollars " <span class="optional">"empty means no cap"</span></label>
                        <input id=cap_id name="daily_spend" inputmode="decimal" autocomplete="off" value=cap/>
                    </div>
                    <div class="field">
                        <label for=other_id.clone()>"Fallback if unavailable"</label>
                        <select id=other_id name="fallback"><option value="">"None"</option>{others}</select>
                    </div>
                    <div class="field">
                        <label for=hedge_id.clone()>"Hedge: also call the fallback after this many seconds of silence " <span class="optional">"empty means never"</span></label>
                        <input id=hedge_id name="hedge_after" inputmode="numeric" autocomplete="off" value=model.hedge_after_s/>
                        <small>"The first response is used. The input of the other call is charged too and counts toward the user's tokens."</small>
                    </div>
                    <button class="secondary">"Save"</button>
                </form>
                </div>
                <form method="post" action=format!("/admin/models/{}/price", model.name) class="stack" aria-label=format!("New price of {}", model.label)>
                    <div class="field">
                        <label for=in_id.clone()>"Input, dollars per million tokens"</label>
                        <input id=in_id name="input" inputmode="decimal" required=true autocomplete="off" value=input/>
                    </div>
                    <div class="field">
                        <label for=cached_id.clone()>"Cache read " <span class="optional">"empty: same as input"</span></label>
                        <input id=cached_id name="cache_read" inputmode="decimal" autocomplete="off" value=cache_read.unwrap_or_default()/>
                    </div>
                    <div class="field">
                        <label for=write_id.clone()>"Cache write " <span class="optional">"empty: same as input"</span></label>
                        <input id=write_id name="cache_write" inputmode="decimal" autocomplete="off" value=cache_write.unwrap_or_default()/>
                    </div>
                    <div class="field">
                        <label for=out_id.clone()>"Output, dollars per million tokens"</label>
                        <input id=out_id name="output" inputmode="decimal" required=true autocomplete="off" value=output/>
                    </div>
                    <div class="field">
                        <label for=above_id.clone()>"For prompts above this many tokens " <span class="optional">"empty: all prompts"</span></label>
                        <input id=above_id name="above" inputmode="numeric" pattern="[0-9]*" autocomplete="off"/>
                    </div>
                    <div class="field">
                        <label for=from_id.clone()>"Effective from, UTC " <span class="optional">"empty: now"</span></label>
                        <input id=from_id name="effective_at" r#type="datetime-local"/>
                    </div>
                    <button class="secondary">"Add price"</button>
                </form>
            </div>
        </details>
    }
}
