//! A port must accept a connection. Nothing is sent.

use super::dial::dial;
use crate::check::observation::Verdict;

pub(in crate::check) struct Tcp {
    address: String,
}

impl Tcp {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    pub(super) async fn probe(&self) -> Verdict {
        match dial(&self.address).await {
            Ok(_) => Verdict::passing(&format!("{} accepts connections", self.address)),
            Err(verdict) => verdict,
        }
    }
}
