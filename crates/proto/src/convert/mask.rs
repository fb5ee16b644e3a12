//! Read masks: which top-level fields of a resource are sent.

use panscan_core::error::shortened;

use crate::error::Violations;

/// The fields that a caller wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mask {
    kept: Option<Vec<&'static str>>,
}

impl Mask {
    /// Reads a mask of a resource with these `fields`; none, an empty one and `*` keep all.
    pub(super) fn read(
        found: &mut Violations,
        mask: Option<&prost_types::FieldMask>,
        fields: &[&'static str],
    ) -> Self {
        let paths = mask.map(|m| m.paths.as_slice()).unwrap_or_default();
        let mut kept = Vec::new();
        let mut all = paths.is_empty();
        for path in paths {
            match fields.iter().find(|f| *f == path) {
                Some(field) => kept.push(*field),
                None if path == "*" => all = true,
                None => {
                    let message = format!(
                        "{:?} is no field; expected * or some of {}",
                        shortened(path),
                        fields.join(", ")
                    );
                    found.push("read_mask", "UNKNOWN_PATH", message);
                }
            }
        }
        Self { kept: (!all).then_some(kept) }
    }

    /// Whether a field is sent.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.contains(&field))
    }
}

/// Puts back to their default the fields of a message that a mask leaves out. Names the fields once, so that
/// the list that masks are checked against is the list that they act on.
macro_rules! masked {
    ($message:ty, $list:ident, $doc:literal, [$($field:ident $name:literal),+ $(,)?]) => {
        #[doc = $doc]
        pub const $list: &[&str] = &[$($name),+];

        impl $crate::convert::mask::Masked for $message {
            fn apply(&mut self, mask: &$crate::convert::mask::Mask) {
                $(if !mask.has($name) { self.$field = Default::default(); })+
            }
        }
    };
}
pub(super) use masked;

/// A message that a mask can cut.
pub trait Masked {
    /// Puts the fields that `mask` leaves out back to their default.
    fn apply(&mut self, mask: &Mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(paths: &[&str]) -> Result<Mask, Violations> {
        let mut found = Violations::default();
        let mask = prost_types::FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() };
        let mask = Mask::read(&mut found, Some(&mask), &["close", "volume"]);
        found.or(mask)
    }

    #[test]
    fn unknown_paths_are_named() {
        assert!(read(&[]).unwrap().has("volume"));
        assert!(read(&["*"]).unwrap().has("volume"));
        let close = read(&["close"]).unwrap();
        assert!(close.has("close") && !close.has("volume"));
        let violations = read(&["close", "clos", "volume.x"]).unwrap_err();
        assert_eq!(violations.as_slice().len(), 2);
        assert!(violations.to_string().contains("\"clos\" is no field; expected * or some of close, volume"));
    }
}
