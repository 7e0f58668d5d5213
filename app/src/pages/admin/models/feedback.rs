//! How users rate the responses of each model, with their latest comments.

use crate::view::admin::{CommentRow, ModelRow};
use leptos::prelude::*;

/// Renders the ratings and comments of the models that have any.
#[component]
pub(super) fn FeedbackTable(
    /// All models.
    models: Vec<ModelRow>,
    /// The latest comments on each model, newest first.
    comments: Vec<CommentRow>,
) -> impl IntoView {
    let rated = models.iter().filter(|row| row.rated > 0);
    let rows = rated.map(|row| model(row, &comments)).collect_view();
    let is_empty = models.iter().all(|row| row.rated == 0);
    view! {
        <section>
            <h2>"Feedback"</h2>
            {if is_empty {
                view! { <p class="hint">"No response has been rated yet."</p> }.into_any()
            } else {
                view! {
                    <div class="table-scroll" tabindex="0" role="region" aria-label="Feedback">
                        <table class="compact numbers">
                            <thead><tr>
                                <th scope="col">"Model"</th><th scope="col" class="end">"Good"</th><th scope="col" class="end">"Bad"</th>
                                <th scope="col" class="end">"Rate"</th><th scope="col">"Latest comments"</th>
                            </tr></thead>
                            <tbody>{rows}</tbody>
                        </table>
                    </div>
                }
                .into_any()
            }}
        </section>
    }
}

fn model(row: &ModelRow, comments: &[CommentRow]) -> impl IntoView + use<> {
    let of_model: Vec<CommentRow> =
        comments.iter().filter(|comment| comment.model == row.model.name).cloned().collect();
    let bad = row.rated.saturating_sub(row.good);
    let rate = (row.good * 100 + row.rated / 2).checked_div(row.rated).map(|percent| format!("{percent} %"));
    let comments = of_model.into_iter().map(comment).collect_view();
    view! {
        <tr>
            <th scope="row">{row.model.label.clone()}</th>
            <td class="end">{row.good}</td>
            <td class="end">{bad}</td>
            <td class="end">{rate}</td>
            <td class="text"><ul class="comments">{comments}</ul></td>
        </tr>
    }
}

/// Renders a comment. It is what a user wrote, so it is shown as text.
fn comment(comment: CommentRow) -> impl IntoView {
    let CommentRow { is_good, text, user_id, email, created_at, .. } = comment;
    let rating = if is_good { "Good" } else { "Bad" };
    view! {
        <li>
            <p dir="auto">{text}</p>
            <p class="hint">{rating}" · "<a href=format!("/admin/users/{user_id}")>{email}</a>" · "{created_at.date().to_string()}</p>
        </li>
    }
}
