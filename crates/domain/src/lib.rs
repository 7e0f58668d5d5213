//! The product's shared types and rules, without I/O. Every other crate uses these types, and they compile for both the server and
//! the browser.

pub mod account;
pub mod api_key;
pub mod attachment;
pub mod audit;
pub mod billing;
pub mod brand;
pub mod catalogue;
pub mod chat_settings;
pub mod event;
pub mod ids;
pub mod message;
pub mod model;
pub mod money;
pub mod plan;
pub mod price;
pub mod problem;
pub mod problem_kind;
pub mod quota;
pub mod report;
pub mod search;
pub mod security_event;
pub mod share;
pub mod sse;
pub mod text;
pub mod top_users;
pub mod usage;
pub mod viewer;

pub use account::{AccountSummary, HeldCall};
pub use api_key::{ApiEndpoint, ApiKey, ApiKeyState, TripReason};
pub use attachment::{Attachment, AttachmentKind};
pub use audit::AuditEntry;
pub use billing::{BillingFlag, DeadLetter, Invoice, Invoiced, Subscription, SubscriptionStatus};
pub use chat_settings::{AnswerLength, ChatSettings, Preset};
pub use event::TurnEvent;
pub use ids::{
    AiUsageId, ApiKeyId, AttachmentId, ConversationId, ImportId, MessageId, ModelPriceId, PresetId, ShareId, TurnId,
    UserId,
};
pub use message::{HistoryCut, Message, MessageStatus, PromptImage, PromptMessage, Role};
pub use model::{
    Model, ModelName, OutputLimit, Price, PriceList, Provider, ProviderName, Thinking, UnknownName, WireFormat,
};
pub use money::{MicrosPerMillion, Picos};
pub use plan::{Plan, PlanId};
pub use price::{Amount, Period};
pub use problem::{Problem, ProblemKind};
pub use quota::Quota;
pub use report::ReportPeriod;
pub use search::SearchQuery;
pub use security_event::{SecurityEvent, SecurityEventRow};
pub use share::SharedMessage;
pub use top_users::{UsageFilter, UserUsage};
pub use usage::{CacheMarks, Outcome, Tokens, Usage, UsageSource, UsageSum};
pub use viewer::Viewer;
