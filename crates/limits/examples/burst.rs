//! Admits many calls concurrently from its own process. Reads lines of `subject demand limit calls`, admits that many calls at once,
//! and prints how many were granted. Run two of these to test concurrency between processes: `burst redis://127.0.0.1`.

use limits::{Admission, Allowance, Demand, Limits, Store, Window, Windows};
use std::io::Write as _;

const WINDOWS: Windows =
    Windows::new(&[Window::calls("requests", 60_000, 60), Window::amount("tokens", 86_400_000, 96)]);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: burst REDIS_URL")?;
    // At a fixed time: the holds of one process would lapse while the other one is paused for ten seconds.
    let limits = Limits::without_history(&Store::redis(&url)?, "burst", &WINDOWS).at(1_764_000_000_000);
    for line in std::io::stdin().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or("expected: subject demand limit calls");
        let (subject, demand, limit, calls) =
            (word()?.to_owned(), word()?.parse::<u64>()?, word()?.parse::<u64>()?, word()?.parse::<u64>()?);
        let admissions = (0..calls).map(|n| {
            let (limits, subject, call) = (limits.clone(), subject.clone(), format!("{}-{n}", std::process::id()));
            tokio::spawn(async move {
                let plan = Allowance { limits: &[1 << 50, limit], in_flight: None };
                let demand = Demand { input: demand - demand / 2, output_min: demand / 2, output_max: demand / 2 };
                limits.admit(&subject, &call, plan, demand).await
            })
        });
        let mut granted = 0_u64;
        for admission in admissions.collect::<Vec<_>>() {
            granted += u64::from(matches!(admission.await??, Admission::Granted(_)));
        }
        writeln!(std::io::stdout(), "{granted}")?;
    }
    Ok(())
}
