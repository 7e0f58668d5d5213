//! The bytes of files in Postgres, in pieces, so that a file that is sent is never in memory as a whole.

use crate::Result;
use domain::{AttachmentId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

/// Maximum size of a piece in bytes.
const PIECE: i32 = 256 * 1024;

/// Loads the piece of a file that begins after `offset` bytes; empty at the end. Returns `None` if Postgres doesn't have the file, or if it
/// belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_piece(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: AttachmentId,
    offset: i32,
) -> Result<Option<Vec<u8>>> {
    let piece = sqlx::query_scalar!(
        r#"select substring(d.data from $3::int + 1 for $4::int) as "piece!" from attachment a join attachment_data d using (attachment_id)
           where a.attachment_id = $1 and a.user_id = $2"#,
        Uuid::from(id),
        Uuid::from(owner),
        offset,
        PIECE,
    );
    Ok(piece.fetch_optional(db).await?)
}
