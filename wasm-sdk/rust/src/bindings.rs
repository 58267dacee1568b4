//! Generated from `wasm-sdk/wit`. The rest of the SDK wraps it; playbooks do not name it.

wit_bindgen::generate!({
    path: "../wit",
    world: "remediator",
    pub_export_macro: true,
    default_bindings_module: "fettle_sdk::bindings",
    runtime_path: "fettle_sdk::wit_bindgen::rt",
    additional_derives: [PartialEq],
    generate_all,
});
