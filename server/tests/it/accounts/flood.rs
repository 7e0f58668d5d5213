//! Password hashing: the same work for every address, and a bounded queue.

use super::without_nonces;
use crate::app::{HTTP, TestApp};
use crate::settings::is_long;
use futures::future::join_all;
use http::StatusCode;
use reqwest::Response;

/// Creates accounts `known1@example.com` and so on with the password of the user who exists.
const ACCOUNTS: &str = "
    insert into account (user_id, email, password_hash, subject, subject_is_own)
    select gen_random_uuid(), 'known' || n || '@example.com', password_hash, 'known' || n, true from account, generate_series(1, 250) n";

/// Tries a wrong password from an address of its own.
async fn guess(url: &str, email: &str, n: usize) -> Response {
    let form = HTTP.post(format!("{url}/sign-in")).header("x-forwarded-for", format!("10.0.{}.{}", n / 250, n % 250));
    form.form(&[("email", email), ("password", "wrong password")]).send().await.unwrap()
}

/// A wrong password gets the same page whether or not its address has an account, and takes the same work: processor time is compared
/// instead of wall time, which depends on whatever else runs.
#[tokio::test]
async fn unknown_addresses_are_as_much_work_as_known_ones() {
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    app.sql(ACCOUNTS).await;
    let process = app.process(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let (mut work, rounds) = ([0; 2], if is_long() { 250 } else { 40 });
    // The first round, in which neither address has an account, isn't counted: it renders the page for the first time.
    for n in 0..=rounds {
        let mut pages = Vec::new();
        // One after the other, so that the work of background jobs counts for both alike.
        for (index, name) in ["known", "unknown"].into_iter().enumerate() {
            let (email, before) = (format!("{name}{n}@example.com"), process.cpu_ticks());
            let answer = guess(&process.url, &email, 2 * n + index).await;
            assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{email}");
            let page = answer.text().await.unwrap();
            if n > 0 {
                work[index] += process.cpu_ticks() - before;
            }
            assert!(page.contains("Incorrect email or password.") && page.contains(&email));
            pages.push(without_nonces(&page).replace(&email, ""));
        }
        assert_eq!(pages[0], pages[1]);
    }
    // Without a hash, an unknown address would take less than half.
    let [known, unknown] = work;
    assert!(5 * known < 7 * unknown && 5 * unknown < 7 * known, "{known} and {unknown} ticks");
    process.signal("-TERM");
    process.ended().await;
}

/// Beyond its queue, sign-ins are refused at once instead of waiting for longer and longer, whether or not their address has an account.
#[tokio::test]
async fn a_flood_of_sign_ins_is_refused_at_once() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let ann = app.user("ann@example.com").await;
    app.sql(ACCOUNTS).await;
    let guesses = (0..160).map(|n| {
        let (url, name) = (app.url.as_str(), ["known", "unknown"][n % 2]);
        async move {
            let answer = guess(url, &format!("{name}{}@example.com", n / 2 + 1), n).await;
            let is_page = answer.headers()["content-type"].to_str().unwrap().starts_with("text/html");
            (name, answer.status(), is_page && answer.headers().contains_key("retry-after"))
        }
    });
    let answers = join_all(guesses).await;
    let (refused, checked): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(_, status, _)| *status == StatusCode::SERVICE_UNAVAILABLE);
    assert!(checked.len() >= 64 && checked.iter().all(|(_, status, _)| *status == StatusCode::UNPROCESSABLE_ENTITY));
    assert!(refused.iter().all(|(_, _, says_when)| *says_when), "a page that says when to try again");
    for name in ["known", "unknown"] {
        assert!(refused.iter().any(|(of, ..)| *of == name), "{name}: {} refused", refused.len());
    }
    ann.send_and_read("{{words:2}}").await;
}
