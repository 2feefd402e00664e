//! `portcullis token`: tokens for development, of a key that one has made oneself.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};

use super::text::{FileError, read_file};
use super::{Failure, Outcome, output};
use crate::authn::signing::{NewToken, SigningKey};
use crate::clock::Clock;
use crate::config::parse_duration;
use crate::domain::UserId;
use crate::domain::caller::Scope;

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

const LEARN: &str = "\
A token says who calls. The server believes it because of the key that signed it, so whoever has
the key file can be anybody: keep it for development. In production let your identity provider
issue tokens, and give the server its address with `--jwt-keys https://...`.

1. Make a key, and a token of a service that may do everything:

     portcullis token --new-key --key dev.pem --issuer dev --audience portcullis \\
       --subject setup --scope operator --organization '*' > setup.token

2. Start a server that believes the key:

     portcullis serve --demo --jwt-issuer dev --jwt-audience portcullis --jwt-keys dev.pem.jwks.json

3. Call it:

     portcullis check user:ann portfolio.view hiring --token-file setup.token

A service names what it may do (`--scope`) and where (`--organization`). Without either it is the
token of a person, whose user id is the subject, and who may do what the rules give them:

     portcullis token --key dev.pem --issuer dev --audience portcullis --subject ann

With PORTCULLIS_JWT_ISSUER and PORTCULLIS_JWT_AUDIENCE in the environment, server and tokens agree
without being told.";

#[derive(Args, Clone, Debug)]
#[command(after_long_help = LEARN)]
pub(crate) struct Arguments {
    /// The private key that signs: Ed25519, in PEM
    #[arg(long, env = "PORTCULLIS_KEY", value_name = "FILE")]
    key: PathBuf,

    /// Make the key if the file is not there, and FILE.jwks.json with the public key beside it
    #[arg(long, env = "PORTCULLIS_NEW_KEY", value_parser = BoolishValueParser::new())]
    new_key: bool,

    /// Who issues the token (`iss`), as the server is told
    #[arg(long, visible_alias = "issuer", env = "PORTCULLIS_JWT_ISSUER", value_name = "ISSUER")]
    jwt_issuer: String,

    /// For whom it is (`aud`), as the server is told
    #[arg(long, visible_alias = "audience", env = "PORTCULLIS_JWT_AUDIENCE")]
    #[arg(value_name = "AUDIENCE")]
    jwt_audience: String,

    /// Who calls with it (`sub`): the id of a user, or the name of a service
    #[arg(long, env = "PORTCULLIS_SUBJECT", value_name = "NAME")]
    subject: String,

    /// What a service may do; may be repeated
    #[arg(long, env = "PORTCULLIS_SCOPE", value_name = "SCOPE", value_delimiter = ',')]
    #[arg(value_parser = scope(), requires = "organization")]
    scope: Vec<Scope>,

    /// An organization that a service reaches, or `*` for all; may be repeated
    #[arg(long, env = "PORTCULLIS_ORGANIZATION", value_name = "ID", value_delimiter = ',')]
    #[arg(requires = "scope")]
    organization: Vec<String>,

    /// For how long it is good, at most `24h`
    #[arg(long, env = "PORTCULLIS_TTL", value_name = "DURATION")]
    #[arg(default_value = "1h", value_parser = parse_duration)]
    ttl: Duration,
}

fn scope() -> impl TypedValueParser<Value = Scope> {
    let names = PossibleValuesParser::new(Scope::ALL.map(Scope::as_str));
    names.try_map(|name| Scope::parse(&name).ok_or("is no scope"))
}

/// Prints a token, and nothing else, so that it can be written to a file.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let token = token(arguments)?;
    let key = key(&arguments.key, arguments.new_key)?;
    let signed = key.sign(&token, Clock::system().read().wall);
    output::line(signed.map_err(|error| FileError::new(&arguments.key, error))?);
    Ok(Outcome::Yes)
}

/// What is asked for, as far as a server would accept it.
fn token(arguments: &Arguments) -> Result<NewToken, Failure> {
    let Arguments { jwt_issuer, jwt_audience, subject, scope, organization, ttl, .. } = arguments;
    let refused = |text: &str| Err(Failure::Text(text.to_owned()));
    if ttl.as_secs() == 0 {
        return refused("`--ttl` must be at least `1s`");
    }
    let is_service = !organization.is_empty();
    if !is_service && subject.parse::<UserId>().is_err() {
        return refused("`--subject` is no user id; a service has `--scope` and `--organization`");
    }
    if organization.len() > 1 && organization.iter().any(|id| id == "*") {
        return refused("`--organization '*'` reaches all; name no others");
    }
    Ok(NewToken {
        issuer: jwt_issuer.clone(),
        audience: jwt_audience.clone(),
        subject: subject.clone(),
        scopes: scope.clone(),
        organizations: is_service.then(|| organization.clone()),
        ttl: *ttl,
    })
}

/// The key of the file. If it may be made, it is there afterwards, and so is the public one.
fn key(path: &Path, make: bool) -> Result<SigningKey, Failure> {
    let failed = |error| FileError::new(path, error);
    let key = match path.exists() {
        true => SigningKey::of_pem(&read_file(path)?).map_err(failed)?,
        false if make => {
            let (key, pem) = SigningKey::generate().map_err(failed)?;
            write_new(path, &pem, PRIVATE)?;
            key
        }
        false => return Err(FileError::new(path, "is not there; make it with `--new-key`").into()),
    };
    let mut public = path.as_os_str().to_owned();
    public.push(".jwks.json");
    let public = PathBuf::from(public);
    if make && !public.exists() {
        write_new(&public, &key.key_set(), PUBLIC)?;
        output::remark(format_args!(
            "a server believes this key with `--jwt-keys {}`",
            public.display()
        ));
    }
    Ok(key)
}

/// Nobody else may read a private key, not even for a moment: so it is made with its mode.
fn write_new(path: &Path, content: &str, mode: u32) -> Result<(), FileError> {
    let mut file = std::fs::File::options();
    file.write(true).create_new(true).mode(mode);
    let written = file.open(path).and_then(|mut file| file.write_all(content.as_bytes()));
    written.map_err(|error| FileError::new(path, format_args!("cannot be written: {error}")))
}
