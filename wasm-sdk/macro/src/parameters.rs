//! `#[parameters]`: a type that deserialises from a playbook's parameters.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Item, Result};

/// The struct or enum, with serde's derive under the SDK's own serde.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[parameters]` takes no arguments"));
    }
    let item: Item = syn::parse2(item)?;
    if !matches!(item, Item::Struct(_) | Item::Enum(_)) {
        return Err(Error::new_spanned(item, "`#[parameters]` stands before a struct, or an enum of choices"));
    }
    Ok(quote! {
        #[derive(::core::fmt::Debug, ::core::clone::Clone, ::fettle_sdk::serde::Deserialize)]
        #[serde(crate = "::fettle_sdk::serde", rename_all = "kebab-case", deny_unknown_fields)]
        #item
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

    #[test]
    fn names_are_in_kebab_case_and_unknown_ones_are_refused() {
        for item in [
            quote!(
                struct P {
                    max_restarts: u32,
                }
            ),
            quote!(
                enum Then {
                    Nothing,
                    Restart,
                }
            ),
        ] {
            let tokens = expand(TokenStream::new(), item).expect("it must be accepted").to_string();
            assert!(tokens.contains(r#"rename_all = "kebab-case" , deny_unknown_fields"#), "{tokens}");
        }
    }

    #[test]
    fn arguments_and_other_items_are_refused() {
        refused(
            quote!(x),
            quote!(
                struct P;
            ),
            "`#[parameters]` takes no arguments",
        );
        refused(
            quote!(),
            quote!(
                fn p() {}
            ),
            "`#[parameters]` stands before a struct, or an enum of choices",
        );
    }
}
