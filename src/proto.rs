//! What `build.rs` generates from `proto/`: the messages, clients and servers of the contract.
//!
//! The protos are the manual; read those. Only `grpc`, the server and the command line, which is
//! a client, use this module: the rest of the program has types of its own.

/// The messages, clients and servers of `portcullis.v1`.
#[allow(
    missing_docs,
    clippy::allow_attributes_without_reason,
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

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::FILE_DESCRIPTOR_SET;

    #[test]
    fn the_descriptor_describes_the_services_and_the_details_of_errors() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let services: Vec<&str> = set
            .file
            .iter()
            .filter(|file| file.package() == "portcullis.v1")
            .flat_map(|file| &file.service)
            .map(prost_types::ServiceDescriptorProto::name)
            .collect();
        assert_eq!(
            services,
            [
                "AccessSettingsService",
                "DirectoryService",
                "EventService",
                "ItemService",
                "MembershipService",
                "PolicyService",
                "PortfolioService",
                "RoleService",
            ]
        );
        let names: Vec<&str> =
            set.file.iter().map(prost_types::FileDescriptorProto::name).collect();
        assert!(names.contains(&"google/rpc/error_details.proto"));
        assert!(names.contains(&"google/rpc/status.proto"));
    }
}
