//! The settings of the server: flags, each of which is also an environment variable.

mod error;
mod jwt;
mod memory;
mod tls;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{BoolishValueParser, RangedU64ValueParser};
use clap::{Args, ValueEnum};

pub use error::{ConfigError, Lacking};
pub use jwt::{AcceptedJwt, Jwt, KeyLocation, KeyPlace};
pub use memory::Memory;
pub use tls::TlsSettings;

/// How many entries a page has if the request names no number.
pub const DEFAULT_PAGE_SIZE: usize = 100;

/// What `serve`, `migrate` and `config` are told. The comments are the help texts.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "PORTCULLIS_LISTEN", value_name = "ADDRESS")]
    #[arg(default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,

    /// The PostgreSQL to use, `postgres://...`; without it the server starts one of its own
    #[arg(long, env = "PORTCULLIS_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<DatabaseUrl>,

    /// Where the server's own PostgreSQL keeps its data
    #[arg(long, env = "PORTCULLIS_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Load four small organizations to try things out with, one of each preset
    #[arg(long, env = "PORTCULLIS_DEMO", value_parser = BoolishValueParser::new())]
    pub demo: bool,

    /// Listen on an address that others can reach, whoever may call and whoever may listen in
    #[arg(long, env = "PORTCULLIS_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become the help text's heading")]
    pub jwt: Jwt,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become the help text's heading")]
    pub tls: TlsSettings,

    /// Address and port to serve Prometheus metrics on; none unless given
    #[arg(long, env = "PORTCULLIS_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,

    /// How often the database is asked for changes
    #[arg(long, env = "PORTCULLIS_POLL_INTERVAL", value_name = "DURATION")]
    #[arg(default_value = "50ms", value_parser = parse_duration)]
    pub poll_interval: Duration,

    /// How old an answer from memory may be at most
    #[arg(long, env = "PORTCULLIS_STALENESS_BOUND", value_name = "DURATION")]
    #[arg(default_value = "2s", value_parser = parse_duration)]
    pub staleness_bound: Duration,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become the help text's heading")]
    pub memory: Memory,

    /// Database connections for writes
    #[arg(long, env = "PORTCULLIS_POOL_SIZE_WRITES", value_name = "NUMBER")]
    #[arg(default_value = "8", value_parser = count(1_000))]
    pub pool_size_writes: u32,

    /// Database connections for reads
    #[arg(long, env = "PORTCULLIS_POOL_SIZE_READS", value_name = "NUMBER")]
    #[arg(default_value = "8", value_parser = count(1_000))]
    pub pool_size_reads: u32,

    /// How long a call waits for a free database connection
    #[arg(long, env = "PORTCULLIS_POOL_WAIT", value_name = "DURATION")]
    #[arg(default_value = "1s", value_parser = parse_duration)]
    pub pool_wait: Duration,

    /// The deadline of a call whose client sets none
    #[arg(long, env = "PORTCULLIS_REQUEST_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value = "10s", value_parser = parse_duration)]
    pub request_timeout: Duration,

    /// Calls and connections that may be open at once; a call beyond that is refused
    #[arg(long, env = "PORTCULLIS_MAX_OPEN_CALLS", value_name = "NUMBER")]
    #[arg(default_value = "20000", value_parser = at_least(100, 1_000_000))]
    pub max_open_calls: usize,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become the help text's heading")]
    pub limits: Limits,

    /// What to log: a level, or `target=level` pairs separated by commas
    #[arg(long, env = "PORTCULLIS_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// How to write the log, which goes to standard error
    #[arg(long, env = "PORTCULLIS_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// The most that one request may ask for (BAD-2).
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message that is received
    #[arg(long, env = "PORTCULLIS_MAX_MESSAGE_BYTES", value_name = "BYTES")]
    #[arg(default_value = "4MiB", value_parser = parse_bytes)]
    pub max_message_bytes: usize,

    /// Entries of one request, such as users of an upsert
    #[arg(long, env = "PORTCULLIS_MAX_BATCH", value_name = "NUMBER")]
    #[arg(default_value = "1000", value_parser = size(100_000))]
    pub max_batch: usize,

    /// Entries of one page
    #[arg(long, env = "PORTCULLIS_MAX_PAGE_SIZE", value_name = "NUMBER")]
    #[arg(default_value = "1000", value_parser = size(100_000))]
    pub max_page_size: usize,

    /// Bytes of a display name and other free texts
    #[arg(long, env = "PORTCULLIS_MAX_STRING_BYTES", value_name = "BYTES")]
    #[arg(default_value = "1024", value_parser = parse_bytes)]
    pub max_string_bytes: usize,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50_051)),
            database_url: None,
            data_dir: None,
            demo: false,
            insecure: false,
            jwt: Jwt::default(),
            tls: TlsSettings::default(),
            metrics_listen: None,
            poll_interval: Duration::from_millis(50),
            staleness_bound: Duration::from_secs(2),
            memory: Memory::default(),
            pool_size_writes: 8,
            pool_size_reads: 8,
            pool_wait: Duration::from_secs(1),
            request_timeout: Duration::from_secs(10),
            max_open_calls: 20_000,
            limits: Limits::default(),
            log: "info".to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 4 * 1024 * 1024,
            max_batch: 1_000,
            max_page_size: 1_000,
            max_string_bytes: 1_024,
        }
    }
}

impl Config {
    /// Checks what single flags cannot.
    ///
    /// # Errors
    /// An address that others can reach although callers are not authenticated or connections not
    /// encrypted, without `--insecure`; half of the settings of TLS or of tokens; a database that
    /// is not named by a URL; a staleness bound that no poll could keep.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.tls.validate()?;
        if self.demo && self.tls.encrypts() {
            return Err(ConfigError::DemoEncrypted);
        }
        self.jwt.accepted()?;
        self.validate_addresses()?;
        if self.database_url.as_ref().is_some_and(|url| url.parts().is_none()) {
            return Err(ConfigError::DatabaseUrl);
        }
        let (bound, poll) = (self.staleness_bound, self.poll_interval);
        if bound <= poll {
            return Err(ConfigError::BoundBelowPoll { bound, poll });
        }
        Ok(())
    }

    fn validate_addresses(&self) -> Result<(), ConfigError> {
        if self.insecure {
            return Ok(());
        }
        if let Some(address) = self.metrics_listen.filter(|address| !address.ip().is_loopback()) {
            return Err(ConfigError::MetricsNotLoopback(address));
        }
        let lacking = match (self.authenticates(), self.tls.encrypts()) {
            (true, true) => return Ok(()),
            (true, false) => Lacking::Encryption,
            (false, true) => Lacking::Authentication,
            (false, false) => Lacking::Both,
        };
        match self.listen {
            address if address.ip().is_loopback() => Ok(()),
            address => Err(ConfigError::NotLoopback { address, lacking }),
        }
    }

    /// Whether callers need a credential; otherwise whoever calls is trusted.
    #[must_use]
    pub fn authenticates(&self) -> bool {
        self.tls.knows_clients() || self.jwt.accepted().is_ok_and(|accepted| accepted.is_some())
    }

    /// Every setting, as `config` prints it: the flag's name, and the value, passwords masked and
    /// empty if there is none.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        // Exhaustive, so that a new setting is not forgotten here.
        let Self { listen, database_url, data_dir, demo, insecure, jwt, tls, .. } = self;
        let Self {
            metrics_listen, poll_interval, staleness_bound, memory, pool_size_writes, ..
        } = self;
        let Self { pool_size_reads, pool_wait, request_timeout, max_open_calls, .. } = self;
        let Self { limits, log, log_format, .. } = self;
        let Jwt { jwt_issuer, jwt_audience, jwt_keys } = jwt;
        let Limits { max_message_bytes, max_batch, max_page_size, max_string_bytes } = limits;
        let format = match log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        let mut settings = vec![
            ("listen", listen.to_string()),
            ("database-url", optional(database_url.as_ref())),
            ("data-dir", optional(data_dir.as_ref().map(|dir| dir.display()))),
            ("demo", demo.to_string()),
            ("insecure", insecure.to_string()),
            ("jwt-issuer", optional(jwt_issuer.as_ref())),
            ("jwt-audience", optional(jwt_audience.as_ref())),
            ("jwt-keys", optional(jwt_keys.as_ref())),
        ];
        settings.extend(tls.settings());
        settings.extend([
            ("metrics-listen", optional(metrics_listen.as_ref())),
            ("poll-interval", duration_text(*poll_interval)),
            ("staleness-bound", duration_text(*staleness_bound)),
            ("memory-budget", memory.budget().to_string()),
            ("shadow-check-rate", memory.shadow_check_rate.to_string()),
            ("pool-size-writes", pool_size_writes.to_string()),
            ("pool-size-reads", pool_size_reads.to_string()),
            ("pool-wait", duration_text(*pool_wait)),
            ("request-timeout", duration_text(*request_timeout)),
            ("max-open-calls", max_open_calls.to_string()),
            ("max-message-bytes", max_message_bytes.to_string()),
            ("max-batch", max_batch.to_string()),
            ("max-page-size", max_page_size.to_string()),
            ("max-string-bytes", max_string_bytes.to_string()),
            ("log", log.clone()),
            ("log-format", format.to_owned()),
        ]);
        settings
    }
}

fn optional(value: Option<impl fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// The address of a database, which may hold a password: it shows itself masked.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The URL as given, password included. Not for logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme and rest; none if this is no address of a PostgreSQL.
    fn parts(&self) -> Option<(&str, &str)> {
        let (scheme, rest) = self.0.split_once("://")?;
        (matches!(scheme, "postgres" | "postgresql") && !rest.is_empty()).then_some((scheme, rest))
    }
}

impl FromStr for DatabaseUrl {
    type Err = Infallible;

    /// Takes anything: an error of the argument parser would repeat the text, password and all.
    /// [`Config::validate`] refuses what is no URL.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What has another form may have its password anywhere.
        let Some((scheme, rest)) = self.parts() else { return f.write_str("****") };
        write!(f, "{scheme}://")?;
        // The last `@`: an unescaped `@`, `/` or `?` in a password must not show half of it.
        let address = match rest.rsplit_once('@') {
            Some((credentials, address)) => {
                let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
                write!(f, "{user}{}@", if password.is_empty() { "" } else { ":****" })?;
                address
            }
            None => rest,
        };
        let (location, query) = address.split_once('?').unwrap_or((address, ""));
        f.write_str(location)?;
        for (index, parameter) in query.split('&').filter(|p| !p.is_empty()).enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            match parameter.split_once('=') {
                Some((key, _)) if key.to_ascii_lowercase().contains("password") => {
                    write!(f, "{key}=****")?;
                }
                _ => f.write_str(parameter)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn count(most: u64) -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=most)
}

fn size(most: u64) -> RangedU64ValueParser<usize> {
    at_least(1, most)
}

fn at_least(least: u64, most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=most)
}

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Reads a duration as the flags accept it: `50ms`, `2s`, `1m`, `1h`, at most `24h`.
///
/// # Errors
/// What is accepted, for the person who wrote it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| *name == unit);
    let millis = match (number.parse::<u64>(), unit) {
        (Ok(number), Some((_, unit))) => number.saturating_mul(*unit),
        _ => return Err("write a whole number and a unit: `50ms`, `2s`, `1m`, `1h`".to_owned()),
    };
    let duration = Duration::from_millis(millis);
    if duration.is_zero() || duration > LONGEST {
        return Err("must be at least `1ms` and at most `24h`".to_owned());
    }
    Ok(duration)
}

/// A duration as the flags accept it, in the largest unit that is exact.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    let exact = UNITS.iter().rev().find(|(_, unit)| millis.is_multiple_of(u128::from(*unit)));
    let (name, unit) = exact.unwrap_or(&("ms", 1));
    format!("{}{name}", millis / u128::from(*unit))
}

fn parse_bytes(text: &str) -> Result<usize, String> {
    parse_bytes_up_to(text, 1024 * 1024 * 1024)
}

fn parse_bytes_up_to(text: &str, most: usize) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("write a number of bytes: `1024`, `64KiB`, `4MiB` or `2GiB`".to_owned()),
    };
    let number: usize = number.parse().map_err(|_| "is no number of bytes".to_owned())?;
    match number.checked_mul(factor) {
        Some(bytes) if (1..=most).contains(&bytes) => Ok(bytes),
        _ => Err(format!("must be at least 1 byte and at most `{}MiB`", most >> 20)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        config: Config,
    }

    fn parse(arguments: &[&str]) -> Config {
        let arguments = ["portcullis"].iter().chain(arguments);
        Command::try_parse_from(arguments).unwrap().config
    }

    #[test]
    fn the_defaults_of_the_flags_are_the_defaults_of_the_code() {
        assert_eq!(parse(&[]), Config::default());
        Config::default().validate().unwrap();
    }

    #[test]
    fn bad_2_limits_are_configurable() {
        let limits = parse(&["--max-batch=5", "--max-message-bytes=64KiB"]).limits;
        assert_eq!((limits.max_batch, limits.max_message_bytes), (5, 65_536));
        for refused in ["--max-batch=0", "--max-message-bytes=4GB", "--max-string-bytes=0"] {
            assert!(Command::try_parse_from(["portcullis", refused]).is_err(), "{refused}");
        }
    }

    #[test]
    fn an_address_that_others_can_reach_needs_authentication_and_encryption() {
        let tls = ["--tls-cert=c.pem", "--tls-key=k.pem"];
        let clients = ["--tls-client-ca=ca.pem", "--clients=clients.yaml"];
        let tokens = ["--jwt-issuer=i", "--jwt-audience=a", "--jwt-keys=keys.json"];
        for open in ["--listen=0.0.0.0:1", "--listen=192.0.2.1:1", "--listen=[::]:1"] {
            let with = |more: &[&[&str]]| parse(&[&[open], more.concat().as_slice()].concat());
            let refused = |more: &[&[&str]]| with(more).validate().unwrap_err().to_string();
            let both = refused(&[]);
            for part in ["--insecure", "`--tls-cert`", "`--tls-client-ca`", "`--jwt-keys`"] {
                assert!(both.contains(part), "{both}");
            }
            assert!(refused(&[&tls]).contains("callers are not authenticated: give"));
            assert!(refused(&[&tokens]).contains("connections are not encrypted: give"));
            for good in [&[&tls[..], &clients[..]][..], &[&tls, &tokens], &[&["--insecure"]]] {
                with(good).validate().unwrap();
            }
            with(&[&tokens, &["--insecure"]]).validate().unwrap();
        }
        parse(&["--listen=[::1]:0"]).validate().unwrap();
        parse(&["--listen=127.0.0.2:0"]).validate().unwrap();
    }

    #[test]
    fn metrics_have_no_callers_to_authenticate() {
        let tls = ["--tls-cert=c", "--tls-key=k", "--tls-client-ca=a", "--clients=l"];
        let open = [&["--metrics-listen=0.0.0.0:1"], tls.as_slice()].concat();
        let refused = parse(&open).validate().unwrap_err().to_string();
        assert!(refused.contains("`--metrics-listen 0.0.0.0:1`"), "{refused}");
        parse(&[open.as_slice(), &["--insecure"]].concat()).validate().unwrap();
    }

    #[test]
    fn the_demo_is_not_for_encrypted_servers() {
        let refused = parse(&["--demo", "--tls-cert=c", "--tls-key=k"]).validate();
        assert_eq!(refused, Err(ConfigError::DemoEncrypted));
    }

    #[test]
    fn rev_3_the_bound_is_longer_than_the_poll() {
        let refused = parse(&["--poll-interval=2s"]).validate().unwrap_err();
        assert!(refused.to_string().contains("`--staleness-bound 2s`"), "{refused}");
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [("50ms", 50), ("2s", 2_000), ("3m", 180_000), ("24h", 86_400_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
        for text in ["", "50", "s", "0s", "25h", "1.5s", "-1s", "1d", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(duration_text(Duration::from_millis(1_500)), "1500ms");
    }

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        let cases = [
            ("postgres://ann:secret@db:5432/app", "postgres://ann:****@db:5432/app"),
            ("postgres://ann:se@c/r?et@db/app?x=1", "postgres://ann:****@db/app?x=1"),
            ("postgres://ann@%2Frun/app", "postgres://ann@%2Frun/app"),
            ("postgres://a,b/app", "postgres://a,b/app"),
            (
                "postgresql://db/app?user=a&password=secret",
                "postgresql://db/app?user=a&password=****",
            ),
            (
                "postgres://ann:secret@a/app?sslPassword=secret",
                "postgres://ann:****@a/app?sslPassword=****",
            ),
        ];
        for (url, masked) in cases {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), masked);
            assert_eq!(format!("{url:?}"), masked);
        }
        let other: DatabaseUrl = "host=db password=secret".parse().unwrap();
        assert_eq!(other.to_string(), "****");
        let refused = Config { database_url: Some(other), ..Config::default() }.validate();
        assert_eq!(refused, Err(ConfigError::DatabaseUrl));
    }
}
