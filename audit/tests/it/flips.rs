//! Every single bit of a bundle carries meaning: no flip leaves it valid.

use crate::log::policy;
use crate::story::story;
use fettle_audit::verify::{Verdict, Verification};

/// The verification is fed up to the line with the flip once and then cloned, which is the same as
/// feeding each flipped bundle from its start. A verdict only gets worse, so reading on after
/// `Invalid` would change nothing.
#[test]
fn no_flipped_bit_leaves_a_bundle_valid() {
    let log = story();
    let lines = log.lines(&log.head());
    let policy = policy();
    let mut before = Verification::new(&policy);
    let mut flips = 0_u64;
    for (number, line) in lines.iter().enumerate() {
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut flipped = line.clone();
                flipped[at] ^= 1_u8 << bit;
                let mut verification = before.clone();
                verification.feed(&flipped);
                for rest in &lines[number + 1..] {
                    if verification.verdict_so_far() == Verdict::Invalid {
                        break;
                    }
                    verification.feed(rest);
                }
                let verdict = match verification.verdict_so_far() {
                    Verdict::Invalid => Verdict::Invalid,
                    Verdict::Valid | Verdict::ValidWithGaps => verification.finish().verdict(),
                };
                assert_eq!(verdict, Verdict::Invalid, "bit {bit} of byte {at} of line {number}");
                flips += 1;
            }
        }
        before.feed(line);
    }
    assert_eq!(before.finish().verdict(), Verdict::Valid, "without a flip");
    assert_eq!(flips, 8 * log.bundle().len() as u64);
}
