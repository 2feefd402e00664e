use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use futures::Stream;
use metrics::{counter, describe_counter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Tls;

const FAILED: &str = "portcullis_tls_handshakes_failed_total";
/// How long to leave a machine alone that cannot accept, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections whose handshake is done and that nobody has taken yet.
const READY: usize = 64;

/// A connection whose handshake is done.
pub type Accepted = TlsStream<TcpStream>;

/// How much handshakes may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// The longest that one may last.
    time: Duration,
    /// The most that may be under way. One more, and the oldest is given up: it is the one that
    /// is least likely to end.
    number: usize,
}

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), number: 1_024 };

/// The connections that arrive, as their handshakes end; none waits for another's. Listens until
/// `stopping`, or until nobody takes them any more.
pub fn incoming(
    listener: TcpListener,
    tls: Tls,
    stopping: CancellationToken,
) -> impl Stream<Item = io::Result<Accepted>> {
    bounded(listener, tls, stopping, BOUNDS)
}

fn bounded(
    listener: TcpListener,
    tls: Tls,
    stopping: CancellationToken,
    bounds: Bounds,
) -> impl Stream<Item = io::Result<Accepted>> {
    describe_counter!(FAILED, "TLS handshakes that came to nothing, by cause");
    let (ready, mut taken) = mpsc::channel(READY);
    let accepting = Accepting { tls, ready, bounds };
    tokio::spawn(stopping.run_until_cancelled_owned(accepting.run(listener)));
    futures::stream::poll_fn(move |context| taken.poll_recv(context).map(|next| next.map(Ok)))
}

/// What accepts, and hands on what has passed.
struct Accepting {
    tls: Tls,
    ready: mpsc::Sender<Accepted>,
    bounds: Bounds,
}

impl Accepting {
    async fn run(self, listener: TcpListener) {
        // Dropped when this ends: no handshake outlives the listener.
        let mut handshakes = JoinSet::new();
        let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let connection = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((connection, _)) => connection,
                    Err(error) => {
                        pause(&error).await;
                        continue;
                    }
                },
                Some(_) = handshakes.join_next() => continue,
                () = self.ready.closed() => return,
            };
            oldest_first.retain(|handshake| !handshake.is_finished());
            if oldest_first.len() >= self.bounds.number
                && let Some(oldest) = oldest_first.pop_front()
            {
                counter!(FAILED, "cause" => "crowded").increment(1);
                oldest.abort();
            }
            let handshake = shake(self.tls.clone(), connection, self.ready.clone(), self.bounds);
            oldest_first.push_back(handshakes.spawn(handshake));
        }
    }
}

async fn shake(tls: Tls, connection: TcpStream, ready: mpsc::Sender<Accepted>, bounds: Bounds) {
    // Without it answers are held back to be sent together; that alone is no reason to refuse.
    if let Err(error) = connection.set_nodelay(true) {
        tracing::debug!(error.cause = %error, "a connection may be slow");
    }
    let acceptor = TlsAcceptor::from(tls.current());
    match timeout(bounds.time, acceptor.accept(connection)).await {
        // An error says that the server stops.
        Ok(Ok(accepted)) => drop(ready.send(accepted).await),
        Ok(Err(error)) => {
            counter!(FAILED, "cause" => "refused").increment(1);
            tracing::debug!(error.cause = %error, "a TLS handshake failed");
        }
        Err(_) => {
            counter!(FAILED, "cause" => "timeout").increment(1);
            tracing::debug!("a TLS handshake took too long");
        }
    }
}

/// After an error of the listener. One that belongs to a connection passes at once; any other
/// would be met again and again.
#[allow(clippy::disallowed_methods, reason = "nothing tells when descriptors are free again")]
async fn pause(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    let passing = [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted];
    if !passing.contains(&error.kind()) {
        tracing::warn!(error.cause = %error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::pin::pin;
    use std::sync::Arc;

    use arc_swap::ArcSwap;
    use futures::StreamExt as _;
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::CertificateDer;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::AsyncReadExt as _;
    use tokio_rustls::TlsConnector;

    use super::super::built;
    use super::*;
    use crate::reload::Content;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// A listener with its certificate.
    struct Site {
        listener: TcpListener,
        address: SocketAddr,
        tls: Tls,
        trusted: CertificateDer<'static>,
    }

    async fn site() -> Site {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let content = |text: String| Content { path: "x".into(), bytes: text.into_bytes() };
        let contents = [content(made.cert.pem()), content(made.signing_key.serialize_pem())];
        let tls = Tls(Arc::new(ArcSwap::new(built(&contents).unwrap().config)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Site { listener, address, tls, trusted: made.cert.der().clone() }
    }

    async fn shake_hands(address: SocketAddr, trusted: CertificateDer<'static>) {
        let mut roots = RootCertStore::empty();
        roots.add(trusted).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connection = TcpStream::connect(address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, connection).await.unwrap();
    }

    /// Waits until the server has closed a connection on which nothing was said.
    async fn closed(mut connection: TcpStream) {
        let read = connection.read(&mut [0; 16]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }

    #[tokio::test]
    async fn who_never_finishes_a_handshake_holds_up_nobody() {
        let Site { listener, address, tls, trusted } = site().await;
        let bounds = Bounds { time: HOUR, number: 10 };
        let stopping = CancellationToken::new();
        let mut incoming = pin!(bounded(listener, tls, stopping.clone(), bounds));
        let silent = TcpStream::connect(address).await.unwrap();
        let (accepted, ()) = tokio::join!(incoming.next(), shake_hands(address, trusted));
        assert!(accepted.unwrap().is_ok());
        // Nor does it hold up the end.
        stopping.cancel();
        assert!(incoming.next().await.is_none());
        closed(silent).await;
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test]
    async fn bad_2_a_handshake_has_a_longest_time() {
        let Site { listener, address, tls, .. } = site().await;
        let bounds = Bounds { time: Duration::from_millis(20), number: 10 };
        let _incoming = bounded(listener, tls, CancellationToken::new(), bounds);
        closed(TcpStream::connect(address).await.unwrap()).await;
    }

    #[tokio::test]
    async fn bad_2_of_too_many_handshakes_the_oldest_is_given_up() {
        let Site { listener, address, tls, trusted } = site().await;
        let bounds = Bounds { time: HOUR, number: 2 };
        let mut incoming = pin!(bounded(listener, tls, CancellationToken::new(), bounds));
        let oldest = TcpStream::connect(address).await.unwrap();
        let _second = TcpStream::connect(address).await.unwrap();
        let _third = TcpStream::connect(address).await.unwrap();
        closed(oldest).await;
        let (accepted, ()) = tokio::join!(incoming.next(), shake_hands(address, trusted));
        assert!(accepted.unwrap().is_ok());
    }

    #[tokio::test]
    async fn when_nobody_takes_connections_any_more_none_are_accepted() {
        let Site { listener, address, tls, .. } = site().await;
        let bounds = Bounds { time: HOUR, number: 10 };
        let incoming = bounded(listener, tls, CancellationToken::new(), bounds);
        let silent = TcpStream::connect(address).await.unwrap();
        drop(incoming);
        closed(silent).await;
    }
}
