//! Following `next_url` without being led astray: same origin only, no loops, a bounded number of pages.

use std::collections::HashSet;

use reqwest::Url;

/// Pages that one question may take.
const PAGES_MAX: usize = 500;

/// The pages of one question.
pub(crate) struct Pages {
    base: Url,
    seen: HashSet<String>,
    /// A parameter that the provider's cursor forgets and that every page must carry.
    keep: Option<(&'static str, &'static str)>,
}

impl Pages {
    /// Starts at `first`.
    pub(crate) fn new(base: &Url, first: &Url, keep: Option<(&'static str, &'static str)>) -> Self {
        Self { base: base.clone(), seen: HashSet::from([first.as_str().to_owned()]), keep }
    }

    /// Where the next page is; `None` after the last one.
    ///
    /// # Errors
    ///
    /// Says why the provider's address is not followed. It is not repeated: it may hold anything.
    pub(crate) fn next(&mut self, next_url: Option<&str>) -> Result<Option<Url>, String> {
        let text = next_url.unwrap_or_default().trim();
        if text.is_empty() {
            return Ok(None);
        }
        let mut url = read(text, &self.base).ok_or("next_url is no address")?;
        let same = url.scheme() == self.base.scheme()
            && url.host() == self.base.host()
            && url.port_or_known_default() == self.base.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none();
        if !same {
            return Err(
                "next_url leads to another host; it is not followed and the key is not sent".to_owned()
            );
        }
        self.tidy(&mut url);
        if self.seen.len() >= PAGES_MAX {
            return Err(format!("there are more than {PAGES_MAX} pages"));
        }
        if !self.seen.insert(url.as_str().to_owned()) {
            return Err("next_url leads back to a page that was read already".to_owned());
        }
        Ok(Some(url))
    }

    /// Takes a key out of the query, which belongs into the header, and puts in what the cursor forgets.
    fn tidy(&self, url: &mut Url) {
        url.set_fragment(None);
        let name_kept = self.keep.map(|(name, _)| name);
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("apikey") && Some(name.as_ref()) != name_kept)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if pairs.is_empty() && self.keep.is_none() {
            return;
        }
        let mut query = url.query_pairs_mut();
        query.extend_pairs(pairs);
        if let Some((name, value)) = self.keep {
            query.append_pair(name, value);
        }
    }
}

/// Reads an address, absolute or relative to `base`, also with its port written twice.
fn read(text: &str, base: &Url) -> Option<Url> {
    if let Ok(url) = base.join(text) {
        return Some(url);
    }
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let (front, port) = authority.rsplit_once(':')?;
    let front = front.strip_suffix(port)?;
    Url::parse(&format!("{scheme}://{front}{port}{behind}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(base: &str) -> Pages {
        let base = Url::parse(base).unwrap();
        Pages::new(&base, &base.join("/v2/first?limit=50000").unwrap(), Some(("adjusted", "false")))
    }

    #[test]
    fn follows_the_same_origin_and_keeps_what_the_cursor_forgets() {
        let mut pages = pages("https://api.example.com");
        let next =
            pages.next(Some("https://api.example.com/v2/b?cursor=bGlt&apiKey=secret")).unwrap().unwrap();
        assert_eq!(next.as_str(), "https://api.example.com/v2/b?cursor=bGlt&adjusted=false");
        let next = pages.next(Some("https://api.example.com:443:443/v2/c?adjusted=true")).unwrap().unwrap();
        assert_eq!(next.as_str(), "https://api.example.com/v2/c?adjusted=false");
        assert!(pages.next(Some("/v2/d?cursor=x")).unwrap().is_some());
        assert!(pages.next(Some("  ")).unwrap().is_none());
        assert!(pages.next(None).unwrap().is_none());
    }

    #[test]
    fn other_origins_are_refused() {
        let mut pages = pages("http://127.0.0.1:8787");
        for elsewhere in [
            "http://127.0.0.1:8788/v2/x",
            "https://127.0.0.1:8787/v2/x",
            "http://evil.example/v2/x",
            "http://127.0.0.1:8787@evil.example/v2/x",
            "http://user@127.0.0.1:8787/v2/x",
            "//evil.example/v2/x",
            "http://127.0.0.1:8787:8788/v2/x",
        ] {
            assert!(pages.next(Some(elsewhere)).is_err(), "{elsewhere}");
        }
    }

    #[test]
    fn loops_and_endless_chains_end() {
        let mut loops = pages("http://127.0.0.1:8787");
        assert!(loops.next(Some("http://127.0.0.1:8787/v2/b?cursor=1")).unwrap().is_some());
        assert!(loops.next(Some("http://127.0.0.1:8787/v2/b?cursor=1")).is_err());
        let mut endless = pages("http://127.0.0.1:8787");
        let reached = (0..).find(|n| endless.next(Some(&format!("/v2/b?cursor={n}"))).is_err());
        assert_eq!(reached, Some(PAGES_MAX - 1));
    }
}
