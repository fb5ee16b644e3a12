//! JSON as a plain tree, read apart from the decoders, so that their answers can be held against it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    /// As a float, and as a whole number where it is written as one.
    Number(f64, Option<i64>),
    Text(String),
    List(Vec<Tree>),
    /// In the order sent.
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// The tree of a body; `None` where it is no JSON, or an object of it has a key twice, which readers may take
    /// one way or the other.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().filter(Self::is_plain)
    }

    fn is_plain(&self) -> bool {
        match self {
            Self::List(items) => items.iter().all(Self::is_plain),
            Self::Map(entries) => {
                let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
                keys.sort_unstable();
                keys.windows(2).all(|pair| pair[0] != pair[1]) && entries.iter().all(|(_, of)| of.is_plain())
            }
            _ => true,
        }
    }

    /// What stands under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, of)| of)
    }

    /// The entries of an object; none of anything else.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        if let Self::Map(entries) = self { entries } else { &[] }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A text with something in it.
    pub(crate) fn filled(&self) -> Option<&str> {
        self.text().filter(|text| !text.trim().is_empty())
    }

    pub(crate) fn whole(&self) -> Option<i64> {
        if let Self::Number(_, whole) = self { *whole } else { None }
    }
}

/// The number of a bar under a key: absent and null are NaN, what is no number is infinite.
pub(crate) fn number(value: Option<&Tree>) -> f64 {
    match value {
        None | Some(Tree::Null) => f64::NAN,
        Some(Tree::Number(number, _)) => *number,
        Some(_) => f64::INFINITY,
    }
}

/// Whether two rows of numbers are the same bits.
pub(crate) fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// The same body with spaces wherever JSON allows them; what is no JSON may become anything.
pub(crate) fn spaced(body: &[u8]) -> Vec<u8> {
    let (mut out, mut inside, mut escaped) = (Vec::with_capacity(body.len() * 2), false, false);
    for &byte in body {
        let sign = !inside && b"{}[]:,".contains(&byte);
        if sign {
            out.push(b'\n');
        }
        out.push(byte);
        if sign {
            out.extend_from_slice(b" \t");
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            _ => {}
        }
    }
    out
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyTree)
    }
}

struct AnyTree;

impl<'de> Visitor<'de> for AnyTree {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number as f64, i64::try_from(number).ok()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number as f64, Some(number)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Number(number, None))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}
