//! Icons of browsers and phones, and the web app manifest that names them.

use super::{Kept, draw, logo};
use bytes::Bytes;
use domain::brand;
use serde_json::{Value, json};

/// Edge lengths of the pictures in `favicon.ico`, in pixels.
const FAVICON_SIZES: [u8; 3] = [16, 32, 48];

/// A square icon on the background of pages, in PNG format.
pub(crate) struct Icon {
    /// Edge length in pixels.
    size: u32,
    /// The space on each side of the logo, in percent of the size.
    margin: u32,
    png: Kept,
}

/// For the home screens of Apple's phones and tablets, which round the corners.
pub(crate) static TOUCH: Icon = Icon::new(180, 17);
/// For the manifest.
pub(crate) static SMALL: Icon = Icon::new(192, 12);
/// For the manifest, also for splash screens.
pub(crate) static LARGE: Icon = Icon::new(512, 12);
/// For the manifest: only the inner circle of 80 % is certain to be visible.
pub(crate) static MASKABLE: Icon = Icon::new(512, 24);

static FAVICON: Kept = Kept::new();

impl Icon {
    const fn new(size: u32, margin: u32) -> Self {
        Self { size, margin, png: Kept::new() }
    }

    /// Returns the icon in PNG format.
    ///
    /// # Errors
    /// Returns an error if the logo can't be drawn.
    pub(crate) async fn png(&self) -> anyhow::Result<Bytes> {
        let (size, margin) = (self.size, self.margin);
        self.png.get(move || draw(&svg(size, margin, Some(brand::THEME_COLOR_LIGHT)), size, size)).await
    }
}

/// Returns `favicon.ico`, with a transparent background.
///
/// # Errors
/// Returns an error if the logo can't be drawn.
pub(crate) async fn favicon_ico() -> anyhow::Result<Bytes> {
    FAVICON
        .get(|| {
            let png = |size: u8| draw(&svg(size.into(), 0, None), size.into(), size.into()).map(|png| (size, png));
            ico(&FAVICON_SIZES.into_iter().map(png).collect::<anyhow::Result<Vec<_>>>()?)
        })
        .await
}

/// Returns `favicon.svg`, which follows the theme of the browser.
pub(crate) fn favicon_svg() -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{}\"><style>svg{{color:{}}}@media (prefers-color-scheme:dark){{svg{{color:{}}}}}\
         </style><g fill=\"currentColor\">{}</g></svg>",
        brand::LOGO_VIEW_BOX,
        brand::ACCENT_COLOR_LIGHT,
        brand::ACCENT_COLOR_DARK,
        brand::LOGO_BODY
    )
}

/// Returns the web app manifest.
pub(crate) fn manifest() -> Value {
    let icon = |file: &str, size: u32, purpose: &str| json!({"src": format!("/{file}"), "sizes": format!("{size}x{size}"), "type": "image/png", "purpose": purpose});
    json!({
        "id": "/",
        "name": brand::NAME,
        "short_name": brand::NAME,
        "description": brand::DESCRIPTION,
        "start_url": "/chat",
        "scope": "/",
        "display": "standalone",
        "background_color": brand::THEME_COLOR_LIGHT,
        "theme_color": brand::THEME_COLOR_LIGHT,
        "icons": [
            icon("icon-192.png", 192, "any"),
            icon("icon-512.png", 512, "any"),
            icon("icon-maskable.png", 512, "maskable"),
        ],
    })
}

/// Writes the logo as an SVG of `size` pixels.
fn svg(size: u32, margin: u32, background: Option<&str>) -> String {
    let space = size * margin / 100;
    let logo = logo(space, space, size - 2 * space, brand::ACCENT_COLOR_LIGHT);
    let background = background.map(|color| format!("<rect width=\"{size}\" height=\"{size}\" fill=\"{color}\"/>"));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size}\" height=\"{size}\">{}{logo}</svg>",
        background.unwrap_or_default()
    )
}

/// Puts square pictures in PNG format, with their edge lengths in pixels, into one file in ICO format
/// (<https://learn.microsoft.com/en-us/previous-versions/ms997538(v=msdn.10)>).
fn ico(pictures: &[(u8, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let mut file = vec![0, 0, 1, 0];
    file.extend(u16::try_from(pictures.len())?.to_le_bytes());
    let mut offset = 6 + 16 * pictures.len();
    for (size, png) in pictures {
        // Width, height, no palette; one plane with 32 bits for each pixel.
        file.extend([*size, *size, 0, 0, 1, 0, 32, 0]);
        file.extend(u32::try_from(png.len())?.to_le_bytes());
        file.extend(u32::try_from(offset)?.to_le_bytes());
        offset += png.len();
    }
    file.extend(pictures.iter().flat_map(|(_, png)| png));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ico_file_leads_to_each_picture() {
        let file = ico(&[(16, vec![1, 2, 3]), (32, vec![4, 5])]).unwrap();
        assert_eq!(file[..6], [0, 0, 1, 0, 2, 0]);
        for (at, size, picture) in [(6, 16, [1, 2, 3].as_slice()), (22, 32, [4, 5].as_slice())] {
            assert_eq!(file[at], size);
            let number =
                |from: usize| file[from..from + 4].iter().rev().fold(0, |sum, byte| sum * 256 + usize::from(*byte));
            let (length, offset) = (number(at + 8), number(at + 12));
            assert_eq!(&file[offset..offset + length], picture);
        }
    }

    #[test]
    fn the_logo_is_visible_in_every_icon() {
        for (size, margin) in [(16, 0), (180, 17), (512, 24)] {
            let empty = draw(&svg(size, 50, Some(brand::THEME_COLOR_LIGHT)), size, size);
            let icon = draw(&svg(size, margin, Some(brand::THEME_COLOR_LIGHT)), size, size).unwrap();
            assert!(empty.is_err() || empty.unwrap() != icon, "{size}");
        }
    }
}
