//! Every target over its committed corpus, and over a thousand inputs grown from it.

use std::path::Path;

use panscan_fuzz::TARGETS;
use panscan_fuzz::mutate::mutated;

#[test]
fn corpora_replay() {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        let mut paths: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{}", target.name);
        let corpus: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        let bytes: usize = corpus.iter().map(Vec::len).sum();
        assert!(bytes < 64 << 10, "the corpus of {} is kept small", target.name);
        corpus.iter().for_each(|input| (target.run)(input));
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..1_000 {
            let (seed, other) = (rng.usize(0..corpus.len()), rng.usize(0..corpus.len()));
            (target.run)(&mutated(&mut rng, &corpus[seed], &corpus[other], target.words));
        }
    }
}
