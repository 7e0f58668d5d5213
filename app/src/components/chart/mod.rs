//! Charts, rendered as SVG on the server: an axis with round numbers, gridlines, bars that fill the width, and the same numbers in a
//! collapsible table.

mod axes;
mod bars;
mod line;
mod scale;
mod stacks;

pub use bars::{Bar, Bars};
pub use line::{Line, Share};
pub use scale::Unit;
pub use stacks::{Stack, Stacks};
