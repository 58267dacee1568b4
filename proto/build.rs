//! Generates the gRPC code from `proto/` with protox, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "proto/fettle/v1/enrolment.proto",
        "proto/fettle/v1/login.proto",
        "proto/fettle/v1/agent.proto",
        "proto/fettle/v1/operator.proto",
    ];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
