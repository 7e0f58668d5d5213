//! One provider's API: its client, its circuit breaker, its calls in progress, and what is known about our account there.

use super::circuit::{CallPermit, Circuit};
use super::not_opened::NotOpened;
use domain::{ModelName, Provider, UserId};
use futures::StreamExt as _;
use providers::{ModelRequest, Opened, Provider as Client, ProviderError};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Maximum number of retries if a provider is busy or can't be reached.
const RETRIES: u32 = 2;
/// Pause before the first retry. Doubles with each retry.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest pause that a provider may request. Beyond it the call is not retried, and the user is shown when to try again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time that a call waits for one of the provider's calls in progress to end.
const SLOT_WAIT: Duration = Duration::from_secs(1);
/// `retry_after_ms` of a call that found no free slot.
const SLOT_RETRY_MS: u64 = 1_000;

/// A provider's API.
pub(super) struct Endpoint {
    /// The row that it was built from.
    pub row: Provider,
    client: Box<dyn Client>,
    pub circuit: Circuit,
    /// One permit per call that may be in progress; `None` is unlimited.
    slots: Option<Arc<Semaphore>>,
    /// Why the provider rejects every call until the owner acts; `None` once a call works.
    account_problem: Mutex<Option<&'static str>>,
    /// The models that the provider doesn't know, until a call of them works.
    unknown_models: Mutex<BTreeSet<ModelName>>,
    /// Notified when the circuit opens, when our account is rejected, and when a model is unknown.
    opened: Arc<Notify>,
}

impl Endpoint {
    /// Creates an endpoint with a closed circuit. `opened` is notified of what admins are alerted about.
    pub fn new(row: Provider, client: Box<dyn Client>, opened: &Arc<Notify>) -> Self {
        let slots = row.max_in_flight.map(|max| {
            let max = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(max))
        });
        let circuit = Circuit::new(Arc::clone(opened));
        Self {
            row,
            client,
            circuit,
            slots,
            account_problem: Mutex::default(),
            unknown_models: Mutex::default(),
            opened: Arc::clone(opened),
        }
    }

    /// Opens a stream. Retries while the error is temporary, the provider accepted nothing, and the caller still waits.
    ///
    /// `outstanding` is set while a request is in flight that the provider may bill. Once the caller sets `is_abandoned`, nothing is sent
    /// again. `api_user` is the user whose API client makes the call.
    pub async fn open(
        &self,
        request: &ModelRequest<'_>,
        api_user: Option<UserId>,
        outstanding: &AtomicBool,
        is_abandoned: &AtomicBool,
    ) -> Result<Opened, NotOpened> {
        let (mut tried, mut last) = (0, None);
        loop {
            let call_permit = match (self.circuit.try_acquire(Instant::now()), last) {
                (Ok(call_permit), _) => call_permit.for_api_user(api_user),
                // The circuit opened between two attempts; the provider was called at least once.
                (Err(_), Some(error)) => return Err(NotOpened::Provider(error)),
                (Err(left), None) => {
                    let retry_after_ms = whole_ms(left);
                    return Err(NotOpened::Circuit { retry_after_ms, needs_owner: self.account_problem().is_some() });
                }
            };
            let slot = self.acquire_slot().await?;
            outstanding.store(true, Ordering::Relaxed);
            let error = match self.open_once(request, &call_permit).await {
                Ok(opened) => {
                    call_permit.record_success();
                    *self.account() = None;
                    self.unknown().remove(request.model);
                    return Ok(hold_slot(opened, slot));
                }
                Err(error) => error,
            };
            drop(slot);
            outstanding.store(error.may_be_billed(), Ordering::Relaxed);
            self.note_unknown_model(&error, request.model, api_user);
            self.record_failure(&error, call_permit);
            let pause = pause(&error, tried).filter(|_| !is_abandoned.load(Ordering::Relaxed));
            let Some(pause) = pause else { return Err(NotOpened::Provider(error)) };
            (tried, last) = (tried + 1, Some(error));
            metrics::counter!("quotient_provider_retries_total").increment(1);
            tokio::time::sleep(pause).await;
        }
    }

    /// Makes one attempt. Once it has been silent for longer than usual, the circuit breaker counts it, so that further calls don't join
    /// the wait (field note 104).
    async fn open_once(
        &self,
        request: &ModelRequest<'_>,
        call_permit: &CallPermit<'_>,
    ) -> Result<Opened, ProviderError> {
        let opening = self.client.open(request);
        tokio::pin!(opening);
        tokio::select! {
            opened = &mut opening => return opened,
            () = tokio::time::sleep(request.timeouts.first_byte / 4) => {}
        }
        let _silent = call_permit.silent(Instant::now());
        opening.await
    }

    /// Takes a slot of the provider's calls in progress.
    async fn acquire_slot(&self) -> Result<Option<OwnedSemaphorePermit>, NotOpened> {
        let Some(slots) = &self.slots else { return Ok(None) };
        match tokio::time::timeout(SLOT_WAIT, Arc::clone(slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(Some(slot)),
            Ok(Err(_)) | Err(_) => Err(NotOpened::Full { retry_after_ms: SLOT_RETRY_MS }),
        }
    }

    fn record_failure(&self, error: &ProviderError, call_permit: CallPermit<'_>) {
        if error.needs_owner() && call_permit.is_api_call() && !is_about_account(error) {
            call_permit.failed(Instant::now());
        } else if error.needs_owner() {
            self.note_account_problem(error);
            call_permit.rejected(Instant::now());
        } else if error.is_outage() {
            call_permit.failed(Instant::now());
        } else {
            call_permit.record_success();
        }
    }

    /// Records that an open stream broke off with this error. `api_user` is the user whose API client made the call.
    pub fn record_stream_failure(&self, error: &ProviderError, api_user: Option<UserId>) {
        if error.needs_owner() && (api_user.is_none() || is_about_account(error)) {
            self.note_account_problem(error);
            self.circuit.trip(Instant::now());
        } else if error.is_outage() || error.needs_owner() {
            self.circuit.record_failure(api_user, Instant::now());
        }
    }

    /// Returns why the provider rejects every call until the owner acts; `None` if it doesn't.
    pub fn account_problem(&self) -> Option<&'static str> {
        *self.account()
    }

    /// Returns the models that the provider doesn't know.
    pub fn unknown_models(&self) -> Vec<ModelName> {
        self.unknown().iter().cloned().collect()
    }

    /// Notes that the provider doesn't know a model, about which admins are alerted. An API client's call counts by its status alone: the messages of
    /// others may quote what it has sent.
    fn note_unknown_model(&self, error: &ProviderError, model: &ModelName, api_user: Option<UserId>) {
        let ProviderError::UnknownModel { status } = error else { return };
        if (api_user.is_none() || *status == 404) && self.unknown().insert(model.clone()) {
            tracing::warn!(provider = %self.row.name, %model, "the provider doesn't know the model");
            self.opened.notify_one();
        }
    }

    fn unknown(&self) -> MutexGuard<'_, BTreeSet<ModelName>> {
        self.unknown_models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_account_problem(&self, error: &ProviderError) {
        let reason = match error {
            ProviderError::OutOfCredit { .. } => "is out of credit",
            _ => "rejects the API key",
        };
        metrics::counter!("quotient_provider_account_errors_total", "provider" => self.row.name.0.clone()).increment(1);
        // Noted before the circuit opens, because the alerts that follow read it.
        if self.account().replace(reason) != Some(reason) {
            tracing::warn!(provider = %self.row.name, "the provider {reason}");
            self.opened.notify_one();
        }
    }

    fn account(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.account_problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether an error is about our account by its status alone. The messages of other statuses are matched against phrases, and may quote
/// what an API client has sent.
fn is_about_account(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::OutOfCredit { status: 401 | 402 | 429 } | ProviderError::KeyRejected { status: 401 | 402 | 429 }
    )
}

/// Returns the whole milliseconds of a duration.
pub(super) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps a call's slot until its response is dropped.
fn hold_slot(opened: Opened, slot: Option<OwnedSemaphorePermit>) -> Opened {
    let Some(slot) = slot else { return opened };
    let Opened { chunks, learned } = opened;
    let chunks = chunks.map(move |chunk| {
        let _slot = &slot;
        chunk
    });
    Opened { chunks: chunks.boxed(), learned }
}

/// Returns the pause before the next attempt, or `None` if the call isn't retried. Doubles each time, with jitter, so that many clients
/// don't retry at once.
fn pause(error: &ProviderError, tried: u32) -> Option<Duration> {
    let own = PAUSE * 2_u32.pow(tried);
    let own = own.mul_f64(rand::random_range(0.5..1.0));
    let wanted = match error {
        ProviderError::Busy { retry_after_ms: Some(ms), .. } => Duration::from_millis(*ms),
        _ => Duration::ZERO,
    };
    (error.is_retryable() && tried < RETRIES && wanted <= LONGEST_PAUSE).then(|| own.max(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::testing::model;
    use domain::{Thinking, Tokens};
    use futures::stream;
    use providers::Timeouts;
    use std::collections::VecDeque;

    /// A client that fails with these errors, one per call, and then opens streams without chunks.
    #[derive(Default)]
    struct Scripted {
        errors: Mutex<VecDeque<ProviderError>>,
        calls: Arc<Mutex<u32>>,
    }

    #[async_trait::async_trait]
    impl Client for Scripted {
        async fn open(&self, _: &ModelRequest<'_>) -> Result<Opened, ProviderError> {
            *self.calls.lock().unwrap() += 1;
            match self.errors.lock().unwrap().pop_front() {
                Some(error) => Err(error),
                None => Ok(Opened { chunks: stream::pending().boxed(), learned: None }),
            }
        }
    }

    /// Returns an endpoint whose calls fail with these errors first, and the number of calls that it has made.
    fn endpoint_with(
        max_in_flight: Option<u32>,
        errors: impl IntoIterator<Item = ProviderError>,
    ) -> (Endpoint, Arc<Mutex<u32>>) {
        let client = Scripted { errors: Mutex::new(errors.into_iter().collect()), ..Scripted::default() };
        let calls = Arc::clone(&client.calls);
        let row = Provider { max_in_flight, ..model(Thinking::None).provider };
        (Endpoint::new(row, Box::new(client), &Arc::default()), calls)
    }

    async fn open(endpoint: &Endpoint, is_abandoned: bool) -> Result<Opened, NotOpened> {
        let name = ModelName("m".into());
        let request = ModelRequest {
            model: &name,
            system: "",
            messages: &[],
            max_output: Tokens(1),
            output_limit: None,
            effort: None,
            caches: false,
            raw: None,
            timeouts: Timeouts::default(),
        };
        endpoint.open(&request, None, &AtomicBool::default(), &AtomicBool::new(is_abandoned)).await
    }

    /// A provider's message may quote what an API client sent, and an API client may make it fail, so one user's API clients close nothing for others.
    #[test]
    fn an_api_client_cannot_close_a_provider() {
        let (endpoint, _) = endpoint_with(None, []);
        let ann = Some(UserId::from(uuid::Uuid::from_u128(1)));
        let fail = |error: &ProviderError| {
            endpoint.record_failure(error, endpoint.circuit.try_acquire(Instant::now()).unwrap().for_api_user(ann));
            endpoint.record_stream_failure(error, ann);
        };
        for _ in 0..9 {
            fail(&ProviderError::OutOfCredit { status: 400 });
            fail(&ProviderError::KeyRejected { status: 403 });
            fail(&ProviderError::Busy { status: 500, retry_after_ms: None });
        }
        assert!(endpoint.account_problem().is_none() && endpoint.circuit.open_for(Instant::now()).is_none());
        fail(&ProviderError::Refused { status: 400, kind: "invalid_request_error".into() });
        endpoint.record_stream_failure(&ProviderError::KeyRejected { status: 401 }, ann);
        assert!(endpoint.account_problem().is_some() && endpoint.circuit.open_for(Instant::now()).is_some());
    }

    fn busy(retry_after_ms: Option<u64>) -> ProviderError {
        ProviderError::Busy { status: 429, retry_after_ms }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_wait_as_long_as_the_provider_asks() {
        let (busy_twice, calls) = endpoint_with(None, [busy(Some(1_500)), busy(None)]);
        let began = tokio::time::Instant::now();
        assert!(open(&busy_twice, false).await.is_ok());
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(1_500 + 250) && took <= Duration::from_millis(1_500 + 510), "{took:?}");
        assert_eq!(*calls.lock().unwrap(), 3);
        let (too_long, calls) = endpoint_with(None, [busy(Some(5_001))]);
        assert!(matches!(open(&too_long, false).await, Err(NotOpened::Provider(ProviderError::Busy { .. }))));
        assert_eq!(*calls.lock().unwrap(), 1);
        let (always, calls) = endpoint_with(None, (0..9).map(|_| busy(None)));
        assert!(open(&always, false).await.is_err());
        assert_eq!(*calls.lock().unwrap(), 1 + RETRIES);
    }

    /// Field note 61: a call that the user has stopped is read on, but never sent again.
    #[tokio::test(start_paused = true)]
    async fn an_abandoned_call_is_not_retried() {
        let (endpoint, calls) = endpoint_with(None, [busy(None)]);
        assert!(open(&endpoint, true).await.is_err());
        assert_eq!(*calls.lock().unwrap(), 1);
    }

    /// Field note 58: the account is called once, admins are alerted, and the first call that works ends the alert.
    #[tokio::test(start_paused = true)]
    async fn a_rejected_account_is_noted_until_a_call_works() {
        let (endpoint, calls) = endpoint_with(None, [ProviderError::OutOfCredit { status: 402 }]);
        assert!(open(&endpoint, false).await.is_err());
        assert_eq!((*calls.lock().unwrap(), endpoint.account_problem()), (1, Some("is out of credit")));
        assert!(matches!(open(&endpoint, false).await, Err(NotOpened::Circuit { needs_owner: true, .. })));
        assert_eq!(*calls.lock().unwrap(), 1);
        let (recovered, _) = endpoint_with(None, []);
        recovered.note_account_problem(&ProviderError::KeyRejected { status: 401 });
        assert!(open(&recovered, false).await.is_ok());
        assert_eq!(recovered.account_problem(), None);
    }

    /// Admins are alerted of a model that its provider doesn't know until a call of it works. An API client's text is no proof.
    #[tokio::test(start_paused = true)]
    async fn an_unknown_model_is_noted_until_a_call_works() {
        let (endpoint, _) = endpoint_with(None, [ProviderError::UnknownModel { status: 400 }]);
        let (model, api_user) = (ModelName("m".into()), Some(UserId::from(uuid::Uuid::nil())));
        endpoint.note_unknown_model(&ProviderError::UnknownModel { status: 400 }, &model, api_user);
        assert!(endpoint.unknown_models().is_empty());
        endpoint.note_unknown_model(&ProviderError::UnknownModel { status: 404 }, &model, api_user);
        assert_eq!(endpoint.unknown_models(), std::slice::from_ref(&model));
        assert!(open(&endpoint, false).await.is_err());
        assert_eq!(endpoint.unknown_models(), [model]);
        assert!(open(&endpoint, false).await.is_ok());
        assert!(endpoint.unknown_models().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_progress_are_limited() {
        let (endpoint, calls) = endpoint_with(Some(1), []);
        let first = open(&endpoint, false).await;
        assert!(first.is_ok());
        assert!(matches!(open(&endpoint, false).await, Err(NotOpened::Full { .. })));
        assert_eq!(*calls.lock().unwrap(), 1, "a call beyond the limit isn't sent");
        drop(first);
        assert!(open(&endpoint, false).await.is_ok());
    }
}
