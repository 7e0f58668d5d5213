//! Icons from Lucide (ISC license, <https://lucide.dev/license>), inlined with a stroke width of 1.5 in the text's color.

use domain::brand;
use leptos::prelude::*;

/// The available icons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// Send a message.
    ArrowUp,
    /// A file.
    File,
    /// Attach a file.
    Paperclip,
    /// Go to the end.
    ArrowDown,
    /// Continue.
    ArrowRight,
    /// Done or selected.
    Check,
    /// Warning.
    Alert,
    /// Error.
    Danger,
    /// Waiting.
    Clock,
    /// Close.
    Close,
    /// An email.
    Mail,
    /// Open the navigation.
    Menu,
    /// The theme of the system.
    Monitor,
    /// The dark theme.
    Moon,
    /// The light theme.
    Sun,
    /// Settings of what is open.
    Sliders,
    /// Something that isn't kept.
    Hourglass,
    /// Go back.
    ChevronLeft,
    /// Go forward.
    ChevronRight,
    /// Open a menu below or beside its button.
    ChevronDown,
    /// Open a menu.
    ChevronsUpDown,
    /// Copy to the clipboard.
    Copy,
    /// A keyboard.
    Keyboard,
    /// New conversation.
    Pen,
    /// Share or download.
    Share,
    /// Edit.
    Pencil,
    /// Stop a response.
    Square,
    /// Delete.
    Trash,
    /// Try again or regenerate.
    Retry,
    /// A bad response.
    ThumbsDown,
    /// A good response.
    ThumbsUp,
    /// Archive.
    Archive,
    /// Open the options of an entry.
    Ellipsis,
    /// Show or hide the sidebar.
    PanelLeft,
    /// Pin.
    Pin,
    /// Search.
    Search,
}

impl Icon {
    fn paths(self) -> &'static [&'static str] {
        match self {
            Self::ArrowUp => &["m5 12 7-7 7 7", "M12 19V5"],
            Self::File => &["M15 2H6a2 2 0 0 0-2 2v16a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2V7Z", "M14 2v4a2 2 0 0 0 2 2h4"],
            Self::Paperclip => &[
                "m21.44 11.05-9.19 9.19a6 6 0 0 1-8.49-8.49l8.57-8.57A4 4 0 1 1 18 8.84l-8.59 8.57a2 2 0 0 1-2.83-2.83l8.49-8.48",
            ],
            Self::ArrowDown => &["M12 5v14", "m19 12-7 7-7-7"],
            Self::ArrowRight => &["M5 12h14", "m12 5 7 7-7 7"],
            Self::Check => &["M20 6 9 17l-5-5"],
            Self::Alert => {
                &["m21.73 18-8-14a2 2 0 0 0-3.48 0l-8 14A2 2 0 0 0 4 21h16a2 2 0 0 0 1.73-3", "M12 9v4", "M12 17h.01"]
            }
            Self::Danger => &["M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20", "M12 8v4", "M12 16h.01"],
            Self::Clock => &["M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20", "M12 6v6l4 2"],
            Self::Close => &["M18 6 6 18", "m6 6 12 12"],
            Self::Mail => &[
                "M4 4h16a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2",
                "m22 7-8.97 5.7a1.94 1.94 0 0 1-2.06 0L2 7",
            ],
            Self::Menu => &["M4 6h16", "M4 12h16", "M4 18h16"],
            Self::Monitor => {
                &["M4 3h16a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2", "M8 21h8", "M12 17v4"]
            }
            Self::Moon => &["M12 3a6 6 0 0 0 9 9 9 9 0 1 1-9-9Z"],
            Self::Sun => &[
                "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8",
                "M12 2v2M12 20v2M4.93 4.93l1.41 1.41M17.66 17.66l1.41 1.41M2 12h2M20 12h2M6.34 17.66l-1.41 1.41M19.07 4.93l-1.41 1.41",
            ],
            Self::Sliders => &["M21 4h-7M10 4H3M21 12h-9M8 12H3M21 20h-5M12 20H3M14 2v4M8 10v4M16 18v4"],
            Self::Hourglass => &[
                "M5 22h14M5 2h14M17 22v-4.172a2 2 0 0 0-.586-1.414L12 12l-4.414 4.414A2 2 0 0 0 7 17.828V22M7 2v4.172a2 2 0 0 0 .586 1.414L12 12l4.414-4.414A2 2 0 0 0 17 6.172V2",
            ],
            Self::ChevronLeft => &["m15 18-6-6 6-6"],
            Self::ChevronRight => &["m9 18 6-6-6-6"],
            Self::ChevronDown => &["m6 9 6 6 6-6"],
            Self::ChevronsUpDown => &["m7 15 5 5 5-5", "m7 9 5-5 5 5"],
            Self::Copy => &[
                "M10 8h10a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H10a2 2 0 0 1-2-2V10a2 2 0 0 1 2-2",
                "M4 16c-1.1 0-2-.9-2-2V4c0-1.1.9-2 2-2h10c1.1 0 2 .9 2 2",
            ],
            Self::Keyboard => &[
                "M4 4h16a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2",
                "M6 8h.01M10 8h.01M14 8h.01M18 8h.01M8 12h.01M12 12h.01M16 12h.01M7 16h10",
            ],
            Self::Pen => &[
                "M12 3H5a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h14a2 2 0 0 0 2-2v-7",
                "M18.375 2.625a1 1 0 0 1 3 3l-9.013 9.014a2 2 0 0 1-.853.505l-2.873.84a.5.5 0 0 1-.62-.62l.84-2.873a2 2 0 0 1 .506-.852z",
            ],
            Self::Share => &["M12 2v13", "m16 6-4-4-4 4", "M4 12v8a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-8"],
            Self::Pencil => &[
                "M21.174 6.812a1 1 0 0 0-3.986-3.987L3.842 16.174a2 2 0 0 0-.5.83l-1.321 4.352a.5.5 0 0 0 .623.622l4.353-1.32a2 2 0 0 0 .83-.497z",
                "m15 5 4 4",
            ],
            Self::Square => &["M7 7h10v10H7z"],
            Self::Trash => {
                &["M3 6h18", "M19 6v14a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2V6", "M8 6V4a2 2 0 0 1 2-2h4a2 2 0 0 1 2 2v2"]
            }
            Self::Retry => &["M3 12a9 9 0 1 0 9-9 9.75 9.75 0 0 0-6.74 2.74L3 8", "M3 3v5h5"],
            Self::ThumbsDown => &[
                "M17 14V2M9 18.12 10 14H4.17a2 2 0 0 1-1.92-2.56l2.33-8A2 2 0 0 1 6.5 2H20a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-2.76a2 2 0 0 0-1.79 1.11L12 22a3.13 3.13 0 0 1-3-3.88Z",
            ],
            Self::ThumbsUp => &[
                "M7 10v12M15 5.88 14 10h5.83a2 2 0 0 1 1.92 2.56l-2.33 8A2 2 0 0 1 17.5 22H4a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2h2.76a2 2 0 0 0 1.79-1.11L12 2a3.13 3.13 0 0 1 3 3.88Z",
            ],
            Self::Archive => &[
                "M3 3h18a1 1 0 0 1 1 1v3a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1Z",
                "M4 8v11a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2V8M10 12h4",
            ],
            Self::Ellipsis => &[
                "M12 11a1 1 0 1 0 0 2 1 1 0 0 0 0-2M19 11a1 1 0 1 0 0 2 1 1 0 0 0 0-2M5 11a1 1 0 1 0 0 2 1 1 0 0 0 0-2",
            ],
            Self::PanelLeft => &["M5 3h14a2 2 0 0 1 2 2v14a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2Z", "M9 3v18"],
            Self::Pin => &[
                "M12 17v5M9 10.76a2 2 0 0 1-1.11 1.79l-1.78.9A2 2 0 0 0 5 15.24V16a1 1 0 0 0 1 1h12a1 1 0 0 0 1-1v-.76a2 2 0 0 0-1.11-1.79l-1.78-.9A2 2 0 0 1 15 10.76V7a1 1 0 0 1 1-1 2 2 0 0 0 0-4H8a2 2 0 0 0 0 4 1 1 0 0 1 1 1z",
            ],
            Self::Search => &["M11 3a8 8 0 1 0 0 16 8 8 0 0 0 0-16", "m21 21-4.3-4.3"],
        }
    }
}

/// Draws an icon. It is hidden from screen readers, so the control needs a text or `aria-label` of its own.
#[component]
pub fn Draw(
    /// The icon to draw.
    icon: Icon,
    /// Edge length in pixels: 16 in controls, 20 in navigation.
    #[prop(default = 16)]
    size: u8,
) -> impl IntoView {
    let paths = icon.paths().iter().map(|d| view! { <path d=*d></path> }).collect_view();
    view! {
        <svg class="icon" width=size height=size viewBox="0 0 24 24" fill="none" stroke="currentColor"
            stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
            {paths}
        </svg>
    }
}

/// The product's logo, in the color of the text where it has none of its own.
#[component]
pub fn Mark(
    /// Edge length in pixels.
    #[prop(default = 20)]
    size: u8,
) -> impl IntoView {
    view! {
        <svg class="mark" width=size height=size viewBox=brand::LOGO_VIEW_BOX fill="currentColor" aria-hidden="true"
            inner_html=brand::LOGO_BODY></svg>
    }
}
