//! Sign-in with other services: what a provider must prove, and the accounts that new identities get. `external_links.rs` tests identities
//! of existing accounts.

use super::{is_limited, is_verified, letter, letters, redirect, shows};
use crate::app::{HTTP, TestApp};
use crate::visitor::TestClient;
use domain::brand::TERMS_VERSION;
use fakes::oidc::{Algorithm, CLIENT_ID, CLIENT_SECRET, FakeIssuer, FakeUser, Fault};
use http::{StatusCode, header};
use reqwest::Response;

pub(super) const CHAT: &str = "/chat";

/// Starts an issuer, and a deployment that knows it as `acme` and as `github`.
pub(super) async fn start() -> (TestApp, FakeIssuer) {
    server::telemetry::tls();
    let issuer = FakeIssuer::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    // Other issuers have other names, even on the same machine.
    let (url, github) = (issuer.url(), issuer.url().replace("127.0.0.1", "localhost"));
    let app = TestApp::with(&[
        ("OIDC_ACME_ISSUER", url.as_str()),
        ("OIDC_ACME_CLIENT_ID", CLIENT_ID),
        ("OIDC_ACME_CLIENT_SECRET", CLIENT_SECRET),
        ("GITHUB_BASE_URL", github.as_str()),
        ("GITHUB_CLIENT_ID", CLIENT_ID),
        ("GITHUB_CLIENT_SECRET", CLIENT_SECRET),
    ])
    .await;
    (app, issuer)
}

/// A browser: a client that also keeps the cookie which binds a sign-in to it.
pub(super) struct Browser {
    pub client: TestClient,
    /// The cookie of sign-ins with other services.
    pub ticket: Option<String>,
    public_url: String,
}

impl Browser {
    pub(super) fn new(app: &TestApp) -> Self {
        Self::of(app, app.visitor())
    }

    pub(super) fn of(app: &TestApp, client: TestClient) -> Self {
        Self { client, ticket: None, public_url: app.config.public_url.clone() }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Response {
        let request = match &self.ticket {
            Some(ticket) => request.header(header::COOKIE, ticket),
            None => request,
        };
        let response = request.send().await.unwrap();
        self.client.keep_browser(&response);
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            if pair.starts_with("sign-in=") {
                self.ticket = Some(pair);
            } else if pair.starts_with("session=") {
                self.client.cookie = Some(pair);
            }
        }
        response
    }

    pub(super) async fn get(&mut self, path: &str) -> Response {
        let request = self.client.request("GET", path);
        self.send(request).await
    }

    /// Submits a form. That of a provider's button has the current version of the terms, unless `fields` has another.
    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let mut fields = fields.to_vec();
        if path.starts_with("/sign-in/with/") && !fields.iter().any(|(name, _)| *name == "terms") {
            fields.push(("terms", TERMS_VERSION));
        }
        let request = self.client.request("POST", path).form(&fields);
        self.send(request).await
    }

    /// Submits the form of a button and lets the provider sign in. Returns the path to which it sends the browser back.
    pub(super) async fn leave(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        let page = redirect(&self.post(path, fields).await);
        let back = redirect(&HTTP.get(page).send().await.unwrap());
        back.strip_prefix(self.public_url.as_str()).unwrap().to_owned()
    }

    /// Signs in with a provider, and returns where that leads.
    pub(super) async fn sign_in(&mut self, provider: &str, fields: &[(&str, &str)]) -> Response {
        let back = self.leave(&format!("/sign-in/with/{provider}"), fields).await;
        self.get(&back).await
    }
}

/// Returns how many accounts and identities there are.
pub(super) async fn counts(app: &TestApp) -> (i64, i64) {
    (app.one("select count(*) from account").await, app.one("select count(*) from identity").await)
}

#[tokio::test]
async fn a_new_identity_gets_an_account_and_finds_it_again() {
    let (app, issuer) = start().await;
    let mut ann = Browser::new(&app);
    let page = ann.client.text("/sign-in?next=%2Fusage%3Fdays%3D7").await;
    assert!(page.contains("Continue with Acme") && page.contains("Continue with GitHub"), "{page}");
    assert!(page.contains("value=\"/usage?days=7\""), "{page}");
    assert_eq!(redirect(&ann.sign_in("acme", &[("next", "/usage?days=7")]).await), "/usage?days=7");
    assert!(super::is_signed_in(&ann.client).await);
    assert!(is_verified(&app, "ann@example.com").await);
    assert_eq!(app.subject("ann@example.com").await, app.subject_of("ann@example.com"));
    assert!(
        app.one::<bool>("select password_hash is null and name = 'Ann Lee' and role = 'member' from account").await
    );
    assert_eq!(app.one::<String>("select terms_version from account").await, TERMS_VERSION);
    assert_eq!(letters(&app, "ann@example.com").await.len(), 0, "nothing needs to be confirmed");

    // The subject finds the account, whatever has become of the address.
    issuer.set_user(FakeUser { name: String::new(), ..FakeUser::new("1001", "ann.lee@example.org") });
    let mut phone = Browser::new(&app);
    assert_eq!(redirect(&phone.sign_in("acme", &[]).await), CHAT);
    assert_eq!(counts(&app).await, (1, 1));
    letter(&app, "ann@example.com", "New sign-in to your account", 1).await;
    // Another subject with the address of before is another user.
    issuer.set_user(FakeUser::new("1002", "ben@example.com"));
    assert_eq!(redirect(&Browser::new(&app).sign_in("acme", &[]).await), CHAT);
    assert_eq!(counts(&app).await, (2, 2));
    assert!(app.one::<bool>("select not exists (select from sign_in_state)").await, "used up");
}

/// A new account accepts the terms that the page with the button showed. A user with an account accepts nothing by signing in.
#[tokio::test]
async fn a_new_account_needs_the_current_terms() {
    let (app, _issuer) = start().await;
    let mut ann = Browser::new(&app);
    let earlier = ("terms", "2020-01-01");
    let refused = ann.sign_in("acme", &[earlier, ("next", "/usage")]).await;
    let page = shows(refused, StatusCode::UNPROCESSABLE_ENTITY, "The terms have changed").await;
    let current = format!("name=\"terms\" value=\"{TERMS_VERSION}\"");
    assert!(page.contains(&current) && page.contains("value=\"/usage\""), "{page}");
    assert_eq!(counts(&app).await, (0, 0));
    assert_eq!(redirect(&ann.sign_in("acme", &[]).await), CHAT);
    assert_eq!(redirect(&Browser::new(&app).sign_in("acme", &[earlier]).await), CHAT);
    assert_eq!(counts(&app).await, (1, 1));
}

#[tokio::test]
async fn an_unverified_address_of_a_provider_is_verified_by_mail() {
    let (app, issuer) = start().await;
    issuer.set_user(FakeUser { is_verified: false, ..FakeUser::new("1", "ann@example.com") });
    // A plan that was chosen before is kept, in the mail as well.
    let plan = "/pricing?plan=pro&interval=year";
    assert_eq!(redirect(&Browser::new(&app).sign_in("acme", &[("next", plan)]).await), plan);
    assert!(!is_verified(&app, "ann@example.com").await);
    assert_ne!(app.subject("ann@example.com").await, app.subject_of("ann@example.com"), "the account's own");
    let mail = letter(&app, "ann@example.com", "Confirm your email address", 1).await;
    assert!(mail.text.contains("next=%2Fpricing%3Fplan%3Dpro%26interval%3Dyear"), "{}", mail.text);
    // Without an address, or with one that can't be used, there is no account.
    for (email, sentence) in
        [(None, "shared no confirmed email address"), (Some("x@mailinator.com"), "can&#39;t be used here")]
    {
        issuer.set_user(FakeUser { email: email.map(str::to_owned), ..FakeUser::new("2", "") });
        let refused = Browser::new(&app).sign_in("acme", &[]).await;
        let page = shows(refused, StatusCode::UNPROCESSABLE_ENTITY, "").await;
        assert!(page.contains(sentence) || page.contains(&sentence.replace("&#39;", "'")), "{page}");
    }
    assert_eq!(counts(&app).await, (1, 1));
}

/// Postgres can't store a NUL. A subject with one is refused, and an address or a name with one counts as missing.
#[tokio::test]
async fn claims_with_a_nul_are_no_server_error() {
    let (app, issuer) = start().await;
    let rejected = StatusCode::UNPROCESSABLE_ENTITY;
    issuer.set_user(FakeUser::new("1\0", "ann@example.com"));
    shows(Browser::new(&app).sign_in("acme", &[]).await, rejected, "The sign-in with Acme didn").await;
    issuer.set_user(FakeUser::new("1", "ann\0@example.com"));
    shows(Browser::new(&app).sign_in("acme", &[]).await, rejected, "shared no confirmed email address").await;
    assert_eq!(counts(&app).await, (0, 0));
    // A new account, and one that has the address already.
    for (subject, leads_to) in [("1", CHAT), ("2", "/sign-in?link=acme&how=kept")] {
        issuer.set_user(FakeUser { name: "Ann\0".to_owned(), ..FakeUser::new(subject, "ann@example.com") });
        assert_eq!(redirect(&Browser::new(&app).sign_in("acme", &[]).await), leads_to);
    }
    assert!(app.one::<bool>("select name = '' from account").await);
}

/// What a provider sends is checked in every respect.
#[tokio::test]
async fn forged_and_misdirected_tokens_are_refused() {
    let (app, issuer) = start().await;
    let mut eve = Browser::new(&app);
    for fault in [
        Fault::WrongNonce,
        Fault::WrongAudience,
        Fault::OtherParty,
        Fault::WrongIssuer,
        Fault::Expired,
        Fault::FromTheFuture,
        Fault::ForeignKey,
        Fault::AlgorithmNone,
        Fault::PublicKeyAsSecret,
        Fault::NoToken,
        Fault::Denied,
        Fault::OtherIssuerNamed,
    ] {
        issuer.set_fault(Some(fault));
        let back = eve.leave("/sign-in/with/acme", &[("next", "/usage")]).await;
        let refused = eve.get(&back).await;
        let status = refused.status();
        let page = refused.text().await.unwrap();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{fault:?}");
        assert!(page.contains("The sign-in with Acme didn") && page.contains("value=\"/usage\""), "{fault:?} {page}");
        assert_eq!(counts(&app).await, (0, 0), "{fault:?}");
    }
    issuer.set_fault(Some(Fault::Down));
    let back = eve.leave("/sign-in/with/acme", &[]).await;
    let refused = eve.get(&back).await;
    shows(refused, StatusCode::SERVICE_UNAVAILABLE, "be reached right now.").await;
    assert!(!super::is_signed_in(&eve.client).await);
    assert_eq!(counts(&app).await, (0, 0));
    issuer.set_fault(None);
    assert_eq!(redirect(&eve.sign_in("acme", &[]).await), CHAT);
}

/// A state works once, for ten minutes, for one provider, and only in the browser that began the sign-in.
#[tokio::test]
async fn a_state_works_once_and_in_its_own_browser() {
    let (app, issuer) = start().await;
    let dead = "This sign-in has expired or was used before.";
    let is_dead = async |response: Response| {
        shows(response, StatusCode::UNPROCESSABLE_ENTITY, dead).await;
    };
    let mut ann = Browser::new(&app);
    let back = ann.leave("/sign-in/with/acme", &[]).await;
    // A link that an attacker made doesn't sign the victim in to the attacker's account.
    let mut victim = Browser::new(&app);
    is_dead(victim.get(&back).await).await;
    victim.leave("/sign-in/with/acme", &[]).await;
    assert!(victim.ticket.is_some() && victim.ticket != ann.ticket);
    is_dead(victim.get(&back).await).await;
    is_dead(ann.get(&back.replace("/acme", "/github")).await).await;
    is_dead(ann.get("/sign-in/callback/acme").await).await;
    assert!(!super::is_signed_in(&victim.client).await);
    assert_eq!(redirect(&ann.get(&back).await), CHAT);
    is_dead(ann.get(&back).await).await;

    // A code that was used before, with a state of one's own.
    let mut eve = Browser::new(&app);
    let own = eve.leave("/sign-in/with/acme", &[]).await;
    let parameter = |path: &str, name: &str| {
        let query = path.split_once('?').unwrap().1.to_owned();
        query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(str::to_owned)).unwrap()
    };
    let mixed = format!("/sign-in/callback/acme?state={}&code={}", parameter(&own, "state"), parameter(&back, "code"));
    shows(eve.get(&mixed).await, StatusCode::UNPROCESSABLE_ENTITY, "The sign-in with Acme didn").await;
    // Someone else's code, fresh but bound to their verifier.
    let (mine, theirs) = (eve.leave("/sign-in/with/acme", &[]).await, ann.leave("/sign-in/with/acme", &[]).await);
    let mixed =
        format!("/sign-in/callback/acme?state={}&code={}", parameter(&mine, "state"), parameter(&theirs, "code"));
    shows(eve.get(&mixed).await, StatusCode::UNPROCESSABLE_ENTITY, "The sign-in with Acme didn").await;

    let late = eve.leave("/sign-in/with/acme", &[]).await;
    app.sql("update sign_in_state set expires_at = now() - interval '1 second'").await;
    is_dead(eve.get(&late).await).await;
    assert!(!super::is_signed_in(&eve.client).await);
    // Two tabs at once.
    let (one, two) = (eve.leave("/sign-in/with/acme", &[]).await, eve.leave("/sign-in/with/acme", &[]).await);
    assert_eq!(redirect(&eve.get(&one).await), CHAT);
    assert_eq!(redirect(&eve.get(&two).await), CHAT);
    assert_eq!(counts(&app).await, (1, 1));
    assert!(issuer.key_requests() <= 2, "keys are cached");
}

#[tokio::test]
async fn new_keys_and_all_three_algorithms_are_accepted() {
    let (app, issuer) = start().await;
    let mut ann = Browser::new(&app);
    assert_eq!(redirect(&ann.sign_in("acme", &[]).await), CHAT);
    for algorithm in [Algorithm::Rs256, Algorithm::EdDsa, Algorithm::Es256] {
        let before = issuer.key_requests();
        issuer.replace_key(algorithm).unwrap();
        for _ in 0..2 {
            assert_eq!(redirect(&ann.sign_in("acme", &[]).await), CHAT, "{algorithm:?}");
        }
        assert_eq!(issuer.key_requests(), before + 1, "an unknown key is asked for once");
    }
    // An address that only the userinfo endpoint has.
    issuer.set_user(FakeUser::new("2", "ben@example.com"));
    issuer.set_fault(Some(Fault::EmailElsewhere));
    assert_eq!(redirect(&Browser::new(&app).sign_in("acme", &[]).await), CHAT);
    assert!(is_verified(&app, "ben@example.com").await);
}

#[tokio::test]
async fn github_signs_in_with_its_user_id_and_its_verified_primary_address() {
    let (app, issuer) = start().await;
    issuer.set_user(FakeUser { is_verified: false, ..FakeUser::new("77", "ann@example.com") });
    let refused = Browser::new(&app).sign_in("github", &[]).await;
    shows(refused, StatusCode::UNPROCESSABLE_ENTITY, "GitHub shared no confirmed email address").await;
    issuer.set_user(FakeUser::new("77", "ann@example.com"));
    let mut ann = Browser::new(&app);
    assert_eq!(redirect(&ann.sign_in("github", &[]).await), CHAT);
    assert!(app.one::<bool>("select subject = '77' from identity").await && is_verified(&app, "ann@example.com").await);
    let used = ann.leave("/sign-in/with/github", &[]).await;
    assert_eq!(redirect(&ann.get(&used).await), CHAT);
    // GitHub names itself in the redirect, by another URL than the one under which its identities are stored.
    let back = ann.leave("/sign-in/with/github", &[]).await;
    assert!(back.contains("iss=http%3A%2F%2Flocalhost%3A") && back.contains("%2Flogin%2Foauth"), "{back}");
    assert!(
        app.one::<bool>("select issuer like 'http://localhost:%' and issuer not like '%/login%' from identity").await
    );
    for fault in [Fault::Denied, Fault::OtherIssuerNamed] {
        issuer.set_fault(Some(fault));
        let refused = ann.sign_in("github", &[]).await;
        shows(refused, StatusCode::UNPROCESSABLE_ENTITY, "The sign-in with GitHub didn").await;
    }
}

/// What a form sends as the path to return to is stored only if it is one of this site.
#[tokio::test]
async fn only_paths_of_this_site_are_stored_to_return_to() {
    let (app, _issuer) = start().await;
    let mut eve = Browser::new(&app);
    let nul = eve.post("/sign-in/with/acme", &[("next", "/\0")]).await;
    assert_eq!(nul.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let long = format!("/{}", "x".repeat(2_048));
    for next in ["https://evil.example", "//evil.example", "/a\nb", "usage", &long] {
        redirect(&eve.post("/sign-in/with/acme", &[("next", next)]).await);
    }
    assert!(app.one::<bool>("select count(*) = 5 and bool_and(next = '') from sign_in_state").await);
    redirect(&eve.post("/sign-in/with/acme", &[("next", "/usage?days=7")]).await);
    assert!(app.one::<bool>("select exists (select from sign_in_state where next = '/usage?days=7')").await);
}

/// Only configured services exist, their pages are allowed by the Content-Security-Policy, and sign-ins with them are limited.
#[tokio::test]
async fn services_are_configured_and_limited() {
    let without = TestApp::new().await;
    assert!(!without.visitor().text("/sign-in").await.contains("Continue with"));
    for (method, path) in [("POST", "/sign-in/with/google"), ("GET", "/sign-in/callback/google")] {
        let missing = without.visitor().request(method, path).form(&[("next", "/")]).send().await.unwrap();
        assert_eq!(missing.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let (app, issuer) = start().await;
    let page = app.visitor().get("/sign-up").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.contains(&format!("form-action 'self' {}", issuer.url())) || policy.contains(&issuer.url()),
        "{policy}"
    );
    assert!(page.text().await.unwrap().contains("Continue with Acme"));
    let mut eve = Browser::new(&app);
    let first = eve.post("/sign-in/with/acme", &[]).await;
    let cookie = first.headers()[header::SET_COOKIE].to_str().unwrap();
    for part in ["sign-in=", "Path=/", "Max-Age=600", "HttpOnly", "SameSite=Lax"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    for _ in 0..59 {
        redirect(&eve.post("/sign-in/with/acme", &[]).await);
    }
    is_limited(eve.post("/sign-in/with/acme", &[]).await).await;
}
