//! The connection pool: one GET at a time, bounded in time and size, to one origin only.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

use panscan_core::time::Timestamp;

use crate::config::CallConfig;
use crate::error::FetchError;
use crate::httpdate;
use crate::secret::Secret;
use crate::unpack::{self, BODY_MAX, Packing};

/// Bytes of a body that an error message shows.
const EXCERPT_BYTES: usize = 80;
/// A reset below this is a number of seconds, not an instant.
const LONGEST_AS_SECONDS: i64 = 100_000_000;
/// The simulator's name of its market.
const MARKET_HEADER: &str = "x-panscan-market";

/// An answer of any status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<Duration>,
    /// How long nothing is left of the limit, where the provider says so.
    pub(crate) spent_for: Option<Duration>,
    pub(crate) market: Option<String>,
    /// How the body travelled; plain once it is unpacked.
    pub(crate) packing: Packing,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// About how long the body is, unpacked.
    pub(crate) fn body_estimate(&self) -> usize {
        self.packing.unpacked_estimate(self.body.len())
    }

    /// Unpacks the body.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub(crate) fn unpack(&mut self) -> Result<(), String> {
        let packing = std::mem::replace(&mut self.packing, Packing::Plain);
        self.body = packing.unpack(std::mem::take(&mut self.body))?;
        Ok(())
    }

    /// Status, content type and first bytes, for a message about an answer that cannot be read.
    pub(crate) fn describe(&self) -> String {
        let kind = if self.content_type.is_empty() { "no content type" } else { &self.content_type };
        let shown = &self.body[..self.body.len().min(EXCERPT_BYTES)];
        let text: String = String::from_utf8_lossy(shown).chars().flat_map(char::escape_debug).collect();
        format!("status {}, {kind}, {} bytes beginning with \"{text}\"", self.status, self.body.len())
    }
}

/// Builds the client for one origin with `headers` on every call. Redirects are refused: keys go to the
/// configured address only.
pub(crate) fn build(base: &Url, mut headers: HeaderMap, config: &CallConfig) -> Result<Client, FetchError> {
    // Fails only when the process has chosen one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(unpack::ACCEPTED));
    let mut builder = Client::builder()
        .user_agent(&config.user_agent)
        .default_headers(headers)
        .redirect(Policy::none())
        .referer(false)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(config.max_pool_size)
        .pool_idle_timeout(Duration::from_secs(60))
        .connect_timeout(config.connect_timeout)
        .read_timeout(config.read_timeout)
        .timeout(config.total_timeout);
    if base.scheme() == "http" {
        // No call is ever made to another origin, so that a machine without root certificates will do.
        builder = builder.tls_certs_only([]);
    } else if let Some(file) = &config.ca_file {
        builder = builder.tls_certs_merge(certificates(file)?);
    }
    if is_loopback(base) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| FetchError::Client { message: causes(&error) })
}

/// A header that carries a key: `prefix` and the key, shown nowhere.
///
/// # Errors
///
/// [`FetchError::Setting`] when no header can carry it.
pub(crate) fn key_header(prefix: &str, key: &Secret) -> Result<HeaderValue, FetchError> {
    let mut value = HeaderValue::from_str(&format!("{prefix}{}", key.expose()))
        .map_err(|_| FetchError::setting("key", "holds characters that no HTTP header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, FetchError> {
    let wrong = |message: String| FetchError::setting("certificate file", message);
    let shown = file.display();
    let pem = std::fs::read(file).map_err(|error| wrong(format!("{shown} cannot be read: {error}")))?;
    let found = Certificate::from_pem_bundle(&pem)
        .map_err(|error| wrong(format!("{shown} holds no certificates in PEM form: {}", causes(&error))))?;
    if found.is_empty() {
        return Err(wrong(format!("{shown} holds no certificates in PEM form")));
    }
    Ok(found)
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Makes one call; `began` is told when the answer begins. The body is as it came: unpacking it takes longer than
/// anything else, and is not done on the threads that serve connections.
///
/// # Errors
///
/// What happened on the way, without the address.
pub(crate) async fn get(
    client: &Client,
    url: Url,
    now: Timestamp,
    began: impl FnOnce(),
) -> Result<Answer, String> {
    let mut response = client.get(url).send().await.map_err(|error| causes(&error.without_url()))?;
    began();
    let text =
        |name: HeaderName| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let sent_at = text(DATE).and_then(httpdate::instant).unwrap_or(now);
    let spent_for = spent_for(&text, sent_at);
    let retry_after = text(RETRY_AFTER).and_then(|value| httpdate::retry_after(value, sent_at)).or(spent_for);
    let content_type = text(CONTENT_TYPE).unwrap_or_default().to_owned();
    let market = text(HeaderName::from_static(MARKET_HEADER)).map(str::to_owned);
    let packing = Packing::of(response.headers())?;
    let announced = response.content_length().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(announced.min(BODY_MAX));
    while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error.without_url()))? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(format!("the answer is longer than {} MiB", BODY_MAX >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status().as_u16(),
        content_type,
        retry_after,
        spent_for,
        market,
        packing,
        body,
    })
}

/// Reads the headers that count down a limit: how long nothing is left of it. The instant of the reset is in Unix
/// seconds or, with some, in seconds from now.
fn spent_for<'a>(text: &impl Fn(HeaderName) -> Option<&'a str>, now: Timestamp) -> Option<Duration> {
    let number = |name| text(HeaderName::from_static(name))?.trim().parse::<i64>().ok();
    let either = |first, second| number(first).or_else(|| number(second));
    if either("x-ratelimit-remaining", "ratelimit-remaining")? > 0 {
        return None;
    }
    let reset = either("x-ratelimit-reset", "ratelimit-reset")?;
    let wait = if reset < LONGEST_AS_SECONDS {
        Duration::from_secs(u64::try_from(reset).ok()?)
    } else {
        Timestamp::from_seconds(reset).since(now)
    };
    (!wait.is_zero()).then_some(wait)
}

/// An error with everything that caused it.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_spent_says_until_when() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let spent = |headers: &[(&'static str, &'static str)]| {
            let get = |name: HeaderName| {
                headers.iter().find(|(known, _)| *known == name.as_str()).map(|(_, value)| *value)
            };
            spent_for(&get, now)
        };
        let instant = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000007")];
        assert_eq!(spent(&instant), Some(Duration::from_secs(7)));
        assert_eq!(
            spent(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "9")]),
            Some(Duration::from_secs(9))
        );
        assert_eq!(spent(&[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "1700000007")]), None);
        assert_eq!(spent(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1600000000")]), None);
        assert_eq!(spent(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "soon")]), None);
        assert_eq!(spent(&[("x-ratelimit-reset", "1700000007")]), None);
    }
}
