//! Scripts that Redis runs for several servers: one connection, made when it is needed and given up at the first
//! failure. What the scripts do is not known here.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script};
use tokio::sync::Mutex;

use crate::error::CacheError;

/// Longest wait for anything; callers have shorter ones of their own.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Runs scripts in Redis.
pub struct RedisScripts {
    client: Client,
    /// Taken out while it is used, so that one whose answer nobody waits for is not used again.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisScripts {
    /// Checks the address, `redis://[user:password@]host:port/db`; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`CacheError::RedisAddress`] when it cannot be read. It is not repeated: it may hold a password.
    pub fn open(url: &str) -> Result<Self, CacheError> {
        let client = Client::open(url).map_err(|_| CacheError::RedisAddress)?;
        Ok(Self { client, connection: Mutex::new(None) })
    }

    /// Sees to it that there is a connection; false when there is none to be had.
    pub async fn connect(&self) -> bool {
        let mut held = self.connection.lock().await;
        if held.is_none() {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(WAIT_MAX))
                .set_response_timeout(Some(WAIT_MAX));
            *held = self.client.get_multiplexed_async_connection_with_config(&config).await.ok();
        }
        held.is_some()
    }

    /// Runs `script` on `key` and answers its numbers; `None` when that failed or there is no connection. If dropped,
    /// the script may still be run.
    pub async fn run(&self, script: &str, key: &str, arguments: &[String]) -> Option<Vec<i64>> {
        let mut connection = self.connection.lock().await.take()?;
        let script = Script::new(script);
        let mut call = script.key(key);
        for argument in arguments {
            call.arg(argument);
        }
        match call.invoke_async(&mut connection).await {
            Ok(numbers) => {
                *self.connection.lock().await = Some(connection);
                Some(numbers)
            }
            Err(error) => {
                // Only the kind: the message may name the address.
                tracing::debug!(kind = ?error.kind(), "a script was not run");
                None
            }
        }
    }
}

impl std::fmt::Debug for RedisScripts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisScripts").finish_non_exhaustive()
    }
}
