//! What account code needs to know about the client of a request.

/// The client of a request: what attempt limits, sessions and security events record of it.
#[derive(Clone, Debug)]
pub(crate) struct ClientInfo {
    /// Keyed hash of its address.
    pub origin: String,
    /// Keyed hash of the block of addresses that its own belongs to: an IPv4 /24 or an IPv6 /48.
    pub block: String,
    /// The browser, as it describes itself; may be empty.
    pub user_agent: String,
    /// Hash of its browser cookie, if it has one.
    pub browser: Option<[u8; 32]>,
}
