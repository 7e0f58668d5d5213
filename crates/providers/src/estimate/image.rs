//! Tokens of images, by the formulas that both providers publish, rounded up. Images are sent in the highest detail that a model has by default.

use domain::{Model, PromptImage, Tokens, WireFormat};

/// Width and height of Anthropic's patches: an image costs as many tokens as it has patches
/// (<https://platform.claude.com/docs/en/build-with-claude/vision>). Earlier versions of that page count one token per 750 pixels.
const PATCH: u64 = 28;
const PIXELS_PER_TOKEN: u64 = 750;

/// The resolution to which Anthropic scales an image down before it is counted: its longer edge in pixels, and its tokens.
struct Resolution {
    edge: u64,
    tokens: u64,
}

/// Models up to Claude Opus 4.6, Sonnet 4.6 and Haiku 4.5.
const STANDARD: Resolution = Resolution { edge: 1_568, tokens: 1_600 };
/// Claude Opus 4.7 and later models.
const HIGH: Resolution = Resolution { edge: 2_576, tokens: 4_784 };
/// Beginnings of the names of models with the standard resolution.
const STANDARD_MODELS: [&str; 8] = [
    "claude-3",
    "claude-haiku-4",
    "claude-sonnet-4",
    "claude-opus-4-0",
    "claude-opus-4-1",
    "claude-opus-4-2025",
    "claude-opus-4-5",
    "claude-opus-4-6",
];

/// How OpenAI's models count an image (<https://platform.openai.com/docs/guides/images-vision#calculating-costs>).
#[derive(Clone, Copy)]
enum Count {
    /// A base, and as much for each tile of 512 pixels, after the image was scaled to a shorter edge of 768.
    Tiles { base: u64, tile: u64 },
    /// Patches of 32 pixels up to a maximum, and the cost of each in thousandths of a token.
    Patches { max: u64, permille: u64 },
}

/// How models count, by the beginning of their names, the longer ones first.
const OPENAI: [(&str, Count); 12] = [
    ("gpt-4o-mini", Count::Tiles { base: 2_833, tile: 5_667 }),
    ("gpt-4o", Count::Tiles { base: 85, tile: 170 }),
    ("gpt-4.1-mini", Count::Patches { max: 1_536, permille: 1_620 }),
    ("gpt-4.1-nano", Count::Patches { max: 1_536, permille: 2_460 }),
    ("gpt-4.1", Count::Tiles { base: 85, tile: 170 }),
    ("gpt-5.4-mini", Count::Patches { max: 1_536, permille: 1_620 }),
    ("gpt-5.4-nano", Count::Patches { max: 1_536, permille: 2_460 }),
    ("gpt-5-mini", Count::Patches { max: 1_536, permille: 1_620 }),
    ("gpt-5-nano", Count::Patches { max: 1_536, permille: 2_460 }),
    ("gpt-5.", Count::Patches { max: 2_500, permille: 1_000 }),
    ("gpt-5", Count::Tiles { base: 70, tile: 140 }),
    ("o4-mini", Count::Patches { max: 1_536, permille: 1_720 }),
];
/// For models and servers whose formula isn't known: the larger of both counts.
const UNKNOWN: [Count; 2] = [Count::Tiles { base: 85, tile: 170 }, Count::Patches { max: 2_500, permille: 1_000 }];

/// Returns the tokens of an image of this size for a model.
#[must_use]
pub fn image(model: &Model, width: u32, height: u32) -> Tokens {
    let (width, height) = (u64::from(width.max(1)), u64::from(height.max(1)));
    match model.provider.wire_format {
        WireFormat::Anthropic => Tokens(anthropic(&model.name.0, width, height)),
        WireFormat::OpenAi | WireFormat::Demo => Tokens(openai(&model.name.0, width, height)),
    }
}

/// Returns the maximum tokens of an image for a model, for images whose size isn't known.
#[must_use]
pub fn max_image(model: &Model) -> Tokens {
    // A shape with the most tiles: its shorter edge has 768 pixels, its longer one 2 048.
    [(8_000, 8_000), (2_048, 768), (4_096, 1_536)]
        .into_iter()
        .map(|(width, height)| image(model, width, height))
        .max()
        .unwrap_or_default()
}

/// Returns the tokens of a message's images for a model.
pub(super) fn images(model: &Model, images: &[PromptImage]) -> Tokens {
    images.iter().map(|shown| image(model, shown.width, shown.height)).sum()
}

fn anthropic(name: &str, width: u64, height: u64) -> u64 {
    let resolution = if STANDARD_MODELS.iter().any(|known| name.starts_with(known)) { STANDARD } else { HIGH };
    let (width, height) = scaled(width, height, resolution.edge, width.max(height));
    let patches = width.div_ceil(PATCH) * height.div_ceil(PATCH);
    patches.max((width * height).div_ceil(PIXELS_PER_TOKEN)).min(resolution.tokens)
}

fn openai(name: &str, width: u64, height: u64) -> u64 {
    let count = |how: Count| match how {
        Count::Tiles { base, tile } => {
            let (width, height) = scaled(width, height, 2_048, width.max(height));
            let (width, height) = scaled(width, height, 768, width.min(height));
            base + tile * width.div_ceil(512) * height.div_ceil(512)
        }
        Count::Patches { max, permille } => {
            let patches = width.div_ceil(32) * height.div_ceil(32);
            (patches.min(max) * permille).div_ceil(1_000)
        }
    };
    match OPENAI.iter().find(|(known, _)| name.starts_with(known)) {
        Some((_, how)) => count(*how),
        None => UNKNOWN.map(count).into_iter().max().unwrap_or_default(),
    }
}

/// Scales a size down so that `edge`, one of its edges, has at most `max` pixels. Rounds up.
fn scaled(width: u64, height: u64, max: u64, edge: u64) -> (u64, u64) {
    if edge <= max {
        return (width, height);
    }
    ((width * max).div_ceil(edge), (height * max).div_ceil(edge))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(format: WireFormat, name: &str, width: u32, height: u32) -> u64 {
        let mut model = super::super::tests::model(format, None);
        model.name.0 = name.to_owned();
        image(&model, width, height).0
    }

    /// Examples of both providers' pages.
    #[test]
    fn images_are_counted_as_published() {
        let claude = |name, width, height| tokens(WireFormat::Anthropic, name, width, height);
        assert_eq!(claude("claude-sonnet-4-6", 200, 200), 64, "8 × 8 patches");
        assert_eq!(claude("claude-sonnet-4-6", 1_000, 1_000), 1_334, "pixels by 750");
        assert_eq!(claude("claude-sonnet-4-6", 2_000, 2_000), 1_600);
        assert_eq!(claude("claude-opus-4-7", 2_000, 2_000), 4_784);
        assert_eq!(claude("claude-opus-4-7", 1_000, 1_000), 1_334);
        let gpt = |name, width, height| tokens(WireFormat::OpenAi, name, width, height);
        assert_eq!(gpt("gpt-4o", 1_024, 1_024), 765, "4 tiles");
        assert_eq!(gpt("gpt-4o-2024-11-20", 2_048, 4_096), 1_105, "6 tiles");
        assert_eq!(gpt("gpt-4o-mini", 512, 512), 8_500);
        assert_eq!(gpt("gpt-5-mini", 1_024, 1_024), 1_659, "1 024 patches");
        assert_eq!(gpt("gpt-5-mini", 1_800, 2_400), 2_489, "1 536 patches");
        assert_eq!(gpt("gpt-5.4", 2_000, 2_000), 2_500);
        assert_eq!(gpt("llava", 64, 64), 255);
    }

    proptest! {
        #[test]
        fn no_image_has_more_than_the_maximum(width in 0_u32..60_000, height in 0_u32..60_000, index in 0_usize..7) {
            let (format, name) = [
                (WireFormat::Anthropic, "claude-haiku-4-5"), (WireFormat::Anthropic, "claude-opus-5"), (WireFormat::OpenAi, "gpt-4o-mini"),
                (WireFormat::OpenAi, "gpt-5-nano"), (WireFormat::OpenAi, "gpt-5.4"), (WireFormat::OpenAi, "gpt-5"), (WireFormat::OpenAi, "other"),
            ][index];
            let mut model = super::super::tests::model(format, None);
            model.name.0 = name.to_owned();
            let counted = image(&model, width, height);
            prop_assert!(counted > Tokens(0));
            prop_assert!(counted <= max_image(&model), "{counted} for {name}");
        }
    }
}
