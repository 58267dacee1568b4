//! The OpenID provider as this control plane knows it: what the configuration says, and the keys it fetched.
//!
//! Asked by the login service. Fetches when it is first needed, so that a control plane starts without its
//! provider, and again for a key that it does not know, as often as [`super::fetches`] allows. Without keys
//! that are fresh nobody logs in.

use super::fetches::{Fetches, is_fresh};
use crate::config::Oidc;
use crate::core::Monotonic;
use fettle_model::login::Issuer;
use fettle_model::time::whole_millis;
use fettle_oidc::https::{Https, RootsProblem};
use fettle_oidc::provider::{Provider, ProviderProblem};
use fettle_oidc::token::Expected;
use fettle_proto::login::Offer;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Longest file of roots: what an offer carries in its document, with room for the rest.
const MAX_ROOTS_BYTES: u64 = 48 * 1024;

/// Why the provider cannot be used; the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum OidcProblem {
    /// The file of its roots.
    #[error("{} cannot be read as text", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file of its roots is too long.
    #[error("{} is longer than {MAX_ROOTS_BYTES} bytes; name the provider's own authority only", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Its roots.
    #[error("whom to trust as the provider is not known; see `ca` in [oidc]")]
    Roots(#[source] RootsProblem),
}

/// There are no keys to verify with.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoKeys {
    /// The provider was asked in vain.
    #[error("the OpenID provider cannot be asked")]
    Provider(#[source] ProviderProblem),
    /// It was asked too often.
    #[error("the OpenID provider was asked too often for now")]
    TooOften,
}

/// Keys, and when they were fetched.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    pub(super) provider: Arc<Provider>,
    at: Monotonic,
}

#[derive(Debug, Default)]
struct Known {
    fetched: Option<Fetched>,
    fetches: Fetches,
}

/// The provider.
#[derive(Debug)]
pub struct LoginProvider {
    expected: Expected,
    roots: Option<String>,
    https: Https,
    /// Held while the provider is asked, so that all who wait share one answer.
    known: Mutex<Known>,
}

impl LoginProvider {
    /// The provider that the configuration names. Asks nobody yet.
    ///
    /// # Errors
    /// [`OidcProblem`].
    pub fn new(config: &Oidc) -> Result<Self, OidcProblem> {
        let roots = config.ca.as_deref().map(read_roots).transpose()?;
        let https = Https::trusting(roots.as_ref().map(String::as_bytes)).map_err(OidcProblem::Roots)?;
        let expected = Expected {
            issuer: config.issuer.clone(),
            client_id: config.client_id.to_string(),
            contexts: config.acr.iter().map(ToString::to_string).collect(),
            max_authentication_age: config.max_authentication_age.map(|age| age.0),
        };
        Ok(Self { expected, roots, https, known: Mutex::default() })
    }

    /// Its name.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.expected.issuer
    }

    /// What its tokens must say.
    pub(super) const fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Where and how to ask it for a token.
    pub(super) fn offer(&self, provider: &Provider) -> Offer {
        let Expected { issuer, client_id, contexts, max_authentication_age } = self.expected.clone();
        Offer {
            issuer,
            client_id,
            authorization_endpoint: provider.authorization_endpoint.clone(),
            token_endpoint: provider.token_endpoint.clone(),
            contexts,
            max_authentication_age_ms: max_authentication_age.map(whole_millis),
            provider_roots: self.roots.clone(),
        }
    }

    /// Its keys, fetched when there are none that are fresh.
    pub(super) async fn keys(&self, now: Monotonic) -> Result<Fetched, NoKeys> {
        let mut known = self.known.lock().await;
        match &known.fetched {
            Some(fetched) if is_fresh(fetched.at, now) => Ok(fetched.clone()),
            Some(_) | None => self.fetch(&mut known, now).await,
        }
    }

    /// Its keys as they are after those: somebody else may have fetched them meanwhile.
    pub(super) async fn newer_keys(&self, than: &Fetched, now: Monotonic) -> Result<Fetched, NoKeys> {
        let mut known = self.known.lock().await;
        match &known.fetched {
            Some(fetched) if fetched.at > than.at => Ok(fetched.clone()),
            Some(_) | None => self.fetch(&mut known, now).await,
        }
    }

    async fn fetch(&self, known: &mut Known, now: Monotonic) -> Result<Fetched, NoKeys> {
        if !known.fetches.take(now) {
            return Err(NoKeys::TooOften);
        }
        let provider = Provider::discover(self.issuer(), &self.https).await.map_err(NoKeys::Provider)?;
        tracing::info!(issuer = %self.issuer(), keys = provider.keys.keys().len(), "the provider's keys were fetched");
        let fetched = Fetched { provider: Arc::new(provider), at: now };
        known.fetched = Some(fetched.clone());
        Ok(fetched)
    }
}

fn read_roots(path: &Path) -> Result<String, OidcProblem> {
    let read = |source| OidcProblem::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(read)?.len() > MAX_ROOTS_BYTES {
        return Err(OidcProblem::TooLong { path: path.to_owned() });
    }
    std::fs::read_to_string(path).map_err(read)
}
