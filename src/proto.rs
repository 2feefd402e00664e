//! What `build.rs` generates from `proto/`: the messages, clients and servers of the contract.
//!
//! The protos are the manual; read those. Only `grpc`, the server and the command line, which is
//! a client, use this module: the rest of the program has types of its own.

/// The messages, clients and servers of `portcullis.v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    rustdoc::all,
    reason = "generated code: its style is not ours, and its documentation is the protos'"
)]
pub mod v1 {
    tonic::include_proto!("portcullis.v1");
}

/// The compiled contract, with comments and everything it imports, as server reflection serves it.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("portcullis");
