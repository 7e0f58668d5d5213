//! Runs the fakes as processes. `fakes provider 127.0.0.1:0`, `fakes stripe 127.0.0.1:0 [webhook] [file]` and `fakes captcha 127.0.0.1:0` print
//! the URL they serve.

use std::io::Write as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let service = args.next().unwrap_or_default();
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:0".into()).parse()?;
    match service.as_str() {
        "provider" => {
            let provider = fakes::FakeProvider::start(addr).await?;
            writeln!(std::io::stdout(), "{}", provider.url())?;
            std::future::pending().await
        }
        "stripe" => {
            let (webhook, file) = (args.next().filter(|url| !url.is_empty()), args.next().map(Into::into));
            let stripe = fakes::FakeStripe::start(addr, file).await?;
            if let Some(url) = webhook {
                stripe.set_webhook(&url, fakes::WEBHOOK_SECRET);
            }
            writeln!(std::io::stdout(), "{}", stripe.url())?;
            std::future::pending().await
        }
        "captcha" => {
            let captcha = fakes::FakeCaptcha::start(addr).await?;
            writeln!(std::io::stdout(), "{}", captcha.url())?;
            std::future::pending().await
        }
        _ => anyhow::bail!(
            "usage: fakes provider ADDRESS, fakes stripe ADDRESS [WEBHOOK-URL] [FILE], or fakes captcha ADDRESS"
        ),
    }
}
