//! The object store: S3 or a compatible service.

use crate::config::ObjectStoreUrl;
use anyhow::Context as _;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStoreExt as _, PutPayload, RetryConfig};
use secrecy::ExposeSecret as _;
use std::time::Duration;

/// Maximum time of a request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Number of times that a failed request is repeated.
const RETRIES: usize = 2;

/// A bucket, and the prefix of all keys in it.
pub(super) struct Objects {
    bucket: AmazonS3,
    prefix: String,
}

impl Objects {
    pub(super) fn new(url: &ObjectStoreUrl) -> anyhow::Result<Self> {
        let options = ClientOptions::new().with_timeout(TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT);
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: TIMEOUT, ..RetryConfig::default() };
        let bucket = AmazonS3Builder::new()
            .with_client_options(options)
            .with_retry(retry)
            .with_allow_http(url.endpoint.starts_with("http://"))
            .with_endpoint(&url.endpoint)
            .with_region(&url.region)
            .with_bucket_name(&url.bucket)
            .with_access_key_id(&url.access_key)
            .with_secret_access_key(url.secret_key.expose_secret())
            .with_virtual_hosted_style_request(false)
            // Not all services delete several objects at once.
            .with_disable_bulk_delete(true)
            .build()
            .context("OBJECT_STORE_URL")?;
        Ok(Self { bucket, prefix: url.prefix.clone() })
    }

    fn path(&self, key: &str) -> Path {
        Path::from(format!("{}/{key}", self.prefix))
    }

    pub(super) async fn put(&self, key: &str, data: Bytes) -> anyhow::Result<()> {
        self.bucket.put(&self.path(key), PutPayload::from(data)).await.context("writing to the object store")?;
        Ok(())
    }

    pub(super) async fn get(&self, key: &str) -> anyhow::Result<Bytes> {
        let found = self.bucket.get(&self.path(key)).await.context("reading from the object store")?;
        found.bytes().await.context("reading from the object store")
    }

    /// Returns an object as it arrives.
    pub(super) async fn stream(&self, key: &str) -> anyhow::Result<BoxStream<'static, object_store::Result<Bytes>>> {
        let found = self.bucket.get(&self.path(key)).await.context("reading from the object store")?;
        Ok(found.into_stream())
    }

    /// Deletes an object. One that doesn't exist is no error.
    pub(super) async fn delete(&self, key: &str) -> anyhow::Result<()> {
        match self.bucket.delete(&self.path(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error).context("deleting from the object store"),
        }
    }
}
