//! Images of requests: their addresses and their sizes.

use super::conversation::Image;
use super::error::InvalidRequest;
use super::fields::Read;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Types that all providers take.
const MEDIA_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Reads the address of an image: a data URL, or a public https URL.
pub(crate) fn from_url(url: &str, path: String) -> Read<Image<'_>> {
    let Some(data_url) = url.strip_prefix("data:") else {
        return if is_public(url) {
            Ok(Image::Url(url))
        } else {
            Err(InvalidRequest::at(path, "must be a data URL in base64 or a public https URL"))
        };
    };
    let (kind, data) = data_url.split_once(",").unwrap_or((data_url, ""));
    match kind.strip_suffix(";base64") {
        Some(media_type) => from_data(media_type, data, path),
        None => Err(InvalidRequest::at(path, "a data URL must be in base64")),
    }
}

/// Reads an image within the request.
pub(crate) fn from_data<'a>(media_type: &'a str, data: &'a str, path: String) -> Read<Image<'a>> {
    if !MEDIA_TYPES.contains(&media_type) {
        let message = format!("unsupported image type; supported are: {}", MEDIA_TYPES.join(", "));
        return Err(InvalidRequest::at(path, message));
    }
    if data.is_empty() {
        return Err(InvalidRequest::at(path, "the image is empty"));
    }
    Ok(Image::Data { media_type, data })
}

/// Whether a URL is https at a host with a public name. Servers in the owner's network may load the images themselves, so it must not lead into
/// that network.
fn is_public(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    let Some((_, top)) = host.rsplit_once('.').filter(|_| is_name && port.chars().all(|c| c.is_ascii_digit())) else {
        return false;
    };
    // Numbers, also hexadecimal ones, are addresses.
    let is_top = top.starts_with("xn--") || (!top.is_empty() && top.chars().all(|c| c.is_ascii_alphabetic()));
    let private = ["local", "internal", "lan", "home", "localhost", "arpa"];
    is_top && !private.iter().any(|name| top.eq_ignore_ascii_case(name))
}

/// Returns an image's width and height; `None` if they are unknown, or if another reader may find others: a crafted file must not be counted as a
/// small image and billed as a large one.
pub(crate) fn size(image: Image<'_>) -> Option<(u32, u32)> {
    let Image::Data { data, .. } = image else { return None };
    let bytes = STANDARD.decode(data).ok()?;
    if !has_one_size(&bytes) {
        return None;
    }
    let size = imagesize::blob_size(&bytes).ok()?;
    Some((u32::try_from(size.width).ok()?, u32::try_from(size.height).ok()?))
}

/// Returns whether everything in a PNG or JPEG that looks like a header has the same size, wherever it is.
fn has_one_size(bytes: &[u8]) -> bool {
    let is_frame = |marker: u8| matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
    if bytes.starts_with(b"\x89PNG") {
        return bytes.windows(4).filter(|name| *name == b"IHDR").count() == 1;
    }
    if bytes.starts_with(b"\xff\xd8") {
        let mut frames = bytes.windows(9).filter(|frame| frame[0] == 0xff && is_frame(frame[1]));
        let first = frames.next().map(|frame| &frame[5..]);
        // Without a height, it follows behind the image.
        return first.is_some_and(|size| size[..2] != [0, 0] && frames.all(|frame| &frame[5..] == size));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_https_and_data_urls_are_images() {
        for (url, is_valid) in [
            ("https://example.com/a.png", true),
            ("https://cdn.example.com:8443/a?b=1", true),
            ("data:image/png;base64,iVBORw0KGgo=", true),
            ("http://example.com/a.png", false),
            ("https://127.0.0.1/a.png", false),
            ("https://[::1]/a.png", false),
            ("https://localhost/a.png", false),
            ("https://db.internal/a.png", false),
            ("https://user@10.0.0.1/a.png", false),
            ("https://example.com@10.0.0.1/a.png", false),
            ("https://example.com:443@10.0.0.1/a.png", false),
            ("https://example.com:@10.0.0.1/a.png", false),
            ("https://127.0.0.0x1/a.png", false),
            ("https://db.INTERNAL/a.png", false),
            ("https://db.internal./a.png", false),
            ("https://bilder.xn--vermgensberater-ctb/a.png", true),
            ("file:///etc/passwd", false),
            ("data:image/svg+xml;base64,PHN2Zz4=", false),
            ("data:image/png,raw", false),
            ("data:image/png;base64,", false),
        ] {
            assert_eq!(from_url(url, "url".into()).is_ok(), is_valid, "{url}");
        }
    }

    #[test]
    fn sizes_are_read_from_headers() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        png.extend([0, 0, 3, 32, 0, 0, 2, 88, 8, 6, 0, 0, 0, 0, 0, 0, 0]);
        let data = STANDARD.encode(&png);
        assert_eq!(size(Image::Data { media_type: "image/png", data: &data }), Some((800, 600)));
        let sized = |media_type, bytes: &[u8]| size(Image::Data { media_type, data: &STANDARD.encode(bytes) });
        let twice = [png.as_slice(), b"\0\0\0\x0dIHDR\0\0\x20\0\0\0\x20\0".as_slice()].concat();
        assert_eq!(sized("image/png", &twice), None, "another reader may take the last size");
        // A comment, and a frame of 600 x 800.
        let jpeg = b"\xff\xd8\xff\xfe\0\x04ab\xff\xc0\0\x11\x08\x02\x58\x03\x20\x03\x01\x22\0\x02\x11\x01\x03\x11\x01";
        assert_eq!(sized("image/jpeg", jpeg), Some((800, 600)));
        let larger = b"\xff\xc2\0\x11\x08\x20\0\x20\0\x03\x01\x22\0";
        assert_eq!(
            sized("image/jpeg", &[jpeg.as_slice(), larger.as_slice()].concat()),
            None,
            "nor may a second frame be larger"
        );
        assert_eq!(size(Image::Data { media_type: "image/png", data: "bm90IGFuIGltYWdl" }), None);
        assert_eq!(size(Image::Url("https://example.com/a.png")), None);
    }
}
