//! What Redis says of itself: how much it holds, and whether it is still the one that was there before.

use std::collections::BTreeSet;

use redis::Value;

/// A server, or the nodes of a cluster together, as it last answered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Keys that it holds, also those of others.
    pub(super) keys: u64,
    /// Bytes in use.
    pub(super) used: u64,
    /// Bytes that it may use; 0: no bound.
    pub(super) limit: u64,
    /// Keys that it gave up for space.
    pub(super) evicted: u64,
    /// What it does when it is full.
    pub(super) policy: String,
    /// Its version.
    pub(super) version: String,
    /// One id for each run of each node.
    pub(super) runs: BTreeSet<String>,
}

impl Server {
    /// Reads the answers to INFO and DBSIZE.
    pub(super) fn read(info: &Value, keys: &Value) -> Self {
        let mut server = Self { keys: number(keys), ..Self::default() };
        let mut texts = Vec::new();
        collect(info, &mut texts);
        for text in texts {
            for (name, value) in text.lines().filter_map(|line| line.trim_end().split_once(':')) {
                let number = || value.parse().unwrap_or(0);
                match name {
                    "used_memory" => server.used += number(),
                    "maxmemory" => server.limit += number(),
                    "evicted_keys" => server.evicted += number(),
                    "maxmemory_policy" => value.clone_into(&mut server.policy),
                    "redis_version" => value.clone_into(&mut server.version),
                    "run_id" => drop(server.runs.insert(value.to_owned())),
                    _ => {}
                }
            }
        }
        server
    }

    /// Whether some of what `before` held is gone, because another process answers in its place.
    pub(super) fn is_other_than(&self, before: &Self) -> bool {
        !self.runs.is_empty() && !self.runs.is_subset(&before.runs)
    }
}

/// All texts in an answer: a cluster's has one for each node.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::BulkString(bytes) => texts.push(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        Value::Map(pairs) => pairs.iter().for_each(|(_, value)| collect(value, texts)),
        _ => {}
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Int(n) => u64::try_from(*n).unwrap_or(0),
        Value::Array(values) => values.iter().map(number).sum(),
        Value::Map(pairs) => pairs.iter().map(|(_, value)| number(value)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(run: &str) -> Value {
        let text =
            format!("# Server\r\nrun_id:{run}\r\nused_memory:100\r\nmaxmemory:7\r\nevicted_keys:3\r\n");
        Value::BulkString(text.into_bytes())
    }

    #[test]
    fn one_server_and_the_nodes_of_a_cluster_are_added_up() {
        let one = Server::read(&text("a"), &Value::Int(5));
        assert_eq!((one.keys, one.used, one.limit, one.evicted), (5, 100, 7, 3));
        let name = |n: &str| Value::SimpleString(n.to_owned());
        let nodes = Value::Map(vec![(name("n1"), text("a")), (name("n2"), text("b"))]);
        let two =
            Server::read(&nodes, &Value::Map(vec![(name("n1"), Value::Int(1)), (name("n2"), Value::Int(2))]));
        assert_eq!((two.keys, two.used, two.runs.len()), (3, 200, 2));
        assert!(two.is_other_than(&one) && !one.is_other_than(&two));
        assert!(!Server::default().is_other_than(&one), "it did not say");
    }
}
