//! `portcullis serve` as a process of its own.

use std::process::Stdio;

use portcullis::proto::v1::access_settings_service_client::AccessSettingsServiceClient;
use portcullis::proto::v1::directory_service_client::DirectoryServiceClient;
use portcullis::proto::v1::item_service_client::ItemServiceClient;
use portcullis::proto::v1::membership_service_client::MembershipServiceClient;
use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use portcullis::proto::v1::portfolio_service_client::PortfolioServiceClient;
use portcullis::proto::v1::role_service_client::RoleServiceClient;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tonic::transport::Channel;

/// A running server; dropping it kills it.
pub struct Process {
    pub address: String,
    pub child: Child,
    pub policy: PolicyServiceClient<Channel>,
    pub portfolios: PortfolioServiceClient<Channel>,
    pub settings: AccessSettingsServiceClient<Channel>,
    pub members: MembershipServiceClient<Channel>,
    pub directory: DirectoryServiceClient<Channel>,
    pub items: ItemServiceClient<Channel>,
    pub roles: RoleServiceClient<Channel>,
    /// Kept open: a program whose output nobody takes is told so.
    _output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a server on this database, on a free port, and waits until it says where it is.
    pub async fn start(database_url: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["serve", "--listen", "127.0.0.1:0", "--database-url", database_url])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = output.read_line(&mut line).await.expect("its output");
            assert_ne!(read, 0, "the server ended before it listened");
            if let Some(address) = line.trim().strip_prefix("portcullis listens on ") {
                break address.to_owned();
            }
        };
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
        let channel = endpoint.connect().await.expect("it listens");
        Self {
            address,
            child,
            policy: PolicyServiceClient::new(channel.clone()),
            portfolios: PortfolioServiceClient::new(channel.clone()),
            settings: AccessSettingsServiceClient::new(channel.clone()),
            members: MembershipServiceClient::new(channel.clone()),
            directory: DirectoryServiceClient::new(channel.clone()),
            items: ItemServiceClient::new(channel.clone()),
            roles: RoleServiceClient::new(channel),
            _output: output,
        }
    }
}
