//! Looks for things in a token stream, where comments and strings cannot be taken for code.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The lines on which a path such as `["std", "fs"]` stands, written out or through a group, as in
/// `use std::{fs, io}`. One name alone is found wherever that identifier stands.
pub(crate) fn lines_of_path(tokens: &TokenStream, path: &[&str]) -> Vec<usize> {
    let mut lines = Vec::new();
    collect(tokens, path, &mut lines);
    lines
}

fn collect(tokens: &TokenStream, path: &[&str], lines: &mut Vec<usize>) {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (at, tree) in trees.iter().enumerate() {
        if let TokenTree::Group(group) = tree {
            collect(&group.stream(), path, lines);
        }
        if begins(&trees, at, path) {
            lines.push(tree.span().start().line);
        }
    }
}

/// Whether `path` begins at `at`.
fn begins(trees: &[TokenTree], at: usize, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    if !is_identifier(trees.get(at), first) {
        return false;
    }
    let Some(next) = rest.first() else { return true };
    if !(is_punctuation(trees.get(at + 1), ':') && is_punctuation(trees.get(at + 2), ':')) {
        return false;
    }
    match trees.get(at + 3) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            (0..inner.len()).any(|at| {
                let starts_item = at == 0 || is_punctuation(inner.get(at - 1), ',');
                starts_item && is_identifier(inner.get(at), next) && begins(&inner, at, rest)
            })
        }
        Some(TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_)) | None => {
            begins(trees, at + 3, rest)
        }
    }
}

/// The attributes that contain a name at any depth, by line.
pub(crate) fn lines_of_attribute(tokens: &TokenStream, name: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    attributes(tokens, &mut |content, line| {
        if !lines_of_path(content, &[name]).is_empty() {
            lines.push(line);
        }
    });
    lines
}

fn attributes(tokens: &TokenStream, visit: &mut impl FnMut(&TokenStream, usize)) {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (at, tree) in trees.iter().enumerate() {
        if let TokenTree::Group(group) = tree {
            let opened = at.checked_sub(1).is_some_and(|before| is_punctuation(trees.get(before), '#'));
            if opened && group.delimiter() == Delimiter::Bracket {
                visit(&group.stream(), tree.span().start().line);
            } else {
                attributes(&group.stream(), visit);
            }
        }
    }
}

/// A module that a file declares.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its name.
    pub(crate) name: String,
    /// The text of its `#[path]`.
    pub(crate) path: Option<String>,
    /// Whether it is only there for tests.
    pub(crate) only_in_tests: bool,
    /// What stands between its braces; `None` for a module in a file of its own.
    pub(crate) content: Option<TokenStream>,
}

/// The modules that are declared at the top level of a stream.
pub(crate) fn modules(tokens: &TokenStream) -> Vec<Module> {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut found = Vec::new();
    let mut pending: Vec<TokenStream> = Vec::new();
    let mut at = 0;
    while let Some(tree) = trees.get(at) {
        at += 1;
        match tree {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => pending.push(group.stream()),
            // `#` before an attribute; `pub` and `(crate)` between it and `mod`.
            TokenTree::Punct(punct) if matches!(punct.as_char(), '#' | '!') => {}
            TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => {}
            TokenTree::Ident(ident) if ident == "pub" => {}
            TokenTree::Ident(ident) if ident == "mod" => {
                let Some(TokenTree::Ident(name)) = trees.get(at) else { continue };
                let content = match trees.get(at + 1) {
                    Some(TokenTree::Group(group)) => Some(group.stream()),
                    Some(TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_)) | None => None,
                };
                found.push(Module {
                    name: name.to_string().trim_start_matches("r#").to_owned(),
                    path: pending.iter().find_map(path_attribute),
                    only_in_tests: pending.iter().any(is_cfg_test),
                    content,
                });
                pending.clear();
                at += 2;
            }
            TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => pending.clear(),
        }
    }
    found
}

fn path_attribute(attribute: &TokenStream) -> Option<String> {
    let trees: Vec<TokenTree> = attribute.clone().into_iter().collect();
    match trees.as_slice() {
        [TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Literal(path)] if name == "path" => {
            text_of(&path.to_string())
        }
        _ => None,
    }
}

fn is_cfg_test(attribute: &TokenStream) -> bool {
    let trees: Vec<TokenTree> = attribute.clone().into_iter().collect();
    match trees.as_slice() {
        [TokenTree::Ident(name), TokenTree::Group(group)] if name == "cfg" => group.stream().to_string() == "test",
        _ => false,
    }
}

/// The files that `include!` and `include_str!` name with a literal.
pub(crate) fn included(tokens: &TokenStream) -> Vec<String> {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut found = Vec::new();
    for (at, tree) in trees.iter().enumerate() {
        let TokenTree::Group(group) = tree else { continue };
        found.extend(included(&group.stream()));
        let is_macro = at >= 2
            && is_punctuation(trees.get(at - 1), '!')
            && ["include", "include_str"].iter().any(|name| is_identifier(trees.get(at - 2), name));
        let argument: Vec<TokenTree> = group.stream().into_iter().collect();
        if is_macro && let [TokenTree::Literal(path)] = argument.as_slice() {
            found.extend(text_of(&path.to_string()));
        }
    }
    found
}

/// The text of a plain string literal.
fn text_of(literal: &str) -> Option<String> {
    Some(literal.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

fn is_identifier(tree: Option<&TokenTree>, name: &str) -> bool {
    matches!(tree, Some(TokenTree::Ident(ident)) if ident == name)
}

fn is_punctuation(tree: Option<&TokenTree>, sign: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, path: &[&str], expected: &[usize]) {
        let tokens = source.parse().expect("it lexes");
        assert_eq!(lines_of_path(&tokens, path), expected, "{source}");
    }

    #[test]
    fn a_path_is_found_written_out_and_in_groups_but_not_in_comments_and_strings() {
        check("fn f() { std::fs::read(x) }", &["std", "fs"], &[1]);
        check("use std::{io, fs};", &["std", "fs"], &[1]);
        check("use std::{io, fs::File};\nuse std::fs;", &["std", "fs"], &[1, 2]);
        check("use a::{std::{fs}};", &["std", "fs"], &[1]);
        check("// std::fs\nfn f() { g(\"std::fs\") } /* std::fs */", &["std", "fs"], &[]);
        check("use std::{io::fs, fsx};", &["std", "fs"], &[]);
        check("let t = m!(SystemTime::now());", &["SystemTime"], &[1]);
    }

    #[test]
    fn modules_come_with_their_path_their_cfg_and_their_content() {
        let source =
            r#"#![allow(x)] mod a; #[cfg(test)] pub(crate) mod b { mod c; } #[path = "d/e.rs"] mod f; fn mod_() {}"#;
        let found = modules(&source.parse().expect("it lexes"));
        let seen: Vec<_> = found
            .iter()
            .map(|it| (it.name.as_str(), it.path.as_deref(), it.only_in_tests, it.content.is_some()))
            .collect();
        assert_eq!(seen, [("a", None, false, false), ("b", None, true, true), ("f", Some("d/e.rs"), false, false)]);
    }

    #[test]
    fn attributes_are_found_at_any_depth() {
        let tokens =
            "mod a { #[test]\n#[ignore = \"slow\"] fn b() {} #[cfg_attr(x, ignore)] fn c() {} fn ignore() {} }";
        assert_eq!(lines_of_attribute(&tokens.parse().expect("it lexes"), "ignore"), [2, 2]);
    }
}
