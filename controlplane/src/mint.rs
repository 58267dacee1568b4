//! Fresh ids and secrets: the only place of the control plane that draws random numbers.
//!
//! Keys are drawn by the cryptographic provider; everything else comes from here and is passed down.

use zeroize::Zeroizing;

/// The system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness(#[source] getrandom::Error);

/// A fresh UUID.
#[expect(clippy::disallowed_methods, reason = "the rim: ids are minted here and passed down")]
pub(crate) fn uuid() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}

/// Fresh bytes that may become a secret.
pub(crate) fn secret<const N: usize>() -> Result<Zeroizing<[u8; N]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(NoRandomness)?;
    Ok(bytes)
}

/// A fresh serial number for a certificate.
pub(crate) fn serial() -> Result<fettle_certs::serial::Serial, NoRandomness> {
    secret::<16>().map(|bytes| fettle_certs::serial::Serial::from_random(*bytes))
}

/// A number that spreads renewals. Without randomness every one comes at the same point of a
/// certificate's life, which works too.
pub(crate) fn spread() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}
