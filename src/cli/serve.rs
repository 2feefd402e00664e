//! `portcullis serve`: runs the server until it is told to stop.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::config::data_dir;
use super::{Failure, Outcome, apply, output};
use crate::clock::Clock;
use crate::config::Config;
use crate::grpc::client::{Client, ClientTls};
use crate::server::{Running, Server};
use crate::telemetry;

/// The demo: an organization of each preset, by the names of their files.
pub(super) const DEMO: [(&str, &str); 4] = [
    ("demo/northwind-maps.yaml", include_str!("../../demo/northwind-maps.yaml")),
    ("demo/juniper-theatre.yaml", include_str!("../../demo/juniper-theatre.yaml")),
    ("demo/lumen-lifts.yaml", include_str!("../../demo/lumen-lifts.yaml")),
    ("demo/alder-school.yaml", include_str!("../../demo/alder-school.yaml")),
];

/// Starts, says where it is and what to try, and waits for SIGINT or SIGTERM. A second signal
/// means: at once.
pub(crate) async fn run(config: &Config) -> Result<Outcome, Failure> {
    config.validate()?;
    telemetry::init(config)?;
    let mut stop = Stop::listen()?;
    let server = tokio::select! {
        started = Server::start(config, Clock::system()) => started?,
        () = stop.told() => return Ok(Outcome::Yes),
    };
    let welcomed = tokio::select! {
        welcomed = welcome(config, &server) => welcomed,
        () = stop.told() => Err(Failure::Text("told to stop while loading the demo".to_owned())),
    };
    if welcomed.is_ok() {
        stop.told().await;
        output::remark("stopping");
    }
    tokio::select! {
        () = server.stop() => {}
        () = stop.told() => output::remark("told twice to stop: not waiting any longer"),
    }
    welcomed.map(|()| Outcome::Yes)
}

/// The two signals that ask a program to end.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::Text(format!("cannot watch signals: {error}")))
        };
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Loads the demo if asked, through the front door, and says what to try.
async fn welcome(config: &Config, server: &Running) -> Result<(), Failure> {
    let address = server.address();
    if config.demo {
        let (server_address, tls) = (reachable(address).to_string(), ClientTls::default());
        let mut client = Client::connect(&server_address, None, &tls).await?;
        if let Some(token) = server.own_token() {
            client = client.with_token(token)?;
        }
        // Somebody may have deleted a portfolio of it, say: no reason not to serve.
        for (name, content) in DEMO {
            if let Err(failure) = apply::load(&client, name, content).await {
                output::remark(format_args!("{name} is not as it was: {failure}"));
            }
        }
    }
    let database = config.database_url.iter().map(|url| format!("in the database {url}"));
    let own = data_dir(config).into_iter().map(|dir| format!("in {}", dir.display()));
    let data: String = database.chain(own).collect();
    output::line(format_args!("portcullis keeps its data {data}"));
    output::line(format_args!("portcullis listens on {address}"));
    let program = std::env::args_os().next().unwrap_or_default();
    let program = program_text(Path::new(&program));
    output::line(match config.tls.encrypts() {
        true => encrypted_suggestions(&program, address),
        false => suggestions(&program, config.demo, address),
    });
    Ok(())
}

/// The address under which this machine reaches a server that listens everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// How to call this program from where the user is.
fn program_text(program: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let program = program.strip_prefix(here).unwrap_or(program).display().to_string();
    if program.is_empty() { "portcullis".to_owned() } else { program }
}

/// Commands for a server whose certificate we do not know the names and authority of.
fn encrypted_suggestions(program: &str, address: SocketAddr) -> String {
    let server = format!("NAME:{}", address.port());
    format!(
        "try, in another terminal, with a NAME that the certificate has and its authority:\n  \
         {program} health --server https://{server} --ca-cert FILE\n  \
         grpcurl -cacert FILE {server} grpc.health.v1.Health/Check"
    )
}

/// Commands to paste, and what they will say.
fn suggestions(program: &str, demo: bool, address: SocketAddr) -> String {
    let address = reachable(address);
    let server = match address == Config::default().listen {
        true => String::new(),
        false => format!(" --server http://{address}"),
    };
    let call = format!("grpcurl -plaintext {address} list");
    if !demo {
        let health = format!("{program} health{server}");
        let apply = format!("{program} apply FILE{server}");
        return format!("try, in another terminal:\n  {health}\n  {apply}\n  {call}");
    }
    let check = |question: &str, comment: &str| {
        let command = format!("{program} check {question}{server}");
        format!("\n  # {comment}\n  {command}")
    };
    let question = concat!(
        r#"{"subject": {"user": "hugo"}, "permission": "initiative.edit", "#,
        r#""portfolio": "trail-atlas"}"#
    );
    let body = format!("grpcurl -plaintext -d '{question}' {address}");
    let method = "portcullis.v1.PolicyService/CheckPermission";
    [
        "try, in another terminal:".to_owned(),
        check("user:hugo initiative.edit trail-atlas", "allowed: by a group within a group"),
        check("user:hugo epic.link trail-atlas", "denied: he is an external, whatever his role"),
        check("user:ben portfolio.view trail-atlas", "allowed: it is open to the organization"),
        check("user:ben portfolio.view hiring", "denied: it is private"),
        check("user:carla members.remove winter-edition", "allowed, but not for ever"),
        check(
            "user:ben portfolio.view acquisition --at 2034-06-01T00:00:00Z",
            "allowed, once it has begun",
        ),
        // The other organizations of the demo.
        check("user:sven initiative.edit season", "allowed: in the theatre, open is for editing"),
        check("user:mateo access.manage motors", "denied: in the tracker he may edit, not share"),
        check(
            "user:yusuf assessment.complete olives-growth",
            "allowed: he is an assessor of the learner",
        ),
        format!("\n  {body} {method}\n  {call}"),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_server_unless_it_is_where_everybody_looks() {
        let usual = Config::default().listen;
        let text = suggestions("portcullis", true, usual);
        assert!(!text.contains("--server"), "{text}");
        assert!(text.contains("\n  portcullis check user:hugo epic.link trail-atlas\n"), "{text}");
        let text = suggestions("portcullis", false, "0.0.0.0:7000".parse().unwrap());
        assert!(text.contains("health --server http://127.0.0.1:7000\n"), "{text}");
        assert!(text.contains("grpcurl -plaintext 127.0.0.1:7000 list"), "{text}");
    }

    #[test]
    fn an_encrypted_server_is_called_by_a_name_that_its_certificate_has() {
        let text = encrypted_suggestions("portcullis", "0.0.0.0:7000".parse().unwrap());
        assert!(text.contains("\n  portcullis health --server https://NAME:7000 "), "{text}");
        assert!(!text.contains("-plaintext"), "{text}");
    }

    #[test]
    fn the_program_is_called_as_seen_from_here() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(program_text(&here.join("target/debug/portcullis")), "target/debug/portcullis");
        assert_eq!(program_text(Path::new("portcullis")), "portcullis");
        assert_eq!(program_text(Path::new("")), "portcullis");
    }
}
