//! Values as they are written: durations, byte counts, addresses, switches, secrets. Reading only; where a
//! value comes from and what it is for is not known here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use panscan_core::time::Timestamp;

/// Why a text is not a value: what was expected, with an example.
pub type Expected = String;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Whose time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockSetting {
    /// The machine's.
    System,
    /// The provider's market status.
    Provider,
    /// Always this instant.
    Fixed(Timestamp),
}

/// Reads `30s`, `20ms`, `1.5s`, `15min`, `1h`, `7d`.
pub fn duration(text: &str) -> Result<Duration, Expected> {
    let wrong = || "expected a number with a unit of ms, s, min, h or d, e.g. 30s".to_owned();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let number: f64 = text[..at].trim().parse().map_err(|_| wrong())?;
    let seconds = match &text[at..] {
        "ms" => 0.001,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

/// Reads a duration between `min` and `max`, both included.
pub fn duration_in(min: Duration, max: Duration) -> impl Fn(&str) -> Result<Duration, Expected> {
    move |text| {
        let value = duration(text)?;
        if value < min || value > max {
            return Err(format!("expected {min:?} to {max:?}"));
        }
        Ok(value)
    }
}

/// Reads seconds above zero, with or without a fraction, at most an hour.
pub fn seconds(text: &str) -> Result<Duration, Expected> {
    let wrong = || "expected seconds above 0 and at most 3600, e.g. 10".to_owned();
    let value: f64 = text.parse().map_err(|_| wrong())?;
    if !(value > 0.0 && value <= 3_600.0) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(value))
}

/// Reads the factor of the wait between retries.
pub fn backoff(text: &str) -> Result<Duration, Expected> {
    let wrong = || "expected seconds from 0 to 60, e.g. 0.5".to_owned();
    let value: f64 = text.parse().map_err(|_| wrong())?;
    if !(0.0..=60.0).contains(&value) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(value))
}

/// Reads a whole number between `min` and `max`, both included.
pub fn whole(min: u64, max: u64) -> impl Fn(&str) -> Result<u64, Expected> {
    move |text| {
        text.parse()
            .ok()
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| format!("expected a whole number from {min} to {max}"))
    }
}

/// The same for counts in memory.
pub fn count(min: u64, max: u32) -> impl Fn(&str) -> Result<usize, Expected> {
    move |text| {
        let value = whole(min, u64::from(max))(text)?;
        usize::try_from(value).map_err(|_| format!("expected at most {max}"))
    }
}

/// Reads `1GiB`, `512MiB`, `64KiB`, `1GB`, `4096`.
pub fn bytes(text: &str) -> Result<u64, Expected> {
    let wrong =
        || "expected a number with a unit of KiB, MiB, GiB, TiB, KB, MB, GB or TB, e.g. 1GiB".to_owned();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: u64 = text[..at].trim().parse().map_err(|_| wrong())?;
    let unit: u64 = match &text[at..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// Reads `on`, `off` and their kin.
pub fn switch(text: &str) -> Result<bool, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

/// Reads `127.0.0.1:50051`, `[::1]:0`, `localhost:50051`.
pub fn address(text: &str) -> Result<SocketAddr, Expected> {
    let wrong = || "expected address:port, e.g. 127.0.0.1:50051".to_owned();
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| wrong())?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| wrong())
}

/// Reads a URL that starts with one of `schemes`.
pub fn url(schemes: &'static [&'static str]) -> impl Fn(&str) -> Result<String, Expected> {
    move |text| {
        let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)?.strip_prefix("://"));
        let usable = rest.is_some_and(|rest| {
            !rest.starts_with(['/', ':', '?', '#'])
                && !rest.is_empty()
                && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        });
        if usable {
            Ok(text.trim_end_matches('/').to_owned())
        } else {
            Err(format!("expected a URL of {}", schemes.join(" or ")))
        }
    }
}

/// Reads the URL of a database; it may carry a password.
pub fn database(text: &str) -> Result<Secret, Expected> {
    let known = ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    if known && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Ok(Secret::new(text))
    } else {
        Err("expected sqlite:PATH or postgres://USER@HOST/DATABASE".to_owned())
    }
}

/// Reads any text without control characters.
pub fn words(text: &str) -> Result<String, Expected> {
    if text.chars().any(char::is_control) {
        return Err("expected text without control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads a secret: one printable word, as it travels in a header.
pub fn secret(text: &str) -> Result<Secret, Expected> {
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Secret::new(text))
    } else {
        Err("expected printable ASCII without blanks".to_owned())
    }
}

/// Reads `system`, `provider` or an instant.
pub fn clock(text: &str) -> Result<ClockSetting, Expected> {
    match text {
        "system" => Ok(ClockSetting::System),
        "provider" => Ok(ClockSetting::Provider),
        _ => text.parse().map(ClockSetting::Fixed).map_err(|_| {
            "expected system, provider or an RFC 3339 instant, e.g. 2025-12-31T21:00:00Z".to_owned()
        }),
    }
}

/// A URL with what stands between its colon and its `@` hidden.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..authority_end].rfind('@') else { return url.to_owned() };
    let user = rest[..at].split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***{}", &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, millis) in
            [("20ms", 20), ("1s", 1_000), ("1.5s", 1_500), ("15min", 900_000), ("2h", 7_200_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "5", "s", "-1s", "5y", "1e400s", "5 s x", "nans"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_are_read() {
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("10"), Ok(10));
        assert_eq!(bytes("2GB"), Ok(2_000_000_000));
        for bad in ["", "GiB", "-1", "1.5GiB", "1XiB", "99999999999999TiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_read() {
        assert_eq!(address("localhost:0").unwrap().to_string(), "127.0.0.1:0");
        assert_eq!(address("[::1]:5").unwrap().port(), 5);
        for bad in ["", "50051", ":50051", "example.com:1", "127.0.0.1:70000"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_need_a_scheme_and_a_host() {
        let http = url(&["http", "https"]);
        assert_eq!(http("http://127.0.0.1:8787/").unwrap(), "http://127.0.0.1:8787");
        for bad in ["", "127.0.0.1:8787", "http://", "http:///x", "ftp://x", "http://a b"] {
            assert!(http(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_in_urls_are_hidden() {
        assert_eq!(without_password("redis://me:pw@h:1/0"), "redis://me:***@h:1/0");
        assert_eq!(without_password("redis://:p@w@h/0"), "redis://:***@h/0");
        assert_eq!(without_password("http://h/a@b"), "http://h/a@b");
        assert_eq!(without_password("sqlite:file"), "sqlite:file");
    }
}
