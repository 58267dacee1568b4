//! A provider as it describes itself: where people log in, where tokens come from, and the keys that sign them.
//!
//! Fetched by the control plane, which decides how often ([`crate::https`] bounds one fetch). The issuer is
//! given: a document that names another one is refused.

use crate::https::{Https, HttpsProblem};
use fettle_model::login::Issuer;
use openidconnect::core::{CoreJsonWebKeySet, CoreProviderMetadata};
use openidconnect::{DiscoveryError, IssuerUrl};

/// A provider.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its name.
    pub issuer: Issuer,
    /// Where people log in.
    pub authorization_endpoint: String,
    /// Where a code becomes a token.
    pub token_endpoint: String,
    /// The keys that sign its tokens.
    pub keys: CoreJsonWebKeySet,
}

/// A provider could not be asked, or does not describe itself as wanted.
#[derive(Debug, thiserror::Error)]
pub enum ProviderProblem {
    /// The issuer is no address.
    #[error("the issuer {issuer} is no address")]
    Issuer {
        /// The issuer.
        issuer: Issuer,
    },
    /// It did not answer.
    #[error("the provider does not answer")]
    Silent(#[source] HttpsProblem),
    /// What it answers is not what is wanted.
    #[error("the provider's description of itself cannot be used: {what}")]
    Unusable {
        /// Why, with words of the provider's in it.
        what: String,
    },
}

impl Provider {
    /// Asks a provider for its description and its keys.
    ///
    /// # Errors
    /// [`ProviderProblem`].
    pub async fn discover(issuer: &Issuer, https: &Https) -> Result<Self, ProviderProblem> {
        let url = IssuerUrl::new(issuer.to_string()).map_err(|_| ProviderProblem::Issuer { issuer: issuer.clone() })?;
        let found = CoreProviderMetadata::discover_async(url, https).await.map_err(problem)?;
        let unusable = |what: &str| ProviderProblem::Unusable { what: what.to_owned() };
        let token_endpoint = found.token_endpoint().ok_or_else(|| unusable("it names no token endpoint"))?;
        Ok(Self {
            issuer: issuer.clone(),
            authorization_endpoint: found.authorization_endpoint().to_string(),
            token_endpoint: token_endpoint.to_string(),
            keys: found.jwks().clone(),
        })
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum may grow; what is new is unusable too")]
fn problem(error: DiscoveryError<HttpsProblem>) -> ProviderProblem {
    /// Most that is told of what a provider said.
    const MAX_SAID: usize = 200;
    match error {
        DiscoveryError::Request(source) => ProviderProblem::Silent(source),
        other => ProviderProblem::Unusable { what: other.to_string().chars().take(MAX_SAID).collect() },
    }
}
