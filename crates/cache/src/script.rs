//! Scripts that Redis runs for several servers: one connection, made when it is needed and given up at the first
//! failure. What the scripts do is not known here.

use redis::Script;
use tokio::sync::Mutex;

use crate::error::CacheError;
use crate::redis::{Dial, RedisAddress, WAIT_MAX, Wire};

/// Runs scripts in Redis.
pub struct RedisScripts {
    dial: Dial,
    /// Taken out while it is used, so that one whose answer nobody waits for is not used again.
    connection: Mutex<Option<Wire>>,
}

impl RedisScripts {
    /// Checks the address; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`CacheError::RedisAddress`] when it cannot be read. It is not repeated: it may hold a password.
    /// [`CacheError::Io`] when the certificates cannot be read.
    pub fn open(address: &RedisAddress) -> Result<Self, CacheError> {
        Ok(Self { dial: Dial::new(address)?, connection: Mutex::new(None) })
    }

    /// Sees to it that there is a connection; false when there is none to be had.
    pub async fn connect(&self) -> bool {
        let mut held = self.connection.lock().await;
        if held.is_none() {
            *held = tokio::time::timeout(WAIT_MAX, self.dial.wire()).await.ok().and_then(Result::ok);
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
