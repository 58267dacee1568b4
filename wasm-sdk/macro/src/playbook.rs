//! `#[playbook]`: the component's exports around one function.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Error, FnArg, Ident, ItemFn, Path, Result, Token, parse::Parse, parse::ParseStream};

/// `check = path`, or nothing.
struct Arguments {
    check: Option<Path>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self { check: None });
        }
        let key: Ident = input.parse()?;
        if key != "check" {
            return Err(Error::new(key.span(), "the only argument is `check = function`"));
        }
        input.parse::<Token![=]>()?;
        Ok(Self { check: Some(input.parse()?) })
    }
}

/// The function as written, and beside it what makes the crate a playbook component.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let Arguments { check } = syn::parse2(arguments)?;
    let item: ItemFn = syn::parse2(item)?;
    let signature = &item.sig;
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(asyncness, "a playbook is not async: its host calls wait in the host"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(&signature.generics, "a playbook is not generic"));
    }
    if let Some(receiver) = signature.inputs.iter().find(|input| matches!(input, FnArg::Receiver(_))) {
        return Err(Error::new_spanned(receiver, "a playbook is a free function"));
    }
    let name = &signature.ident;
    // A name of the macro's own: the function itself is called `run` as a rule, and must not be shadowed.
    let given = Ident::new("given", Span::mixed_site());
    // Without parameters the function still gets an (empty) object: one that is not is an issue.
    let function = match signature.inputs.len() {
        1 => quote!(|#given: &::fettle_sdk::Run, _: ::fettle_sdk::guest::NoParameters| #name(#given)),
        2 => quote!(#name),
        _ => return Err(Error::new_spanned(&signature.inputs, "a playbook takes `&Run` and its parameters")),
    };
    let check = check.map_or_else(|| quote!(::fettle_sdk::guest::nothing_further), |path| quote!(#path));
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "the parameters belong to the playbook")]
        #item

        const _: () = {
            struct Playbook;

            impl ::fettle_sdk::guest::Guest for Playbook {
                fn check_parameters(
                    parameters: ::std::string::String,
                ) -> ::core::result::Result<(), ::std::vec::Vec<::fettle_sdk::Issue>> {
                    ::fettle_sdk::guest::check(&parameters, #function, #check)
                }

                fn run(
                    trigger: ::fettle_sdk::Trigger,
                ) -> ::core::result::Result<::fettle_sdk::Outcome, ::fettle_sdk::Failure> {
                    ::fettle_sdk::guest::run(trigger, #function)
                }
            }

            // Elsewhere nothing calls it; it must still compile.
            #[cfg(not(target_arch = "wasm32"))]
            const _: () = {
                let _ = <Playbook as ::fettle_sdk::guest::Guest>::check_parameters;
                let _ = <Playbook as ::fettle_sdk::guest::Guest>::run;
            };

            #[cfg(target_arch = "wasm32")]
            ::fettle_sdk::bindings::export!(Playbook with_types_in ::fettle_sdk::bindings);
        };
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(arguments: TokenStream, item: TokenStream, message: &str) {
        let error = expand(arguments, item).map(|tokens| tokens.to_string()).expect_err("it must be refused");
        assert_eq!(error.to_string(), message);
    }

    #[track_caller]
    fn calls(arguments: TokenStream, item: TokenStream, expected: &str) {
        let tokens = expand(arguments, item).expect("it must be accepted").to_string();
        assert!(tokens.contains(expected), "{tokens}");
    }

    #[test]
    fn the_shape_of_the_function_decides_how_it_is_called() {
        calls(
            quote!(),
            quote!(
                fn act(run: &Run, p: P) -> R {
                    x()
                }
            ),
            "guest :: run (trigger , act)",
        );
        calls(
            quote!(),
            quote!(
                fn act(run: &Run) -> R {
                    x()
                }
            ),
            "NoParameters | act (given)",
        );
        calls(
            quote!(check = sound),
            quote!(
                fn act(run: &Run, p: P) -> R {
                    x()
                }
            ),
            "(& parameters , act , sound)",
        );
    }

    #[test]
    fn what_cannot_be_a_playbook_is_refused_with_the_reason() {
        refused(
            quote!(),
            quote!(
                async fn act(run: &Run) {}
            ),
            "a playbook is not async: its host calls wait in the host",
        );
        refused(
            quote!(),
            quote!(
                fn act<T>(run: &Run, p: T) {}
            ),
            "a playbook is not generic",
        );
        refused(
            quote!(),
            quote!(
                fn act(&self) {}
            ),
            "a playbook is a free function",
        );
        refused(
            quote!(),
            quote!(
                fn act() {}
            ),
            "a playbook takes `&Run` and its parameters",
        );
        refused(
            quote!(test = x),
            quote!(
                fn act(run: &Run) {}
            ),
            "the only argument is `check = function`",
        );
        refused(
            quote!(),
            quote!(
                struct P;
            ),
            "expected `fn`",
        );
    }
}
