//! The registry of provider endpoints, and the only caller of `providers`. Opening a stream requires a permit.

pub use super::not_opened::NotOpened;

use super::circuit::Circuit;
use super::endpoint::{Endpoint, whole_ms};
use crate::Config;
use domain::{
    CacheMarks, Model, ModelName, OutputLimit, PriceList, PromptMessage, Provider, ProviderName, Tokens, UserId,
    WireFormat,
};
use limits::Permit;
use providers::api::ApiRequest;
use providers::{Anthropic, Demo, ModelRequest, OpenAi, Opened, ProviderError, Timeouts};
use secrecy::SecretString;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The endpoints of the providers in the database, built when they are first seen and again when their row changes.
pub struct Providers {
    endpoints: Mutex<BTreeMap<ProviderName, Arc<Endpoint>>>,
    /// API keys by the name of their variable.
    keys: HashMap<String, SecretString>,
    anthropic_base_url: Option<String>,
    openai_base_url: Option<String>,
    /// Timeouts where neither the model nor its provider has its own.
    timeouts: Timeouts,
    /// Whether a provider with a key has been seen.
    has_key: AtomicBool,
    /// Notified when any circuit opens, any account is rejected or any model is unknown.
    opened: Arc<Notify>,
}

/// A call that a permit allows. It owns what it needs, so it can outlive the request that made it.
pub(super) struct Call {
    endpoint: Result<Arc<Endpoint>, ProviderError>,
    model: ModelName,
    system: String,
    messages: Vec<PromptMessage>,
    max_output: Tokens,
    output_limit: Option<OutputLimit>,
    effort: Option<String>,
    caches: bool,
    /// The whole body of an API call, in place of the messages.
    raw: Option<Value>,
    /// The user whose API client makes the call.
    api_user: Option<UserId>,
    timeouts: Timeouts,
}

/// What a call sends.
#[derive(Clone, Copy)]
pub(super) struct CallInput<'a> {
    pub model: &'a Model,
    /// The system prompt.
    pub system: &'a str,
    pub messages: &'a [PromptMessage],
    /// The request of an API call, which is sent in place of the messages.
    pub api: Option<&'a ApiRequest>,
    /// The user whose API client makes it.
    pub api_user: Option<UserId>,
    pub max_output: Tokens,
    /// The reasoning effort. One that the model doesn't have is left out.
    pub effort: Option<&'a str>,
    /// Size of the prompt.
    pub estimated: Tokens,
}

impl Call {
    /// Sends the request and returns its response. See [`Endpoint::open`].
    pub async fn open(self, outstanding: &AtomicBool, is_abandoned: &AtomicBool) -> Result<Opened, NotOpened> {
        let endpoint = self.endpoint.map_err(NotOpened::Provider)?;
        let request = ModelRequest {
            model: &self.model,
            system: &self.system,
            messages: &self.messages,
            max_output: self.max_output,
            output_limit: self.output_limit,
            effort: self.effort.as_deref(),
            caches: self.caches,
            raw: self.raw.as_ref(),
            timeouts: self.timeouts,
        };
        endpoint.open(&request, self.api_user, outstanding, is_abandoned).await
    }
}

/// Returns whether a prompt of this size is sent with cache breakpoints.
pub(super) fn sets_breakpoints(model: &Model, estimated: Tokens) -> bool {
    model.provider.wire_format == WireFormat::Anthropic && model.min_cacheable.is_some_and(|min| estimated >= min)
}

/// The smallest prompt that OpenAI caches: <https://platform.openai.com/docs/guides/prompt-caching>
const OPENAI_MIN_CACHEABLE: Tokens = Tokens(1_024);

/// Returns how a prompt of this size that this server has written marks what its provider is to cache. OpenAI caches, and bills that, without marks.
pub(crate) fn own_cache_marks(model: &Model, price: &PriceList, estimated: Tokens) -> CacheMarks {
    let is_unmarked = model.provider.wire_format == WireFormat::OpenAi
        && price.tier(estimated).cache_write.is_some()
        && estimated >= model.min_cacheable.unwrap_or(OPENAI_MIN_CACHEABLE);
    if is_unmarked || sets_breakpoints(model, estimated) { CacheMarks::Short } else { CacheMarks::None }
}

/// Returns the same of a prompt that an API client may have written.
pub(super) fn cache_marks(api: Option<&ApiRequest>, model: &Model, price: &PriceList, estimated: Tokens) -> CacheMarks {
    match api {
        None => own_cache_marks(model, price, estimated),
        // No breakpoints are added to the request of an API client.
        Some(request) if model.provider.wire_format == WireFormat::Anthropic => request.cache_marks(model),
        Some(request) => request.cache_marks(model).max(own_cache_marks(model, price, estimated)),
    }
}

impl Providers {
    /// Creates the registry without endpoints.
    pub fn new(config: &Config) -> Self {
        Self {
            endpoints: Mutex::default(),
            keys: config.provider_keys.clone(),
            anthropic_base_url: config.anthropic_base_url.clone(),
            openai_base_url: config.openai_base_url.clone(),
            timeouts: config.provider_timeouts,
            has_key: AtomicBool::default(),
            opened: Arc::default(),
        }
    }

    /// Registers a provider, so that its circuit is listed before its first call and the demo model is no longer offered.
    pub fn register(&self, provider: &Provider) {
        if provider.key_variable.as_ref().is_some_and(|name| self.keys.contains_key(name)) {
            self.has_key.store(true, Ordering::Relaxed);
        }
        if self.is_available(provider) {
            // An error is reported by the first call.
            drop(self.endpoint(provider));
        }
    }

    /// Returns whether a model can be called. The demo model is available only while no provider has a key.
    pub fn offers(&self, model: &Model) -> bool {
        self.register(&model.provider);
        self.is_available(&model.provider)
    }

    fn is_available(&self, provider: &Provider) -> bool {
        match (provider.wire_format, &provider.key_variable) {
            (WireFormat::Demo, _) => !self.has_key.load(Ordering::Relaxed),
            (_, Some(name)) => self.keys.contains_key(name),
            (_, None) => provider.base_url.is_some(),
        }
    }

    /// Returns the base URL that the environment sets for a provider, with the name of its variable. It overrides the URL of the row.
    fn env_base_url(&self, name: &ProviderName) -> Option<(&'static str, &str)> {
        let (variable, url) = match name.0.as_str() {
            "anthropic" => ("ANTHROPIC_BASE_URL", &self.anthropic_base_url),
            "openai" => ("OPENAI_BASE_URL", &self.openai_base_url),
            _ => return None,
        };
        Some((variable, url.as_deref()?))
    }

    /// Returns the base URL that the environment sets for a provider, with the name of its variable, for the owner's page: without the user,
    /// password and query that it may contain.
    pub fn shown_base_url(&self, name: &ProviderName) -> Option<(&'static str, String)> {
        self.env_base_url(name).map(|(variable, url)| (variable, without_secrets(url)))
    }

    /// Prepares an admitted call. The output is capped by `max_output`, by the model, and by what the permit reserves.
    pub(super) fn call(&self, permit: &Permit, input: CallInput<'_>) -> Call {
        self.prepare(CallInput { max_output: input.max_output.min(Tokens(permit.reserved())), ..input })
    }

    /// Calls a model outside of any turn, to find out whether it works: only for the owner's tests of a model, which no permit covers.
    ///
    /// # Errors
    /// Returns the reason the call was not opened.
    pub async fn probe(
        &self,
        model: &Model,
        messages: &[PromptMessage],
        max_output: Tokens,
    ) -> Result<Opened, NotOpened> {
        let system = domain::brand::SYSTEM_PROMPT;
        let (api, api_user, effort, estimated) = (None, None, None, Tokens(0));
        let input = CallInput { model, system, messages, api, api_user, max_output, effort, estimated };
        let call = self.prepare(input);
        call.open(&AtomicBool::default(), &AtomicBool::default()).await
    }

    fn prepare(&self, input: CallInput<'_>) -> Call {
        let CallInput { model, system, messages, api, api_user, max_output, effort, estimated } = input;
        let effort = effort.filter(|effort| model.efforts.iter().any(|known| known == effort));
        let max_output = max_output.min(model.max_output);
        Call {
            endpoint: self.endpoint(&model.provider),
            model: model.name.clone(),
            system: system.to_owned(),
            messages: messages.to_vec(),
            max_output,
            output_limit: model.output_limit,
            effort: effort.map(str::to_owned),
            caches: sets_breakpoints(model, estimated),
            raw: api.map(|request| request.body(model, max_output)),
            api_user,
            timeouts: self.timeouts_of(model),
        }
    }

    /// Returns the timeouts of a model's calls: its own, else its provider's, else the deployment's.
    fn timeouts_of(&self, model: &Model) -> Timeouts {
        let provider = &model.provider;
        let or = |ms: Option<u32>, default: Duration| ms.map_or(default, |ms| Duration::from_millis(ms.into()));
        Timeouts {
            connect: or(provider.connect_timeout_ms, self.timeouts.connect),
            first_byte: or(model.first_byte_timeout_ms.or(provider.first_byte_timeout_ms), self.timeouts.first_byte),
            idle: or(model.idle_timeout_ms.or(provider.idle_timeout_ms), self.timeouts.idle),
        }
    }

    /// Records that a stream broke off because of the provider. `api_user` is the user whose API client made the call.
    pub fn record_stream_failure(&self, model: &Model, error: &ProviderError, api_user: Option<UserId>) {
        if let Some(endpoint) = self.registered(&model.provider.name) {
            endpoint.record_stream_failure(error, api_user);
        }
    }

    /// Returns the milliseconds until the circuit of a model's provider lets a call through; `None` if it does now.
    pub fn open_for_ms(&self, model: &Model) -> Option<u64> {
        let endpoint = self.registered(&model.provider.name).filter(|endpoint| endpoint.row == model.provider)?;
        endpoint.circuit.refuses(Instant::now()).map(whole_ms)
    }

    /// Returns whether a model's provider rejects every call until the owner acts.
    pub fn needs_owner(&self, model: &Model) -> bool {
        self.registered(&model.provider.name).is_some_and(|endpoint| endpoint.account_problem().is_some())
    }

    /// Waits until a circuit breaker opens, an account is rejected or a model is unknown. Supports a single waiter; a notification without a
    /// waiter is kept.
    pub(crate) async fn circuit_opened(&self) {
        self.opened.notified().await;
    }

    /// Returns every known endpoint, with the milliseconds until its circuit is probed if the circuit is open.
    pub fn circuits(&self) -> Vec<(String, Option<u64>)> {
        let now = Instant::now();
        let open_for_ms = |circuit: &Circuit| circuit.open_for(now).map(whole_ms);
        let endpoints = self.endpoints();
        let real = endpoints.values().filter(|endpoint| endpoint.row.wire_format != WireFormat::Demo);
        real.map(|endpoint| (endpoint.row.label.clone(), open_for_ms(&endpoint.circuit))).collect()
    }

    /// Returns the providers that reject every call until the owner acts, and why, in words that follow the name. An entry lasts until a
    /// call of this server works.
    pub fn account_problems(&self) -> Vec<(String, &'static str)> {
        let endpoints = self.endpoints();
        let problem = |endpoint: &Arc<Endpoint>| Some((endpoint.row.label.clone(), endpoint.account_problem()?));
        endpoints.values().filter_map(problem).collect()
    }

    /// Returns the models that their providers don't know, with the provider's label. An entry lasts until a call of this server works.
    pub fn unknown_models(&self) -> Vec<(String, ModelName)> {
        let endpoints = self.endpoints();
        let of_endpoint = |endpoint: &Arc<Endpoint>| {
            let label = endpoint.row.label.clone();
            endpoint.unknown_models().into_iter().map(move |model| (label.clone(), model))
        };
        endpoints.values().flat_map(of_endpoint).collect()
    }

    fn endpoints(&self) -> MutexGuard<'_, BTreeMap<ProviderName, Arc<Endpoint>>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registered(&self, name: &ProviderName) -> Option<Arc<Endpoint>> {
        self.endpoints().get(name).cloned()
    }

    /// Returns a provider's endpoint. If its row has changed, builds a new one with a closed circuit.
    fn endpoint(&self, provider: &Provider) -> Result<Arc<Endpoint>, ProviderError> {
        let mut endpoints = self.endpoints();
        if let Some(endpoint) = endpoints.get(&provider.name).filter(|endpoint| endpoint.row == *provider) {
            return Ok(Arc::clone(endpoint));
        }
        let endpoint = Arc::new(Endpoint::new(provider.clone(), self.client(provider)?, &self.opened));
        endpoints.insert(provider.name.clone(), Arc::clone(&endpoint));
        Ok(endpoint)
    }

    fn client(&self, provider: &Provider) -> Result<Box<dyn providers::Provider>, ProviderError> {
        let overridden = self.env_base_url(&provider.name).map(|(_, url)| url);
        let base_url = overridden.or(provider.base_url.as_deref());
        let key = provider.key_variable.as_ref().and_then(|name| self.keys.get(name)).cloned();
        let own = provider.connect_timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let connect = own.unwrap_or(self.timeouts.connect);
        let client: Box<dyn providers::Provider> = match provider.wire_format {
            WireFormat::Anthropic => Box::new(Anthropic::new(base_url, key, connect)?),
            WireFormat::OpenAi => Box::new(OpenAi::new(base_url, key, connect)?),
            WireFormat::Demo => Box::new(Demo),
        };
        Ok(client)
    }
}

/// Removes the user, password and query of a URL.
fn without_secrets(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = plain.split_at(plain.find("://").map_or(0, |at| at + "://".len()));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::testing::model;
    use domain::Thinking;

    fn providers(keys: &[&str]) -> Providers {
        crate::telemetry::tls();
        let base = [("DATABASE_URL", "postgres://x"), ("PROVIDER_IDLE_TIMEOUT_MS", "7000")];
        let keys = keys.iter().map(|name| (*name, "key"));
        let pairs = base.into_iter().chain(keys).map(|(name, value)| (name.to_owned(), value.to_owned()));
        Providers::new(&Config::read(pairs).unwrap())
    }

    #[test]
    fn shown_base_urls_have_no_secrets() {
        for (url, shown) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("https://user:pass@proxy.example:8443/v1?key=k#f", "https://proxy.example:8443/v1"),
            ("http://a@b@proxy.example?key=a/b@c", "http://proxy.example"),
            ("user:pass@proxy.example/v1?key=k", "proxy.example/v1"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }

    fn served_by(wire_format: WireFormat, key_variable: Option<&str>, base_url: Option<&str>) -> Model {
        let mut model = model(Thinking::None);
        let (key_variable, base_url) = (key_variable.map(str::to_owned), base_url.map(str::to_owned));
        model.provider = Provider { wire_format, key_variable, base_url, ..model.provider };
        model
    }

    #[test]
    fn models_are_offered_if_their_provider_can_be_called() {
        let local = Some("http://127.0.0.1:9/v1");
        let keyed = |name| served_by(WireFormat::OpenAi, Some(name), None);
        let demo = served_by(WireFormat::Demo, None, None);
        let providers = providers(&["GROQ_API_KEY", "UNRELATED_API_KEY"]);
        assert!(providers.offers(&demo), "no provider with a key is known yet");
        assert!(!providers.offers(&keyed("OPENAI_API_KEY")) && providers.offers(&demo));
        assert!(providers.offers(&served_by(WireFormat::OpenAi, None, local)) && providers.offers(&demo));
        assert!(!providers.offers(&served_by(WireFormat::OpenAi, None, None)));
        assert!(providers.offers(&keyed("GROQ_API_KEY")) && !providers.offers(&demo));
    }

    #[test]
    fn a_changed_row_has_a_new_endpoint_with_a_closed_circuit() {
        let (providers, mut model) = (providers(&[]), model(Thinking::None));
        providers.register(&model.provider);
        let error = ProviderError::KeyRejected { status: 401 };
        providers.record_stream_failure(&model, &error, None);
        assert!(providers.open_for_ms(&model).is_some() && providers.needs_owner(&model));
        assert_eq!(providers.account_problems(), [("P".to_owned(), "rejects the API key")]);
        model.provider.base_url = Some("http://127.0.0.1:10".into());
        assert_eq!(providers.open_for_ms(&model), None);
        providers.register(&model.provider);
        assert!(providers.account_problems().is_empty());
        assert_eq!(providers.circuits(), [("P".to_owned(), None)]);
    }

    /// Field note 57: a model that thinks for long has its own timeouts.
    #[test]
    fn timeouts_are_the_models_then_the_providers_then_the_deployments() {
        let (providers, mut model) = (providers(&[]), model(Thinking::Always));
        let defaults = Timeouts::default();
        let idle = Duration::from_millis;
        assert_eq!(providers.timeouts_of(&model), Timeouts { idle: idle(7_000), ..defaults });
        model.provider.idle_timeout_ms = Some(8_000);
        model.provider.connect_timeout_ms = Some(9);
        let connect = Duration::from_millis(9);
        assert_eq!(providers.timeouts_of(&model), Timeouts { connect, idle: idle(8_000), ..defaults });
        model.idle_timeout_ms = Some(300_000);
        assert_eq!(providers.timeouts_of(&model), Timeouts { connect, idle: idle(300_000), ..defaults });
    }
}
