//! Where attached files are stored, and how much of them may be in memory.

use super::{Config, Variables};
use reqwest::Url;
use secrecy::SecretString;

/// The bucket of an object store.
#[derive(Clone, Debug)]
pub struct ObjectStoreUrl {
    /// URL of the service, without a path.
    pub endpoint: String,
    /// Name of the bucket.
    pub bucket: String,
    /// What all keys begin with; may be empty.
    pub prefix: String,
    /// Region of the bucket.
    pub region: String,
    /// Id of the access key.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: SecretString,
}

/// The region of services that have none.
const REGION: &str = "us-east-1";
const EXPECTED: &str = "a URL like https://ACCESS_KEY:SECRET_KEY@s3.eu-central-1.amazonaws.com/BUCKET/PREFIX?region=eu-central-1, with / and + in the keys as %2F and %2B";

/// Reads the section's variables.
pub(super) fn read(vars: &Variables, config: &mut Config) {
    // One turn sends up to 20 MB of images.
    config.image_memory_mib = vars
        .parse("IMAGE_MEMORY_MIB", "a whole number from 20 to 1000000, like 512", |value| {
            value.parse::<u32>().ok().filter(|mib| (20..=1_000_000).contains(mib))
        })
        .unwrap_or(config.image_memory_mib);
    let Some(url) = vars.secret_text("OBJECT_STORE_URL") else { return };
    config.object_store = parse(&url);
    if config.object_store.is_none() {
        vars.report("OBJECT_STORE_URL", "not a valid URL of a bucket", EXPECTED);
    }
}

fn parse(text: &str) -> Option<ObjectStoreUrl> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let (bucket, prefix) = match url.path().trim_matches('/').split_once('/') {
        Some((bucket, prefix)) => (bucket.to_owned(), prefix.to_owned()),
        None => (url.path().trim_matches('/').to_owned(), String::new()),
    };
    let (access_key, secret_key) = (decoded(url.username())?, decoded(url.password()?)?);
    if bucket.is_empty() || access_key.is_empty() || secret_key.is_empty() {
        return None;
    }
    let region = url.query_pairs().find(|(name, _)| name == "region").map(|(_, region)| region.into_owned());
    Some(ObjectStoreUrl {
        endpoint: url.origin().ascii_serialization(),
        bucket,
        prefix,
        region: region.unwrap_or_else(|| REGION.to_owned()),
        access_key,
        secret_key: secret_key.into(),
    })
}

/// Decodes percent-encoded text. `None` if it isn't UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        bytes.extend(hex::decode(after.get(..2)?).ok()?);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn a_bucket_is_read_from_one_url() {
        let found = parse("https://AKID:a%2Fb%2Bc@s3.example.com:9000/files/chat/v1?region=eu-central-1").unwrap();
        let ObjectStoreUrl { endpoint, bucket, prefix, region, access_key, secret_key } = found;
        assert_eq!(
            (endpoint.as_str(), bucket.as_str(), prefix.as_str()),
            ("https://s3.example.com:9000", "files", "chat/v1")
        );
        assert_eq!(
            (region.as_str(), access_key.as_str(), secret_key.expose_secret()),
            ("eu-central-1", "AKID", "a/b+c")
        );
        assert_eq!(parse("http://k:s@127.0.0.1/b").unwrap().region, REGION);
        for bad in [
            "s3://bucket",
            "https://s3.example.com/bucket",
            "https://k:s@s3.example.com",
            "https://k:%zz@host/b",
            "bucket",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
