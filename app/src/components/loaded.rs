//! A page's data: read on the server before the page is drawn; a refusal takes the page's place.

use super::frame::Refused;
use crate::api::Refusal;
use crate::page_context::Panicked;
use futures::FutureExt as _;
use leptos::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use std::panic::{AssertUnwindSafe, resume_unwind};

/// Draws what a server function answers.
pub fn loaded<T, Fut, V>(reading: Fut, draw: impl Fn(T) -> V + Clone + Send + Sync + 'static) -> impl IntoView
where
    T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
    Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    V: IntoView + 'static,
{
    // It is read by a task of its own: one that panics would be waited for for ever.
    let panicked = use_context::<Panicked>();
    let answer = OnceResource::new(async move {
        AssertUnwindSafe(reading).catch_unwind().await.unwrap_or_else(|panic| match panicked {
            Some(Panicked(refusal)) => Err(refusal(&*panic)),
            None => resume_unwind(panic),
        })
    });
    view! {
        <Suspense>
            {move || {
                let draw = draw.clone();
                Suspend::new(async move {
                    match answer.await {
                        Ok(value) => draw(value).into_any(),
                        Err(Refusal(problem)) => view! { <Refused problem/> }.into_any(),
                    }
                })
            }}
        </Suspense>
    }
}
