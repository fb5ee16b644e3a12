//! The way to Redis as the server joins it: the cache's connection behind the limiter's trait.

use std::sync::Arc;

use panscan_cache::{RedisAddress, RedisScripts};
use panscan_core::port::Pending;
use panscan_fetch::Scripts;

struct Joined(RedisScripts);

impl Scripts for Joined {
    fn connect(&self) -> Pending<'_, bool> {
        Box::pin(self.0.connect())
    }

    fn run<'a>(
        &'a self,
        script: &'static str,
        key: &'a str,
        arguments: &'a [String],
    ) -> Pending<'a, Option<Vec<i64>>> {
        Box::pin(self.0.run(script, key, arguments))
    }
}

pub(crate) fn scripts(url: &str) -> Arc<dyn Scripts> {
    Arc::new(Joined(RedisScripts::open(&RedisAddress::new(url)).unwrap()))
}
