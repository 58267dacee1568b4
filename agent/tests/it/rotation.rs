//! The certificate is renewed over the old one at half of its life.

use crate::control_plane::Heard;
use crate::stand::Stand;
use std::time::Duration;

#[tokio::test]
async fn a_certificate_is_rotated_at_half_life_and_the_next_session_shows_the_new_one() {
    let mut stand = Stand::with_lives(Duration::from_secs(16), Duration::from_secs(60 * 60)).await;
    let generation = stand
        .heard(|heard| match heard {
            Heard::Rotated { generation } => Some(*generation),
            Heard::Connected { .. } | Heard::Recorded(_) | Heard::Fetched => None,
        })
        .await;
    assert_eq!(generation, 1, "the generation of the certificate in use is named");
    let serial = stand
        .heard(|heard| match heard {
            Heard::Connected { serial, .. } => Some(*serial),
            Heard::Recorded(_) | Heard::Fetched | Heard::Rotated { .. } => None,
        })
        .await;
    assert_eq!(serial, fettle_certs::serial::Serial::from_random([11; 16]));
}
