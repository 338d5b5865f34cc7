//! Makes the code of the gRPC service from its definition; no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file("cloudevent.proto")?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // For reflection.
    std::fs::write(
        out.join("cloudevent.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        // Shared by all streams that carry an event, not copied.
        .bytes(".io.cloudevents.v1")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
