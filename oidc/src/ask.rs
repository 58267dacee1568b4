//! The authorization code flow with PKCE (RFC 6749, 7636, 8252), from the address that a person opens to the
//! token. Called by the command line, which brings the redirect's listener.
//!
//! Fettle is a public client: there is no secret, and the token proves nothing here. Only the control plane
//! verifies it.

use crate::https::{Https, HttpsProblem};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreJsonWebKeySet};
use openidconnect::url::{ParseError, form_urlencoded};
use openidconnect::{
    AuthType, AuthUrl, AuthenticationContextClass, AuthorizationCode, ClientId, CsrfToken, IssuerUrl, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, StandardErrorResponse, TokenResponse as _,
    TokenUrl,
};
use std::time::Duration;

/// Where and how to ask, as the control plane tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// The provider.
    pub issuer: String,
    /// Fettle's name there.
    pub client_id: String,
    /// Where people log in.
    pub authorization_endpoint: String,
    /// Where a code becomes a token.
    pub token_endpoint: String,
    /// How the person is to be authenticated: one of these.
    pub contexts: Vec<String>,
    /// How long ago at most.
    pub max_authentication_age: Option<Duration>,
}

/// A login that was asked for and waits for the redirect.
#[derive(Debug)]
pub struct Asked {
    /// What the person opens in a browser.
    pub address: String,
    /// What the answer must carry.
    pub awaited: Awaited,
    redirect: RedirectUrl,
    verifier: PkceCodeVerifier,
}

/// A login could not be asked for.
#[derive(Debug, thiserror::Error)]
#[error("{what} is no address")]
pub struct InvalidAddress {
    what: String,
    #[source]
    source: ParseError,
}

/// A code did not become a token.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeProblem {
    /// An address is none.
    #[error("the provider's address cannot be used")]
    Address(#[source] InvalidAddress),
    /// The provider did not answer.
    #[error("the provider does not answer")]
    Silent(#[source] HttpsProblem),
    /// The provider refuses.
    #[error("the provider refuses the code: {said}")]
    Refused {
        /// In its words.
        said: String,
    },
    /// The provider answers something that is no token.
    #[error("the provider's answer is not understood")]
    NotUnderstood,
    /// The provider gave no ID token.
    #[error("the provider gave no ID token")]
    NoIdToken,
}

/// What a request to the loopback address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landed {
    /// The provider sends the person back with this code.
    Code(String),
    /// The provider sends the person back without one, and says why.
    Refused(String),
    /// It is not the answer to this login: a browser looks for an icon, or somebody guesses.
    Foreign,
}

/// What the answer to a login must carry, for whoever listens.
#[derive(Debug, Clone)]
pub struct Awaited {
    state: String,
    issuer: String,
}

impl Awaited {
    /// Reads the query of a request to the redirect's address.
    #[must_use]
    pub fn read(&self, query: &str) -> Landed {
        /// Most that is told of what a provider said.
        const MAX_SAID: usize = 200;
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        // Given twice it is ambiguous, and none of ours.
        let only = |name: &str| {
            let mut found = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_ref());
            found.next().filter(|_| found.next().is_none())
        };
        // Another provider's answer (RFC 9207) must not be taken to this one.
        let from_another = only("iss").is_some_and(|issuer| issuer != self.issuer);
        if only("state") != Some(&self.state) || from_another {
            return Landed::Foreign;
        }
        match (only("code"), only("error")) {
            (Some(code), None) => Landed::Code(code.to_owned()),
            (None, Some(error)) => {
                let why = only("error_description").unwrap_or_default();
                Landed::Refused(format!("{error} {why}").trim_end().chars().take(MAX_SAID).collect())
            }
            (Some(_), Some(_)) | (None, None) => Landed::Foreign,
        }
    }
}

fn address<T>(text: &str, parse: impl FnOnce(String) -> Result<T, ParseError>) -> Result<T, InvalidAddress> {
    parse(text.to_owned()).map_err(|source| InvalidAddress { what: text.to_owned(), source })
}

impl Asking {
    /// The address that a person opens, with a fresh state and PKCE challenge, and a nonce that binds the token.
    ///
    /// # Errors
    /// When an address is none.
    pub fn ask(&self, redirect: &str, nonce: Nonce) -> Result<Asked, InvalidAddress> {
        let redirect = address(redirect, RedirectUrl::new)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let client = CoreClient::new(
            ClientId::new(self.client_id.clone()),
            address(&self.issuer, IssuerUrl::new)?,
            CoreJsonWebKeySet::default(),
        )
        .set_auth_uri(address(&self.authorization_endpoint, AuthUrl::new)?)
        .set_redirect_uri(redirect.clone());
        let mut request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, move || nonce)
            .set_pkce_challenge(challenge);
        for context in &self.contexts {
            request = request.add_auth_context_value(AuthenticationContextClass::new(context.clone()));
        }
        if let Some(max_age) = self.max_authentication_age {
            request = request.set_max_age(max_age);
        }
        let (url, state, _nonce) = request.url();
        let awaited = Awaited { state: state.secret().clone(), issuer: self.issuer.clone() };
        Ok(Asked { address: url.to_string(), awaited, redirect, verifier })
    }

    /// Has the code of the redirect made into an ID token.
    ///
    /// # Errors
    /// [`ExchangeProblem`].
    pub async fn exchange(&self, asked: Asked, code: String, https: &Https) -> Result<String, ExchangeProblem> {
        let client = CoreClient::new(
            ClientId::new(self.client_id.clone()),
            address(&self.issuer, IssuerUrl::new).map_err(ExchangeProblem::Address)?,
            CoreJsonWebKeySet::default(),
        )
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(address(&self.token_endpoint, TokenUrl::new).map_err(ExchangeProblem::Address)?)
        .set_redirect_uri(asked.redirect);
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(asked.verifier)
            .request_async(https)
            .await
            .map_err(problem)?;
        answer.id_token().map(ToString::to_string).ok_or(ExchangeProblem::NoIdToken)
    }
}

type Refused = StandardErrorResponse<CoreErrorResponseType>;

fn problem(error: RequestTokenError<HttpsProblem, Refused>) -> ExchangeProblem {
    /// Most that is told of what a provider said.
    const MAX_SAID: usize = 200;
    match error {
        RequestTokenError::Request(source) => ExchangeProblem::Silent(source),
        RequestTokenError::ServerResponse(said) => {
            ExchangeProblem::Refused { said: said.to_string().chars().take(MAX_SAID).collect() }
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => ExchangeProblem::NotUnderstood,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking() -> Asking {
        Asking {
            issuer: "https://login.example.org".to_owned(),
            client_id: "fettle".to_owned(),
            authorization_endpoint: "https://login.example.org/auth".to_owned(),
            token_endpoint: "https://login.example.org/token".to_owned(),
            contexts: vec!["urn:mfa".to_owned()],
            max_authentication_age: Some(Duration::from_mins(10)),
        }
    }

    #[test]
    fn the_address_asks_for_a_code_that_is_bound_to_nonce_state_and_challenge() {
        let asked = asking().ask("http://127.0.0.1:40000/callback", Nonce::new("n".to_owned())).expect("addresses");
        assert!(asked.address.starts_with("https://login.example.org/auth?"), "{}", asked.address);
        let state = &asked.awaited.state;
        for part in [
            "response_type=code",
            "client_id=fettle",
            "redirect_uri=http%3A%2F%2F127.0.0.1%3A40000%2Fcallback",
            "scope=openid",
            "code_challenge_method=S256",
            "code_challenge=",
            "nonce=n",
            "acr_values=urn%3Amfa",
            "max_age=600",
            &format!("state={state}"),
        ] {
            assert!(asked.address.contains(part), "{part} in {}", asked.address);
        }
        let again = asking().ask("http://127.0.0.1:40000/callback", Nonce::new("n".to_owned())).expect("addresses");
        assert_ne!(&again.awaited.state, state);
    }

    #[test]
    fn only_the_answer_to_this_login_ends_it() {
        let awaited = Awaited { state: "s".to_owned(), issuer: "https://login.example.org".to_owned() };
        for (query, landed) in [
            ("code=c&state=s", Landed::Code("c".to_owned())),
            ("code=c&state=s&iss=https%3A%2F%2Flogin.example.org", Landed::Code("c".to_owned())),
            ("code=c&state=s&iss=https%3A%2F%2Flogin.example.net", Landed::Foreign),
            ("code=c&state=t", Landed::Foreign),
            ("code=c&state=s&state=s", Landed::Foreign),
            ("code=c&code=d&state=s", Landed::Foreign),
            ("code=c", Landed::Foreign),
            ("state=s", Landed::Foreign),
            ("", Landed::Foreign),
            (
                "error=access_denied&error_description=no+way&state=s",
                Landed::Refused("access_denied no way".to_owned()),
            ),
            ("error=access_denied&state=t", Landed::Foreign),
        ] {
            assert_eq!(awaited.read(query), landed, "{query}");
        }
    }
}
