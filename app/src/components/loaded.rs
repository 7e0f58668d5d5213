//! A page's data: read on the server before the page is drawn; a refusal takes the page's place.

use super::frame::Refused;
use crate::api::Refusal;
use leptos::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

/// Draws what a server function answers.
pub fn loaded<T, Fut, V>(reading: Fut, draw: impl Fn(T) -> V + Clone + Send + Sync + 'static) -> impl IntoView
where
    T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
    Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    V: IntoView + 'static,
{
    let answer = OnceResource::new(reading);
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
