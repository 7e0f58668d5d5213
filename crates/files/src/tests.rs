use super::*;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use lopdf::content::{Content, Operation};
use lopdf::{Document, Object, Stream, dictionary};
use proptest::prelude::*;
use std::io::Cursor;

fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| {
        let [red, green] = [x, y].map(|n| u8::try_from(n % 256).unwrap_or_default());
        Rgb([red, green, 7])
    });
    let mut out = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut out, format).expect("an image is encoded");
    out.into_inner()
}

/// Returns a PDF with one page of text and further entries of its catalog.
fn pdf(text: &str, more: &[(&str, Object)]) -> Vec<u8> {
    let mut document = Document::with_version("1.5");
    let pages_id = document.new_object_id();
    let font = document.add_object(dictionary! { "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Courier" });
    let resources = document.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
    let operations = vec![
        Operation::new("BT", vec![]),
        Operation::new("Tf", vec!["F1".into(), 12.into()]),
        Operation::new("Tj", vec![Object::string_literal(text)]),
        Operation::new("ET", vec![]),
    ];
    let content = Content { operations }.encode().expect("a page is encoded");
    let content = document.add_object(Stream::new(dictionary! {}, content));
    let page = document.add_object(dictionary! { "Type" => "Page", "Parent" => pages_id, "Contents" => content });
    let pages = dictionary! {
        "Type" => "Pages", "Kids" => vec![page.into()], "Count" => 1, "Resources" => resources,
        "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
    };
    document.objects.insert(pages_id, Object::Dictionary(pages));
    let mut catalog = dictionary! { "Type" => "Catalog", "Pages" => pages_id };
    for (name, value) in more {
        catalog.set(*name, value.clone());
    }
    let catalog = document.add_object(catalog);
    document.trailer.set("Root", catalog);
    let mut out = Vec::new();
    document.save_to(&mut out).expect("a PDF is written");
    out
}

#[test]
fn images_are_encoded_again_and_scaled() {
    for (format, media_type) in [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::WebP, "image/png"),
        (ImageFormat::Gif, "image/png"),
    ] {
        let found = read(&picture(40, 30, format)).expect("an image is read");
        assert_eq!(
            (found.kind, found.media_type.as_str(), found.size),
            (AttachmentKind::Image, media_type, Some((40, 30)))
        );
        assert_eq!(found.text, None);
    }
    let wide = read(&picture(2_600, 130, ImageFormat::Png)).expect("an image is read");
    assert_eq!(wide.size, Some((2_000, 100)));
}

/// Data after or beside the pixels isn't encoded again.
#[test]
fn nothing_but_pixels_is_kept() {
    for format in [ImageFormat::Png, ImageFormat::Gif, ImageFormat::Jpeg] {
        let polyglot = [picture(8, 8, format).as_slice(), b"PK\x03\x04 <script>alert(1)</script> %PDF-1.7"].concat();
        let data = read(&polyglot).expect("the image is read").data.expect("it is encoded again");
        assert!(!data.windows(8).any(|part| part == b"<script>"), "{format:?}");
    }
}

#[test]
fn a_huge_picture_is_refused_by_its_header() {
    let mut png = picture(1, 1, ImageFormat::Png);
    // The size in the header, with a checksum that no longer matches, and then with one that does.
    png[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
    assert!(matches!(read(&png), Err(Refused::TooManyPixels | Refused::BrokenImage)));
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(read(&png), Err(Refused::TooManyPixels));
}

/// CRC-32 as PNG's specification defines it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn the_text_of_a_pdf_is_read() {
    let found = read(&pdf("The notice period is three months.", &[])).expect("a PDF is read");
    assert_eq!((found.kind, found.media_type.as_str()), (AttachmentKind::Pdf, "application/pdf"));
    assert!(found.text.expect("it has text").contains("The notice period is three months."));
    assert_eq!(found.data, None);
}

#[test]
fn pdfs_with_scripts_without_text_or_damaged_are_refused() {
    let script = dictionary! { "S" => "JavaScript", "JS" => Object::string_literal("app.alert(1)") };
    let launch = dictionary! { "S" => "Launch", "F" => Object::string_literal("cmd.exe") };
    let nested = dictionary! { "Names" => vec![Object::string_literal("a"), Object::Dictionary(script.clone())] };
    for action in [("OpenAction", script.into()), ("OpenAction", launch.into()), ("Names", nested.into())] {
        assert_eq!(read(&pdf("text", &[action])), Err(Refused::ScriptedPdf));
    }
    assert_eq!(read(&pdf(" ", &[])), Err(Refused::NoText));
    assert_eq!(read(b"%PDF-1.7\nnonsense"), Err(Refused::BrokenPdf));
}

#[test]
fn files_are_what_their_content_says() {
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain("fn main() {}\r\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    for text in
        ["a,b\r\n1,2\n".as_bytes(), b"\xef\xbb\xbf# Title", "日本語".as_bytes(), &utf16, b"<!doctype html><p>Hi"]
    {
        let found = read(text).expect("text is read");
        assert_eq!((found.kind, found.media_type.as_str()), (AttachmentKind::Text, "text/plain; charset=utf-8"));
        assert!(found.text.is_some_and(|text| !text.contains('\r') && !text.contains('\u{feff}')));
    }
    for (bytes, refused) in [
        (&b""[..], Refused::Empty),
        (b" \n ", Refused::Empty),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Refused::Svg),
        (b"<?xml version='1.0'?><!-- a --><!DOCTYPE svg><svg/>", Refused::Svg),
        (b"\xef\xbb\xbf <SVG onload=alert(1)>", Refused::Svg),
        (b"PK\x03\x04\x00\x00", Refused::Unsupported),
        (b"MZ\x90\x00\x03", Refused::Unsupported),
        (b"\x7fELF\x02\x01\x01\x00", Refused::Unsupported),
        (b"caf\xe9", Refused::Unsupported),
        (b"\x89PNG\r\n\x1a\nnothing", Refused::BrokenImage),
        (b"GIF89a<script>", Refused::BrokenImage),
    ] {
        assert_eq!(read(bytes), Err(refused), "{bytes:?}");
    }
    assert_eq!(read(&vec![b'a'; MAX_TEXT + 1]), Err(Refused::TooMuchText));
}

#[test]
fn names_have_no_paths_and_nothing_invisible() {
    for (name, clean) in [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\notes .txt", "notes .txt"),
        ("..", "file"),
        ("", "file"),
        ("a\u{202e}gpj.exe", "agpj.exe"),
        ("line\nbreak\0.md", "line break.md"),
        ("\"quoted\" <b>.csv", "quoted b.csv"),
    ] {
        assert_eq!(clean_name(name), clean, "{name:?}");
    }
    assert!(clean_name(&format!("{}.pdf", "x".repeat(500))).ends_with("x.pdf"));
}

proptest! {
    #[test]
    fn any_name_becomes_one_that_is_safe(name in any::<String>()) {
        let clean = clean_name(&name);
        prop_assert!(!clean.is_empty() && clean.chars().count() <= 120);
        prop_assert!(!clean.chars().any(|c| c.is_control() || "/\\\"<>|:*?`".contains(c)), "{clean:?}");
        prop_assert!(!clean.starts_with('.'));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in 0_usize..5) {
        let magic: &[u8] = [&b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff\xe0", b"GIF89a", b"%PDF-1.4\n", b""][magic];
        let _ = read(&[magic, &bytes].concat());
    }

    #[test]
    fn readings_are_parsed_as_they_were_written(text in proptest::option::of(".{0,40}"), data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))) {
        let reading = Reading {
            kind: AttachmentKind::Image, media_type: "image/png".to_owned(), size: Some((3, 4)), text, data,
        };
        for result in [Ok(reading), Err(Refused::Svg)] {
            let mut out = Vec::new();
            protocol::write(result.clone(), &mut out).expect("a vector is written to");
            prop_assert_eq!(protocol::parse(&out), Some(result));
        }
    }
}

#[test]
fn an_incomplete_reading_is_none() {
    assert_eq!(protocol::parse(b"{\"Ok\":{"), None);
}
