//! Pictures that are drawn from the brand: icons, and the pictures of shared links. Each is drawn at its first request and kept.

pub(crate) mod icons;
pub(crate) mod open_graph;

use anyhow::Context as _;
use bytes::Bytes;
use resvg::{tiny_skia, usvg};
use std::sync::{Arc, LazyLock};
use tokio::sync::OnceCell;

/// Inter SemiBold with the letters of Latin scripts; `fonts/OFL.txt` is its license.
const FONT: &[u8] = include_bytes!("fonts/inter-latin-semibold.ttf");
const FONT_FAMILY: &str = "Inter";

static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(FONT.to_vec());
    Arc::new(fonts)
});

/// The contents of a file that is made at its first request.
struct Kept(OnceCell<Bytes>);

impl Kept {
    const fn new() -> Self {
        Self(OnceCell::const_new())
    }

    /// Returns the file. `make` runs at the first call, or again after it has failed, and not on the threads that serve requests.
    async fn get(&self, make: impl FnOnce() -> anyhow::Result<Vec<u8>> + Send + 'static) -> anyhow::Result<Bytes> {
        let made = self.0.get_or_try_init(move || async move {
            let bytes = tokio::task::spawn_blocking(make).await??;
            anyhow::Ok(Bytes::from(bytes))
        });
        Ok(made.await?.clone())
    }
}

/// Draws an SVG in its own size, which is given in pixels, and returns it in PNG format.
fn draw(svg: &str, width: u32, height: u32) -> anyhow::Result<Vec<u8>> {
    let options =
        usvg::Options { font_family: FONT_FAMILY.to_owned(), fontdb: FONTS.clone(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options).context("a picture of the brand")?;
    let mut pixels = tiny_skia::Pixmap::new(width, height).context("a picture without pixels")?;
    resvg::render(&tree, tiny_skia::Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().context("a picture as PNG")
}

/// Draws the logo as a part of another SVG, as a square. Parts without a color of their own get `color`.
fn logo(left: u32, top: u32, size: u32, color: &str) -> String {
    let (view_box, body) = (domain::brand::LOGO_VIEW_BOX, domain::brand::LOGO_BODY);
    format!(
        "<g fill=\"{color}\" color=\"{color}\"><svg x=\"{left}\" y=\"{top}\" width=\"{size}\" height=\"{size}\" \
         viewBox=\"{view_box}\">{body}</svg></g>"
    )
}
