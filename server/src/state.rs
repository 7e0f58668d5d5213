//! The state shared by all handlers: databases, meters, providers and running turns.

use crate::accounts::{
    breached_passwords::BreachedPasswords, captcha::Verifier, email, password::Passwords, relying_party,
    renewals::Renewals,
};
use crate::billing::client::Billing;
use crate::content::Content;
use crate::files::Files;
use crate::identity::providers::Providers as IdentityProviders;
use crate::mail::{Mailer, Site};
use crate::protection::Protection;
use crate::turn::{counting::Counting, image_memory, loops::LoopBreaker, providers::Providers};
use crate::{Config, config, failure, fault, openapi};
use app::api::context::{OfferedCache, PageState, StatusCache};
use app::view::billing::Payments;
use app::view::identity::IdentityProvider;
use domain::{Picos, Problem, ProblemKind, TurnId, UserId, brand};
use hmac::{Hmac, KeyInit as _, Mac as _};
use quota::Quotas;
use relay::Relay;
use sha2::Digest as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use webauthn_rs::Webauthn;

/// State of one server process. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub(crate) config: Arc<Config>,
    pub(crate) db: store::Db,
    /// Connections for the owner's pages.
    pub(crate) admin_db: store::Db,
    /// Connections for scheduled work with long-running statements.
    pub(crate) jobs_db: store::Db,
    /// Serializes the owner's expensive reports, so that they don't slow down chat.
    pub(crate) report_permits: Arc<Semaphore>,
    pub(crate) quotas: Quotas,
    pub(crate) relay: Relay,
    pub(crate) providers: Arc<Providers>,
    /// The Stripe integration, if configured.
    pub(crate) billing: Option<Arc<Billing>>,
    pub(crate) mailer: Arc<Mailer>,
    pub(crate) passwords: Arc<Passwords>,
    /// The service that lists breached passwords, if one is configured.
    pub(crate) breached_passwords: Option<Arc<BreachedPasswords>>,
    /// The verifier of the captcha, if one is configured.
    pub(crate) captcha: Option<Arc<Verifier>>,
    /// What passkeys are made for and checked with; `None` if the public URL has no domain name.
    pub(crate) relying_party: Option<Arc<Webauthn>>,
    /// Services with which users can sign in.
    pub(crate) identities: Arc<IdentityProviders>,
    /// Sessions that this server has renewed in the last hour.
    pub(crate) renewals: Arc<Renewals>,
    /// The OpenAPI document of the API for programs, as JSON.
    pub(crate) api_document: Arc<str>,
    /// The texts that the site's owner writes.
    pub(crate) content: Arc<Content>,
    /// The plans and models on the landing page, for a second.
    pub(crate) offered: Arc<OfferedCache>,
    /// What the status page shows, for half a minute.
    pub(crate) status: Arc<StatusCache>,
    /// Refuses API keys whose calls look like a loop.
    pub(crate) loops: Arc<LoopBreaker>,
    /// Reads and stores the files that users attach.
    pub(crate) files: Arc<Files>,
    /// The memory of the images that turns send, in KiB.
    pub(crate) image_memory: Arc<Semaphore>,
    /// Limits the cost of token counting.
    pub(crate) counting: Arc<Counting>,
    /// Limits that this process keeps in memory.
    pub(crate) protection: Arc<Protection>,
    /// Tasks of running turns.
    pub(crate) turns: TaskTracker,
    /// Canceled when shutdown begins; from then on the server reports itself as not ready.
    pub(crate) draining: CancellationToken,
    /// Canceled when running turns must end immediately.
    pub(crate) cancel_turns: CancellationToken,
    refusals: Arc<Mutex<HashMap<(UserId, ProblemKind), i64>>>,
    /// Turns that are settled in the meters but not yet marked as settled in Postgres.
    settled: Arc<Mutex<Vec<TurnId>>>,
}

impl AppState {
    pub(crate) fn new(config: Config, db: store::Db) -> anyhow::Result<Self> {
        let settings = quota::Settings {
            redis_url: config.redis_url.as_deref(),
            name: hex::encode(&sha2::Sha256::digest(config.secret_key)[..12]),
            now: Self::now,
        };
        let quotas = Quotas::new(settings, &db)?;
        Ok(Self {
            relay: match &config.redis_url {
                Some(url) => Relay::redis(url)?,
                None => Relay::memory(),
            },
            providers: Arc::new(Providers::new(&config)),
            billing: Billing::new(&config)?,
            mailer: Arc::new(Mailer::new(&config)?),
            passwords: Arc::new(Passwords::new()?),
            breached_passwords: match &config.breached_passwords_url {
                Some(url) => Some(Arc::new(BreachedPasswords::new(url, config.breached_passwords_timeout)?)),
                None => None,
            },
            captcha: config.captcha.as_ref().map(Verifier::new).transpose()?.map(Arc::new),
            relying_party: relying_party::of(&config.public_url)?.map(Arc::new),
            identities: Arc::new(IdentityProviders::new(&config)?),
            renewals: Arc::default(),
            api_document: openapi::document(&config)?.to_string().into(),
            content: Arc::new(Content::load(&config)?),
            offered: Arc::default(),
            status: Arc::default(),
            loops: Arc::new(LoopBreaker::new(db.clone(), quotas.clone(), config.api_loop_repeats)),
            files: Arc::new(Files::new(&config)?),
            image_memory: Arc::new(Semaphore::new(image_memory::kib(config.image_memory_mib))),
            counting: Arc::new(Counting::new()),
            protection: Arc::new(Protection::new(config.api_requests_per_minute)),
            turns: TaskTracker::new(),
            draining: CancellationToken::new(),
            cancel_turns: CancellationToken::new(),
            refusals: Arc::default(),
            settled: Arc::default(),
            admin_db: store::Db::lazy(&config.database_url, store::Purpose::Reports)?,
            jobs_db: store::Db::lazy(&config.database_url, store::Purpose::Jobs)?,
            report_permits: Arc::new(Semaphore::new(1)),
            config: Arc::new(config),
            quotas,
            db,
        })
    }

    /// Returns the current time by the server's clock.
    pub(crate) fn now() -> OffsetDateTime {
        fault::now()
    }

    /// Returns which payment provider this deployment uses.
    fn payments(&self) -> Payments {
        match (&self.billing, &self.config.stripe_base_url) {
            (None, _) => Payments::NotConnected,
            (Some(_), Some(url)) if config::is_loopback(url) => Payments::FakeProvider,
            (Some(_), _) => Payments::Stripe,
        }
    }

    /// Returns the services with which users can sign in, as pages show them.
    fn identity_providers(&self) -> Arc<[IdentityProvider]> {
        let view = |provider: &config::IdentityProvider| IdentityProvider {
            id: provider.id.clone(),
            label: provider.label.clone(),
            issuer: provider.issuer().to_owned(),
            reports_sign_in_time: self
                .identities
                .get(&provider.id)
                .is_some_and(|provider| provider.reports_sign_in_time()),
        };
        self.config.identity_providers.iter().map(view).collect()
    }

    /// Returns whether the landing page has a demo.
    pub(crate) fn has_demo(&self) -> bool {
        brand::DEMO && self.config.demo_daily_spend > Picos::ZERO
    }

    /// Returns the state that pages read from.
    pub(crate) fn page_state(&self) -> PageState {
        let (providers, circuits) = (Arc::clone(&self.providers), Arc::clone(&self.providers));
        let (protection, base_urls) = (Arc::clone(&self.protection), Arc::clone(&self.providers));
        let (config, identities) = (Arc::clone(&self.config), Arc::clone(&self.identities));
        PageState {
            db: self.db.clone(),
            admin_db: self.admin_db.clone(),
            report_permits: Arc::clone(&self.report_permits),
            quotas: self.quotas.clone(),
            offers: Arc::new(move |model| providers.offers(model)),
            providers: Arc::new(move || circuits.circuits()),
            has_key: Arc::new(move |name| config.has_key(name)),
            env_base_url: Arc::new(move |name| base_urls.shown_base_url(name)),
            ignored_forward: Arc::new(move || protection.forwards.latest()),
            daily_spend: self.config.daily_spend,
            identity_providers: self.identity_providers(),
            identity_pages: Arc::new(move || identities.origins()),
            payments: self.payments(),
            offered: Arc::clone(&self.offered),
            status: Arc::clone(&self.status),
            payment_pages: self.billing.as_ref().map(|billing| billing.pages.clone()).unwrap_or_default().into(),
            writes_titles: self.config.titles == config::Titles::Model,
            report: Arc::new(failure::internal),
            now: Self::now,
        }
    }

    /// Returns the subject of a verified address, which names its user's meters and ledger rows: a keyed hash, so that neither contains the
    /// address. Spellings that reach the same mailbox have the same subject.
    pub(crate) fn subject(&self, email: &str) -> anyhow::Result<String> {
        self.keyed_hash(&email::normalised(email))
    }

    /// Returns the subject of an account whose address isn't verified. It belongs to the account alone, so that no user can use up the
    /// quota of a stranger's address (field note 63).
    pub(crate) fn own_subject(&self, user_id: UserId) -> anyhow::Result<String> {
        self.keyed_hash(&format!("account:{user_id}"))
    }

    /// Returns the subject of a visitor who tries the demo on the site, given the origin of the request. It is no account's.
    pub(crate) fn demo_subject(&self, origin: &str) -> anyhow::Result<String> {
        self.keyed_hash(&format!("demo:{origin}"))
    }

    fn keyed_hash(&self, text: &str) -> anyhow::Result<String> {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&self.config.secret_key)?;
        mac.update(text.as_bytes());
        Ok(hex::encode(mac.finalize().into_bytes()))
    }

    /// Returns the base URL and the key of links in mails.
    pub(crate) fn site(&self) -> Site<'_> {
        Site { public_url: &self.config.public_url, codes_key: &self.config.codes_key }
    }

    /// Counts a refusal in memory. A refusal itself writes neither to Redis nor to the ledger.
    pub(crate) fn count_refusal(&self, user: UserId, kind: ProblemKind) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.entry((user, kind)).or_default() += 1;
    }

    /// Queues a turn to be marked as settled. Written once a second with others; settling a turn again has no effect.
    pub(crate) fn note_settled(&self, turn: TurnId) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).push(turn);
    }

    /// Marks queued turns as settled in Postgres. Turns that couldn't be written are kept for the next flush.
    pub(crate) async fn flush_settled(&self) {
        let turns = std::mem::take(&mut *self.settled.lock().unwrap_or_else(PoisonError::into_inner));
        if !turns.is_empty() && store::turn::mark_settled(&self.db, &turns).await.is_err() {
            self.settled.lock().unwrap_or_else(PoisonError::into_inner).extend(turns);
        }
    }

    /// Adds counted refusals to their hourly rows. Refusals that couldn't be written are kept for the next flush.
    pub(crate) async fn flush_refusals(&self) {
        let counted = std::mem::take(&mut *self.refusals.lock().unwrap_or_else(PoisonError::into_inner));
        for ((user, kind), n) in counted {
            if store::refusal::add(&self.db, user, kind.as_str(), Self::now(), n).await.is_err() {
                *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry((user, kind)).or_default() += n;
            }
        }
    }

    /// Returns the Stripe integration, or the problem that it isn't connected.
    pub(crate) fn billing(&self) -> Result<&Arc<Billing>, Problem> {
        self.billing.as_ref().ok_or_else(Problem::billing_not_connected)
    }

    /// Returns an error unless this server can accept turns.
    pub(crate) async fn ready(&self) -> Result<(), Problem> {
        let unready = |what: &str| Problem::new(ProblemKind::ModelUnavailable, format!("Not ready: {what}."));
        if self.draining.is_cancelled() {
            return Err(unready("draining"));
        }
        store::ping(&self.db).await.map_err(|_| unready("Postgres"))?;
        self.quotas.ping().await.map_err(|_| unready("Redis"))
    }
}
