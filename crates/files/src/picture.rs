//! Images: decoded, scaled to what models read, and encoded again. Everything but the pixels is dropped, such as a location, a script or
//! another file that is embedded.

use crate::refused::Refused;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder as _, ImageEncoder as _, ImageError, ImageFormat, ImageReader, Limits,
};
use std::io::Cursor;

/// Maximum number of pixels of an image that is decoded.
pub const MAX_PIXELS: u64 = 50_000_000;
/// Maximum width and height of an encoded image, in pixels: what Anthropic's API accepts with more than 20 images in a request, and nearly
/// the maximum of OpenAI's models (<https://platform.claude.com/docs/en/build-with-claude/vision>).
pub const MAX_EDGE: u32 = 2_000;
/// Maximum size of an encoded image, in bytes. Ten of them fit into one request of each provider.
const MAX_ENCODED: usize = 1_500_000;
/// Maximum memory of a decoder, in bytes.
const MAX_DECODER: u64 = 256 * 1024 * 1024;
/// JPEG's quality.
const QUALITY: u8 = 88;

/// An encoded image.
pub(crate) struct Picture {
    pub media_type: &'static str,
    pub width: u32,
    pub height: u32,
    pub data: Vec<u8>,
}

/// Decodes an image and encodes it again. Of an animation the first frame is taken.
pub(crate) fn encode_again(bytes: &[u8], format: ImageFormat) -> Result<Picture, Refused> {
    let mut image = decode(bytes, format)?;
    let is_photo = format == ImageFormat::Jpeg;
    let mut edge = MAX_EDGE;
    loop {
        if image.width().max(image.height()) > edge {
            image = image.thumbnail(edge, edge);
        }
        let (width, height) = (image.width(), image.height());
        if !is_photo {
            let data = png(&image)?;
            if data.len() <= MAX_ENCODED {
                return Ok(Picture { media_type: "image/png", width, height, data });
            }
        }
        let data = jpeg(&image)?;
        if data.len() <= MAX_ENCODED || edge < MAX_EDGE / 4 {
            return Ok(Picture { media_type: "image/jpeg", width, height, data });
        }
        edge = edge * 3 / 4;
    }
}

/// Decodes an image upright. Its size is checked before anything is decoded.
fn decode(bytes: &[u8], format: ImageFormat) -> Result<DynamicImage, Refused> {
    let reader = || ImageReader::with_format(Cursor::new(bytes), format);
    let (width, height) = reader().into_dimensions().map_err(|error| problem(&error))?;
    if width == 0 || height == 0 {
        return Err(Refused::BrokenImage);
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Refused::TooManyPixels);
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER);
    let mut reader = reader();
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| problem(&error))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| problem(&error))?;
    if image.width().max(image.height()) > MAX_EDGE {
        image = image.thumbnail(MAX_EDGE, MAX_EDGE);
    }
    image.apply_orientation(orientation);
    Ok(image)
}

fn problem(error: &ImageError) -> Refused {
    match error {
        ImageError::Limits(_) => Refused::TooComplex,
        _ => Refused::BrokenImage,
    }
}

fn png(image: &DynamicImage) -> Result<Vec<u8>, Refused> {
    let mut data = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut data, CompressionType::Default, FilterType::Adaptive);
    let (width, height) = (image.width(), image.height());
    let written = if image.color().has_alpha() {
        encoder.write_image(&image.to_rgba8(), width, height, ExtendedColorType::Rgba8)
    } else {
        encoder.write_image(&image.to_rgb8(), width, height, ExtendedColorType::Rgb8)
    };
    written.map_err(|_| Refused::BrokenImage)?;
    Ok(data)
}

/// Encodes as JPEG. What is transparent becomes white.
fn jpeg(image: &DynamicImage) -> Result<Vec<u8>, Refused> {
    let mut opaque = image.to_rgba8();
    for pixel in opaque.pixels_mut() {
        let alpha = u16::from(pixel.0[3]);
        for channel in &mut pixel.0[..3] {
            let mixed = (u16::from(*channel) * alpha + 255 * (255 - alpha)) / 255;
            *channel = u8::try_from(mixed).unwrap_or(u8::MAX);
        }
    }
    let rgb = DynamicImage::ImageRgba8(opaque).to_rgb8();
    let mut data = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut data, QUALITY);
    let written = encoder.write_image(&rgb, rgb.width(), rgb.height(), ExtendedColorType::Rgb8);
    written.map_err(|_| Refused::BrokenImage)?;
    Ok(data)
}
