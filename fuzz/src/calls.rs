//! What steers calls: the ledger of the limit, dates of HTTP, and the addresses of next pages.

use std::time::Duration;

use panscan_core::limit::Quota;
use panscan_core::time::{SessionDate, Timestamp};
use panscan_fetch::doors::{self, Pages};

const CALL_MAX: Duration = Duration::from_secs(30);

/// Calls of a ledger's list that still count at an instant.
fn counting(calls: &[(Timestamp, Timestamp)], at: Timestamp) -> usize {
    calls.iter().filter(|(_, clear)| *clear > at).count()
}

/// What was written is read back; a damaged ledger never remembers fewer calls than it should, at any later instant.
pub(crate) fn ledger(input: &[u8]) {
    let quota: Quota = "5/min".parse().expect("a quota");
    let now = Timestamp::from_seconds(1_700_000_000);
    let window = quota.window() + quota.margin();
    let (numbers, _) = input.as_chunks::<2>();
    let number = |at: usize| numbers.get(at).map_or(0, |pair| u16::from_le_bytes(*pair));
    let mut calls: Vec<(Timestamp, Timestamp)> = (2..2 + usize::from(number(0) % 6))
        .map(|at| {
            let span = i64::try_from(window.as_nanos()).expect("a short window");
            let since = i64::from(number(at)) * 1_000_003 % span;
            let seen = Timestamp::from_nanos(now.as_nanos() - since);
            (seen, seen.after(window))
        })
        .collect();
    calls.sort_unstable();
    let pause = (number(1) % 2 == 1).then(|| now.after(Duration::from_secs(u64::from(number(1)) + 1)));
    let good = doors::calls_written(quota, &(calls.clone(), pause));
    assert_eq!(doors::calls_left(&good, quota, CALL_MAX, now), ((calls.clone(), pause), 0));

    let mut bad = good.clone();
    let place = crc32fast::hash(input) as usize % good.len();
    if number(0) & 0x8000 == 0 {
        bad[place] ^= (number(1) as u8).max(1);
    } else {
        bad.truncate(place.max(1));
    }
    let ((left, _), damaged) = doors::calls_left(&bad, quota, CALL_MAX, now);
    // The last four bytes of a record mean nothing.
    assert!(damaged > 0 || left == calls);
    for (_, clear) in calls.iter().chain([&(now, now)]) {
        let before = Timestamp::from_nanos(clear.as_nanos() - 1).max(now);
        assert!(counting(&left, before) >= counting(&calls, before), "a call was forgotten");
    }

    // Any bytes, as they are and with the checksums that they should have.
    let mut sealed = input.to_vec();
    for record in sealed.chunks_exact_mut(32) {
        let (told, sum) = record.split_at_mut(24);
        sum[..4].copy_from_slice(&crc32fast::hash(told).to_le_bytes());
    }
    for bytes in [input, &sealed] {
        let ((calls, _), _) = doors::calls_left(bytes, quota, CALL_MAX, now);
        assert!(calls.is_sorted() && calls.len() <= bytes.len() / 32 + 6 + quota.calls() as usize);
        for (start, clear) in calls {
            assert!(start <= now && clear > now && clear <= now.after(window));
        }
    }
}

fn written(at: Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = at.as_seconds();
    let days = i32::try_from(seconds.div_euclid(86_400)).expect("a day");
    let (year, month, day) = SessionDate::from_days(days).ymd();
    let rest = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    let month = MONTHS[usize::try_from(month).expect("a month") - 1];
    format!("Thu, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// A date that is read is the one that was written, and a wait is counted from now.
pub(crate) fn http_date(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let now = Timestamp::from_seconds(1_700_000_000);
    let wait = doors::retry_after(text, now);
    if let Some(at) = doors::http_date(text) {
        let again = doors::http_date(&written(at)).map(Timestamp::as_seconds);
        assert_eq!(again, Some(at.as_seconds()), "{text}");
        assert_eq!(wait, Some(at.since(now)));
    } else if let Some(wait) = wait {
        let digits = text.trim();
        assert!(digits.bytes().all(|byte| byte.is_ascii_digit()));
        assert_eq!(wait.as_secs(), digits.parse().unwrap_or(u64::MAX));
    }
}

/// Whatever a provider sends as the next address, the key goes to no other host, is not in an address, and no page is
/// read twice.
pub(crate) fn next_url(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let base = "https://api.example.com";
    let mut pages = Pages::new(base, "/v2/first?limit=5").expect("an address");
    let mut seen = std::collections::HashSet::new();
    for line in text.lines().take(40) {
        let Ok(Some(url)) = pages.next(line) else { continue };
        let Some(path) = url.strip_prefix(base) else { panic!("another host: {url}") };
        assert!(path.starts_with('/') && !url.contains('#'), "{url}");
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
        assert!(query.split('&').all(|pair| name(pair) != "apikey"), "{url}");
        assert_eq!(query.split('&').filter(|pair| *pair == "adjusted=false").count(), 1, "{url}");
        assert_eq!(query.split('&').filter(|pair| pair.starts_with("adjusted=")).count(), 1, "{url}");
        assert!(seen.insert(url), "a page twice");
    }
}
