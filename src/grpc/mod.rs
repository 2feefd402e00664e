//! The wire: one file per service, each parse -> app -> render.
//!
//! To add an RPC: its messages in `proto/`, its row in `access`, a function of its name in `app`,
//! and here a method that parses, calls and renders; if it writes, a line in `context`. Only
//! `status` makes errors.

mod access;
mod access_settings;
mod admission;
mod affiliations;
mod answers;
mod authenticate;
mod change_roles;
pub mod client;
mod client_tls;
mod code;
mod context;
mod directory;
mod events;
mod function_ceilings;
mod groups;
mod health;
mod item_messages;
mod items;
mod layer;
mod links;
mod list_members;
mod members;
mod organizations;
mod parse;
mod policy;
mod portfolio_lists;
mod portfolio_lives;
mod portfolios;
mod privacy_requests;
mod questions;
mod render;
mod roles;
mod service_accounts;
mod status;
mod users;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use self::admission::Admission;
use crate::app::App;
use crate::authn::Authenticator;
use crate::config::{Config, Limits};
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::v1::access_settings_service_server::AccessSettingsServiceServer;
use crate::proto::v1::directory_service_server::DirectoryServiceServer;
use crate::proto::v1::event_service_server::EventServiceServer;
use crate::proto::v1::item_service_server::ItemServiceServer;
use crate::proto::v1::membership_service_server::MembershipServiceServer;
use crate::proto::v1::policy_service_server::PolicyServiceServer;
use crate::proto::v1::portfolio_service_server::PortfolioServiceServer;
use crate::proto::v1::role_service_server::RoleServiceServer;

/// Calls that one connection may have open at once; more wait in the client.
const MAX_CONCURRENT_STREAMS: u32 = 1_000;
/// How often a silent client is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// How long it has to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The headers of a request beyond which nothing answers but the protocol itself. Above
/// `layer::MAX_METADATA_BYTES`, so that clients that are a little above are told in our terms.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;

/// All services of ours: they need the same.
#[derive(Clone, Debug)]
pub struct Services {
    app: App,
    limits: Limits,
    request_timeout: Duration,
    max_open_calls: usize,
    further: Routes,
}

impl Services {
    /// The services on an application, as these settings have it. `further` services are served
    /// beside ours, behind the same layers.
    #[must_use]
    pub fn new(app: App, config: &Config, further: Routes) -> Self {
        let Config { request_timeout, max_open_calls, ref limits, .. } = *config;
        Self { app, limits: limits.clone(), request_timeout, max_open_calls, further }
    }

    /// Serves the connections that come in, and on them those whom `authenticator` knows, until
    /// `stopping`, and then until the calls that are open have ended; open streams
    /// are ended at once. `ready` says whether the health service reports us as serving.
    ///
    /// # Errors
    /// The descriptors are not what reflection expects, or tonic gives up.
    pub async fn serve<C>(
        self,
        authenticator: Authenticator,
        incoming: impl Stream<Item = io::Result<C>>,
        ready: watch::Receiver<bool>,
        stopping: CancellationToken,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
    where
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let size = self.limits.max_message_bytes;
        let (reporter, health) = tonic_health::server::health_reporter();
        let reporting = tokio::spawn(
            stopping.clone().run_until_cancelled_owned(health::follow(reporter, ready)),
        );
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let runtime = tokio::runtime::Handle::current().metrics();
        let batches = self.app.batches().clone();
        let admission = Arc::new(Admission::new(self.max_open_calls, runtime, batches));
        let further = self.further.clone();
        let timeout = self.request_timeout;
        let shared = Arc::new(self);
        macro_rules! service {
            ($server:ident) => {
                $server::from_arc(Arc::clone(&shared)).max_decoding_message_size(size)
            };
        }
        let served = Server::builder()
            .max_concurrent_streams(Some(MAX_CONCURRENT_STREAMS))
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
            .layer(layer::CallLayer::new(size, timeout, authenticator, admission, stopping.clone()))
            .add_routes(further)
            .add_service(service!(AccessSettingsServiceServer))
            .add_service(service!(DirectoryServiceServer))
            .add_service(service!(EventServiceServer))
            .add_service(service!(ItemServiceServer))
            .add_service(service!(MembershipServiceServer))
            .add_service(service!(PolicyServiceServer))
            .add_service(service!(PortfolioServiceServer))
            .add_service(service!(RoleServiceServer))
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .serve_with_incoming_shutdown(incoming, stopping.cancelled())
            .await;
        reporting.abort();
        Ok(served?)
    }
}
