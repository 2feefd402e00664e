//! Whose tokens are accepted, and where the keys are that verify them.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use http::Uri;

use super::ConfigError;

/// What is asked of bearer tokens. All three settings, or none.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Jwt {
    /// Whose tokens are accepted: what `iss` must be, exactly
    #[arg(long, env = "PORTCULLIS_JWT_ISSUER", value_name = "ISSUER")]
    pub jwt_issuer: Option<String>,

    /// For whom they must be: what `aud` must be, or have among others
    #[arg(long, env = "PORTCULLIS_JWT_AUDIENCE", value_name = "AUDIENCE")]
    pub jwt_audience: Option<String>,

    /// The issuer's public keys: a file (JWK set or PEM), or the https address of a JWK set
    #[arg(long, env = "PORTCULLIS_JWT_KEYS", value_name = "FILE|URL", hide_env_values = true)]
    pub jwt_keys: Option<KeyLocation>,
}

/// Tokens that are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedJwt {
    /// Whose.
    pub issuer: String,
    /// For whom.
    pub audience: String,
    /// Where the keys are.
    pub keys: KeyPlace,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// In a file.
    File(PathBuf),
    /// At an address that was found good.
    Address(Uri),
}

impl Jwt {
    /// The tokens that are accepted; none if tokens are not.
    ///
    /// # Errors
    /// Only some of the settings are given, or the keys have an address that is not to be trusted.
    pub fn accepted(&self) -> Result<Option<AcceptedJwt>, ConfigError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (given(&self.jwt_issuer), given(&self.jwt_audience), &self.jwt_keys) {
            (None, None, None) => Ok(None),
            (Some(issuer), Some(audience), Some(keys)) => {
                Ok(Some(AcceptedJwt { issuer, audience, keys: keys.place()? }))
            }
            (None, _, _) => Err(ConfigError::JwtIncomplete("jwt-issuer")),
            (_, None, _) => Err(ConfigError::JwtIncomplete("jwt-audience")),
            (_, _, None) => Err(ConfigError::JwtIncomplete("jwt-keys")),
        }
    }
}

/// A path or an address, which may hold a password: it shows itself masked.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyLocation(String);

impl KeyLocation {
    /// Scheme and rest of an address; a path has none.
    fn address(&self) -> Option<(&str, &str)> {
        self.0.split_once("://")
    }

    fn place(&self) -> Result<KeyPlace, ConfigError> {
        let Some((scheme, rest)) = self.address() else {
            return match self.0.is_empty() {
                true => Err(ConfigError::JwtIncomplete("jwt-keys")),
                false => Ok(KeyPlace::File(PathBuf::from(&self.0))),
            };
        };
        let uri: Uri = self.0.parse().map_err(|_| ConfigError::JwtKeys)?;
        let host = uri.host().ok_or(ConfigError::JwtKeys)?;
        // User information is not sent; who gives some should not believe that it is.
        let plain = !rest.split('/').next().unwrap_or(rest).contains('@');
        let trusted = scheme == "https" || scheme == "http" && is_loopback(host);
        if plain && trusted { Ok(KeyPlace::Address(uri)) } else { Err(ConfigError::JwtKeys) }
    }
}

fn is_loopback(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

impl FromStr for KeyLocation {
    type Err = Infallible;

    /// Takes anything, as an error of the argument parser would repeat the text. What is wrong
    /// with it, [`super::Config::validate`] tells.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeyLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.address() else { return f.write_str(&self.0) };
        write!(f, "{scheme}://")?;
        // The last `@`: an unescaped `@`, `/` or `?` in a password must not show half of it.
        let (hidden, shown) = match rest.rsplit_once('@') {
            Some((_, shown)) => ("****@", shown),
            None => ("", rest),
        };
        let (shown, query) = shown.split_once('?').unwrap_or((shown, ""));
        write!(f, "{hidden}{shown}{}", if query.is_empty() { "" } else { "?****" })
    }
}

impl fmt::Debug for KeyLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(issuer: &str, audience: &str, keys: &str) -> Jwt {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let jwt_keys = given(keys).map(KeyLocation);
        Jwt { jwt_issuer: given(issuer), jwt_audience: given(audience), jwt_keys }
    }

    #[test]
    fn tokens_need_issuer_audience_and_keys() {
        assert_eq!(jwt("", "", "").accepted(), Ok(None));
        let accepted = jwt("i", "a", "keys.json").accepted().unwrap().unwrap();
        assert_eq!(accepted.keys, KeyPlace::File("keys.json".into()));
        for (given, missing) in [
            (jwt("", "a", "k"), "jwt-issuer"),
            (jwt("i", "", "k"), "jwt-audience"),
            (jwt("i", "a", ""), "jwt-keys"),
        ] {
            assert_eq!(given.accepted(), Err(ConfigError::JwtIncomplete(missing)));
        }
    }

    #[test]
    fn keys_are_fetched_by_https_or_from_this_machine() {
        for good in [
            "https://idp.example/jwks",
            "http://127.0.0.1:8080/jwks",
            "http://[::1]/jwks",
            "http://localhost/jwks?a=b",
        ] {
            let accepted = jwt("i", "a", good).accepted().unwrap().unwrap();
            assert_eq!(accepted.keys, KeyPlace::Address(good.parse().unwrap()));
        }
        for bad in [
            "http://idp.example/jwks",
            "http://localhost.example/jwks",
            "ftp://127.0.0.1/jwks",
            "https://ann:secret@idp.example/jwks",
            "https://",
        ] {
            assert_eq!(jwt("i", "a", bad).accepted(), Err(ConfigError::JwtKeys), "{bad}");
        }
    }

    #[test]
    fn secrets_of_an_address_are_masked() {
        for (given, shown) in [
            ("keys.pem", "keys.pem"),
            ("https://idp.example/jwks", "https://idp.example/jwks"),
            ("https://ann:se@c/r?et@idp.example/jwks", "https://****@idp.example/jwks"),
            (
                "https://ann:secret@idp.example/jwks?key=secret",
                "https://****@idp.example/jwks?****",
            ),
        ] {
            let shown_by_us = KeyLocation(given.to_owned());
            assert_eq!(shown_by_us.to_string(), shown);
            assert_eq!(format!("{shown_by_us:?}"), shown);
        }
    }
}
