//! From the metadata of a call to its caller.

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use crate::authn::{Authenticator, Refused};
use crate::domain::caller::Caller;

/// What answers without a credential: health and reflection, which tell nothing of ours.
const OPEN: &str = "/grpc.";
const SCHEME: &str = "bearer";

/// Whether the path is of what answers without a credential.
pub(super) fn is_open(path: &str) -> bool {
    path.starts_with(OPEN)
}

/// Who calls, by the headers of the call and by what is known of its connection.
///
/// # Errors
/// The credential is missing, is not good, or nobody can tell yet.
pub(super) async fn caller(
    authenticator: &Authenticator,
    headers: &HeaderMap,
    connection: &Extensions,
) -> Result<Caller, Refused> {
    let bearer = bearer(headers)?;
    let connection = connection.get::<TlsConnectInfo<TcpConnectInfo>>();
    let shown = connection.and_then(TlsConnectInfo::peer_certs);
    let certificate = shown.as_ref().and_then(|chain| chain.first()).map(AsRef::as_ref);
    authenticator.caller(bearer, certificate).await
}

/// The token that stands in `authorization`, if the header is there.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // Two credentials: whichever we took, somebody on the way may have looked at the other.
    if values.next().is_some() {
        return Err(Refused::malformed("`authorization` is there more than once"));
    }
    // Whatever else stands in a text, it is found when the token is read. (A token is long, and
    // `to_str` looks at each byte by itself.)
    let token = std::str::from_utf8(value.as_bytes()).ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        let token = token.trim_matches(' ');
        (scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty()).then_some(token)
    });
    let malformed = || Refused::malformed("`authorization` is not of the form `Bearer TOKEN`");
    token.map(Some).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<Option<String>, Refused> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        bearer(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn aut_2_a_token_is_taken_from_exactly_one_bearer_header() {
        assert_eq!(of(&[]), Ok(None));
        for good in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            assert_eq!(of(&[good]), Ok(Some("a.b.c".to_owned())), "{good}");
        }
        for bad in [&["a.b.c"][..], &["Bearer"], &["Bearer "], &["Basic YTpi"], &["Bearer a"; 2]] {
            assert!(matches!(of(bad), Err(Refused::Malformed(_))), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn aut_2_only_health_and_reflection_pass_without_a_caller() {
        assert!(is_open("/grpc.health.v1.Health/Check"));
        for path in ["/portcullis.v1.PolicyService/CheckPermission", "/unknown", "/grpcx/A"] {
            assert!(!is_open(path), "{path}");
        }
        let demanding = Authenticator::demanding(None, None, None);
        let nobody = caller(&demanding, &HeaderMap::new(), &Extensions::new()).await;
        assert_eq!(nobody, Err(Refused::Missing));
    }
}
