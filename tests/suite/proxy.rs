//! A wire between a server and its database: it takes down the statements that pass, and it can be
//! cut.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
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
        accepting.spawn(accept(listener, socket, Arc::clone(&statements), is_cut));
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}");
        Self { url, statements, cut, _accepting: accepting }
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

async fn accept(
    listener: TcpListener,
    socket: String,
    statements: Arc<Mutex<Vec<String>>>,
    is_cut: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (server, _) = listener.accept().await.expect("accepts");
        let (socket, statements) = (socket.clone(), Arc::clone(&statements));
        let mut cut = is_cut.clone();
        connections.spawn(async move {
            tokio::select! {
                // Whatever ends a connection ends both halves of it.
                _ended = pass(server, &socket, &statements) => {}
                _cut = cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}

async fn pass(server: TcpStream, socket: &str, statements: &Mutex<Vec<String>>) -> io::Result<()> {
    server.set_nodelay(true)?;
    let (from_server, to_server) = server.into_split();
    let (from_database, to_database) = UnixStream::connect(socket).await?.into_split();
    tokio::select! {
        ended = ask(from_server, to_database, statements) => ended,
        ended = answer(from_database, to_server) => ended,
    }
}

async fn answer(mut from: DatabaseReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    copy(&mut from, &mut to).await.map(drop)
}

/// Passes on what the server says, message by message, and takes down what it executes.
async fn ask(
    mut from: OwnedReadHalf,
    mut to: DatabaseWriteHalf,
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
