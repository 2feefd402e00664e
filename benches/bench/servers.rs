//! The servers that are compared on the wire, all in one process.

use std::path::Path;
use std::time::Duration;

use portcullis::authn::signing::{NewToken, SigningKey};
use portcullis::clock::Clock;
use portcullis::config::{Config, Jwt};
use portcullis::domain::caller::Scope;
use portcullis::embedded_postgres::{self, Durability, EmbeddedPostgres};
use portcullis::server::{Options, Running, Server};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use super::empty::Empty;
use super::{Outcome, child};

const ISSUER: &str = "https://identity.example/realms/acme";
const AUDIENCE: &str = "portcullis";
/// Organizations that the token names: they bring it to the usual size of a JWT.
const ORGANIZATIONS: usize = 12;

/// Serves until standard input closes: ours, ours with tokens demanded, and tonic with nothing of
/// ours. Prints their addresses, and a token that is good where one is demanded.
pub async fn serve(directory: &Path) -> Outcome<()> {
    let (postgres, url) = database(directory).await?;
    let (key, _) = SigningKey::generate()?;
    let keys = directory.join("keys.json");
    std::fs::write(&keys, key.key_set())?;
    let jwt = Jwt {
        jwt_issuer: Some(ISSUER.to_owned()),
        jwt_audience: Some(AUDIENCE.to_owned()),
        jwt_keys: Some(keys.to_str().ok_or("no text")?.parse()?),
    };
    let ours = start(&url, Jwt::default()).await?;
    let demanding = start(&url, jwt).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let bare = listener.local_addr()?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = tonic::transport::Server::builder().add_service(Empty);
    let serving = tokio::spawn(serving.serve_with_incoming(incoming));
    let token = token(&key)?;
    child::ready(format!("{} {} {bare} {token}", ours.address(), demanding.address())).await?;
    serving.abort();
    ours.stop().await;
    demanding.stop().await;
    postgres.stop().await;
    Ok(())
}

/// Serves until standard input closes: ours alone. Prints its address, and the database's.
pub async fn serve_one(directory: &Path) -> Outcome<()> {
    let (postgres, url) = database(directory).await?;
    let ours = start(&url, Jwt::default()).await?;
    child::ready(format!("{} {url}", ours.address())).await?;
    ours.stop().await;
    postgres.stop().await;
    Ok(())
}

async fn database(directory: &Path) -> Outcome<(EmbeddedPostgres, String)> {
    let options = embedded_postgres::Options {
        data_dir: directory.join("data"),
        durability: Durability::Full,
        settings: Vec::new(),
    };
    let postgres = embedded_postgres::start(options).await?;
    let url = postgres.url("portcullis");
    Ok((postgres, url))
}

async fn start(url: &str, jwt: Jwt) -> Outcome<Running> {
    let config = Config {
        listen: "127.0.0.1:0".parse()?,
        database_url: Some(url.parse()?),
        jwt,
        ..Config::default()
    };
    let options = Options { further: Routes::new(Empty), ..Options::default() };
    Ok(Server::start_with(&config, Clock::system(), options).await?)
}

fn token(key: &SigningKey) -> Outcome<String> {
    let organization = |number| format!("organization-{number:04}-of-the-acme-group");
    let token = NewToken {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        subject: "planner".to_owned(),
        scopes: vec![Scope::PolicyRead, Scope::AccessWrite],
        organizations: Some((0..ORGANIZATIONS).map(organization).collect()),
        ttl: Duration::from_secs(3_600),
    };
    Ok(key.sign(&token, Clock::system().read().wall)?)
}
