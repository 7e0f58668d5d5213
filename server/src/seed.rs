//! x
pub(crate) async fn run(_: &crate::Config, _: &store::Db, _: &mut impl std::io::Write) -> anyhow::Result<()> {
    Ok(())
}
