//! How many writes a second a server commits, through the front door, for one organization and for
//! many, and what one flush of its disk takes.
//!
//! Writes of one organization follow one another, and those of all organizations of a shard share
//! its head; so more organizations write more, until the disk or the processors are the limit.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use portcullis::proto::v1::directory_service_client::DirectoryServiceClient;
use portcullis::proto::v1::membership_service_client::MembershipServiceClient;
use portcullis::proto::v1::portfolio_service_client::PortfolioServiceClient;
use portcullis::proto::v1::*;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::Outcome;
use super::child::Child;
use super::report::{Goal, Report, quantile};

/// Clients, each with a portfolio that nobody else writes to.
const CLIENTS: usize = 64;
const CONNECTIONS: usize = 4;
const ORGANIZATIONS: [usize; 3] = [1, 16, 64];
const WARM_UP: Duration = Duration::from_secs(1);
const FOR: Duration = Duration::from_secs(8);
const FLUSHES: usize = 200;
/// What PostgreSQL writes at once.
const PAGE: usize = 8_192;

pub async fn measure(report: &mut Report) -> Outcome<()> {
    let directory = tempfile::Builder::new().prefix("portcullis-bench").tempdir_in("/tmp")?;
    let data = directory.path().join("data");
    let server = Child::start("serve", &[data.to_str().ok_or("no text")?])?;
    let address = format!("http://{}", server.line);
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(Endpoint::from_shared(address.clone())?.connect().await?);
    }
    report.note(&format!(
        "{CLIENTS} clients, {CONNECTIONS} connections, fsync on; each adds a member to a portfolio \
         of its own and removes it again, for {} s",
        FOR.as_secs(),
    ));
    report.value("fsync_ms", flush(&data)?, Goal::None);
    for organization in 0..CLIENTS {
        create_organization(&channels[organization % CONNECTIONS], organization).await?;
    }
    for organizations in ORGANIZATIONS {
        let (written, refused) = write(&channels, organizations).await?;
        let name = format!("writes_per_second_{organizations}_organizations");
        report.value(&name, written as f64 / FOR.as_secs_f64(), Goal::None);
        if refused > 0 {
            report.note(&format!("beside {refused} that were refused, the server being busy"));
        }
    }
    Ok(())
}

/// The median time to write a page and to flush it, in milliseconds, on the disk of the database.
fn flush(directory: &Path) -> Outcome<f64> {
    let mut file = tempfile::tempfile_in(directory)?;
    // What is flushed is the page, not the growth of the file.
    file.write_all(&[0; PAGE])?;
    file.sync_all()?;
    let one = |file: &mut File| -> Outcome<f64> {
        file.seek(SeekFrom::Start(0))?;
        let began = Instant::now();
        file.write_all(&[1; PAGE])?;
        file.sync_data()?;
        Ok(began.elapsed().as_secs_f64() * 1_000.0)
    };
    let times: Vec<f64> = (0..FLUSHES).map(|_| one(&mut file)).collect::<Outcome<_>>()?;
    Ok(quantile(&times, 0.5))
}

fn portfolio(organization: usize, client: usize) -> String {
    format!("portfolio-{organization}-{client}")
}

/// An organization with two people, and a portfolio for each client that will ever write there.
async fn create_organization(channel: &Channel, number: usize) -> Outcome<()> {
    let mut directory = DirectoryServiceClient::new(channel.clone());
    let id = format!("organization-{number}");
    let organization =
        Organization { id: id.clone(), display_name: id.clone(), ..Organization::default() };
    let request =
        CreateOrganizationRequest { organization: Some(organization), ..Default::default() };
    directory.create_organization(request).await?;
    let at_home = |name: &str| User {
        id: format!("{name}-{number}"),
        email: format!("{name}@{number}.example"),
        home_organization: id.clone(),
        ..User::default()
    };
    let users = vec![at_home("owner"), at_home("member")];
    directory.upsert_users(UpsertUsersRequest { users, ..Default::default() }).await?;
    let mut portfolios = PortfolioServiceClient::new(channel.clone());
    let writes_here = |client: &usize| ORGANIZATIONS.iter().any(|many| client % many == number);
    for client in (0..CLIENTS).filter(writes_here) {
        let portfolio = Portfolio {
            id: portfolio(number, client),
            organization: id.clone(),
            display_name: id.clone(),
            owner: format!("owner-{number}"),
            ..Default::default()
        };
        let request = CreatePortfolioRequest { portfolio: Some(portfolio), ..Default::default() };
        portfolios.create_portfolio(request).await?;
    }
    Ok(())
}

/// Writes that were answered in the time, and those that were refused.
async fn write(channels: &[Channel], organizations: usize) -> Outcome<(usize, usize)> {
    let (counting, end) = (Instant::now() + WARM_UP, Instant::now() + WARM_UP + FOR);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let mut writer = Writer {
            service: MembershipServiceClient::new(channels[client % CONNECTIONS].clone()),
            portfolio: portfolio(client % organizations, client),
            member: format!("member-{}", client % organizations),
            is_member: false,
        };
        clients.spawn(async move {
            let (mut written, mut refused) = (0, 0);
            while Instant::now() < end {
                let done = writer.write().await?;
                if (counting..end).contains(&Instant::now()) {
                    written += usize::from(done);
                    refused += usize::from(!done);
                }
            }
            writer.leave().await?;
            Outcome::Ok((written, refused))
        });
    }
    let mut all = (0, 0);
    while let Some(counted) = clients.join_next().await {
        let (written, refused) = counted??;
        all = (all.0 + written, all.1 + refused);
    }
    Ok(all)
}

/// A client, and how it left its portfolio.
struct Writer {
    service: MembershipServiceClient<Channel>,
    portfolio: String,
    member: String,
    is_member: bool,
}

impl Writer {
    /// Adds the member, or removes it again; whether the server had the room to.
    async fn write(&mut self) -> Outcome<bool> {
        let portfolio = self.portfolio.clone();
        let answer = if self.is_member {
            let subject = Some(Subject { kind: Some(subject::Kind::User(self.member.clone())) });
            let request = RemoveMemberRequest { portfolio, subject, ..Default::default() };
            self.service.remove_member(request).await.map(drop)
        } else {
            let kind = Some(member_spec::Kind::User(self.member.clone()));
            let (members, role) = (vec![MemberSpec { kind }], "contributor".to_owned());
            let request = AddMembersRequest { portfolio, members, role, ..Default::default() };
            self.service.add_members(request).await.map(drop)
        };
        match answer {
            Ok(()) => self.is_member = !self.is_member,
            Err(status) if status.code() == Code::ResourceExhausted => return Ok(false),
            Err(status) => return Err(status.into()),
        }
        Ok(true)
    }

    /// Leaves the portfolio as it was.
    async fn leave(&mut self) -> Outcome<()> {
        while self.is_member {
            self.write().await?;
        }
        Ok(())
    }
}
