//! Loads a page's data on the server before the page is rendered. A refusal is shown instead of the page.

use super::error_page::ErrorPage;
use crate::api::Refusal;
use crate::page_context::PanicHandler;
use futures::FutureExt as _;
use leptos::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use std::panic::{AssertUnwindSafe, resume_unwind};

/// Renders the result of a server function with `draw`, or the error page if it returns a [`Refusal`].
///
/// A panic in the server function is converted by [`PanicHandler`] if the context provides it, and otherwise resumed.
pub fn loaded<T, Fut, V>(reading: Fut, draw: impl Fn(T) -> V + Clone + Send + Sync + 'static) -> impl IntoView
where
    T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
    Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    V: IntoView + 'static,
{
    // A panic is caught here, because the data is loaded in a separate task: the page would wait for it forever.
    let handler = use_context::<PanicHandler>();
    let answer = OnceResource::new(async move {
        AssertUnwindSafe(reading).catch_unwind().await.unwrap_or_else(|panic| match handler {
            Some(PanicHandler(refusal)) => Err(refusal(&*panic)),
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
                        Err(Refusal(problem)) => view! { <ErrorPage problem/> }.into_any(),
                    }
                })
            }}
        </Suspense>
    }
}
