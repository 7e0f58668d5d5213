//! The owner's pages: their figures are plain SQL over the ledger, their doors are shut to everybody else, and what they do is written down.

use crate::house::{TestHouse, Visitor, problem};
use crate::sums::load;
use domain::{Picos, UserId};
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Every door that the router has for admins, knocked at by the two who are none.
#[tokio::test]
async fn nobody_else_finds_the_owner_s_doors() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let id: Uuid = house.one("select user_id from account").await;
    let paths = server::admin_paths();
    assert!(paths.len() >= 15);
    for visitor in [&ann, &house.visitor()] {
        for path in &paths {
            let path =
                path.replace("{user_id}", &id.to_string()).replace("{model}", "demo").replace("{name}", "health");
            for method in ["GET", "POST"] {
                let answer = visitor.request(method, &path).form(&[("act", "make_admin"), ("why", "me")]).send().await;
                assert_eq!(answer.unwrap().status(), StatusCode::NOT_FOUND, "{method} {path}");
            }
        }
    }
    assert!(house.one::<bool>("select count(*) = 0 from audit").await);
}

async fn act(admin: &mut Visitor, id: Uuid, fields: &[(&str, &str)]) -> StatusCode {
    admin.form(&format!("/admin/users/{id}/act"), fields).await.status()
}

/// Limits of their own until a day, pause, sign out, rebuild, admins made and unmade: each holds at once, each has its row with a reason,
/// and what can't be taken changes nothing.
#[tokio::test]
async fn what_an_admin_does_to_a_person_holds_and_is_written_down() {
    let house = TestHouse::new().await;
    let (ann, mut admin) = (house.person("ann@example.com").await, house.person("admin@example.com").await);
    let id: Uuid = house.one("select user_id from account where email = 'ann@example.com'").await;
    let (done, refused) = (StatusCode::SEE_OTHER, StatusCode::UNPROCESSABLE_ENTITY);
    let tomorrow = (OffsetDateTime::now_utc().date() + Duration::days(2)).to_string();
    ann.answer("{{words:3}}").await;
    let used = ann.quota().await["tokens"]["used"].clone();

    let limit = [("act", "limit"), ("tokens", "123456"), ("until", tomorrow.as_str()), ("why", "a trial")];
    assert_eq!(act(&mut admin, id, &limit).await, done);
    let quota = ann.quota().await;
    assert_eq!((&quota["tokens"]["limit"], &quota["tokens"]["used"]), (&Value::from(123_456), &used));
    assert_eq!(quota["requests"]["limit"], 10, "the plan's");
    let page = admin.text(&format!("/admin/users/{id}")).await;
    assert!(
        page.contains(&domain::Tokens(123_456).to_string())
            && page.contains("their own until")
            && page.contains("a trial")
    );
    // over with its day
    sqlx::query("update account set limit_until = now() where email = 'ann@example.com'")
        .execute(&house.db)
        .await
        .unwrap();
    assert_eq!(ann.quota().await["tokens"]["limit"], 50_000);

    for (fields, why) in [
        (vec![("act", "pause")], "no reason"),
        (vec![("act", "pause"), ("why", "  ")], "no words"),
        (vec![("act", "limit"), ("tokens", "-5"), ("until", &tomorrow), ("why", "x")], "negative"),
        (vec![("act", "limit"), ("tokens", "0"), ("until", &tomorrow), ("why", "x")], "zero"),
        (vec![("act", "limit"), ("tokens", "1e9"), ("until", &tomorrow), ("why", "x")], "no number"),
        (vec![("act", "limit"), ("tokens", "5"), ("until", "2020-01-01"), ("why", "x")], "the past"),
        (vec![("act", "limit"), ("until", &tomorrow), ("why", "x")], "no limit"),
        (vec![("act", "explode"), ("why", "x")], "no such act"),
    ] {
        assert_eq!(act(&mut admin, id, &fields).await, refused, "{why}");
    }
    assert_eq!(act(&mut admin, Uuid::now_v7(), &[("act", "pause"), ("why", "x")]).await, StatusCode::NOT_FOUND);

    assert_eq!(act(&mut admin, id, &[("act", "pause"), ("why", "spam")]).await, done);
    let answer = ann.ask("{{words:1}}").await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(problem(answer).await["kind"], "paused");
    assert_eq!(ann.get("/usage").await.status(), StatusCode::OK, "reading works");
    assert_eq!(act(&mut admin, id, &[("act", "resume"), ("why", "sorry")]).await, done);
    ann.answer("{{words:1}}").await;

    assert_eq!(act(&mut admin, id, &[("act", "rebuild"), ("why", "stuck")]).await, done);
    assert_eq!(act(&mut admin, id, &[("act", "make_admin"), ("why", "helps")]).await, done);
    assert_eq!(ann.get("/admin").await.status(), StatusCode::OK);
    assert_eq!(act(&mut admin, id, &[("act", "unmake_admin"), ("why", "done")]).await, done);
    assert_eq!(ann.get("/admin").await.status(), StatusCode::NOT_FOUND);
    let me: Uuid = house.one("select user_id from account where email = 'admin@example.com'").await;
    assert_eq!(act(&mut admin, me, &[("act", "unmake_admin"), ("why", "bye")]).await, refused, "never the last one");
    assert_eq!(act(&mut admin, id, &[("act", "sign_out"), ("why", "lost phone")]).await, done);
    assert_eq!(ann.get("/api/quota").await.status(), StatusCode::UNAUTHORIZED);

    let acts: Vec<(String, String)> =
        sqlx::query_as("select action, why from audit where subject_id = $1 order by created_at")
            .bind(id)
            .fetch_all(&house.db)
            .await
            .unwrap();
    let written: Vec<&str> = acts.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(
        written,
        ["set_limits", "pause", "resume", "rebuild_meters", "make_admin", "unmake_admin", "sign_out_everywhere"]
    );
    let audit = admin.text("/admin/audit").await;
    assert!(acts.iter().all(|(_, why)| audit.contains(why.as_str())));
}

/// Field note 32 and strangers: what can't be a period, a page or a person is a clear problem or an empty table, never our fault.
#[tokio::test]
async fn absurd_questions_get_clear_answers() {
    let house = TestHouse::new().await;
    let mut admin = house.person("admin@example.com").await;
    for (query, status) in [
        ("period=custom", 422),
        ("period=custom&from=2026-02-30&to=2026-03-01", 422),
        ("period=custom&from=2026-03-02&to=2026-03-01", 422),
        ("period=custom&from=0001-01-01&to=9999-12-31", 422),
        ("period=custom&from=9999-12-31&to=9999-12-31", 422),
        ("period=custom&from=2026-01-01&to=2026-12-31", 200),
        ("period=century&by=beauty&page=-1", 200),
        ("page=99999999999999999999", 200),
        ("page=100000", 200),
        ("plan=%27%3B+drop+table+account&model=%00x&q=%25_%5C%27", 200),
        ("q=%F0%9F%A6%80&period=month", 200),
    ] {
        for path in ["/admin", "/admin/export.csv", "/admin/export.json"] {
            let answer = admin.get(&format!("{path}?{query}")).await;
            let said = answer.status().as_u16();
            assert_eq!(said, status, "{path}?{query}");
            let text = answer.text().await.unwrap();
            assert!(status != 422 || text.contains("day"), "{query}: {text}");
        }
    }
    for path in ["/admin/users/nobody", "/admin/users/00000000-0000-7000-8000-000000000000"] {
        assert_eq!(admin.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(admin.get("/admin/audit?page=-3").await.status(), StatusCode::OK);
    // what Postgres takes in no text, wherever it stands
    let id: Uuid = house.one("select user_id from account").await;
    for (path, status) in [
        ("/admin/plans/%00", 404),
        ("/admin/models/%00", 404),
        ("/admin/models/a%00b/price", 404),
        ("/admin/plans/free", 422),
        ("/admin/models/claude-haiku-4-5", 422),
        ("/admin/house", 422),
        ("/admin/health/replay", 422),
        ("/admin/health/clear", 422),
        (&format!("/admin/users/{id}/plan"), 422),
        (&format!("/admin/users/{id}/act"), 422),
    ] {
        let fields =
            ["event", "kind", "object", "plan", "why", "fallback", "state", "model", "act"].map(|name| (name, "\0"));
        let answer = admin.form(path, &fields).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let (kind, text) =
            (answer.headers()["content-type"].to_str().unwrap().to_owned(), answer.text().await.unwrap());
        assert!(
            status == 404 || kind.starts_with("text/html") && text.contains("as we sent it"),
            "{path} {kind} {text}"
        );
    }
    assert!(house.one::<bool>("select count(*) = 0 from audit").await);
}

/// The files hold the ledger to the row, and nothing in them is a formula.
#[tokio::test]
async fn exports_are_the_ledger_and_no_formulas() {
    let house = TestHouse::new().await;
    load(&house.db, 11_000, 20, 20, 0.5).await;
    let (ann, admin) = (house.person("ann@example.com").await, house.person("admin@example.com").await);
    ann.answer("{{words:4}}").await;
    house.until("select bool_and(settled_at is not null) from turn").await;
    sqlx::query("update account set email = '=cmd|''/c calc''!a1,\"x\"@example.com' where subject = 'subject1'")
        .execute(&house.db)
        .await
        .unwrap();
    let answer = admin.get("/admin/export.csv?period=30d").await;
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    let text = answer.text().await.unwrap();
    assert_eq!(text.matches("\r\n").count(), text.matches('\n').count(), "RFC 4180 lines");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let column = |name: &str| head.iter().position(|cell| cell == name).unwrap();
    let (cost, email, corrects) = (column("cost_usd"), column("email"), column("corrects"));
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    let raw: (i64, Decimal) =
        sqlx::query_as("select count(*), sum(cost_usd) from ai_usage").fetch_one(&house.db).await.unwrap();
    assert_eq!(rows.len() as i64, raw.0);
    assert_eq!(rows.iter().map(|row| row[cost].parse::<Decimal>().unwrap()).sum::<Decimal>(), raw.1);
    assert!(rows.iter().any(|row| row[email].starts_with("'=cmd|")));
    for row in &rows {
        for (place, cell) in row.iter().enumerate() {
            let is_number = cell.parse::<Decimal>().is_ok();
            assert!(is_number || !cell.starts_with(['=', '+', '-', '@', '\t']), "column {place}: {cell}");
        }
        assert_eq!(
            row[cost].starts_with('-'),
            !row[corrects].is_empty() && row[cost].parse::<Decimal>().unwrap() != Decimal::ZERO
        );
    }
    let json: Vec<Value> = admin.get("/admin/export.json?period=30d&model=gpt-5-mini").await.json().await.unwrap();
    let raw: i64 = house.one("select count(*) from ai_usage where model = 'gpt-5-mini'").await;
    assert_eq!(json.len() as i64, raw);
    let sum: Decimal = json.iter().map(|row| row["cost_usd"].as_str().unwrap().parse::<Decimal>().unwrap()).sum();
    assert_eq!(sum, house.one::<Decimal>("select sum(cost_usd) from ai_usage where model = 'gpt-5-mini'").await);
    // and a person's own file is theirs alone
    let own = ann.text("/usage.csv?period=30d").await;
    assert_eq!(csv::Reader::from_reader(own.as_bytes()).records().count(), 1);
    assert!(!own.contains("subject"));
    assert!(!house.visitor().get("/usage.csv").await.status().is_success());
}

/// A person's days begin where they are: far east, far west, at half and quarter hours, and where a day has 23 or 25 hours.
#[tokio::test]
async fn days_begin_where_the_person_is() {
    let house = TestHouse::new().await;
    let mut ann = house.person("ann@example.com").await;
    let id: Uuid = house.one("select user_id from account").await;
    let first = time::macros::datetime!(2026-03-20 00:00 UTC);
    sqlx::query("select ai_usage_cover('2026-03-01', '2026-11-30')").execute(&house.db).await.unwrap();
    // one call in each quarter of an hour around both changes of clocks in Europe in 2026, one token each
    for from in [first, time::macros::datetime!(2026-10-20 00:00 UTC)] {
        sqlx::query(
            "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
               output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at)
             select gen_random_uuid(), gen_random_uuid(), $1, 's', 'claude-haiku-4-5', (select model_price_id from model_price where model = 'claude-haiku-4-5' limit 1),
               'finished', 'exact', 1, 0, 1, 1, 0.000001, at, at
             from generate_series($2, $2 + interval '12 days', interval '15 minutes') at",
        )
        .bind(id)
        .bind(from)
        .execute(&house.db)
        .await
        .unwrap();
    }
    // offsets from UTC in minutes, as the zones' own rules have them on each side of a change
    let berlin = |at: OffsetDateTime| {
        let summer = time::macros::datetime!(2026-03-29 01:00 UTC)..time::macros::datetime!(2026-10-25 01:00 UTC);
        if summer.contains(&at) { 120 } else { 60 }
    };
    let zones: [(&str, &dyn Fn(OffsetDateTime) -> i64); 5] = [
        ("Pacific/Tongatapu", &|_| 13 * 60),
        ("Pacific/Honolulu", &|_| -10 * 60),
        ("Asia/Kolkata", &|_| 5 * 60 + 30),
        ("Asia/Kathmandu", &|_| 5 * 60 + 45),
        ("Europe/Berlin", &berlin),
    ];
    for (zone, offset) in zones {
        assert_eq!(ann.form("/settings/time-zone", &[("zone", zone)]).await.status(), StatusCode::SEE_OTHER);
        assert!(ann.text("/usage").await.contains(zone));
        let days = store::usage::by_day_and_model(&house.db, UserId::from(id), zone, first.date()).await.unwrap();
        let mut expected = std::collections::BTreeMap::new();
        for from in [first, time::macros::datetime!(2026-10-20 00:00 UTC)] {
            for n in 0..=12 * 96 {
                let at = from + Duration::minutes(15 * n);
                let day = (at + Duration::minutes(offset(at))).date();
                if day >= first.date() {
                    *expected.entry(day).or_insert(0_i64) += 1;
                }
            }
        }
        let found: std::collections::BTreeMap<_, _> = days.iter().map(|day| (day.day, day.sums.input)).collect();
        assert_eq!(found, expected, "{zone}");
        if zone == "Europe/Berlin" {
            let of = |month, day| found[&time::Date::from_calendar_date(2026, month, day).unwrap()];
            assert_eq!((of(time::Month::March, 29), of(time::Month::October, 25)), (92, 100), "23 and 25 hours");
        }
    }
    for zone in ["Mars/Olympus", "", "UTC'; --", &"x".repeat(90)] {
        assert_eq!(ann.form("/settings/time-zone", &[("zone", zone)]).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}

/// The page itself: its totals, what is filtered, the letter that is filled in.
#[tokio::test]
async fn the_page_of_the_heaviest_shows_the_ledger() {
    let house = TestHouse::new().await;
    load(&house.db, 3_000, 120, 9, 0.75).await;
    let admin = house.person("admin@example.com").await;
    let page = admin.text("/admin?period=30d").await;
    let cost =
        Picos::from_usd(house.one("select sum(cost_usd) from ai_usage where status <> 'pending'").await).unwrap();
    let people: i64 = house.one("select count(distinct subject) from ai_usage where status <> 'pending'").await;
    for figure in [cost.to_string(), people.to_string()] {
        assert!(page.contains(&format!("<strong>{figure}</strong>")), "{figure}");
    }
    assert!(page.contains("Page 1 of 3") && page.contains("mailto:p"));
    assert!(page.contains("deleted account"));
    let heaviest: String = house
        .one("select a.email from ai_usage join account a using (user_id) where plan_id = 'pro' and status <> 'pending' group by 1 order by sum(cost_usd) desc limit 1")
        .await;
    let filtered = admin.text("/admin?period=30d&plan=pro&by=cost").await;
    assert!(filtered.contains(&heaviest) && !filtered.contains("deleted account"));
    let found = admin.text(&format!("/admin?period=30d&q={}", heaviest.to_uppercase())).await;
    assert!(found.contains(&format!("title=\"{heaviest}\"")));
    assert!(admin.text("/admin?period=30d&page=3").await.contains("Page 3 of 3"));
}

/// Beside what was spent stands how it differs from as long a time before: whole hours, as plain SQL has them.
#[tokio::test]
async fn the_page_says_how_spending_changes() {
    let house = TestHouse::new().await;
    load(&house.db, 3_000, 50, 9, 0.5).await;
    let admin = house.person("admin@example.com").await;
    let begun = "select date_trunc('hour', now())";
    // A call of the hour that runs, which has no hour to be compared with: it counts on neither side.
    crate::sums::late(&house.db, OffsetDateTime::now_utc()).await;
    // An hour that ends meanwhile would ask the two of them about different times.
    let (page, [now, before]) = loop {
        let hour: OffsetDateTime = house.one(begun).await;
        let page = admin.text("/admin?period=7d").await;
        let sql = "select coalesce(sum(cost_usd), 0) from ai_usage where status <> 'pending' and created_at >= $1 and created_at < $2";
        let spent = async |from: OffsetDateTime, to: OffsetDateTime| -> Decimal {
            sqlx::query_scalar(sql).bind(from).bind(to).fetch_one(&house.db).await.unwrap()
        };
        let week = Duration::days(7);
        let both = [spent(hour - week, hour).await, spent(hour - 2 * week, hour - week).await];
        if house.one::<OffsetDateTime>(begun).await == hour {
            break (page, both);
        }
    };
    assert!(before > Decimal::ZERO && now > before);
    let change = ((now - before) * Decimal::from(100) / before).trunc();
    assert!(page.contains(&format!("spent in 7 days, +{change} % on the time before")), "{now} {before}");
    // nothing to compare with, and nobody's share of it
    assert!(admin.text("/admin?period=30d").await.contains("<span>spent in 30 days</span>"));
    assert!(admin.text("/admin?period=7d&plan=pro").await.contains("<span>spent in 7 days</span>"));
}

/// What a person sees of their own use is plain SQL over their rows, corrections and what runs included, and so is the file.
#[tokio::test]
async fn a_person_s_own_use_is_the_ledger_s() {
    let house = TestHouse::new().await;
    load(&house.db, 2_000, 4, 40, 0.3).await;
    let mut ann = house.person("ann@example.com").await;
    // Ann is one of them, with all they did; whole days of hers lie below nothing.
    let id: Uuid = house.one("select user_id from account where email = 'ann@example.com'").await;
    sqlx::raw_sql("alter table ai_usage disable trigger user").execute(&house.db).await.unwrap();
    sqlx::query("update ai_usage set user_id = $1, subject = (select subject from account where user_id = $1) where subject = 'subject2'")
        .bind(id)
        .execute(&house.db)
        .await
        .unwrap();
    sqlx::query("update ai_usage set corrects = gen_random_uuid(), input_tokens = -abs(input_tokens), cost_usd = -abs(cost_usd) where user_id = $1 and extract(day from created_at) in (3, 12, 20) and status <> 'pending'")
        .bind(id)
        .execute(&house.db)
        .await
        .unwrap();
    sqlx::raw_sql("alter table ai_usage enable trigger user").execute(&house.db).await.unwrap();
    for zone in ["Pacific/Tongatapu", "Pacific/Honolulu", "Asia/Kathmandu"] {
        assert_eq!(ann.form("/settings/time-zone", &[("zone", zone)]).await.status(), StatusCode::SEE_OTHER);
        for days in [7_i32, 30] {
            let plain = "select count(*) filter (where call_no = 1 and corrects is null and is_final),
                           greatest(sum(input_tokens) filter (where is_final), 0)::bigint
                             + greatest(sum(cache_read_tokens + cache_write_tokens) filter (where is_final), 0)::bigint
                             + greatest(sum(output_tokens) filter (where is_final), 0)::bigint,
                           sum(cost_usd) filter (where is_final), count(*)
                         from (select *, status <> 'pending' as is_final from ai_usage) u where user_id = $1 and (created_at at time zone $2)::date > (now() at time zone $2)::date - $3";
            let (page, file, (answers, tokens, cost, rows)) = loop {
                let today = || async {
                    let sql = "select (now() at time zone $1)::date";
                    sqlx::query_scalar::<_, time::Date>(sql).bind(zone).fetch_one(&house.db).await.unwrap()
                };
                let before = today().await;
                let page = ann.text(&format!("/usage?days={days}")).await;
                let file = ann.text(&format!("/usage.csv?days={days}")).await;
                let sums: (i64, i64, Decimal, i64) =
                    sqlx::query_as(plain).bind(id).bind(zone).bind(days).fetch_one(&house.db).await.unwrap();
                if today().await == before {
                    break (page, file, sums);
                }
            };
            let cost = Picos::from_usd(cost).unwrap();
            for figure in [answers.to_string(), domain::Tokens(tokens.unsigned_abs()).to_string(), cost.to_string()] {
                assert!(page.contains(&format!("<strong>{figure}</strong>")), "{zone} {days} {figure}");
            }
            assert!(page.contains(&format!("/usage.csv?days={days}")));
            assert_eq!(file.lines().count() as i64, rows + 1, "{zone} {days}");
        }
    }
    for bad in ["0", "91", "-1", "x"] {
        assert_eq!(ann.get(&format!("/usage.csv?days={bad}")).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}

/// What the house takes in: by days, of who is gone too, of who gave up paying until then, and in dollars.
#[tokio::test]
async fn revenue_is_what_was_paid_for() {
    let house = TestHouse::new().await;
    house.person("ann@example.com").await;
    let id: Uuid = house.one("select user_id from account").await;
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let days = Duration::days;
    // of whom, plan, state, begun, ended, last paid, cents a month: how many of the last thirty days it pays for
    let cases = [
        (Some(id), Some("pro"), "active", 90, None, Some(20), 1_000, 30),
        (None, Some("pro"), "active", 10, None, Some(10), 2_000, 10),
        (None, Some("pro"), "canceled", 60, Some(5), Some(20), 3_000, 25),
        (Some(id), Some("pro"), "unpaid", 90, None, Some(52), 4_000, 8),
        (Some(id), Some("pro"), "paused", 90, None, Some(80), 5_000, 0),
        (Some(id), Some("pro"), "active", 90, None, None, 6_000, 0),
        (None, None, "active", 90, None, Some(20), 7_000, 0),
    ];
    let mut expected = Decimal::ZERO;
    for (n, (user, plan, status, begun, ended, paid, cents, counts)) in cases.into_iter().enumerate() {
        let name = format!("sub{n}");
        sqlx::query(
            "insert into subscription (subscription_id, customer_id, user_id, plan_id, status, period, amount_minor, currency, is_adjusted,
               created_at, period_end, ended_at, fetched_at)
             values ($1, 'cus', $2, $3, $4, 'month', $5, 'usd', false, $6, $7, $8, $7)",
        )
        .bind(&name)
        .bind(user)
        .bind(plan)
        .bind(status)
        .bind(i64::from(cents))
        .bind(now - days(begun))
        .bind(now)
        .bind(ended.map(|ended| now - days(ended)))
        .execute(&house.db)
        .await
        .unwrap();
        if let Some(paid) = paid {
            sqlx::query(
                "insert into invoice (invoice_id, customer_id, subscription_id, status, due_minor, paid_minor, currency, created_at)
                 values ($1, 'cus', $1, 'paid', $2, $2, 'usd', $3)",
            )
            .bind(&name)
            .bind(i64::from(cents))
            .bind(now - days(paid))
            .execute(&house.db)
            .await
            .unwrap();
        }
        // a month is a twelfth of 365.25 days; what was paid once is paid for a month of the calendar
        let paid_for = match status {
            "unpaid" => {
                let sql = "select extract(epoch from $1::timestamptz + interval '1 month' - $2::timestamptz)::bigint";
                let seconds: i64 = sqlx::query_scalar(sql)
                    .bind(now - days(52))
                    .bind(now - days(30))
                    .fetch_one(&house.db)
                    .await
                    .unwrap();
                assert!((seconds - counts * 86_400).abs() <= 2 * 86_400);
                seconds
            }
            _ => counts * 86_400,
        };
        expected += Decimal::from(cents) / Decimal::from(100) * Decimal::from(paid_for) / Decimal::from(2_629_800);
    }
    let mut tx = house.db.begin().await.unwrap();
    let around = store::heaviest::around(&mut tx, now - days(30), now).await.unwrap();
    assert_eq!(around.revenue.to_usd().round_dp(9), expected.round_dp(9));
}

/// Each cause is told once when it begins and once when it is over, by mail to every admin and to the webhook, signed.
#[tokio::test]
async fn alerts_are_told_once_and_once_when_over() {
    use base64::Engine as _;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel::<(http::HeaderMap, String)>();
    let hook = axum::Router::new().route(
        "/hook",
        axum::routing::post(async move |headers: http::HeaderMap, body: String| {
            told.send((headers, body)).unwrap();
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, hook).await });
    let secret = base64::engine::general_purpose::STANDARD.encode([7_u8; 32]);
    let house = TestHouse::with(&[
        ("ALERT_WEBHOOK_URL", &url),
        ("ALERT_WEBHOOK_SECRET", &format!("whsec_{secret}")),
        ("ALERT_PERSON_PERCENT", "60"),
        ("GLOBAL_DAILY_SPEND_USD", "10"),
    ])
    .await;
    house.person("admin@example.com").await;
    house.person("ann@example.com").await;
    house.person("tom@example.com").await;
    let spend = "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
           output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at)
         select gen_random_uuid(), gen_random_uuid(), user_id, subject, 'claude-haiku-4-5', (select model_price_id from model_price where model = 'claude-haiku-4-5' limit 1),
           'finished', 'exact', 0, 0, 100, 100, $2, now(), now() from account where email = $1";
    for (email, usd) in [("ann@example.com", 7), ("tom@example.com", 1)] {
        sqlx::query(spend).bind(email).bind(Decimal::from(usd)).execute(&house.db).await.unwrap();
    }
    sqlx::query(
        "insert into job (job_id, kind, key, payload, created_at, run_at, dead_at) values (gen_random_uuid(), 'mail', 'gone', '{}', now(), now(), now())",
    )
    .execute(&house.db)
    .await
    .unwrap();
    let (_, _stop) = house.second().await; // which looks at once
    let mut begun = Vec::new();
    for _ in 0..4 {
        let (headers, body) = hears.recv().await.unwrap();
        let of = |name: &str| headers[name].to_str().unwrap().to_owned();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&[7; 32]).unwrap();
        mac.update(format!("{}.{}.{body}", of("webhook-id"), of("webhook-timestamp")).as_bytes());
        let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(of("webhook-signature"), format!("v1,{signature}"));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["state"], "begun");
        begun.push(body["said"].as_str().unwrap().to_owned());
    }
    begun.sort();
    assert_eq!(
        begun,
        [
            "1 jobs, such as mail, were given up. They can be tried again.",
            "50 % of the $10.00 that may be spent in a day are spent.",
            "80 % of the $10.00 that may be spent in a day are spent.",
            "ann@example.com is above 60 % of the last 24 hours' cost.",
        ]
    );
    let mails = "select count(*) from job where kind = 'mail' and payload->>'mail' = 'alert'";
    assert_eq!(house.one::<i64>(mails).await, 4, "one admin, four causes");
    // others get heavier, and the dead letter is tried again: two causes are over, one is new, nothing is told twice
    sqlx::query(spend).bind("tom@example.com").bind(Decimal::from(6)).execute(&house.db).await.unwrap();
    sqlx::query("update job set dead_at = null, done_at = now() where key = 'gone'").execute(&house.db).await.unwrap();
    for _ in 0..2 {
        let (_, stop) = house.second().await;
        house.until("select count(*) = 3 from alert where ended_at is null").await;
        stop.cancel();
    }
    let mut after = Vec::new();
    for _ in 0..3 {
        let body: Value = serde_json::from_str(&hears.recv().await.unwrap().1).unwrap();
        after.push(format!("{} {}", body["state"].as_str().unwrap(), body["kind"].as_str().unwrap()));
    }
    after.sort();
    assert_eq!(after, ["begun spend_cap", "over dead_letters", "over person_share"]);
    assert_eq!(house.one::<i64>(mails).await, 7);
    assert_eq!(house.one::<i64>("select count(*) from alert").await, 5);
}

/// A model's cap is told of level by level, the last one once somebody was refused for it, and each stands until spending is well below.
#[tokio::test]
async fn caps_of_models_are_told_of_and_do_not_flap() {
    let house = TestHouse::new().await;
    house.person("admin@example.com").await;
    let ann = house.person("ann@example.com").await;
    sqlx::query("update model set daily_spend_usd = 5 where model = 'claude-haiku-4-5'")
        .execute(&house.db)
        .await
        .unwrap();
    let spend = async |micros: i64| {
        sqlx::query(
            "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
               output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at, corrects)
             select gen_random_uuid(), gen_random_uuid(), user_id, subject, 'claude-haiku-4-5', (select model_price_id from model_price where model = 'claude-haiku-4-5' limit 1),
               'finished', 'exact', 0, 0, 100, 100, $1::numeric / 1000000, now(), now(), case when $1 < 0 then gen_random_uuid() end
             from account where email = 'ann@example.com'",
        )
        .bind(micros)
        .execute(&house.db)
        .await
        .unwrap();
    };
    // A job that is given up is told of in the same look, so that one that says nothing else is seen to have been.
    let look = async |n: i32| -> Vec<String> {
        let dead = "insert into job (job_id, kind, key, payload, created_at, run_at, dead_at) select gen_random_uuid(), 'mail', 'gone' || n, '{}', now(), now(), now() from generate_series(1, $1) n on conflict do nothing";
        sqlx::query("update alert set ended_at = now() where kind = 'dead_letters' and ended_at is null")
            .execute(&house.db)
            .await
            .unwrap();
        sqlx::query(dead).bind(n).execute(&house.db).await.unwrap();
        let (_, stop) = house.second().await;
        house.until("select exists (select from alert where kind = 'dead_letters' and ended_at is null)").await;
        stop.cancel();
        sqlx::query_scalar("select about from alert where kind = 'spend_cap' and ended_at is null order by 1")
            .fetch_all(&house.db)
            .await
            .unwrap()
    };
    let level = |n: &str| format!("model:claude-haiku-4-5:{n}");
    assert_eq!(look(1).await, Vec::<String>::new());
    spend(4_999_000).await;
    assert_eq!(look(2).await, [level("50"), level("80")]);
    // The purse knew nothing of rows that no turn wrote: it is built from them anew.
    house.forget_purse(Some("claude-haiku-4-5")).await;
    let refused = ann.ask("{{words:9}}").await;
    assert_eq!(problem(refused).await["kind"], "spend_cap");
    house.until("select exists (select from refusal_hour where kind = 'spend_cap')").await;
    assert_eq!(look(3).await, [level("100"), level("50"), level("80")]);
    // nobody is refused any more, and a little came back: it stands
    sqlx::query("update refusal_hour set hour = hour - interval '3 hours'").execute(&house.db).await.unwrap();
    spend(-200_000).await;
    assert_eq!(look(4).await, [level("100"), level("50"), level("80")]);
    spend(-200_000).await;
    assert_eq!(look(5).await, [level("50"), level("80")]);
    spend(-700_000).await; // 3.899: below 80 %, not well below
    assert_eq!(look(6).await, [level("50"), level("80")]);
    spend(-200_000).await;
    assert_eq!(look(7).await, [level("50")]);
    assert!(
        house.one::<bool>("select count(*) = 3 from alert where kind = 'spend_cap'").await,
        "nothing was told twice"
    );
    assert!(house.one::<bool>("select bool_and(said like '%that may be spent on Claude Haiku 4.5 in a day are spent.') from alert where kind = 'spend_cap'").await);
}

/// A plan's limits and models: they hold with the next message, stand in the audit, and what can't be one changes nothing.
#[tokio::test]
async fn a_plan_is_changed_for_everybody_on_it() {
    let house = TestHouse::new().await;
    let (ann, mut admin) = (house.person("ann@example.com").await, house.person("admin@example.com").await);
    let rules = |tokens: &'static str, models: &[&'static str]| {
        let mut fields = vec![
            ("requests", "20"),
            ("tokens", tokens),
            ("in_flight", "3"),
            ("max_output", "2000"),
            ("first", "gpt-5-mini"),
        ];
        fields.extend(models.iter().map(|model| ("model", *model)));
        fields
    };
    let set = admin.form("/admin/plans/free", &rules("70000", &["claude-haiku-4-5", "gpt-5-mini"])).await;
    assert_eq!((set.status(), set.headers()["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, "/admin/plans"));
    let quota = ann.quota().await;
    assert_eq!((&quota["tokens"]["limit"], &quota["requests"]["limit"]), (&Value::from(70_000), &Value::from(20)));
    let default: String = house.one("select model from plan_model where plan_id = 'free' order by sort limit 1").await;
    assert_eq!(default, "gpt-5-mini");
    for (plan, fields, status) in [
        ("free", rules("0", &["gpt-5-mini"]), 422),
        ("free", rules("9", &[]), 422),
        ("free", rules("9", &["gpt-99"]), 404),
        ("gold", rules("9", &["gpt-5-mini"]), 404),
    ] {
        assert_eq!(admin.form(&format!("/admin/plans/{plan}"), &fields).await.status().as_u16(), status, "{plan}");
    }
    assert_eq!(ann.quota().await["tokens"]["limit"], 70_000);
    assert!(admin.text("/admin/audit").await.contains("70000 tokens"));
    assert!(admin.text("/admin/plans").await.contains("gpt-5-mini, claude-haiku-4-5"));
    assert!(admin.text("/admin/users?q=ANN").await.contains("ann@example.com"));
    assert!(!admin.text("/admin/users?q=nobody%25").await.contains("ann@example.com"));
}
