//! The widget of a captcha.

/// The settings that a captcha's widget and the Content-Security-Policy of its page need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptchaWidget {
    /// URL of the provider's script, which draws the widget.
    pub script: &'static str,
    /// Class by which the script finds the widget's place.
    pub class: &'static str,
    /// Public key of the site.
    pub site_key: String,
    /// Hosts of the script, its frames, styles and requests.
    pub sources: &'static str,
}
