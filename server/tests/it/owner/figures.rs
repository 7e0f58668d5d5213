//! Figures on pages and in exports, compared with plain SQL over the ledger.

use crate::app::TestApp;
use crate::sums::load;
use domain::{Picos, UserId};
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Field note 93: exports contain exactly the rows of the ledger, and no cell is a formula. Those for Excel begin with a byte order mark.
#[tokio::test]
async fn exports_match_the_ledger_and_contain_no_formulas() {
    let app = TestApp::new().await;
    load(&app.db, 11_000, 20, 20, 0.5).await;
    let (ann, admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    ann.send_and_read("{{words:4}}").await;
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    sqlx::query("update account set email = '=cmd|''/c calc''!a1,\"x\"@example.com' where subject = 'subject1'")
        .execute(&app.db)
        .await
        .unwrap();
    let answer = admin.get("/admin/export.csv?period=30d").await;
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    let text = answer.text().await.unwrap();
    assert_eq!(text.matches("\r\n").count(), text.matches('\n').count(), "lines must end with CRLF (RFC 4180)");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let column = |name: &str| head.iter().position(|cell| cell == name).unwrap();
    let (cost, email, corrects) = (column("cost_usd"), column("email"), column("corrects"));
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    let raw: (i64, Decimal) =
        sqlx::query_as("select count(*), sum(cost_usd) from ai_usage").fetch_one(&app.db).await.unwrap();
    assert_eq!(rows.len() as i64, raw.0);
    assert_eq!(rows.iter().map(|row| row[cost].parse::<Decimal>().unwrap()).sum::<Decimal>(), raw.1);
    assert!(rows.iter().any(|row| row[email].starts_with("'=cmd|")));
    for row in &rows {
        for (index, cell) in row.iter().enumerate() {
            let is_number = cell.parse::<Decimal>().is_ok();
            assert!(is_number || !cell.starts_with(['=', '+', '-', '@', '\t']), "column {index}: {cell}");
        }
        assert_eq!(
            row[cost].starts_with('-'),
            !row[corrects].is_empty() && row[cost].parse::<Decimal>().unwrap() != Decimal::ZERO
        );
    }
    let json: Vec<Value> = admin.get("/admin/export.json?period=30d&model=gpt-5-mini").await.json().await.unwrap();
    let raw: i64 = app.one("select count(*) from ai_usage where model = 'gpt-5-mini'").await;
    assert_eq!(json.len() as i64, raw);
    let sum: Decimal = json.iter().map(|row| row["cost_usd"].as_str().unwrap().parse::<Decimal>().unwrap()).sum();
    assert_eq!(sum, app.one::<Decimal>("select sum(cost_usd) from ai_usage where model = 'gpt-5-mini'").await);
    // A user's own export contains only their rows.
    let own = ann.text("/usage.csv?period=30d").await;
    assert_eq!(csv::Reader::from_reader(own.as_bytes()).records().count(), 1);
    assert!(!own.contains("subject"));
    // Only the file for Excel begins with a byte order mark.
    let excel = ann.get("/usage.csv?period=30d&bom=1").await.bytes().await.unwrap();
    assert_eq!(excel.strip_prefix(b"\xef\xbb\xbf"), Some(own.as_bytes()));
    for (query, has_mark) in [("period=30d", false), ("period=30d&bom=1", true)] {
        let file = admin.get(&format!("/admin/export.csv?{query}")).await.bytes().await.unwrap();
        assert_eq!(file.starts_with(b"\xef\xbb\xbf"), has_mark, "{query}");
    }
    let file = ann.get("/usage.csv?days=7").await.bytes().await.unwrap();
    assert!(file.starts_with(b"created_at,"));
    assert!(ann.text("/usage?days=7").await.contains("/usage.csv?days=7&amp;bom=1"));
    assert!(!app.visitor().get("/usage.csv").await.status().is_success());
}

/// Days follow the user's time zone: far east, far west, with offsets of half and quarter hours, and with days of 23 or 25 hours.
#[tokio::test]
async fn usage_days_follow_the_users_time_zone() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let id: Uuid = app.one("select user_id from account").await;
    let first = time::macros::datetime!(2026-03-20 00:00 UTC);
    sqlx::query("select ai_usage_create_partitions('2026-03-01', '2026-11-30')").execute(&app.db).await.unwrap();
    // One call of one token in each quarter of an hour around both clock changes in Europe in 2026.
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
        .execute(&app.db)
        .await
        .unwrap();
    }
    // Offsets from UTC in minutes on each side of a clock change.
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
        let days = store::usage::by_day(&app.store, UserId::from(id), zone, first.date()).await.unwrap();
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

/// The page shows the totals of the ledger, applies filters and search, and links to prefilled mails.
#[tokio::test]
async fn the_page_of_top_users_shows_the_ledger() {
    let app = TestApp::new().await;
    load(&app.db, 3_000, 120, 9, 0.75).await;
    app.refresh_report().await;
    let admin = app.user("admin@example.com").await;
    let page = admin.text("/admin?period=30d").await;
    let cost = Picos::from_usd(app.one("select sum(cost_usd) from ai_usage where status <> 'pending'").await).unwrap();
    let users: i64 = app.one("select count(distinct subject) from ai_usage where status <> 'pending'").await;
    for figure in [cost.to_string(), users.to_string()] {
        assert!(page.contains(&format!("<strong>{figure}</strong>")), "{figure}");
    }
    assert!(page.contains("Page 1 of 3") && page.contains("mailto:p"));
    assert!(page.contains("deleted account"));
    let top_users: String = app
        .one("select a.email from ai_usage join account a using (user_id) where plan_id = 'pro' and status <> 'pending' group by 1 order by sum(cost_usd) desc limit 1")
        .await;
    let filtered = admin.text("/admin?period=30d&plan=pro&by=cost").await;
    assert!(filtered.contains(&top_users) && !filtered.contains("deleted account"));
    let found = admin.text(&format!("/admin?period=30d&q={}", top_users.to_uppercase())).await;
    assert!(found.contains(&format!("title=\"{top_users}\"")));
    assert!(admin.text("/admin?period=30d&page=3").await.contains("Page 3 of 3"));
}

/// The page compares spending with the previous period of the same length, in whole hours, and matches plain SQL.
#[tokio::test]
async fn page_shows_the_change_in_spending() {
    let app = TestApp::new().await;
    load(&app.db, 3_000, 50, 9, 0.5).await;
    let admin = app.user("admin@example.com").await;
    let begun = "select date_trunc('hour', now())";
    // A call in the current hour counts on neither side, because that hour has no counterpart.
    crate::sums::late(&app.db, OffsetDateTime::now_utc()).await;
    // Repeats if the hour ends meanwhile, since page and SQL would then cover different periods.
    let (page, [now, before]) = loop {
        let hour: OffsetDateTime = app.one(begun).await;
        app.refresh_report().await;
        let page = admin.text("/admin?period=7d").await;
        let sql = "select coalesce(sum(cost_usd), 0) from ai_usage where status <> 'pending' and created_at >= $1 and created_at < $2";
        let spent = async |from: OffsetDateTime, to: OffsetDateTime| -> Decimal {
            sqlx::query_scalar(sql).bind(from).bind(to).fetch_one(&app.db).await.unwrap()
        };
        let from = (hour.date() - Duration::days(6)).midnight().assume_utc();
        let both = [spent(from, hour).await, spent(from - (hour - from), from).await];
        if app.one::<OffsetDateTime>(begun).await == hour {
            break (page, both);
        }
    };
    assert!(before > Decimal::ZERO && now > before);
    let change = ((now - before) * Decimal::from(100) / before).trunc();
    assert!(page.contains(&format!("spent in 7 days, +{change} % vs previous period")), "{now} {before}");
    // No comparison without an earlier period or with a filter.
    assert!(admin.text("/admin?period=30d").await.contains("<span>spent in 30 days</span>"));
    assert!(admin.text("/admin?period=7d&plan=pro").await.contains("<span>spent in 7 days</span>"));
}

/// Field note 97: the owner sees what a plan costs at most: all tokens of 30 days at the highest price of its enabled models, over all tiers.
#[tokio::test]
async fn plans_show_their_maximum_cost() {
    let app = TestApp::new().await;
    let mut admin = app.user("admin@example.com").await;
    app.sql(
        "update plan set tokens_per_day = 500000 where plan_id = 'pro';
         delete from plan_model where plan_id = 'pro';
         insert into plan_model (plan_id, model, sort) values ('pro', 'gpt-5-mini', 1), ('pro', 'gpt-4o-mini', 2)",
    )
    .await;
    let (long, base) = ([("input", "7"), ("output", "15"), ("above", "200000")], [("input", "1"), ("output", "2")]);
    for (model, price) in [("gpt-5-mini", &long[..]), ("gpt-5-mini", &base[..]), ("gpt-4o-mini", &base[..])] {
        let added = admin.form(&format!("/admin/models/{model}/price"), price).await;
        assert_eq!(added.status(), StatusCode::SEE_OTHER, "{model}");
    }
    let row =
        |page: &str| page.split("<tr>").find(|row| row.contains("/admin/plans/pro\"")).unwrap_or_default().to_owned();
    let pro = row(&admin.text("/admin/plans").await);
    assert!(pro.contains("$225.00") && pro.contains("<small>gpt-5-mini</small>"), "{pro}");
    admin.form("/admin/models/gpt-5-mini", &[("state", "off")]).await;
    let pro = row(&admin.text("/admin/plans").await);
    assert!(pro.contains("$30.00") && pro.contains("<small>gpt-4o-mini</small>"), "{pro}");
}

/// The overview tells cache writes with the longer lifetime apart, for all users together.
#[tokio::test]
async fn cache_writes_are_shown_by_lifetime() {
    let app = TestApp::new().await;
    load(&app.db, 600, 10, 3, 0.5).await;
    app.refresh_report().await;
    let admin = app.user("admin@example.com").await;
    let long = "select sum(cache_write_long_tokens)::bigint from ai_usage where status <> 'pending'";
    let long = domain::Tokens(app.one::<i64>(long).await.unsigned_abs());
    let row = format!("Cache writes, longer lifetime (included in cache writes)</th><td class=\"end\">{long}</td>");
    let page = admin.text("/admin?period=30d").await;
    assert!(page.contains(&row), "{long}: {page}");
    assert!(!admin.text("/admin?period=30d&plan=free").await.contains("longer lifetime"));
}

/// A user's usage page and export match plain SQL over their rows, including corrections and running calls.
#[tokio::test]
async fn own_usage_page_matches_the_ledger() {
    let app = TestApp::new().await;
    load(&app.db, 2_000, 4, 40, 0.3).await;
    let mut ann = app.user("ann@example.com").await;
    // Ann takes over the rows of one subject. Corrections make some of her days negative.
    let id: Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    sqlx::raw_sql("alter table ai_usage disable trigger user").execute(&app.db).await.unwrap();
    sqlx::query("update ai_usage set user_id = $1, subject = (select subject from account where user_id = $1) where subject = 'subject2'")
        .bind(id)
        .execute(&app.db)
        .await
        .unwrap();
    sqlx::query("update ai_usage set corrects = gen_random_uuid(), input_tokens = -abs(input_tokens), cost_usd = -abs(cost_usd) where user_id = $1 and extract(day from created_at) in (3, 12, 20) and status <> 'pending'")
        .bind(id)
        .execute(&app.db)
        .await
        .unwrap();
    sqlx::raw_sql("alter table ai_usage enable trigger user").execute(&app.db).await.unwrap();
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
                    sqlx::query_scalar::<_, time::Date>(sql).bind(zone).fetch_one(&app.db).await.unwrap()
                };
                let before = today().await;
                let page = ann.text(&format!("/usage?days={days}")).await;
                let file = ann.text(&format!("/usage.csv?days={days}")).await;
                let sums: (i64, i64, Decimal, i64) =
                    sqlx::query_as(plain).bind(id).bind(zone).bind(days).fetch_one(&app.db).await.unwrap();
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
