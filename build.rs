//! Compiles the contract in `proto/` without protoc: protox is the compiler, prost and tonic write
//! the code.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    // The migrations are embedded by a macro, which cargo cannot see through.
    println!("cargo::rerun-if-changed=migrations");

    let mut files = protos(Path::new("proto/portcullis/v1"))?;
    // Nothing of ours imports these: they are here so that reflection can describe error details.
    files.extend(protos(Path::new("proto/google/rpc"))?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;

    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let descriptor_set = compiler.encode_file_descriptor_set();
    fs::write(out_dir.join("portcullis.bin"), descriptor_set)?;

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// The proto files of one folder, sorted: the descriptor must not depend on the file system.
fn protos(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
