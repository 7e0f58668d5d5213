//! Structured data for search engines, as <https://schema.org> defines it.

use crate::page_context::page_context;
use crate::view::content::Entry;
use crate::view::plan::PlanOffer;
use domain::{Amount, Period, brand};
use leptos::prelude::*;
use serde_json::{Value, json};

/// A block of structured data. It isn't run, and `<` in it can't end its element.
#[component]
pub fn JsonLd(
    /// The object.
    value: Value,
) -> impl IntoView {
    let text = value.to_string().replace('<', "\\u003c");
    view! { <script type="application/ld+json" nonce=use_nonce() inner_html=text></script> }
}

/// The product's company and its site, for the landing page.
#[must_use]
pub fn site() -> Value {
    let url = page_context().site_url;
    let email = brand::SUPPORT_EMAIL;
    // The company's pages elsewhere, such as its profiles.
    let elsewhere: Vec<&str> =
        brand::LINKS.iter().map(|(_, href)| *href).filter(|href| href.starts_with("https://")).collect();
    json!({
        "@context": "https://schema.org",
        "@graph": [
            {
                "@type": "Organization",
                "@id": format!("{url}/#organization"),
                "name": brand::NAME,
                "legalName": brand::LEGAL_COMPANY,
                "url": url,
                "logo": format!("{url}/icon-512.png"),
                "sameAs": elsewhere,
                "contactPoint": { "@type": "ContactPoint", "contactType": "customer support", "email": email },
            },
            {
                "@type": "WebSite",
                "@id": format!("{url}/#website"),
                "name": brand::NAME,
                "description": brand::DESCRIPTION,
                "url": url,
                "inLanguage": "en",
                "publisher": { "@id": format!("{url}/#organization") },
            },
        ],
    })
}

/// The plans as products with their prices.
#[must_use]
pub fn plans(offers: &[PlanOffer]) -> Value {
    let url = page_context().site_url;
    let product = |PlanOffer { plan, .. }: &PlanOffer| {
        let free = Amount { minor: 0, currency: plan.currency.clone() };
        let month = plan.price(Period::Month).unwrap_or(free);
        let prices = [(Period::Month, Some(month)), (Period::Year, plan.price(Period::Year))];
        let offer = |(period, price): (Period, Option<Amount>)| {
            let price = price?;
            Some(json!({
                "@type": "Offer",
                "price": price.decimal(),
                "priceCurrency": price.currency.to_uppercase(),
                "url": format!("{url}/pricing?plan={}&interval={}", plan.id, period.as_str()),
                "availability": "https://schema.org/InStock",
            }))
        };
        json!({
            "@type": "Product",
            "name": format!("{} {}", brand::NAME, plan.name),
            "description": plan.pitch,
            "image": format!("{url}/og/pricing.png"),
            "brand": { "@type": "Brand", "name": brand::NAME },
            "offers": prices.into_iter().filter_map(offer).collect::<Vec<_>>(),
        })
    };
    let products: Vec<Value> = offers.iter().map(product).collect();
    json!({ "@context": "https://schema.org", "@graph": products })
}

/// Questions with their answers, which the page must show as well.
#[must_use]
pub fn questions(questions: &[(&str, &str)]) -> Value {
    let question = |(question, answer): &(&str, &str)| {
        let answer = json!({ "@type": "Answer", "text": answer });
        json!({ "@type": "Question", "name": question, "acceptedAnswer": answer })
    };
    let all: Vec<Value> = questions.iter().map(question).collect();
    json!({ "@context": "https://schema.org", "@type": "FAQPage", "mainEntity": all })
}

/// A post of the blog.
#[must_use]
pub fn post(entry: &Entry) -> Value {
    let url = page_context().site_url;
    let publisher =
        json!({ "@type": "Organization", "@id": format!("{url}/#organization"), "name": brand::NAME, "url": url });
    json!({
        "@context": "https://schema.org",
        "@type": "BlogPosting",
        "headline": entry.title,
        "description": entry.description,
        "datePublished": entry.date.map(|date| date.to_string()),
        "mainEntityOfPage": format!("{url}{}", entry.path),
        "image": format!("{url}/og/blog.png"),
        "author": publisher,
        "publisher": publisher,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_pairs() {
        let value = questions(&[("Why?", "Because.")]);
        assert_eq!(value["@type"], "FAQPage");
        assert_eq!(value["mainEntity"][0]["name"], "Why?");
        assert_eq!(value["mainEntity"][0]["acceptedAnswer"]["text"], "Because.");
    }
}
