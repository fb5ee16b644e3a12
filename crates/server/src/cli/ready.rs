//! The ready file: written by rename, so that whoever finds it can read it whole.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::failure::Failure;

/// Where a process answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ready {
    /// gRPC.
    pub grpc: Option<SocketAddr>,
    /// Metrics.
    pub metrics: Option<SocketAddr>,
    /// HTTP.
    pub http: Option<SocketAddr>,
}

impl Ready {
    /// Writes the file.
    ///
    /// # Errors
    ///
    /// A folder that is missing or cannot be written.
    pub fn write(self, path: &Path) -> Result<(), Failure> {
        let mut object = Map::new();
        object.insert("pid".to_owned(), Value::from(std::process::id()));
        for (name, addr) in [("grpc", self.grpc), ("metrics", self.metrics), ("http", self.http)] {
            if let Some(addr) = addr {
                object.insert(name.to_owned(), Value::from(addr.to_string()));
            }
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        let partial = PathBuf::from(partial);
        let text = format!("{}\n", Value::Object(object));
        std::fs::write(&partial, text)
            .and_then(|()| std::fs::rename(&partial, path))
            .map_err(|error| Failure::file("write", path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_applies_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        let ready = Ready { http: Some("127.0.0.1:5".parse().unwrap()), ..Ready::default() };
        ready.write(&path).unwrap();
        let value: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(value["http"], "127.0.0.1:5");
        assert_eq!(value["pid"], std::process::id());
        assert!(value.get("grpc").is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(ready.write(&folder.path().join("no/such/folder")).is_err());
    }
}
