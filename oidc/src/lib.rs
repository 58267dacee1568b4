//! People's identity by OpenID Connect: how a login is asked for, and what an ID token proves.
//!
//! Used by both ends: the command line asks the provider for a token that is bound to a key it made
//! ([`ask`]), the control plane verifies that token itself ([`token`]) with keys that it fetched itself
//! ([`provider`]). Decides about nobody: who is let in says the control plane's core.
//!
//! | module | holds |
//! |---|---|
//! | [`binding`] | what ties a token to the key of a certificate request |
//! | [`token`] | the verification of an ID token; reads no clock |
//! | [`provider`] | a provider's addresses and keys, fetched |
//! | [`ask`] | the authorization code flow with PKCE, up to the token |
//! | [`https`] | the bounded HTTPS client that both fetch with |

pub mod ask;
pub mod binding;
pub mod https;
pub mod provider;
pub mod token;
