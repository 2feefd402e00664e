//! Who a client certificate stands for: the names in it, and the file that lists them.
//!
//! Whether the certificate is genuine the handshake has found out. Only its end is looked at again:
//! a connection may outlive it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::Refused;
use super::clients_file::{self, San};
use crate::clock::{Clock, millis};
use crate::domain::Timestamp;
use crate::domain::caller::Caller;
use crate::reload::{Content, Files};

/// Certificates that are remembered, so that they are not parsed at each call. One more, and all
/// are forgotten.
const MAX_REMEMBERED: usize = 1_024;
/// Names of a certificate that an error repeats.
const MAX_NAMED: usize = 4;

/// The clients that are known by certificate. Clones share them.
#[derive(Clone, Debug)]
pub struct Clients {
    listed: Arc<ArcSwap<Listed>>,
    clock: Clock,
}

/// A file that is no list of clients, told for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClientsError(String);

/// One version of the list, with the certificates that were found in it: they are forgotten with
/// it.
#[derive(Debug)]
struct Listed {
    callers: clients_file::Callers,
    remembered: ArcSwap<imbl::HashMap<Vec<u8>, Remembered>>,
}

#[derive(Clone, Debug)]
struct Remembered {
    caller: Caller,
    expire_time: Timestamp,
}

impl Clients {
    /// Loads the file, and looks at it every `look_interval` from then on, until `cancel`.
    ///
    /// # Errors
    /// The file cannot be read, or is no list of clients.
    pub fn start(
        path: &Path,
        look_interval: Duration,
        clock: Clock,
        cancel: CancellationToken,
    ) -> Result<Self, ClientsError> {
        let opened = Files::open("clients", vec![path.to_owned()]);
        let (files, contents) = opened.map_err(ClientsError)?;
        let listed = read(&contents).map_err(ClientsError)?;
        let clients = Self { listed: Arc::new(ArcSwap::from_pointee(listed)), clock };
        let following = clients.clone().follow(files, look_interval);
        tokio::spawn(cancel.run_until_cancelled_owned(following));
        Ok(clients)
    }

    async fn follow(self, mut files: Files, look_interval: Duration) {
        let mut due = interval(look_interval);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let take = |contents: &[Content]| {
                self.listed.store(Arc::new(read(contents)?));
                Ok(())
            };
            files.look(take).await;
        }
    }

    /// Who a certificate stands for, which a handshake has found genuine. `leaf_der` is the
    /// client's own certificate, without those that vouch for it.
    ///
    /// # Errors
    /// None of its names is listed, or its time is over.
    pub fn caller(&self, leaf_der: &[u8]) -> Result<Caller, Refused> {
        let listed = self.listed.load();
        let known = listed.remembered.load().get(leaf_der).cloned();
        let Remembered { caller, expire_time } = match known {
            Some(known) => known,
            None => listed.find(leaf_der)?,
        };
        if self.clock.read().wall > expire_time {
            let message = "the client certificate has expired; connect again with a new one";
            return Err(Refused::Expired(message.into()));
        }
        Ok(caller)
    }
}

fn read(contents: &[Content]) -> Result<Listed, String> {
    let mut callers = clients_file::Callers::new();
    for Content { path, bytes } in contents {
        let listed = clients_file::parse(bytes)
            .map_err(|error| format!("`{}` is no list of clients: {error}", path.display()))?;
        callers.extend(listed);
    }
    Ok(Listed { callers, remembered: ArcSwap::default() })
}

impl Listed {
    fn find(&self, leaf_der: &[u8]) -> Result<Remembered, Refused> {
        let parsed = Certificate::from_der(leaf_der).map_err(|_| malformed())?;
        let names = names(&parsed)?;
        let Some(caller) = names.iter().find_map(|name| self.callers.get(name)) else {
            return Err(unlisted(&names));
        };
        let end = parsed.tbs_certificate().validity().not_after.to_unix_duration();
        let found = Remembered { caller: caller.clone(), expire_time: Timestamp(millis(end)) };
        self.remembered.rcu(|remembered| {
            let mut more = match remembered.len() < MAX_REMEMBERED {
                true => imbl::HashMap::clone(remembered),
                false => imbl::HashMap::new(),
            };
            more.insert(leaf_der.to_vec(), found.clone());
            more
        });
        Ok(found)
    }
}

/// The URIs and DNS names of a certificate, in its order.
fn names(certificate: &Certificate) -> Result<Vec<San>, Refused> {
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let Some((_, SubjectAltName(names))) = found.map_err(|_| malformed())? else {
        return Ok(Vec::new());
    };
    let known = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(San::Dns(name.as_str().to_ascii_lowercase())),
        GeneralName::UniformResourceIdentifier(name) => Some(San::Uri(name.as_str().to_owned())),
        _ => None,
    };
    Ok(names.iter().filter_map(known).collect())
}

fn malformed() -> Refused {
    Refused::Rejected("the client certificate cannot be read".into())
}

fn unlisted(names: &[San]) -> Refused {
    let told: Vec<_> = names.iter().take(MAX_NAMED).map(|name| format!("`{name}`")).collect();
    let message = match told.len() {
        0 => "the client certificate names neither a URI nor a DNS name".to_owned(),
        1 => {
            format!("the name of the client certificate, {}, is not a listed client", told.concat())
        }
        _ => format!(
            "of the client certificate's names, {}, none is a listed client",
            told.join(", ")
        ),
    };
    Refused::Rejected(message.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;
    use crate::domain::caller::Scope;

    const SECOND: Duration = Duration::from_secs(1);

    fn certificate(names: &[&str]) -> Vec<u8> {
        let mut parameters = CertificateParams::default();
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2030, 1, 1);
        parameters.subject_alt_names = names
            .iter()
            .map(|name| match name.contains(':') {
                true => SanType::URI((*name).try_into().unwrap()),
                false => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn list(names: &[&str]) -> String {
        let entry = |name: &&str| {
            format!("  - san: {name}\n    scopes: [policy.read]\n    organizations: [acme]\n")
        };
        format!("clients:\n{}", names.iter().map(entry).collect::<String>())
    }

    /// On the last day of a certificate, a second before its end.
    fn start(path: &Path) -> (Clients, Clock) {
        let end = date_time_ymd(2030, 1, 1).unix_timestamp();
        let clock = Clock::manual(Timestamp((end - 1) * 1_000));
        let never = CancellationToken::new();
        let interval = Duration::from_millis(1);
        (Clients::start(path, interval, clock.clone(), never).unwrap(), clock)
    }

    #[tokio::test]
    async fn aut_2_a_certificate_stands_for_the_first_of_its_names_that_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients.yaml");
        fs::write(&path, list(&["spiffe://acme.example/b", "c.example", "a.example"])).unwrap();
        let (clients, clock) = start(&path);
        let names = ["other.example", "C.example", "spiffe://acme.example/b"];
        let der = certificate(&names);
        for _ in ["parsed", "remembered"] {
            let caller = clients.caller(&der).unwrap();
            assert_eq!(caller.id(), "certificate:c.example");
            assert!(caller.has_scope(Scope::PolicyRead) && !caller.has_scope(Scope::AccessWrite));
        }
        assert_eq!(clients.listed.load().remembered.load().len(), 1);

        clock.advance(SECOND);
        assert!(clients.caller(&der).is_ok(), "its last second");
        clock.advance(SECOND);
        assert!(matches!(clients.caller(&der), Err(Refused::Expired(_))));
    }

    #[tokio::test]
    async fn aut_2_who_is_not_listed_is_nobody_and_told_so_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients.yaml");
        fs::write(&path, list(&["a.example"])).unwrap();
        let (clients, _) = start(&path);
        let refused = |der: &[u8]| match clients.caller(der) {
            Err(Refused::Rejected(message)) => message.into_owned(),
            other => panic!("{other:?}"),
        };
        assert!(refused(&certificate(&["b.example"])).contains("`b.example`, is not a listed"));
        let several = refused(&certificate(&["b.example", "https://a.example/"]));
        assert!(several.contains("`b.example`, `https://a.example/`"), "{several}");
        assert!(refused(&certificate(&[])).contains("neither a URI nor a DNS name"));
        assert!(refused(b"no certificate").contains("cannot be read"));
    }

    #[tokio::test]
    async fn a_client_that_is_taken_off_the_list_is_unknown_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients.yaml");
        fs::write(&path, list(&["a.example"])).unwrap();
        let (clients, _) = start(&path);
        let der = certificate(&["a.example"]);
        assert!(clients.caller(&der).is_ok());
        fs::write(&path, list(&["b.example"])).unwrap();
        let gone = async {
            while clients.caller(&der).is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
        assert!(clients.caller(&certificate(&["b.example"])).is_ok());
    }

    #[test]
    fn a_list_that_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients.yaml");
        let start = || {
            let clock = Clock::manual(Timestamp(0));
            Clients::start(&path, SECOND, clock, CancellationToken::new()).unwrap_err().to_string()
        };
        assert!(start().contains("cannot read `"));
        fs::write(&path, "clients:\n  - sans: a\n").unwrap();
        let refused = start();
        assert!(refused.contains("is no list of clients: ") && refused.contains("line 2"));
    }
}
