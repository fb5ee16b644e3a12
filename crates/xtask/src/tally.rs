//! How many tests passed, failed and were skipped, read from what the test runners write.

use std::fmt;

/// The tests of skipping itself, which write such lines and do run.
const SKIPPING: &str = "recorded::tests::";

/// Counts of tests; those that were skipped by name say so in a line that begins with `skipped`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Ran and held.
    pub(crate) passed: usize,
    /// Ran and did not, or could not be run.
    pub(crate) failed: usize,
    /// Did not run for lack of something, or were left out.
    pub(crate) skipped: usize,
    /// Why, one line a skipped test.
    pub(crate) reasons: Vec<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl Tally {
    /// Adds another tally to this one.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons);
    }

    /// Counts a part as one failure when it failed without saying which test did: a build error, say.
    #[must_use]
    pub(crate) fn or_failed(mut self, good: bool) -> Self {
        if !good && self.failed == 0 {
            self.failed = 1;
        }
        self
    }

    /// Reads the summary line of nextest, and its report (JUnit) for tests that said they skip.
    #[must_use]
    pub(crate) fn of_nextest(said: &str, report: &str) -> Self {
        let mut tally = Self::default();
        let summary = said.lines().rev().find(|line| line.trim_start().starts_with("Summary ["));
        let counts = summary.and_then(|line| line.split_once("run:")).map_or("", |(_, counts)| counts);
        for count in counts.split(',') {
            let mut words = count.split_whitespace();
            let number = words.next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
            match words.next() {
                Some("passed") => tally.passed += number,
                Some("failed" | "timed" | "exec") => tally.failed += number,
                Some("skipped") => tally.skipped += number,
                _ => {}
            }
        }
        for case in report.split("<testcase ").skip(1) {
            let name = case.split("name=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("?");
            tally.move_skipped(name, case);
        }
        tally
    }

    /// Reads the result lines of `cargo test -- --show-output`.
    #[must_use]
    pub(crate) fn of_libtest(said: &str) -> Self {
        let mut tally = Self::default();
        let mut name = "?";
        for line in said.lines() {
            if let Some(counts) = line.strip_prefix("test result: ") {
                for count in counts.split([';', '.']) {
                    let mut words = count.split_whitespace();
                    let number = words.next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
                    match words.next() {
                        Some("passed") => tally.passed += number,
                        Some("failed") => tally.failed += number,
                        Some("ignored") => tally.skipped += number,
                        _ => {}
                    }
                }
            } else if let Some(rest) = line.strip_prefix("---- ") {
                name = rest.split(' ').next().unwrap_or("?");
            } else if line.starts_with("skipped") {
                tally.move_skipped(name, line);
            }
        }
        tally
    }

    /// Reads the closing lines of Python's unittest.
    #[must_use]
    pub(crate) fn of_unittest(said: &str) -> Self {
        let number = |text: &str, after: &str| -> usize {
            let rest = text.split(after).nth(1).unwrap_or("");
            rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
        };
        let ran = said.lines().rev().find(|line| line.starts_with("Ran ")).unwrap_or("");
        let end = said.lines().rev().find(|line| line.starts_with("OK") || line.starts_with("FAILED"));
        let Some(end) = end else { return Self::default() };
        let failed = number(end, "failures=") + number(end, "errors=");
        let skipped = number(end, "skipped=");
        let passed = number(ran, "Ran ").saturating_sub(failed + skipped);
        let reasons = said.lines().filter(|line| line.contains(" ... skipped ")).map(str::to_owned).collect();
        Self { passed, failed, skipped, reasons }
    }

    /// A test that the runner counts as passed, but whose output says that it had nothing to run on.
    fn move_skipped(&mut self, name: &str, output: &str) {
        if name.starts_with(SKIPPING) {
            return;
        }
        // the pieces between tags are what the test wrote
        let mut pieces = output.split(['<', '>', '\n']).map(str::trim);
        if let Some(reason) = pieces.find(|piece| piece.starts_with("skipped")) {
            self.passed = self.passed.saturating_sub(1);
            self.skipped += 1;
            self.reasons.push(format!("{name}: {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_is_read() {
        let said = "    PASS [ 0.1s] a b\n     Summary [   1.5s] 7 tests run: 4 passed (1 slow), 2 failed, 1 timed out, 3 skipped\n";
        let report = "<testsuite><testcase name=\"a\"><system-out>x\nskipped a: no data\n</system-out></testcase>\
                      <testcase name=\"b\"><system-err>skipped b: no data</system-err></testcase>\
                      <testcase name=\"c\"><system-err>nothing skipped</system-err></testcase>\
                      <testcase name=\"recorded::tests::d\"><system-err>skipped: d</system-err></testcase></testsuite>";
        let tally = Tally::of_nextest(said, report);
        assert_eq!(tally.to_string(), "2 passed, 3 failed, 5 skipped");
        assert_eq!(tally.reasons[0], "a: skipped a: no data");
        assert_eq!(tally.reasons.len(), 2);
    }

    #[test]
    fn a_build_that_failed_is_one_failure() {
        assert_eq!(Tally::of_nextest("error: could not compile", "").or_failed(false).failed, 1);
        assert_eq!(Tally::of_libtest("").or_failed(true), Tally::default());
    }

    #[test]
    fn libtest_is_read() {
        let said = "---- unit::a stdout ----\nskipped unit::a: no data\n\n\
                    test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                    test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0s\n";
        let tally = Tally::of_libtest(said);
        // the skip is moved from those that passed
        assert_eq!((tally.passed, tally.failed, tally.skipped), (6, 3, 3), "{tally:?}");
        assert_eq!(tally.reasons, ["unit::a: skipped unit::a: no data"]);
    }

    #[test]
    fn unittest_is_read() {
        let said = "test_a (x.Y) ... skipped 'no data'\nRan 9 tests in 3.1s\n\nFAILED (failures=1, errors=2, skipped=1)\n";
        assert_eq!(Tally::of_unittest(said).to_string(), "5 passed, 3 failed, 1 skipped");
        assert_eq!(Tally::of_unittest("Ran 3 tests in 1s\n\nOK\n").passed, 3);
        assert_eq!(Tally::of_unittest("Traceback").or_failed(false).failed, 1);
    }
}
