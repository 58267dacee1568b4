//! Packages are refused for each of their faults, and read for what they are otherwise.

use crate::support::{MANIFEST, Parts, component};
use fettle_model::playbook::{GrantKind, MANIFEST_SECTION, MAX_MANIFEST_BYTES, MAX_PACKAGE_BYTES};
use fettle_sandbox::package::{Import, InvalidPackage, MAX_FUNCTIONS, Package, embed};

#[track_caller]
fn check(bytes: Vec<u8>, expected: &InvalidPackage) {
    match Package::read(bytes) {
        Ok(package) => assert_eq!(format!("{package:?}"), expected.to_string()),
        Err(error) => assert_eq!(&error, expected),
    }
}

fn sound() -> Vec<u8> {
    component(Parts::default())
}

fn importing(name: &str) -> Vec<u8> {
    component(Parts { component: &format!(r#"(import "{name}" (instance))"#), ..Parts::default() })
}

#[test]
fn a_sound_package_is_named_by_its_bytes_and_keeps_its_manifest() {
    let bytes = embed(&sound(), MANIFEST);
    let package = Package::read(bytes.clone()).expect("sound");
    assert_eq!(package.manifest().playbook.name.as_str(), "by-hand");
    assert_eq!(package.bytes(), bytes);
    assert_eq!(package.digest(), Package::build(&sound(), MANIFEST).expect("sound").digest());
    assert!(package.imports().is_empty());
    let other = Package::build(&sound(), &MANIFEST.replace("1.0.0", "1.0.1")).expect("sound");
    assert_ne!(package.digest(), other.digest());
}

#[test]
fn a_long_manifest_survives_embedding() {
    let long = format!("{MANIFEST}\n# {}", "x".repeat(20_000));
    Package::build(&sound(), &long).expect("its section's length takes several bytes");
}

#[test]
fn only_components_are_packages() {
    let module = wat::parse_str("(module)").expect("WAT");
    check(module, &InvalidPackage::CoreModule);
    check(Vec::new(), &InvalidPackage::NotWebAssembly);
    check(b"\0asm".to_vec(), &InvalidPackage::NotWebAssembly);
    check(b"#!/bin/sh\nexit 0\n".to_vec(), &InvalidPackage::NotWebAssembly);
    check(b"\x7fELF\x02\x01\x01\0".to_vec(), &InvalidPackage::Precompiled);
    check(vec![0; MAX_PACKAGE_BYTES + 1], &InvalidPackage::TooLarge { bytes: MAX_PACKAGE_BYTES + 1 });
}

#[test]
fn a_package_that_is_cut_short_is_refused() {
    let sound = embed(&sound(), MANIFEST);
    for length in 8..sound.len() {
        Package::read(sound[..length].to_vec()).expect_err("a cut package must be refused");
    }
}

#[track_caller]
fn malformed(wat: &str, part_of_message: &str) {
    let bytes = wat::parse_str(wat).expect("WAT");
    let error = Package::read(bytes).expect_err("it must be refused");
    let InvalidPackage::Malformed { message, .. } = &error else { panic_with(&error) };
    assert!(message.contains(part_of_message), "{message}");
}

#[expect(clippy::panic, reason = "a test's own failure")]
fn panic_with(error: &InvalidPackage) -> ! {
    panic!("another error: {error}")
}

#[test]
fn parts_of_webassembly_that_are_turned_off_do_not_validate() {
    malformed("(component (core module (memory 1 1 shared)))", "threads");
    malformed("(component (core module (memory i64 1)))", "memory64");
    malformed("(component (core module (memory 1) (memory 1)))", "multiple memories");
    malformed("(component (core module (func (return_call 0))))", "tail calls");
    malformed("(component (core module (tag)))", "exceptions");
    malformed("(component (core module (type (struct))))", "gc");
    malformed("(component (core module (func (param v128))))", "SIMD");
    malformed("(component (core func (canon task.cancel)))", "async");
}

#[test]
fn there_is_exactly_one_sound_manifest() {
    check(sound(), &InvalidPackage::ManifestMissing);
    check(embed(&embed(&sound(), MANIFEST), MANIFEST), &InvalidPackage::ManifestTwice);
    let long = "#".repeat(MAX_MANIFEST_BYTES + 1);
    check(embed(&sound(), &long), &InvalidPackage::ManifestTooLarge { bytes: long.len() });
    let mut not_text = embed(&sound(), MANIFEST);
    *not_text.last_mut().expect("not empty") = 0xff;
    check(not_text, &InvalidPackage::ManifestNotText);
    let error = Package::build(&sound(), "manifest = 1\n[plybook]\n").expect_err("a misspelt key");
    assert!(matches!(error, InvalidPackage::Manifest(_)), "{error}");
    let future = MANIFEST.replace("fettle:host@0.1.0", "fettle:host@0.2.0");
    check(embed(&sound(), &future), &InvalidPackage::HostVersion { given: "fettle:host@0.2.0".to_owned() });
}

#[test]
fn a_manifest_inside_a_nested_module_does_not_count() {
    let nested = format!(r#"(core module (@custom "{MANIFEST_SECTION}" "manifest = 1"))"#);
    let bytes = component(Parts { component: &nested, ..Parts::default() });
    check(bytes, &InvalidPackage::ManifestMissing);
}

#[test]
fn imports_are_known_and_granted() {
    let package = Package::build(&importing("fettle:host/services@0.1.0"), MANIFEST).expect("granted");
    assert_eq!(package.imports().iter().copied().collect::<Vec<_>>(), [Import::Services]);
    for name in ["wasi:sockets/tcp@0.2.6", "wasi:filesystem/types@0.2.6", "fettle:host/services@0.1.9", "host"] {
        check(embed(&importing(name), MANIFEST), &InvalidPackage::ForbiddenImport { name: name.to_owned() });
    }
    let interface = "fettle:host/facts@0.1.0".to_owned();
    check(
        embed(&importing("fettle:host/facts@0.1.0"), MANIFEST),
        &InvalidPackage::NotGranted { interface, kind: GrantKind::Facts },
    );
}

#[test]
fn a_function_imported_at_the_outermost_level_is_forbidden() {
    let bytes = component(Parts { component: r#"(import "exec" (func))"#, ..Parts::default() });
    check(embed(&bytes, MANIFEST), &InvalidPackage::ForbiddenImport { name: "exec".to_owned() });
}

#[test]
fn a_package_without_the_playbook_export_is_refused() {
    let bytes = wat::parse_str("(component)").expect("WAT");
    check(embed(&bytes, MANIFEST), &InvalidPackage::NoPlaybook);
}

#[test]
fn own_resource_types_and_too_many_functions_are_refused() {
    let resource = component(Parts { component: "(type (resource (rep i32)))", ..Parts::default() });
    check(embed(&resource, MANIFEST), &InvalidPackage::OwnResource);
    let nested = component(Parts { component: "(component (type (resource (rep i32))))", ..Parts::default() });
    check(embed(&nested, MANIFEST), &InvalidPackage::OwnResource);
    let functions = format!("(core module {})", "(func)".repeat(MAX_FUNCTIONS as usize));
    let many = component(Parts { component: &functions, ..Parts::default() });
    check(embed(&many, MANIFEST), &InvalidPackage::TooManyFunctions);
}
