//! The port at which people without a certificate log in: gRPC over TLS 1.3 towards a pinned root.

use super::{ANSWER_WITHIN, Asked, CONNECT_WITHIN, failed, unreachable, within};
use crate::exit::Exit;
use crate::failure::Failure;
use fettle_certs::tls::{self, DefaultTimeProvider};
use fettle_model::digest::CaPin;
use fettle_proto::login::{LoginReply, LoginRequest, MAX_DOCUMENT_BYTES, Offer};
use fettle_proto::v1::logins_client::LoginsClient;
use fettle_proto::v1::{LoginDocument, OfferRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

/// A connection to it.
#[derive(Debug)]
pub struct Door {
    client: LoginsClient<Channel>,
    address: String,
}

impl Door {
    /// Connects, to a control plane under this root and no other.
    ///
    /// # Errors
    /// When it cannot be reached, or is another one.
    pub async fn open(address: &str, pin: CaPin) -> Result<Self, Failure> {
        let config = tls::pinned_client_config(pin, Arc::new(DefaultTimeProvider))
            .map_err(|error| Failure::caused(Exit::Internal, &error, "report it"))?;
        let connector = TlsConnector::from(config);
        let to = address.to_owned();
        let connect = tower::service_fn(move |_: Uri| {
            let (connector, address) = (connector.clone(), to.clone());
            async move {
                let stream = TcpStream::connect(&address).await?;
                // Not looked at: the server is whoever holds a control plane's identity under the pinned root.
                let name = ServerName::try_from("controlplane").map_err(io::Error::other)?;
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_static("http://controlplane").connect_timeout(CONNECT_WITHIN);
        let channel = endpoint.connect_with_connector(connect).await.map_err(|error| unreachable(address, &error))?;
        let client = LoginsClient::new(channel).max_decoding_message_size(MAX_DOCUMENT_BYTES);
        Ok(Self { client, address: address.to_owned() })
    }

    /// Where and how to ask the provider.
    ///
    /// # Errors
    /// The control plane's problem, or that of the connection.
    pub async fn offer(&mut self) -> Result<Offer, Failure> {
        let reply = self.client.offer(within(ANSWER_WITHIN, OfferRequest {})).await;
        read(&reply.map_err(|status| failed(&status, &self.address, Asked::Question))?.into_inner())
    }

    /// Brings a token.
    ///
    /// # Errors
    /// The control plane's problem, or that of the connection.
    pub async fn log_in(&mut self, request: &LoginRequest) -> Result<LoginReply, Failure> {
        let json = serde_json::to_vec(request).map_err(|error| Failure::internal(format!("no document: {error}")))?;
        if json.len() > MAX_DOCUMENT_BYTES {
            let message = format!("the token makes a document of more than {MAX_DOCUMENT_BYTES} bytes");
            return Err(Failure::new(Exit::Invalid, message, "have the provider put less into the ID token"));
        }
        let reply = self.client.log_in(within(ANSWER_WITHIN, LoginDocument { json })).await;
        read(&reply.map_err(|status| failed(&status, &self.address, Asked::Question))?.into_inner())
    }
}

fn read<T: DeserializeOwned>(document: &LoginDocument) -> Result<T, Failure> {
    serde_json::from_slice(&document.json).map_err(|error| {
        let message = format!("the control plane's answer is not understood: {error}");
        Failure::new(Exit::Internal, message, "use the command line of the control plane's version")
    })
}
