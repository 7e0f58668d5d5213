//! Words and rules of the product, with no outside world in them: every other crate speaks these types, and they
//! compile for the server and for the browser alike.

pub mod billing;
pub mod brand;
pub mod event;
pub mod ids;
pub mod message;
pub mod model;
pub mod money;
pub mod plan;
pub mod problem;
pub mod quota;
pub mod sse;
pub mod usage;
pub mod viewer;

pub use billing::{Amount, Invoice, Period, Subscription, SubscriptionStatus};
pub use event::TurnEvent;
pub use ids::{AiUsageId, ConversationId, MessageId, ModelPriceId, TurnId, UserId};
pub use message::{Message, MessageStatus, PromptMessage, Role};
pub use model::{Model, ModelName, Price, PriceList, Provider};
pub use money::{MicrosPerMillion, Picos};
pub use plan::{Plan, PlanId};
pub use problem::{Problem, ProblemKind};
pub use quota::Quota;
pub use usage::{Outcome, Tokens, Usage, UsageSource};
pub use viewer::Viewer;
