//! The state that every handler can reach: databases, meters, providers, running turns.

use crate::meters::Meters;
use crate::provider::Providers;
use crate::{Config, error};
use app::api::billing::Payments;
use app::api::context::Sources;
use domain::{Problem, ProblemKind, TurnId, UserId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use relay::Relay;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One server's state; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub(crate) config: Arc<Config>,
    pub(crate) db: store::Db,
    /// For the admin's tables.
    pub(crate) admin_db: store::Db,
    /// For scheduled work whose statements may take long.
    pub(crate) jobs_db: store::Db,
    /// Of the owner's large view one is made at a time: chat goes first.
    pub(crate) one_admin: Arc<Semaphore>,
    pub(crate) meters: Meters,
    pub(crate) relay: Relay,
    pub(crate) providers: Arc<Providers>,
    /// Stripe, where it is connected.
    pub(crate) billing: Option<Arc<crate::billing::Billing>>,
    pub(crate) mailer: Arc<crate::mail::Mailer>,
    pub(crate) passwords: Arc<crate::auth::password::Passwords>,
    /// Bounds what counting tokens may cost.
    pub(crate) counting: Arc<crate::chat::counting::Counting>,
    /// Turns that run.
    pub(crate) turns: TaskTracker,
    /// We were told to go: no longer ready.
    pub(crate) draining: CancellationToken,
    /// Running turns end now.
    pub(crate) cut: CancellationToken,
    refusals: Arc<Mutex<HashMap<(UserId, ProblemKind), i64>>>,
    /// Turns whose meters were told, and whose rows weren't yet.
    settled: Arc<Mutex<Vec<TurnId>>>,
}

impl AppState {
    pub(crate) fn new(config: Config, db: store::Db) -> anyhow::Result<Self> {
        let meters = Meters::new(&config, &db)?;
        Ok(Self {
            relay: match &config.redis_url {
                Some(url) => Relay::redis(url)?,
                None => Relay::memory(),
            },
            providers: Arc::new(Providers::new(&config)?),
            billing: crate::billing::Billing::new(&config)?,
            mailer: Arc::new(crate::mail::Mailer::new(&config)?),
            passwords: Arc::new(crate::auth::password::Passwords::new()?),
            counting: Arc::new(crate::chat::counting::Counting::new()),
            turns: TaskTracker::new(),
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
            refusals: Arc::default(),
            settled: Arc::default(),
            admin_db: store::Db::lazy(&config.database_url, store::Purpose::Reports)?,
            jobs_db: store::Db::lazy(&config.database_url, store::Purpose::Jobs)?,
            one_admin: Arc::new(Semaphore::new(1)),
            config: Arc::new(config),
            meters,
            db,
        })
    }

    /// The server's clock.
    pub(crate) fn now() -> OffsetDateTime {
        crate::fault::now()
    }

    /// What can be bought here, and from whom.
    fn payments(&self) -> Payments {
        match (&self.billing, &self.config.stripe_base_url) {
            (None, _) => Payments::NotConnected,
            (Some(_), Some(url)) if crate::config::is_loopback(url) => Payments::FakeProvider,
            (Some(_), _) => Payments::Stripe,
        }
    }

    /// Where pages read from.
    pub(crate) fn sources(&self) -> Sources {
        let (providers, circuits) = (Arc::clone(&self.providers), Arc::clone(&self.providers));
        Sources {
            db: self.db.clone(),
            admin_db: self.admin_db.clone(),
            one_admin: Arc::clone(&self.one_admin),
            limits: self.meters.users.clone(),
            offers: Arc::new(move |model| providers.offers(model)),
            providers: Arc::new(move || circuits.circuits()),
            daily_spend: self.config.daily_spend,
            payments: self.payments(),
            payment_pages: self.billing.as_ref().map(|billing| billing.pages.clone()).unwrap_or_default().into(),
            report: Arc::new(error::internal),
            now: Self::now,
        }
    }

    /// Names a user's meters and ledger rows: a keyed hash of the address at sign-up, so that neither holds it.
    pub(crate) fn subject(&self, email: &str) -> anyhow::Result<String> {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&self.config.secret_key)?;
        mac.update(crate::auth::email::normalised(email).as_bytes());
        Ok(hex::encode(mac.finalize().into_bytes()))
    }

    /// Counts a refusal, in memory: neither Redis nor the ledger is written by one.
    pub(crate) fn count_refusal(&self, user: UserId, kind: ProblemKind) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.entry((user, kind)).or_default() += 1;
    }

    /// Notes that the meters know what a turn used. Written down with others of the same second; settling again does nothing.
    pub(crate) fn note_settled(&self, turn: TurnId) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).push(turn);
    }

    /// Writes down which turns are settled; what can't be written now is kept for the next time.
    pub(crate) async fn flush_settled(&self) {
        let turns = std::mem::take(&mut *self.settled.lock().unwrap_or_else(PoisonError::into_inner));
        if !turns.is_empty() && store::turn::settled(&self.db, &turns).await.is_err() {
            self.settled.lock().unwrap_or_else(PoisonError::into_inner).extend(turns);
        }
    }

    /// Writes counted refusals to their hour; what can't be written now is kept for the next time.
    pub(crate) async fn flush_refusals(&self) {
        let counted = std::mem::take(&mut *self.refusals.lock().unwrap_or_else(PoisonError::into_inner));
        for ((user, kind), n) in counted {
            let name =
                serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
            if store::refusal::add(&self.db, user, &name, Self::now(), n).await.is_err() {
                *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry((user, kind)).or_default() += n;
            }
        }
    }

    /// Whether this server can take turns.
    pub(crate) async fn ready(&self) -> Result<(), Problem> {
        let unready = |what: &str| Problem::new(ProblemKind::ModelUnavailable, format!("Not ready: {what}."));
        if self.draining.is_cancelled() {
            return Err(unready("draining"));
        }
        store::ping(&self.db).await.map_err(|_| unready("Postgres"))?;
        self.meters.ping().await.map_err(|_| unready("Redis"))
    }
}
