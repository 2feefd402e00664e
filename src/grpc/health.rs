//! `grpc.health.v1.Health`: serving for as long as checks can be answered.

use tokio::sync::watch;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::Services;
use crate::proto::v1::access_settings_service_server::AccessSettingsServiceServer;
use crate::proto::v1::directory_service_server::DirectoryServiceServer;
use crate::proto::v1::item_service_server::ItemServiceServer;
use crate::proto::v1::membership_service_server::MembershipServiceServer;
use crate::proto::v1::policy_service_server::PolicyServiceServer;
use crate::proto::v1::portfolio_service_server::PortfolioServiceServer;

/// The empty name is the server as a whole.
const SERVICES: [&str; 7] = [
    "",
    <AccessSettingsServiceServer<Services> as NamedService>::NAME,
    <DirectoryServiceServer<Services> as NamedService>::NAME,
    <ItemServiceServer<Services> as NamedService>::NAME,
    <MembershipServiceServer<Services> as NamedService>::NAME,
    <PolicyServiceServer<Services> as NamedService>::NAME,
    <PortfolioServiceServer<Services> as NamedService>::NAME,
];

/// Reports what `ready` says until it ends, and from then on that nothing is served.
pub(super) async fn follow(reporter: HealthReporter, mut ready: watch::Receiver<bool>) {
    loop {
        let status = if *ready.borrow_and_update() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        report(&reporter, status).await;
        if ready.changed().await.is_err() {
            return report(&reporter, ServingStatus::NotServing).await;
        }
    }
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
