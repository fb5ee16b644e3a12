//! Compiles proto/panscan/v1 to Rust and to a descriptor set, without protoc.

use std::path::{Path, PathBuf};
use std::{env, error, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let package = root.join("panscan/v1");
    println!("cargo:rerun-if-changed={}", package.display());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&package)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "proto") {
            println!("cargo:rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    files.sort();
    let set = protox::compile(&files, [&root])?;
    #[expect(clippy::disallowed_methods, reason = "cargo hands a build script its folder this way alone")]
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("panscan.v1.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure()
        .codec_path("crate::codec::SizedCodec")
        // Maps in key order: the same message is the same bytes.
        .btree_map(".")
        .bytes(".panscan.v1.ArrowBatch.ipc_message")
        .bytes(".panscan.v1.ColumnData.validity")
        .bytes(".panscan.v1.Bars.vwap_validity")
        .compile_fds(set)?;
    Ok(())
}
