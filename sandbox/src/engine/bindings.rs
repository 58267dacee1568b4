//! Generated from `wasm-sdk/wit` and `wit/virtual-wasi.wit`. Every import may end the run, since
//! every import may find a limit reached or the host gone.

pub(super) mod playbook {
    //! The playbook contract.
    wasmtime::component::bindgen!({
        path: "../wasm-sdk/wit",
        world: "remediator",
        imports: { default: trappable },
    });
}

pub(super) mod wasi {
    //! What a guest's standard library imports.
    wasmtime::component::bindgen!({
        path: "wit/virtual-wasi.wit",
        world: "standard-library",
        imports: { default: trappable },
    });
}
