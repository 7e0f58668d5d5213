//! What the unit tests of several modules share.

use domain::{Model, ModelName, Provider, ProviderName, Thinking, Tokens, WireFormat};

/// Returns a model of a provider with the Anthropic wire format.
pub(super) fn model(thinking: Thinking) -> Model {
    Model {
        name: ModelName("m".into()),
        label: "M".into(),
        provider: Provider {
            name: ProviderName("p".into()),
            label: "P".into(),
            wire_format: WireFormat::Anthropic,
            base_url: Some("http://127.0.0.1:9".into()),
            key_variable: None,
            connect_timeout_ms: None,
            first_byte_timeout_ms: None,
            idle_timeout_ms: None,
            max_in_flight: None,
        },
        context: Tokens(1_000_000),
        max_output: Tokens(100_000),
        fallback: None,
        hedge_after_ms: None,
        input_permille: None,
        output_limit: None,
        thinking,
        takes_images: true,
        efforts: Vec::new(),
        min_cacheable: None,
        first_byte_timeout_ms: None,
        idle_timeout_ms: None,
        ends_at: None,
    }
}
