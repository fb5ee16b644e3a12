//! The way of the shared limit to Redis, as the service has it.

use panscan_cache::{RedisAddress, RedisScripts};
use panscan_core::port::Pending;
use panscan_fetch::Scripts;

pub(crate) struct Linked(RedisScripts);

impl Linked {
    pub(crate) fn open(url: &str) -> Self {
        Self(RedisScripts::open(&RedisAddress::new(url)).unwrap())
    }
}

impl Scripts for Linked {
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
