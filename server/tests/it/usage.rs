//! What people and the owner see of the ledger is the ledger.

use crate::house::TestHouse;
use domain::{Picos, Tokens};
use http::StatusCode;
use rust_decimal::Decimal;

/// Field note 33: the pages show the same numbers as the database.
#[tokio::test]
async fn usage_and_admin_show_the_ledger() {
    let house = TestHouse::new().await;
    let (ann, tom, admin) = (
        house.person("ann@example.com").await,
        house.person("tom@example.com").await,
        house.person("admin@example.com").await,
    );
    for words in [30, 200] {
        ann.answer(&format!("{{{{words:{words}}}}}")).await;
    }
    tom.answer("{{words:10}}").await;
    let row: (i64, i64, Decimal) = sqlx::query_as(
        "select count(*), sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens)::bigint, sum(cost_usd)
         from ai_usage join account using (user_id) where email = 'ann@example.com'",
    )
    .fetch_one(&house.db)
    .await
    .unwrap();
    let (tokens, cost) = (Tokens::from_db(row.1).to_string(), Picos::from_usd(row.2).unwrap().to_string());
    let own = ann.text("/usage?days=7").await;
    let heaviest = admin.text("/admin?period=7d").await;
    for page in [&own, &heaviest] {
        for number in [&tokens, &cost] {
            assert!(page.contains(&format!(">{number}<")), "{number}");
        }
    }
    assert!(heaviest.find("ann@example.com") < heaviest.find("tom@example.com"), "the dearest first");
    let total = Picos::from_usd(house.one("select sum(cost_usd) from ai_usage").await).unwrap().to_string();
    assert!(heaviest.contains(&format!("<strong>{total}</strong>")));
    assert!(!own.contains("tom@example.com"));
}

#[tokio::test]
async fn an_admin_sets_a_plan_and_it_is_written_down() {
    let house = TestHouse::new().await;
    let (mut ann, mut admin) = (house.person("ann@example.com").await, house.person("admin@example.com").await);
    let id: uuid::Uuid = house.one("select user_id from account where email = 'ann@example.com'").await;
    let path = format!("/admin/users/{id}/plan");
    assert_eq!(ann.form(&path, &[("plan", "max")]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(admin.form(&path, &[("plan", "gold")]).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(admin.form(&path, &[("plan", "pro")]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(ann.quota().await["plan"], "pro");
    assert_eq!(
        house.one::<String>("select action || ' ' || before || ' ' || after from audit").await,
        "set_plan free pro"
    );
    assert!(admin.text(&format!("/admin/users/{id}")).await.contains("ann@example.com"));
}

/// To anybody but an admin there is nothing there, page or function.
#[tokio::test]
async fn the_owner_pages_are_not_there_for_others() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let id: uuid::Uuid = house.one("select user_id from account").await;
    for visitor in [&ann, &house.visitor()] {
        for path in ["/admin".to_owned(), format!("/admin/users/{id}")] {
            assert_eq!(visitor.get(&path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        for (name, body) in
            [("admin_heaviest", "period=Day&order=Cost".to_owned()), ("admin_person", format!("id={id}"))]
        {
            let response = visitor
                .request("POST", &format!("/fn/{name}"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{name}");
        }
    }
}

/// Field note 31: the ledger outlives the account, and forgets only the person.
#[tokio::test]
async fn the_ledger_outlives_the_account() {
    let house = TestHouse::new().await;
    let (ann, admin) = (house.person("ann@example.com").await, house.person("admin@example.com").await);
    ann.answer("{{words:30}}").await;
    let cost: Decimal = house.one("select sum(cost_usd) from ai_usage").await;
    sqlx::query("delete from account where email = 'ann@example.com'").execute(&house.db).await.unwrap();
    assert_eq!(house.one::<Decimal>("select sum(cost_usd) from ai_usage where user_id is null").await, cost);
    assert!(admin.text("/admin").await.contains("deleted account"));
    // and signing up again refills nothing
    let again = house.person("ann@example.com").await;
    assert!(again.quota().await["tokens"]["used"].as_u64().unwrap() > 0);
    assert!(sqlx::query("delete from ai_usage").execute(&house.db).await.is_err(), "append-only");
}
