//! The world that is asked about, written through the front door, and the server that holds it.

use std::path::PathBuf;

use portcullis::clock::Clock;
use portcullis::config::Config;
use portcullis::proto::v1::access_settings_service_client::AccessSettingsServiceClient;
use portcullis::proto::v1::consistency::Requirement;
use portcullis::proto::v1::directory_service_client::DirectoryServiceClient;
use portcullis::proto::v1::item_service_client::ItemServiceClient;
use portcullis::proto::v1::membership_service_client::MembershipServiceClient;
use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use portcullis::proto::v1::portfolio_service_client::PortfolioServiceClient;
use portcullis::proto::v1::*;
use portcullis::server::{Options, Server};
use tonic::service::Routes;
use tonic::transport::Channel;

use super::empty::Empty;
use super::{Outcome, child};

pub const USERS: usize = 1_000;
pub const PORTFOLIOS: usize = 100;
/// Direct grants a portfolio.
const MEMBERS: usize = 20;
const GROUPS: usize = 50;
/// Chains of linked portfolios, each below one of the others, and how deep they are: as deep as
/// they may be (INH-1).
const CHAINS: usize = 10;
pub const DEPTH: usize = 16;

/// Serves until standard input closes.
pub async fn serve(data_dir: PathBuf) -> Outcome<()> {
    let config =
        Config { listen: "127.0.0.1:0".parse()?, data_dir: Some(data_dir), ..Config::default() };
    let options = Options { further: Routes::new(Empty), ..Options::default() };
    let running = Server::start_with(&config, Clock::system(), options).await?;
    child::ready(running.address()).await?;
    running.stop().await;
    Ok(())
}

/// What was written.
pub struct World {
    token: String,
}

fn user(number: usize) -> Subject {
    Subject { kind: Some(subject::Kind::User(format!("user-{number}"))) }
}

/// A number that looks random and is the same in every run.
fn scatter(seed: usize, below: usize) -> usize {
    (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 17) % below
}

impl World {
    /// An organization with nested groups, and private portfolios granted to users and groups.
    pub async fn write(channel: &Channel) -> Outcome<Self> {
        let mut directory = DirectoryServiceClient::new(channel.clone());
        let organization = Organization {
            id: "acme".into(),
            display_name: "Acme".into(),
            ..Organization::default()
        };
        let request =
            CreateOrganizationRequest { organization: Some(organization), ..Default::default() };
        directory.create_organization(request).await?;
        let at_home = |number| User {
            id: format!("user-{number}"),
            email: format!("user-{number}@acme.example"),
            home_organization: "acme".into(),
            ..User::default()
        };
        let users = (0..USERS).map(at_home).collect();
        directory.upsert_users(UpsertUsersRequest { users, ..Default::default() }).await?;
        write_groups(&mut directory).await?;
        let mut token = String::new();
        for number in 0..PORTFOLIOS {
            token = write_portfolio(channel, number).await?;
        }
        Ok(Self { token })
    }

    /// Chains of linked portfolios below some, and an item with access of its own in each.
    pub async fn write_chains_and_items(&mut self, channel: &Channel) -> Outcome<()> {
        for chain in 0..CHAINS {
            let mut parent = format!("portfolio-{chain}");
            for depth in 1..=DEPTH {
                let id = linked(chain, depth);
                create(channel, &id, &parent, chain).await?;
                let request =
                    LinkAccessSettingsRequest { portfolio: id.clone(), ..Default::default() };
                AccessSettingsServiceClient::new(channel.clone())
                    .link_access_settings(request)
                    .await?;
                parent = id;
            }
        }
        for number in 0..PORTFOLIOS {
            self.token = write_board(channel, number).await?;
        }
        Ok(())
    }

    /// Asks until the answer comes from memory that has seen everything.
    pub async fn warm(&self, channel: &Channel) -> Outcome<()> {
        let mut client = PolicyServiceClient::new(channel.clone());
        for mut question in self.questions(0, 200) {
            let requirement = Some(Requirement::AtLeastAsFresh(self.token.clone()));
            question.consistency = Some(Consistency { requirement });
            client.check_permission(question).await?;
        }
        Ok(())
    }

    /// Questions about users, permissions and portfolios, all over the world.
    pub fn questions(&self, stream: usize, count: usize) -> Vec<CheckPermissionRequest> {
        let permissions = ["portfolio.view", "initiative.edit", "members.invite", "comment.create"];
        let question = |index: usize| {
            let seed = stream * count + index + 1;
            CheckPermissionRequest {
                subject: Some(user(scatter(seed, USERS))),
                permission: permissions[index % permissions.len()].to_owned(),
                portfolio: format!("portfolio-{}", scatter(seed * 7, PORTFOLIOS)),
                ..Default::default()
            }
        };
        (0..count).map(question).collect()
    }

    /// The same, on the last portfolios of the chains.
    pub fn questions_on_linked(&self, stream: usize, count: usize) -> Vec<CheckPermissionRequest> {
        let mut questions = self.questions(stream, count);
        for (index, question) in questions.iter_mut().enumerate() {
            question.portfolio = linked(index % CHAINS, DEPTH);
        }
        questions
    }

    /// The same, on an item of each portfolio.
    pub fn questions_on_items(&self, stream: usize, count: usize) -> Vec<CheckPermissionRequest> {
        let mut questions = self.questions(stream, count);
        for question in &mut questions {
            let id = board(&question.portfolio);
            question.item = Some(ItemReference { r#type: BOARD.to_owned(), id, author: None });
        }
        questions
    }
}

const BOARD: &str = "board";

fn board(portfolio: &str) -> String {
    format!("board-of-{portfolio}")
}

fn linked(chain: usize, depth: usize) -> String {
    format!("linked-{chain}-{depth}")
}

/// Each group has forty users and, but for the last, the next group.
async fn write_groups(directory: &mut DirectoryServiceClient<Channel>) -> Outcome<()> {
    for number in 0..GROUPS {
        let group = Group {
            id: format!("group-{number}"),
            organization: "acme".into(),
            display_name: format!("Group {number}"),
        };
        let request = UpsertGroupRequest { group: Some(group), ..Default::default() };
        directory.upsert_group(request).await?;
    }
    for number in 0..GROUPS {
        let mut members: Vec<Subject> =
            (0..40).map(|member| user(scatter(number * 40 + member + 1, USERS))).collect();
        // Chains of four groups.
        if number % 4 != 3 && number + 1 < GROUPS {
            let inner = format!("group-{}", number + 1);
            members.push(Subject { kind: Some(subject::Kind::Group(inner)) });
        }
        let request = AddGroupMembersRequest {
            group: format!("group-{number}"),
            members,
            ..Default::default()
        };
        directory.add_group_members(request).await?;
    }
    Ok(())
}

async fn write_portfolio(channel: &Channel, number: usize) -> Outcome<String> {
    let id = format!("portfolio-{number}");
    create(channel, &id, "", number).await?;
    let people = (0..MEMBERS).map(|member| {
        member_spec::Kind::User(format!("user-{}", scatter(number * MEMBERS + member + 3, USERS)))
    });
    let groups = (0..5)
        .map(|group| member_spec::Kind::Group(format!("group-{}", (number + group * 9) % GROUPS)));
    let members = people.chain(groups).map(|kind| MemberSpec { kind: Some(kind) }).collect();
    let request = AddMembersRequest {
        portfolio: id,
        members,
        role: "contributor".into(),
        ..Default::default()
    };
    let mut client = MembershipServiceClient::new(channel.clone());
    Ok(client.add_members(request).await?.into_inner().consistency_token)
}

async fn create(channel: &Channel, id: &str, parent: &str, owner: usize) -> Outcome<()> {
    let portfolio = Portfolio {
        id: id.to_owned(),
        organization: "acme".into(),
        display_name: id.to_owned(),
        owner: format!("user-{owner}"),
        parent: parent.to_owned(),
        ..Default::default()
    };
    let request = CreatePortfolioRequest { portfolio: Some(portfolio), ..Default::default() };
    PortfolioServiceClient::new(channel.clone()).create_portfolio(request).await?;
    Ok(())
}

/// An item that whoever is granted something on its portfolio is granted as well.
async fn write_board(channel: &Channel, number: usize) -> Outcome<String> {
    let portfolio = format!("portfolio-{number}");
    let item = Item {
        organization: "acme".into(),
        r#type: BOARD.to_owned(),
        id: board(&portfolio),
        display_name: "Board".into(),
        portfolios: vec![portfolio.clone()],
        ..Default::default()
    };
    let request =
        RegisterItemRequest { item: Some(item), copy_settings_of: portfolio, ..Default::default() };
    let answer = ItemServiceClient::new(channel.clone()).register_item(request).await?;
    Ok(answer.into_inner().consistency_token)
}
