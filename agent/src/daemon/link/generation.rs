//! The generation of the certificate in use: the control plane compares it when a host rotates, so that two
//! holders of one identity are found out.
//!
//! Kept in a file beside the identity, by serial number, for the certificate in use and the next one: a
//! crash between two writes leaves the number of whichever is in use.

use fettle_certs::serial::Serial;
use fettle_certs::store::{StoreProblem, read_private, write_private};
use fettle_model::counter::CertificateGeneration;
use std::path::{Path, PathBuf};

const FILE: &str = "generations";
/// Two lines of 32 digits, a space and a number of at most 16 digits.
const MAX_BYTES: usize = 2 * (32 + 1 + 16 + 1);

fn file(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// The generation of a certificate; `None` where it is not known.
pub(super) fn of(state: &Path, serial: Serial) -> Option<CertificateGeneration> {
    let text = read_private(&file(state), MAX_BYTES).ok()?;
    let text = std::str::from_utf8(&text).ok()?;
    text.lines().find_map(|line| {
        let (known, generation) = line.split_once(' ')?;
        (known == serial.to_string()).then_some(())?;
        generation.parse().ok().map(CertificateGeneration)
    })
}

/// Keeps the generation of a new certificate beside that of the one in use.
///
/// # Errors
/// When it cannot be written.
pub(super) fn keep(
    state: &Path,
    in_use: Option<(Serial, CertificateGeneration)>,
    next: (Serial, CertificateGeneration),
) -> Result<(), StoreProblem> {
    let lines: String = in_use
        .into_iter()
        .chain([next])
        .map(|(serial, CertificateGeneration(generation))| format!("{serial} {generation}\n"))
        .collect();
    write_private(&file(state), lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_that_of_the_serial_number_whichever_certificate_is_in_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, second, third] = [1, 2, 3].map(|byte| Serial::from_random([byte; 16]));
        assert_eq!(of(folder.path(), first), None);
        keep(folder.path(), None, (first, CertificateGeneration(1))).expect("kept");
        keep(folder.path(), Some((first, CertificateGeneration(1))), (second, CertificateGeneration(2))).expect("kept");
        assert_eq!(of(folder.path(), first), Some(CertificateGeneration(1)));
        assert_eq!(of(folder.path(), second), Some(CertificateGeneration(2)));
        assert_eq!(of(folder.path(), third), None);
    }
}
