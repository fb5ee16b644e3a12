//! The way to Redis: one server or a cluster, plain or over TLS, through a pool, each exchange with a bounded wait
//! behind the breaker. Not here: which keys there are and what is in them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bb8_redis::RedisConnectionManager;
use bb8_redis::bb8::{ManageConnection, Pool, RunError};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, ServerErrorKind, TlsCertificates, Value,
};

use super::breaker::Breaker;
use crate::error::CacheError;

/// Connections at most; each carries many calls at once.
const CONNECTIONS_MAX: u32 = 6;
/// Longest wait for anything; callers have shorter ones of their own.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(5);

/// Where Redis is.
#[derive(Clone, Default)]
pub struct RedisAddress {
    /// `redis://` or `rediss://` URL, maybe with a password.
    pub url: String,
    /// Whether that is a node of a cluster.
    pub cluster: bool,
    /// Certificates (PEM) that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl RedisAddress {
    /// A single server whose certificate, if it shows one, the system trusts.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), ..Self::default() }
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAddress").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Makes connections.
pub(crate) enum Dial {
    One(Box<RedisConnectionManager>),
    Cluster(Box<ClusterClient>),
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One(_) => "Dial::One",
            Self::Cluster(_) => "Dial::Cluster",
        })
    }
}

impl Dial {
    /// Checks the address; nothing is connected yet. The URL may hold a password: what the library says of it is
    /// not repeated.
    pub(crate) fn new(address: &RedisAddress) -> Result<Self, CacheError> {
        let certificates = address.ca_file.as_deref().map(certificates).transpose()?;
        let url = address.url.as_str();
        if url.starts_with("rediss:") {
            // The library takes the process's provider of TLS; that one is there already is no fault.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        if address.cluster {
            let mut builder = ClusterClient::builder([url])
                .connection_timeout(WAIT_MAX)
                .response_timeout(WAIT_MAX)
                .retries(1);
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            return builder.build().map(Box::new).map(Self::Cluster).map_err(|_| CacheError::RedisAddress);
        }
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(url, certificates),
            None => Client::open(url),
        };
        let info = client.map_err(|_| CacheError::RedisAddress)?.get_connection_info().clone();
        RedisConnectionManager::new(info).map(Box::new).map(Self::One).map_err(|_| CacheError::RedisAddress)
    }

    pub(crate) async fn wire(&self) -> Result<Wire, RedisError> {
        Ok(match self {
            Self::One(manager) => {
                let mut connection = manager.connect().await?;
                connection.set_response_timeout(WAIT_MAX);
                Wire::One(connection)
            }
            Self::Cluster(client) => Wire::Cluster(client.get_async_connection().await?),
        })
    }
}

fn certificates(path: &Path) -> Result<TlsCertificates, CacheError> {
    let pem = std::fs::read(path).map_err(CacheError::io("read the certificates in", path))?;
    Ok(TlsCertificates { client_tls: None, root_cert: Some(pem) })
}

/// A connection that carries many calls at once.
#[derive(Clone)]
pub(crate) enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// A connection of the pool. One whose exchange did not end well is not used again.
pub(crate) struct Held {
    wire: Wire,
    is_doubtful: bool,
}

impl ManageConnection for Dial {
    type Connection = Held;
    type Error = RedisError;

    async fn connect(&self) -> Result<Held, RedisError> {
        Ok(Held { wire: self.wire().await?, is_doubtful: false })
    }

    async fn is_valid(&self, held: &mut Held) -> Result<(), RedisError> {
        redis::cmd("PING").query_async(&mut held.wire).await
    }

    fn has_broken(&self, held: &mut Held) -> bool {
        held.is_doubtful
    }
}

/// Why Redis answered a command with no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It has no room.
    Full,
    /// Something else stands under the key.
    WrongType,
    /// Anything else, in its words.
    Other(String),
}

/// The answers of one exchange, command by command.
pub(super) type Answers = Vec<Result<Value, Refusal>>;

/// The pool and its breaker.
#[derive(Debug)]
pub(super) struct Link {
    pool: Pool<Dial>,
    pub(super) breaker: Breaker,
    is_cluster: bool,
    pub(super) errors: AtomicU64,
}

impl Link {
    pub(super) fn new(address: &RedisAddress) -> Result<Self, CacheError> {
        let pool = Pool::builder()
            .max_size(CONNECTIONS_MAX)
            .retry_connection(false)
            .test_on_check_out(false)
            .connection_timeout(WAIT_MAX)
            .build_unchecked(Dial::new(address)?);
        Ok(Self { pool, breaker: Breaker::default(), is_cluster: address.cluster, errors: AtomicU64::new(0) })
    }

    /// The commands that read these keys, and which of the keys each answers.
    pub(super) fn gets(&self, keys: &[String]) -> Vec<Cmd> {
        let get = |name: &str, keys: &[String]| {
            let mut command = redis::cmd(name);
            command.arg(keys);
            command
        };
        if self.is_cluster {
            return keys.iter().map(|key| get("GET", std::slice::from_ref(key))).collect();
        }
        if keys.is_empty() { Vec::new() } else { vec![get("MGET", keys)] }
    }

    /// The values that [`Link::gets`] found, key by key.
    pub(super) fn got(
        &self,
        answers: &mut impl Iterator<Item = Result<Value, Refusal>>,
        keys: usize,
    ) -> Vec<Option<Vec<u8>>> {
        if self.is_cluster {
            return answers.take(keys).map(|answer| bytes(answer.ok()?)).collect();
        }
        let values = if keys == 0 { None } else { answers.next() };
        values_of(values, keys)
    }

    /// Sends commands without waiting for one another and answers in their order, within `wait`, unless Redis is being
    /// left alone; `None` when it did not answer.
    pub(super) async fn exchange(&self, wait: Duration, commands: &[Cmd]) -> Option<Answers> {
        if commands.is_empty() {
            return Some(Vec::new());
        }
        if !self.breaker.lets_through() {
            return None;
        }
        let answer = tokio::time::timeout(wait, self.ask(commands)).await;
        match answer.unwrap_or_else(|_| Err(format!("no answer within {wait:?}"))) {
            Ok(answers) => {
                self.breaker.succeeded();
                for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(?refusal, "Redis refuses a command");
                }
                Some(answers)
            }
            Err(message) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                self.breaker.failed(&message);
                None
            }
        }
    }

    async fn ask(&self, commands: &[Cmd]) -> Result<Answers, String> {
        let mut held = self.pool.get().await.map_err(|error| match error {
            RunError::User(error) => error.to_string(),
            RunError::TimedOut => "no connection came free".to_owned(),
        })?;
        // Until all has been answered: whoever stops waiting leaves answers on the wire.
        held.is_doubtful = true;
        let asked = commands.iter().map(|command| {
            let mut wire = held.wire.clone();
            async move { command.query_async::<Value>(&mut wire).await }
        });
        let answers = futures::future::join_all(asked).await;
        let answers = answers.into_iter().map(|answer| answer.map_or_else(refusal, |value| Ok(Ok(value))));
        let answers: Answers = answers.collect::<Result<_, _>>()?;
        held.is_doubtful = false;
        Ok(answers)
    }
}

/// Tells an answer that is a refusal from no answer.
fn refusal(error: RedisError) -> Result<Result<Value, Refusal>, String> {
    match (error.code(), error.kind()) {
        (Some("OOM"), _) => Ok(Err(Refusal::Full)),
        (Some("WRONGTYPE"), _) => Ok(Err(Refusal::WrongType)),
        (
            _,
            ErrorKind::Server(
                ServerErrorKind::ResponseError | ServerErrorKind::ReadOnly | ServerErrorKind::NoPerm,
            )
            | ErrorKind::Extension,
        ) => Ok(Err(Refusal::Other(error.to_string()))),
        _ => Err(error.to_string()),
    }
}

/// The values of one command that answers with a list.
pub(super) fn values_of(answer: Option<Result<Value, Refusal>>, keys: usize) -> Vec<Option<Vec<u8>>> {
    let mut values: Vec<Option<Vec<u8>>> = match answer {
        Some(Ok(Value::Array(values))) => values.into_iter().map(bytes).collect(),
        _ => Vec::new(),
    };
    values.resize(keys, None);
    values
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
