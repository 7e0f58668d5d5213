//! Fault scenarios, numbered after the failure modes in `docs/failure-modes.md`.

use crate::world::World;
use anyhow::{Context as _, ensure};
use bench::user::{ask_anything, estimate, first_token_time, quota, release, served};
use bench::{ms, percentile};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SECOND: Duration = Duration::from_secs(1);

pub async fn frozen_postgres(world: &World) -> anyhow::Result<String> {
    let mut lock = world.db.pool().begin().await?;
    sqlx::query("lock table turn in access exclusive mode").execute(&mut *lock).await?;
    tokio::time::sleep(5 * SECOND).await;
    world.wire.freeze();
    lock.rollback().await?;
    let recovery = world.recovery().await?;
    ensure!(recovery <= 5 * SECOND, "{recovery:.1?} to recover");
    Ok(format!("recovered after {recovery:.1?}"))
}

pub async fn wrong_clocks(world: &mut World) -> anyhow::Result<String> {
    let reaped_calls = "select count(*) from ai_usage where status = 'lost'";
    let before: i64 = world.db.one(reaped_calls).await?;
    for offset in ["300", "-300"] {
        world.servers[1].take().context("no server")?.stop()?;
        world.start(1, &[("QUOTIENT_CLOCK_OFFSET_S", offset)])?;
        // The reaper runs at startup and every fifteen seconds.
        tokio::time::sleep(18 * SECOND).await;
    }
    world.servers[1].take().context("no server")?.stop()?;
    world.start(1, &[])?;
    let reaped = world.db.one::<i64>(reaped_calls).await? - before;
    ensure!(reaped == 0, "{reaped} running turns were reaped");
    Ok("no running turn was reaped".to_owned())
}

pub async fn refusing_provider(world: &World) -> anyhow::Result<String> {
    let user = world.user(0, 0);
    let text = "{{status:400}} in a loop";
    world
        .db
        .run("update account set plan_id = 'pro'; update plan set requests_per_minute = 10 where plan_id = 'pro'")
        .await?;
    let rows = "select count(*) from ai_usage where status = 'failed' and created_at > now() - interval '20 seconds'";
    let (began, mut sent, mut refused) = (Instant::now(), 0_u64, 0_u64);
    while began.elapsed() < 8 * SECOND {
        let (status, ..) = ask_anything(&user, text).await?;
        sent += 1;
        refused += u64::from(status == 429);
    }
    world.db.run("update plan set requests_per_minute = 1000000000").await?;
    let rows: i64 = world.db.one(rows).await?;
    ensure!(sent - refused <= 20, "{} provider calls in 8 s", sent - refused);
    Ok(format!("{sent} messages in 8 s, {} reached the provider, {refused} refused, {rows} rows", sent - refused))
}

/// Checks that no user on the capped plan has used and reserved more than `cap` tokens, even after Redis lost its data.
async fn never_over(world: &World, cap: i64) -> anyhow::Result<String> {
    let over: i64 = world
        .db
        .one(
            "select coalesce(max(used), 0) from (select sum(case when status = 'pending' then reserved_tokens
           else input_tokens + cache_read_tokens + cache_write_tokens + output_tokens end)::bigint as used
         from ai_usage u join account a using (user_id) where a.plan_id = 'max' group by user_id) by_user",
        )
        .await?;
    ensure!(over <= cap, "a user used {over} of {cap} tokens");
    Ok(format!("at most {over} of {cap} tokens"))
}

pub async fn flushed_redis(world: &World) -> anyhow::Result<String> {
    let cap = 1_500;
    capped(world, cap).await?;
    let mut lock = world.db.pool().begin().await?;
    let flushing = async {
        for _ in 0..4 {
            sqlx::query("lock table message in access exclusive mode").execute(&mut *lock).await?;
            tokio::time::sleep(SECOND / 2).await;
            world.redis.as_ref().context("no Redis")?.send(&["FLUSHALL"])?;
        }
        lock.rollback().await?;
        anyhow::Ok(())
    };
    let (flushed, refused) = tokio::join!(flushing, spend(world, 4));
    flushed?;
    let recovery = world.recovery().await?;
    Ok(format!("{}, {refused} refused, recovered after {recovery:.1?}", never_over(world, cap).await?))
}

pub async fn stale_redis(world: &mut World) -> anyhow::Result<String> {
    let cap = 3_000;
    capped(world, cap).await?;
    world.redis.as_ref().context("no Redis")?.send(&["SAVE"])?;
    spend(world, 5).await;
    let before = never_over(world, cap).await?;
    world.redis = Some(world.redis.take().context("no Redis")?.restart()?);
    let refused = spend(world, 3).await;
    let recovery = world.recovery().await?;
    let after = never_over(world, cap).await?;
    // Later faults must not be affected by this limit.
    world.db.run("update plan set tokens_per_day = 100000000 where plan_id = 'max'").await?;
    Ok(format!("{before} before, {after} after, {refused} refused, recovered after {recovery:.1?}"))
}

/// Moves seven users to a plan that allows `cap` tokens a day.
async fn capped(world: &World, cap: i64) -> anyhow::Result<()> {
    let plan = format!("update plan set tokens_per_day = {cap}, max_output = 400 where plan_id = 'max'");
    sqlx::query(sqlx::AssertSqlSafe(plan)).execute(world.db.pool()).await?;
    world.db.run(
        "update account set plan_id = 'max' where user_id in (select user_id from account order by created_at desc limit 7 offset 1)").await
}

/// Sends messages from those users without pause for the given time. Returns how many were refused by a limit.
async fn spend(world: &World, seconds: u32) -> usize {
    let began = Instant::now();
    let senders = (0..16).map(|n| {
        let user = world.user(n % 7, n % 2);
        async move {
            let mut refused = 0;
            while began.elapsed() < seconds * SECOND {
                refused += usize::from(matches!(ask_anything(&user, "{{words:100}}").await, Ok((429, ..))));
            }
            refused
        }
    });
    futures::future::join_all(senders).await.into_iter().sum()
}

pub async fn silent_connections(world: &World) -> anyhow::Result<String> {
    let address = world.urls[0].strip_prefix("http://").context("no address")?;
    let mut open = Vec::new();
    for _ in 0..400 {
        open.push(TcpStream::connect(address).await?);
    }
    let recovery = world.recovery().await?;
    let began = Instant::now();
    for stream in &mut open {
        let _ = tokio::time::timeout(60 * SECOND, stream.read(&mut [0; 1])).await;
    }
    let closed = began.elapsed();
    ensure!(closed < 30 * SECOND, "still open after {closed:.1?}");
    Ok(format!("other users were answered after {recovery:.1?}; all 400 connections closed after {closed:.1?}"))
}

pub async fn silent_provider(world: &World) -> anyhow::Result<String> {
    let silent: Vec<_> = (0..24)
        .map(|n| {
            let user = world.user(n % 4, 0);
            tokio::spawn(async move {
                let began = Instant::now();
                let _ = ask_anything(&user, &format!("{{{{mute}}}} {n}")).await;
                began.elapsed()
            })
        })
        .collect();
    tokio::time::sleep(4 * SECOND).await;
    let began = Instant::now();
    let (status, has_time, _) = ask_anything(&world.user(5, 0), "{{words:2}}").await?;
    let refusal = began.elapsed();
    let mut longest = Duration::ZERO;
    for one in silent {
        longest = longest.max(one.await?);
    }
    let recovery = world.recovery().await?;
    ensure!(status == 200 || has_time, "status {status} without Retry-After");
    Ok(format!(
        "another user got {status} after {refusal:.1?}, the last silent call ended after {longest:.1?}, recovered after {recovery:.1?}"
    ))
}

pub async fn no_postgres(world: &World) -> anyhow::Result<String> {
    world.db.shut(true).await?;
    tokio::time::sleep(3 * SECOND).await;
    let began = Instant::now();
    let answer = ask_anything(&world.user(1, 0), "{{words:2}}").await?;
    let refusal = began.elapsed();
    tokio::time::sleep(7 * SECOND).await;
    world.db.shut(false).await?;
    let recovery = world.recovery().await?;
    ensure!(answer.0 == 503 && answer.1, "{answer:?} instead of 503 with Retry-After");
    Ok(format!("503 with Retry-After after {}, recovered after {recovery:.1?}", ms(refusal)))
}

pub async fn ended_servers(world: &mut World) -> anyhow::Result<String> {
    let user = world.user(2, 1);
    let held: Vec<_> = (0..4)
        .map(|n| {
            let user = user.clone();
            tokio::spawn(async move { ask_anything(&user, &format!("{{{{words:8}}}}{{{{hold:4}}}} {n}")).await })
        })
        .collect();
    tokio::time::sleep(2 * SECOND).await;
    let began = Instant::now();
    let server = world.servers[1].take().context("no server")?;
    tokio::task::spawn_blocking(move || server.stop()).await??;
    let drained = began.elapsed();
    release(&world.provider.url).await?;
    for one in held {
        let _ = one.await?;
    }
    world.start(1, &[])?;
    tokio::time::sleep(2 * SECOND).await;
    drop(world.servers[1].take()); // kill -9
    world.start(1, &[])?;
    let recovery = world.recovery().await?;
    ensure!(drained < 32 * SECOND, "shutdown took {drained:.1?}");
    Ok(format!("stopped after {drained:.1?}; after kill -9, recovered after {recovery:.1?}"))
}

pub async fn large_texts(world: &World) -> anyhow::Result<String> {
    // Raises the plans' limits so that such a text isn't refused for its size alone.
    world.db.run("update plan set tokens_per_day = 1000000000000").await?;
    let mut before = Vec::new();
    for _ in 0..20 {
        before.push(first_token_time(&world.user(5, 0)).await?);
    }
    let flood: Vec<_> = (0..32)
        .map(|_| {
            let user = world.user(3, 0);
            tokio::spawn(async move {
                let (began, mut refused) = (Instant::now(), 0_u64);
                while began.elapsed() < 8 * SECOND {
                    refused += u64::from(estimate(&user, 1_500_000).await.unwrap_or(0) == 429);
                }
                refused
            })
        })
        .collect();
    let mut during = Vec::new();
    for _ in 0..20 {
        during.push(first_token_time(&world.user(5, 0)).await?);
    }
    let mut refused = 0;
    for one in flood {
        refused += one.await?;
    }
    let resident = world.servers[0].as_ref().context("no server")?.resident()? >> 20;
    let (before, during) = (percentile(&mut before, 50), percentile(&mut during, 50));
    ensure!(refused > 0, "nothing was refused");
    Ok(format!(
        "time to first token of another user {} before, {} during; {refused} refused; {resident} MiB resident",
        ms(before),
        ms(during)
    ))
}

pub async fn malformed_cookies(world: &World) -> anyhow::Result<String> {
    let address = world.urls[0].strip_prefix("http://").context("no address")?;
    let mut stream = TcpStream::connect(address).await?;
    for _ in 0..5_000 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\ncookie: session=%%%not-a-session\r\n\r\n").await?;
        let mut answer = [0; 4_096];
        ensure!(stream.read(&mut answer).await? > 0, "the server closed the connection");
    }
    Ok("5 000 requests answered; each kind of warning is logged at most 20 times a minute".to_owned())
}

/// Checks the ledger against the fake provider: every call has a final row, exact rows add up to at most what was served, no estimate
/// exceeds its reservation, and a user's meter equals their ledger rows.
pub async fn compare(world: &World) -> anyhow::Result<String> {
    let began = Instant::now();
    while world.db.one::<i64>("select count(*) from turn where meter_settled_at is null or ended_at is null").await? > 0
    {
        ensure!(began.elapsed() < 120 * SECOND, "some turns were not ended or settled within 120 s");
        tokio::time::sleep(SECOND / 4).await;
    }
    let journal = served(&world.provider.url).await?;
    let ended: Vec<_> = journal.iter().filter(|call| call["ended"] == true).collect();
    let sum = |key: &str| ended.iter().filter_map(|call| call[key].as_i64()).sum::<i64>();
    let (calls, output): (i64, i64) = (
        world
            .db
            .one(
                "select count(*) from ai_usage where status <> 'failed' or provider_failed or usage_source = 'estimated'",
            )
            .await?,
        world
            .db
            .one("select coalesce(sum(output_tokens), 0)::bigint from ai_usage where usage_source = 'exact'")
            .await?,
    );
    let exact: i64 = world
        .db
        .one("select count(*) from ai_usage where usage_source = 'exact' and status in ('finished', 'truncated')")
        .await?;
    ensure!(calls >= i64::try_from(journal.len())?, "{} provider calls but {calls} ledger rows", journal.len());
    ensure!(
        output <= sum("output") && exact <= i64::try_from(ended.len())?,
        "exact rows exceed what the provider served"
    );
    let estimated: i64 = world
        .db
        .one(
            "select count(*) from ai_usage where usage_source = 'estimated' and
        input_tokens + cache_read_tokens + cache_write_tokens + output_tokens > reserved_tokens",
        )
        .await?;
    ensure!(estimated == 0, "{estimated} estimates above their reservation");
    let user = world.user(7, 0);
    let used = quota(&user).await?["tokens"]["used"].as_i64().context("no token usage in the quota")?;
    let recorded: i64 = world
        .db
        .one(
            "select sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens)::bigint from ai_usage
        where user_id = (select user_id from account order by created_at desc limit 1)",
        )
        .await?;
    ensure!(used == recorded, "the meter has {used} tokens, the ledger {recorded}");
    Ok(format!(
        "{} calls served, {calls} ledger rows, {exact} of them exact with {output} output tokens ({} calls completed): consistent",
        journal.len(),
        ended.len()
    ))
}
