//! The ways to reach a Redis: with a password, over TLS, as a cluster, and addresses that are none.

use std::net::TcpListener;

use crate::redis::{PATIENCE, keys, market, patient, some_blocks, stats, until, until_shared, with};
use panscan_cache::{CacheError, RedisAddress, RedisConfig, RedisScripts, Tiers, TiersConfig};
use panscan_core::port::SeriesStore;
use panscan_testkit::redis::RedisServer;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Writes blocks by one server and reads them by another.
async fn shares(config: RedisConfig) {
    let blocks = some_blocks(80);
    let first = with(config.clone());
    first.write(&market(), &blocks).await.unwrap();
    assert!(first.settle(PATIENCE).await);
    until_shared(&config, &blocks).await;
    until("it says how much it holds", async || stats(&first).bytes > 0).await;
    first.forget(&market(), &keys(&blocks)).await.unwrap();
    assert!(with(config).read(&market(), &keys(&blocks)).await.iter().all(Option::is_none));
    assert_eq!(stats(&first).errors, 0);
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_password_over_tls_and_not_without_either() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(path("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    std::fs::write(path("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    let port = free_port().to_string();
    let (cert, key, ca) = (path("cert.pem"), path("key.pem"), path("ca.pem"));
    let _redis = RedisServer::with(&[
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "s3cret",
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
    ]);
    let address = |password: &str, ca_file: Option<&str>| RedisAddress {
        url: format!("rediss://:{password}@localhost:{port}/0"),
        ca_file: ca_file.map(Into::into),
        cluster: false,
    };
    shares(RedisConfig { address: address("s3cret", Some(&ca)), ..patient("") }).await;
    let scripts = RedisScripts::open(&address("s3cret", Some(&ca))).unwrap();
    assert!(scripts.connect().await);
    assert_eq!(scripts.run("return {7}", "k", &[]).await, Some(vec![7]));

    for wrong in [address("guess", Some(&ca)), address("s3cret", None)] {
        let config = RedisConfig { address: wrong.clone(), ..patient("") };
        let store = with(config);
        let blocks = some_blocks(2);
        assert!(store.read(&market(), &keys(&blocks)).await.iter().all(Option::is_none));
        assert!(stats(&store).errors > 0);
        assert!(!RedisScripts::open(&wrong).unwrap().connect().await);
    }
    let absent = RedisAddress { ca_file: Some(path("absent.pem").into()), ..address("s3cret", None) };
    let config = RedisConfig { address: absent, ..patient("") };
    let error = Tiers::open(TiersConfig { redis: Some(config), ..TiersConfig::default() }).unwrap_err();
    assert!(matches!(error, CacheError::Io { .. }) && !error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_two_shares_what_its_nodes_hold() {
    let bus = [free_port().to_string(), free_port().to_string()];
    let node = |bus: &String| RedisServer::with(&["--cluster-enabled", "yes", "--cluster-port", bus]);
    let nodes = [node(&bus[0]), node(&bus[1])];
    assert_eq!(nodes[0].command("CLUSTER ADDSLOTSRANGE 0 8191"), "+OK\r\n");
    assert_eq!(nodes[1].command("CLUSTER ADDSLOTSRANGE 8192 16383"), "+OK\r\n");
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", nodes[1].addr().port(), bus[1]);
    assert_eq!(nodes[0].command(&meet), "+OK\r\n");
    let whole = |node: &RedisServer| node.command("CLUSTER INFO").contains("cluster_state:ok");
    until("the cluster is whole", async || nodes.iter().all(whole)).await;

    let address = RedisAddress { cluster: true, ..patient(&nodes[0].url()).address };
    let config = RedisConfig { address: address.clone(), ..patient("") };
    let blocks = some_blocks(80);
    let first = with(config.clone());
    first.write(&market(), &blocks).await.unwrap();
    until_shared(&config, &blocks).await;
    for node in &nodes {
        assert_ne!(node.command("DBSIZE"), ":0\r\n", "keys lie on both nodes");
    }
    shares(config).await;
    let scripts = RedisScripts::open(&address).unwrap();
    assert!(scripts.connect().await);
    for key in ["a", "b", "c", "d"] {
        assert_eq!(scripts.run("return {tonumber(ARGV[1])}", key, &["7".to_owned()]).await, Some(vec![7]));
    }
}

#[test]
fn an_address_that_is_none_is_refused_without_its_password() {
    for cluster in [false, true] {
        let url = "http://user:secret@host".to_owned();
        let config = RedisConfig { address: RedisAddress { url, cluster, ca_file: None }, ..patient("") };
        assert!(!format!("{config:?} {:?}", config.address).contains("secret"));
        let error = Tiers::open(TiersConfig { redis: Some(config), ..TiersConfig::default() }).unwrap_err();
        assert!(
            matches!(error, CacheError::RedisAddress) && !error.to_string().contains("secret"),
            "{error}"
        );
    }
}
