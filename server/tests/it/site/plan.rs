//! A plan that a visitor chose is kept through sign-up and verification until its checkout.

use crate::app::{HTTP, PASSWORD, TestApp};
use http::{StatusCode, header};
use reqwest::Response;
use std::time::Duration;

/// Where the plan is bought.
const PLAN: &str = "/pricing?plan=pro&interval=year";
/// The same as the value of a query parameter.
const ENCODED: &str = "%2Fpricing%3Fplan%3Dpro%26interval%3Dyear";

fn redirect(response: &Response) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    response.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

/// Waits until the mail that confirms an address is queued. Returns the token and the code in it, and whether its link leads on to the plan.
async fn confirmation(app: &TestApp) -> (String, String, bool) {
    let mail = async {
        loop {
            let page = HTTP.get(format!("{}/dev/outbox", app.url)).send().await.unwrap().text().await.unwrap();
            if let Some((_, rest)) = page.split_once("/verify?token=") {
                let token: String = rest.chars().take(43).collect();
                let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
                let code = page.lines().map(str::trim).find(is_code).unwrap().to_owned();
                return (token, code, page.contains(&format!("next={ENCODED}")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), mail).await.expect("a mail after 120 s")
}

#[tokio::test]
async fn a_chosen_plan_is_kept_through_sign_up_and_verification() {
    let app = TestApp::new().await;
    let pricing = app.visitor().text("/pricing?interval=year").await;
    assert!(pricing.contains("href=\"/sign-up?plan=pro&amp;interval=year\"") && pricing.contains("Most popular"));
    // The card shows the plan, and every way to sign in keeps it.
    let hidden = "name=\"next\" value=\"/pricing?plan=pro&amp;interval=year\"";
    let page = app.visitor().text("/sign-up?plan=pro&interval=year").await;
    assert!(page.contains(hidden) && page.contains("<strong>Pro</strong>") && page.contains("$200 a year"), "{page}");
    assert!(page.contains(&format!("href=\"/sign-in?next={ENCODED}\"")), "{page}");
    let mut ann = app.visitor();
    let made = ann.form("/sign-up", &[("email", "ann@example.com"), ("password", PASSWORD), ("next", PLAN)]).await;
    assert_eq!(redirect(&made), PLAN);
    let (token, code, leads_on) = confirmation(&app).await;
    assert!(leads_on, "the link in the mail leads on to the plan");
    // Before the address is confirmed, both the page and the checkout lead to the confirmation, and back.
    let to_verify = format!("href=\"/verify?next={ENCODED}\"");
    let page = ann.text(PLAN).await;
    assert!(page.contains("then continue with Pro") && page.contains(&to_verify), "{page}");
    let refused = ann.form("/billing/checkout", &[("plan", "pro"), ("interval", "year")]).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.text().await.unwrap().contains(&to_verify));
    let page = ann.text(&format!("/verify?next={ENCODED}")).await;
    assert!(page.contains(hidden) && page.contains("<strong>Pro</strong>"), "{page}");
    let wrong = ann.form("/verify", &[("code", "12"), ("next", PLAN)]).await;
    assert!(wrong.text().await.unwrap().contains(hidden));
    // The link works in any browser, and the code in this one.
    let phone = format!("/verify?token={token}&next={ENCODED}");
    assert!(app.visitor().text(&phone).await.contains(hidden));
    assert_eq!(redirect(&ann.form("/verify", &[("code", &code), ("next", PLAN)]).await), PLAN);
    assert!(!ann.text(PLAN).await.contains(&to_verify));
}

#[tokio::test]
async fn a_link_that_is_opened_elsewhere_leads_to_the_sign_in_and_the_plan() {
    let app = TestApp::new().await;
    let mut ann = app.visitor();
    ann.form("/sign-up", &[("email", "ann@example.com"), ("password", PASSWORD), ("next", PLAN)]).await;
    let (token, ..) = confirmation(&app).await;
    let mut phone = app.visitor();
    let done = redirect(&phone.form("/verify", &[("token", &token), ("next", PLAN)]).await);
    assert_eq!(done, "/verify?next=/pricing%3Fplan%3Dpro%26interval%3Dyear&confirmed=yes");
    let page = phone.text(&done).await;
    assert!(page.contains("Your email address is confirmed.") && page.contains(&format!("/sign-in?next={ENCODED}")));
    // The browser that signed up is signed out by that, because anyone may have created the account. It is led to the plan as well.
    let again = ann.form("/verify", &[("code", "000000"), ("next", PLAN)]).await;
    let to_sign_in = "/sign-in?next=/verify%3Fnext%3D/pricing%253Fplan%253Dpro%2526interval%253Dyear";
    assert_eq!(redirect(&again), to_sign_in);
    let back = format!("/verify?next={ENCODED}");
    let fields = [("email", "ann@example.com"), ("password", PASSWORD), ("next", back.as_str())];
    assert_eq!(redirect(&ann.form("/sign-in", &fields).await), back);
    assert!(ann.text(&back).await.contains("Continue with your plan"));
    // Another site's page is no way on.
    for elsewhere in ["https://evil.example", "//evil.example"] {
        let again = ann.form("/verify", &[("code", "000000"), ("next", elsewhere)]).await;
        assert_eq!(redirect(&again), "/verify?confirmed=yes", "{elsewhere}");
    }
}

#[tokio::test]
async fn users_who_are_signed_in_never_see_the_forms() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    for (path, expected) in [
        ("/sign-in", "/chat"),
        ("/sign-up", "/chat"),
        ("/sign-in?next=%2Fusage%3Fdays%3D7", "/usage?days=7"),
        ("/sign-up?next=https%3A%2F%2Fevil.example", "/chat"),
        ("/sign-up?plan=max&interval=year", "/pricing?plan=max&interval=year"),
    ] {
        assert_eq!(redirect(&ann.get(path).await), expected, "{path}");
        assert_eq!(app.visitor().get(path).await.status(), StatusCode::OK, "{path}");
    }
    let pricing = ann.text("/pricing?plan=max&interval=year").await;
    assert!(pricing.contains("Your choice") && pricing.contains("Your plan") && !pricing.contains("Most popular"));
}
