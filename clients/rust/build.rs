//! Generates the stubs from `proto/`; needs no protoc.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let folder = root.join("stepwire/v1");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()?;
    files.sort();
    let descriptors = protox::compile(files, [root])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false) // `stepwire::connect` is how to connect
        .compile_fds(descriptors)?;
    Ok(())
}
