//! What images cost, by the formulas that both providers publish, written independently of the product's: a bill that the ledger must equal and
//! that no estimate may be below. <https://platform.claude.com/docs/en/build-with-claude/vision>,
//! <https://platform.openai.com/docs/guides/images-vision#calculating-costs>

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// An image of a request.
pub(crate) struct Picture {
    pub media_type: String,
    /// Its bytes, which identify it in the cache.
    pub data: Vec<u8>,
    width: f64,
    height: f64,
}

impl Picture {
    /// Reads an image block of either format. Returns `None` for any other block.
    pub fn read(block: &Value) -> Option<Result<Self, String>> {
        let (media_type, data) = match block["type"].as_str()? {
            "image" => (block["source"]["media_type"].as_str()?, block["source"]["data"].as_str()?),
            "image_url" => {
                let url = block["image_url"]["url"].as_str()?.strip_prefix("data:")?;
                url.split_once(";base64,")?
            }
            _ => return None,
        };
        Some(Self::decode(media_type, data))
    }

    fn decode(media_type: &str, data: &str) -> Result<Self, String> {
        let data = BASE64_STANDARD.decode(data).map_err(|error| format!("image: {error}"))?;
        let (width, height) = match media_type {
            "image/png" => png_size(&data),
            "image/jpeg" => jpeg_size(&data),
            _ => None,
        }
        .ok_or_else(|| format!("image: not a valid {media_type}"))?;
        Ok(Self { media_type: media_type.to_owned(), data, width: f64::from(width), height: f64::from(height) })
    }

    /// Returns the tokens that Anthropic bills.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number that isn't negative")]
    pub fn anthropic_tokens(&self, model: &str) -> u64 {
        anthropic(model, self.width, self.height) as u64
    }

    /// Returns the tokens that OpenAI bills.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number that isn't negative")]
    pub fn openai_tokens(&self, model: &str) -> u64 {
        openai(model, self.width, self.height) as u64
    }
}

/// One token per patch of 28 pixels, after the image was scaled to the largest size that the model sees.
fn anthropic(model: &str, width: f64, height: f64) -> f64 {
    let (edge, max) = if model.contains("opus-4-7") { (2_576.0, 4_784.0) } else { (1_568.0, 1_568.0) };
    let patches = |scale: f64| (width * scale / 28.0).ceil() * (height * scale / 28.0).ceil();
    let mut scale = (edge / width.max(height)).min(1.0);
    while patches(scale) > max {
        scale *= 0.999;
    }
    patches(scale)
}

fn openai(model: &str, width: f64, height: f64) -> f64 {
    let tiles = |base: f64, tile: f64| {
        let fit = (2_048.0 / width.max(height)).min(1.0);
        let fit = fit * (768.0 / (width * fit).min(height * fit)).min(1.0);
        // A pixel more or less than the edge of a tile is a matter of rounding.
        let count = |side: f64| (side * fit / 512.0 - 0.000_001).ceil();
        base + tile * count(width) * count(height)
    };
    let patches = |max: f64, factor: f64| {
        let count = (width / 32.0).ceil() * (height / 32.0).ceil();
        (count.min(max) * factor).ceil()
    };
    if model.starts_with("gpt-4o-mini") {
        tiles(2_833.0, 5_667.0)
    } else if model.contains("-mini") {
        patches(1_536.0, 1.62)
    } else if model.starts_with("gpt-5.4") {
        patches(2_500.0, 1.0)
    } else {
        tiles(85.0, 170.0)
    }
}

fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// Width and height of the header chunk.
fn png_size(data: &[u8]) -> Option<(u32, u32)> {
    let header = data.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(8..)?;
    Some((be32(header)?, be32(header.get(4..)?)?))
}

/// Width and height of the first frame header.
fn jpeg_size(data: &[u8]) -> Option<(u32, u32)> {
    let mut rest = data.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let (marker, length) = (*rest.get(1)?, u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?));
        if matches!(marker, 0xc0..=0xc2) {
            let size: [u8; 4] = rest.get(5..9)?.try_into().ok()?;
            let [h1, h2, w1, w2] = size;
            return Some((u16::from_be_bytes([w1, w2]).into(), u16::from_be_bytes([h1, h2]).into()));
        }
        rest = rest.get(2 + usize::from(length)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "whole numbers")]
    fn published_examples() {
        assert_eq!(openai("gpt-4o", 1_024.0, 1_024.0), 765.0);
        assert_eq!(openai("gpt-4o", 2_048.0, 4_096.0), 1_105.0);
        assert_eq!(openai("gpt-5-mini", 1_024.0, 1_024.0), 1_659.0);
        assert_eq!(anthropic("claude-haiku-4-5", 1_000.0, 1_000.0), 1_296.0);
        assert!(anthropic("claude-haiku-4-5", 2_000.0, 2_000.0) <= 1_568.0);
    }
}
