//! Withdraws the messages of a turn that was stopped before its response began, while its call is still running.

use crate::{Db, Result};
use domain::{ConversationId, TurnId};
use uuid::Uuid;

/// A turn to withdraw.
pub struct WithdrawnTurn {
    /// Turn id.
    pub turn_id: TurnId,
    /// The turn's conversation.
    pub conversation_id: ConversationId,
    /// Whether the turn created the conversation.
    pub started_conversation: bool,
}

/// Deletes a turn's message but not the files of it, and its conversation if the turn created it, and restores the messages that it superseded. Its ledger row stays
/// pending until [`super::record`] makes it final. Idempotent.
///
/// # Errors
/// Returns an error if the query fails. Nothing is changed then.
pub async fn withdraw(db: &Db, withdrawn: &WithdrawnTurn) -> Result<()> {
    let (turn_id, conversation_id) = (Uuid::from(withdrawn.turn_id), Uuid::from(withdrawn.conversation_id));
    let mut tx = crate::begin(db).await?;
    crate::attachment::keep_unsent(&mut tx, withdrawn.turn_id).await?;
    if withdrawn.started_conversation {
        // Another tab may have added a turn to it in the meantime; the conversation is kept then.
        sqlx::query!("select conversation_id from conversation where conversation_id = $1 for update", conversation_id)
            .fetch_optional(&mut tx)
            .await?;
        sqlx::query!(
            "delete from conversation where conversation_id = $1
             and not exists (select from message where conversation_id = $1 and turn_id <> $2)",
            conversation_id,
            turn_id,
        )
        .execute(&mut tx)
        .await?;
    }
    sqlx::query!("update turn set conversation_id = null where turn_id = $1", turn_id).execute(&mut tx).await?;
    sqlx::query!("delete from message where turn_id = $1", turn_id).execute(&mut tx).await?;
    sqlx::query!("update message set superseded_by = null where superseded_by = $1", turn_id).execute(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}
