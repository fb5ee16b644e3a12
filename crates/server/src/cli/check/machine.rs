//! What this machine has: store, disk, processor, GPU.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Row;
use crate::config::Settings;

/// Less free space than this is worth a word.
const FREE_KIB_LOW: u64 = 1 << 20;
/// Less than this is not enough to keep anything.
const FREE_KIB_MIN: u64 = 64 << 10;
/// Where the driver's libraries lie.
const LIBRARY_FOLDERS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/cuda/lib64",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
];
/// What to do about a GPU.
const NO_CUDA: &str = "this build has no CUDA backend; the CPU serves";

/// Whether the store's folder can be written.
pub(super) fn store(settings: &Settings) -> Row {
    let folder = &settings.tiers.store;
    let Some(present) = nearest(folder) else {
        return Row::fail("store", format!("{} does not exist", folder.display()), "set PANSCAN_STORE");
    };
    if !present.is_dir() {
        return Row::fail(
            "store",
            format!("{} is no folder", present.display()),
            "set PANSCAN_STORE to a folder",
        );
    }
    let probe = present.join(format!(".panscan-check-{}", std::process::id()));
    let tried = std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Err(error) => Row::fail(
            "store",
            format!("{} cannot be written: {error}", present.display()),
            "give this user write permission there, or set PANSCAN_STORE to another folder",
        ),
        Ok(()) if present == *folder => Row::ok("store", format!("{} can be written", folder.display())),
        Ok(()) => Row::ok("store", format!("{} does not exist yet and can be made", folder.display())),
    }
}

/// Whether there is room.
pub(super) fn disk(settings: &Settings) -> Row {
    let free = nearest(&settings.tiers.store).and_then(|folder| free_kib(&folder));
    let bound = settings.tiers.l3_bytes >> 20;
    match free {
        None => Row::warn("disk", "free space unknown", "look at it with df"),
        Some(free) => {
            let detail = format!("{} MiB free, the file tier takes {bound} MiB at most", free >> 10);
            match free {
                ..FREE_KIB_MIN => {
                    Row::fail("disk", detail, "free some space, or set PANSCAN_STORE elsewhere")
                }
                FREE_KIB_MIN..FREE_KIB_LOW => {
                    Row::warn("disk", detail, "free some space, or lower PANSCAN_L3_BYTES")
                }
                _ => Row::ok("disk", detail),
            }
        }
    }
}

/// The nearest folder above `path`, or itself, that exists.
fn nearest(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let present = path.ancestors().find(|folder| folder.exists())?;
    Some(present.to_owned())
}

/// What POSIX `df` says; the standard library has no call for it.
fn free_kib(folder: &Path) -> Option<u64> {
    let answer = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

/// What the processor can do.
pub(super) fn cpu() -> Row {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Row::ok("cpu", format!("{cores} threads, {}, {}", std::env::consts::ARCH, features().join(" ")))
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    [
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("sse2", true),
    ]
    .into_iter()
    .filter_map(|(name, has)| has.then_some(name))
    .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    vec![if cfg!(target_arch = "aarch64") { "neon" } else { "baseline" }]
}

/// What is there of a GPU; none of it is used.
pub(super) fn gpu() -> [Row; 3] {
    let library = |stem: &str| {
        LIBRARY_FOLDERS.iter().find_map(|folder| {
            let files = std::fs::read_dir(folder).ok()?;
            files
                .flatten()
                .find(|file| file.file_name().to_string_lossy().starts_with(stem))
                .map(|f| f.path())
        })
    };
    let found = |name: &'static str, stem: &str| {
        let detail = match library(stem) {
            Some(path) => format!("{}; not used", path.display()),
            None => format!("no {stem}"),
        };
        Row::warn(name, detail, NO_CUDA)
    };
    let devices = std::fs::read_dir("/proc/driver/nvidia/gpus").map_or(0, Iterator::count);
    let device = if devices == 0 { "none".to_owned() } else { format!("{devices}; not used") };
    [
        found("gpu.driver", "libcuda.so"),
        found("gpu.nvrtc", "libnvrtc.so"),
        Row::warn("gpu.device", device, NO_CUDA),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_folder_to_come_counts_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&folder.path().join("a/b")).unwrap(), folder.path());
    }

    #[test]
    fn the_processor_is_named_and_gpus_are_not_promised() {
        assert!(cpu().detail.contains("threads"));
        assert!(gpu().iter().all(|row| row.state == State::Warn));
    }
}
