//! Ports that accept, refuse and do not exist.

use super::*;
use fettle_model::check::HostValue;
use tokio::net::TcpListener;

async fn check(address: String, status: Status, reason: &str) {
    let verdict = prober(Probe::Tcp { address: HostValue(address) }).probe_within(LONG).await;
    expect(&verdict, status, reason);
}

#[tokio::test]
async fn a_port_passes_while_it_accepts_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    check(address.clone(), Status::Passing, "accepts connections").await;
    drop(listener);
    check(address, Status::Critical, "onnection refused").await;
}

#[tokio::test]
async fn an_address_that_is_none_tells_nothing_of_the_service() {
    check("127.0.0.1".to_owned(), Status::Unknown, "127.0.0.1: ").await;
    check("127.0.0.1:99999".to_owned(), Status::Unknown, "127.0.0.1:99999: ").await;
}
