//! A wire between a server and its database: it takes down the statements that pass, and it can be
//! cut, on both sides or on one.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::unix::{OwnedReadHalf as DatabaseReadHalf, OwnedWriteHalf as DatabaseWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes on what a server and the database say to each other.
pub struct Proxy {
    /// The database, through here.
    pub url: String,
    statements: Arc<Mutex<Vec<String>>>,
    cut: watch::Sender<bool>,
    orphaning: Arc<AtomicBool>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// A wire to a database at `postgres://NAME@DIRECTORY/DATABASE`, the directory of its socket.
    pub async fn to(database_url: &str) -> Self {
        let rest = database_url.strip_prefix("postgres://").expect("a database URL");
        let (user, rest) = rest.split_once('@').expect("a user");
        let (directory, database) = rest.split_once('/').expect("a database");
        let socket = format!("{}/.s.PGSQL.5432", decoded(directory));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let statements = Arc::new(Mutex::new(Vec::new()));
        let (cut, is_cut) = watch::channel(false);
        let mut accepting = JoinSet::new();
        let orphaning = Arc::new(AtomicBool::new(false));
        let wire =
            Wire { socket, statements: Arc::clone(&statements), orphaning: Arc::clone(&orphaning) };
        accepting.spawn(accept(listener, Arc::new(wire), is_cut));
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}");
        Self { url, statements, cut, orphaning, _accepting: accepting }
    }

    /// The statements since the last call, in order, but those of the hourly purge.
    pub fn statements(&self) -> Vec<String> {
        let mut statements = self.statements.lock().expect("nobody panicked");
        let taken = std::mem::take(&mut *statements);
        taken.into_iter().filter(|text| !text.contains("DELETE FROM request_outcomes")).collect()
    }

    /// Ends every connection, and every new one at once, until [`Proxy::mend`].
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    pub fn mend(&self) {
        self.cut.send_replace(false);
    }

    /// From now on the database does not notice that a server is gone, as when its machine lost
    /// power: its side of the wire stays open.
    pub fn orphan(&self) {
        self.orphaning.store(true, Ordering::SeqCst);
    }
}

/// What the connections share.
struct Wire {
    socket: String,
    statements: Arc<Mutex<Vec<String>>>,
    orphaning: Arc<AtomicBool>,
}

fn decoded(percent: &str) -> String {
    let mut parts = percent.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        text.push(char::from(u8::from_str_radix(code, 16).expect("a code")));
        text.push_str(rest);
    }
    text
}

async fn accept(listener: TcpListener, wire: Arc<Wire>, is_cut: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let (server, _) = listener.accept().await.expect("accepts");
        let (wire, mut cut) = (Arc::clone(&wire), is_cut.clone());
        connections.spawn(async move {
            tokio::select! {
                // Whatever ends a connection ends both halves of it.
                _ended = pass(server, &wire) => {}
                _cut = cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}

async fn pass(server: TcpStream, wire: &Wire) -> io::Result<()> {
    server.set_nodelay(true)?;
    let (from_server, to_server) = server.into_split();
    let database = UnixStream::connect(&wire.socket).await?;
    let (mut from_database, mut to_database) = database.into_split();
    tokio::select! {
        _ended = ask(from_server, &mut to_database, &wire.statements) => {}
        _ended = answer(&mut from_database, to_server) => {}
    }
    if wire.orphaning.load(Ordering::SeqCst) {
        // Until the database has nothing more to say.
        copy(&mut from_database, &mut sink()).await?;
    }
    drop(to_database);
    Ok(())
}

async fn answer(from: &mut DatabaseReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    copy(from, &mut to).await.map(drop)
}

/// Passes on what the server says, message by message, and takes down what it executes.
async fn ask(
    mut from: OwnedReadHalf,
    to: &mut DatabaseWriteHalf,
    statements: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut prepared: HashMap<Vec<u8>, String> = HashMap::new();
    let mut bound = String::new();
    // The first message has no type.
    let mut has_type = false;
    loop {
        let kind = if has_type { from.read_u8().await? } else { 0 };
        let length = from.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        from.read_exact(&mut body).await?;
        let mut parts = body.split(|byte| *byte == 0);
        let mut part = || parts.next().unwrap_or_default().to_vec();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("statements are text");
        match kind {
            b'P' => {
                let (name, statement) = (part(), text(part()));
                prepared.insert(name, statement);
            }
            b'B' => {
                let (_portal, name) = (part(), part());
                bound = prepared.get(&name).cloned().expect("prepared before");
            }
            b'E' => statements.lock().expect("nobody panicked").push(bound.clone()),
            b'Q' => statements.lock().expect("nobody panicked").push(text(part())),
            _ => {}
        }
        let mut message = Vec::with_capacity(body.len() + 5);
        if has_type {
            message.push(kind);
        }
        message.extend(length.to_be_bytes());
        message.extend(body);
        to.write_all(&message).await?;
        has_type = true;
    }
}
