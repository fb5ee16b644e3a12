//! Recorded market data: where it lies, and how a test says by name that it is skipped without it.

use std::path::{Path, PathBuf};

/// Names the folder of recorded data.
pub const DATA_ENV: &str = "PANSCAN_TEST_DATA";

/// The folder of recorded data: [`DATA_ENV`], else `../shared/data` beside the workspace. `None` when it is not
/// there.
#[must_use]
pub fn data_dir() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests run without the server's configuration")]
    let given = std::env::var_os(DATA_ENV);
    let dir = match given {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    };
    dir.is_dir().then_some(dir)
}

/// A recorded file, e.g. `daily/us_universe_daily_2016.parquet`. Without it the test `name` is told as skipped on
/// stderr, and the caller returns. [`recorded!`](crate::recorded!) fills in the name.
#[must_use]
pub fn file(name: &str, path: &str) -> Option<PathBuf> {
    let found = data_dir().map(|dir| dir.join(path)).filter(|path| path.is_file());
    if found.is_none() {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: {name} needs recorded data {path} (set {DATA_ENV})");
        }
    }
    found
}

/// The path of a recorded file, or a return from the test that says it is skipped.
#[macro_export]
macro_rules! recorded {
    ($path:expr) => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here).trim_end_matches("::here");
        match $crate::recorded::file(name, $path) {
            Some(path) => path,
            None => return,
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_none() {
        assert_eq!(file("this test, on purpose", "no/such/file"), None);
    }

    #[test]
    fn the_macro_returns_without_the_file() {
        let _ = recorded!("no/such/file");
        panic!("must have returned");
    }
}
