//! The one caller of `providers`: whatever opens a stream here has been admitted, by type.

use crate::Config;
use domain::{Model, Problem, PromptMessage, Tokens, Vendor};
use limits::Permit;
use providers::{Anthropic, Ask, Chunks, Demo, OpenAi, VendorError};
use secrecy::SecretString;
use std::{collections::HashMap, sync::Arc, sync::Mutex, sync::PoisonError};

/// The vendors that have a key, and the servers that models name for themselves.
pub struct Vendors {
    anthropic: Option<Anthropic>,
    openai: Option<OpenAi>,
    openai_base_url: Option<String>,
    openai_key: Option<SecretString>,
    /// Servers that rows of `model` name, made when first asked.
    named: Mutex<HashMap<String, Arc<OpenAi>>>,
}

impl Vendors {
    /// # Errors
    /// When TLS can't be set up.
    pub fn new(config: &Config) -> Result<Self, VendorError> {
        let anthropic = config.anthropic_api_key.clone();
        let openai = config.openai_api_key.clone();
        Ok(Self {
            anthropic: anthropic.map(|key| Anthropic::new(config.anthropic_base_url.as_deref(), key)).transpose()?,
            openai: openai.clone().map(|key| OpenAi::new(config.openai_base_url.as_deref(), Some(key))).transpose()?,
            openai_base_url: config.openai_base_url.clone(),
            openai_key: openai,
            named: Mutex::default(),
        })
    }

    /// Whether a model can be asked. The demo model stands in while no vendor has a key.
    pub fn offers(&self, model: &Model) -> bool {
        match (model.vendor, &model.base_url) {
            (Vendor::Anthropic, _) => self.anthropic.is_some(),
            (Vendor::OpenAi, Some(_)) => true,
            (Vendor::OpenAi, None) => self.openai.is_some(),
            (Vendor::Demo, _) => self.anthropic.is_none() && self.openai.is_none(),
        }
    }

    /// Asks an admitted question. The answer is at most what the permit grants.
    ///
    /// # Errors
    /// What a person may be told; the vendor's own words go to the log.
    pub async fn open(&self, permit: &Permit, model: &Model, messages: &[PromptMessage]) -> Result<Chunks, Problem> {
        let ask = Ask {
            model: &model.name,
            system: domain::brand::SYSTEM_PROMPT,
            messages,
            max_output: Tokens(permit.output()),
        };
        let opened = match (model.vendor, &model.base_url) {
            (Vendor::Demo, _) => providers::Vendor::open(&Demo, &ask).await,
            (Vendor::OpenAi, Some(base_url)) => match self.named(base_url) {
                Ok(server) => providers::Vendor::open(&*server, &ask).await,
                Err(error) => Err(error),
            },
            (Vendor::OpenAi, None) => match &self.openai {
                Some(vendor) => providers::Vendor::open(vendor, &ask).await,
                None => Err(VendorError::Unreachable("no key".into())),
            },
            (Vendor::Anthropic, _) => match &self.anthropic {
                Some(vendor) => providers::Vendor::open(vendor, &ask).await,
                None => Err(VendorError::Unreachable("no key".into())),
            },
        };
        opened.map_err(|error| told(&error))
    }

    fn named(&self, base_url: &str) -> Result<Arc<OpenAi>, VendorError> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = named.get(base_url) {
            return Ok(Arc::clone(server));
        }
        // The key goes only to the server it was set for.
        let key = (self.openai_base_url.as_deref() == Some(base_url)).then(|| self.openai_key.clone()).flatten();
        let server = Arc::new(OpenAi::new(Some(base_url), key)?);
        named.insert(base_url.to_owned(), Arc::clone(&server));
        Ok(server)
    }
}

/// What a person may be told of a vendor's failure; the log has the rest.
pub fn told(error: &VendorError) -> Problem {
    let incident = crate::error::internal(error).incident;
    let problem = match error {
        VendorError::Unreachable(_) => Problem::model_unavailable(10_000),
        VendorError::Busy { retry_after_ms, .. } => Problem::model_unavailable(retry_after_ms.unwrap_or(10_000)),
        VendorError::Refused { .. } | VendorError::Broke(_) => Problem::model_failed(),
    };
    Problem { incident, ..problem }
}
