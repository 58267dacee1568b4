//! The attribute macros of the playbook SDK; authors reach them as `fettle_sdk::playbook` and
//! `fettle_sdk::parameters`.
//!
//! They only write glue: what it calls is in `fettle-sdk`. The component's exports exist for wasm32
//! alone; elsewhere the function is type-checked and that is all.

mod parameters;
mod playbook;

use proc_macro::TokenStream;

/// Makes this function the playbook: the component's `run`, and its `check-parameters`.
///
/// The function takes `&Run` and, if the playbook has parameters, a type that deserialises from
/// them (see [`macro@parameters`]); it returns `Result<Outcome, Failure>`. With
/// `#[playbook(check = path)]`, the function at `path` is asked too: it takes `&Parameters` and
/// returns `Result<(), Vec<Issue>>`, for what one parameter's bounds cannot say.
#[proc_macro_attribute]
pub fn playbook(arguments: TokenStream, item: TokenStream) -> TokenStream {
    playbook::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes this struct the playbook's parameters: each field is the manifest's parameter of the same
/// name in kebab-case (`max_restarts` is `max-restarts`), durations are `Millis`. Before an enum, its
/// variants are the choices of a text parameter.
#[proc_macro_attribute]
pub fn parameters(arguments: TokenStream, item: TokenStream) -> TokenStream {
    parameters::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
