//! The stand-ins as processes. `stand-in vendor 127.0.0.1:0` and `stand-in stripe 127.0.0.1:0 [webhook] [file]` print where
//! they listen.

use std::io::Write as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:0".into()).parse()?;
    match what.as_str() {
        "vendor" => {
            let vendor = stand_in::StandIn::start(addr).await?;
            writeln!(std::io::stdout(), "{}", vendor.url())?;
            std::future::pending().await
        }
        "stripe" => {
            let (webhook, file) = (args.next().filter(|url| !url.is_empty()), args.next().map(Into::into));
            let stripe = stand_in::StripeStandIn::start(addr, file).await?;
            if let Some(url) = webhook {
                stripe.watch(&url, stand_in::WEBHOOK_SECRET);
            }
            writeln!(std::io::stdout(), "{}", stripe.url())?;
            std::future::pending().await
        }
        _ => anyhow::bail!("stand-in vendor ADDRESS, or stand-in stripe ADDRESS [WEBHOOK-URL] [FILE]"),
    }
}
