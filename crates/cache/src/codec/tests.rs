//! The codec as a whole: arbitrary bits come back, hostile bytes are refused without harm, prices become small.

use super::*;

fn round_trip(columns: &[Vec<f64>], width: usize) -> usize {
    let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let packed = pack(&views, width);
    let len = columns.first().map_or(0, Vec::len);
    let mut back = vec![vec![0.0; len]; columns.len()];
    unpack(&packed, columns.len(), len, width, |column, at, values| {
        back[column][at..at + values.len()].copy_from_slice(values);
    })
    .unwrap();
    for (column, (a, b)) in columns.iter().zip(&back).enumerate() {
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert_eq!(a.to_bits(), b.to_bits(), "column {column}, value {i}: {a} and {b}");
        }
    }
    assert!(may_hold(packed.len(), columns.len(), len));
    packed.len()
}

fn walk(random: &mut fastrand::Rng, len: usize, tick: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
    let mut columns = vec![Vec::new(); 7];
    let mut close = (4000.0 + random.f64() * 9000.0).round();
    for _ in 0..len {
        let open = close + (random.f64() * 20.0).round() - 10.0;
        let next = open + (random.f64() * 100.0).round() - 50.0;
        let high = open.max(next) + (random.f64() * 30.0).round();
        let low = open.min(next) - (random.f64() * 30.0).round();
        for (column, cents) in columns.iter_mut().zip([open, high, low, next]) {
            column.push(tick(cents));
        }
        columns[4].push((random.f64() * 1e6).round());
        columns[5].push((random.f64() * 1e8).round() / 1e4);
        columns[6].push((random.f64() * 1e4).round());
        close = next;
    }
    columns
}

#[test]
fn arbitrary_bits_come_back() {
    let special = [
        0.0,
        -0.0,
        f64::NAN,
        f64::from_bits(0x7ff8_0000_0000_0001),
        f64::from_bits(0xfff0_0000_0000_0007),
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        5e-324,
        f64::MAX,
        f64::MIN,
        1e300,
        10_737_418.24,
        -10_737_418.24,
    ];
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let len = [0, 1, 2, 7, 8, 31, 32, 33, 255, 256, 257, 600][random.usize(0..12)];
        let count = random.usize(1..9);
        let columns: Vec<Vec<f64>> = (0..count)
            .map(|_| {
                let kind = random.u32(0..7);
                (0..len)
                    .map(|_| match kind {
                        0 => f64::from_bits(random.u64(..)),
                        1 => special[random.usize(0..special.len())],
                        2 => f64::from(random.i32(0..100_000)) / 100.0,
                        3 => f64::from((f64::from(random.i32(0..100_000)) / 100.0) as f32),
                        4 if random.u32(0..9) == 0 => special[random.usize(0..special.len())],
                        4 => f64::from(random.i32(..)) / 1e4,
                        5 if random.bool() => f64::NAN,
                        5 => 100.0,
                        _ => random.f64() * 100.0,
                    })
                    .collect()
            })
            .collect();
        round_trip(&columns, [1, 32][random.usize(0..2)]);
    }
}

#[test]
fn prices_become_small_whatever_they_went_through() {
    let mut random = fastrand::Rng::with_seed(5);
    let ticks: [fn(f64) -> f64; 4] = [
        |cents| cents / 100.0,
        |cents| cents / 1e4,
        |cents| f64::from((cents / 100.0) as f32),
        |cents| (f64::from((cents / 100.0) as f32) * 1e6).round() / 1e6,
    ];
    for tick in ticks {
        let columns = walk(&mut random, 252, tick);
        let bytes = round_trip(&columns[..4], 1);
        assert!(bytes * 7 < 4 * 252 * 8, "{bytes}");
        let mut holes = columns.clone();
        holes.iter_mut().for_each(|column| column[30..90].fill(f64::NAN));
        assert!(round_trip(&holes[..4], 1) <= bytes + 64, "a jump or two more");
        assert!(round_trip(&columns, 1) * 4 < 7 * 252 * 8);
    }
    let nothing = vec![vec![f64::NAN; 5000]; 7];
    assert!(round_trip(&nothing, 32) <= (7 * 9 + 1) * 20);
    let adjusted: Vec<Vec<f64>> =
        walk(&mut random, 252, |c| c / 100.0).iter().map(|c| c.iter().map(|v| v / 7.0).collect()).collect();
    assert!(round_trip(&adjusted[..5], 1) < 5 * 252 * 8);
}

#[test]
fn damaged_bytes_are_refused_or_read_as_something_without_harm() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..40 {
        let columns = walk(&mut random, 300, |cents| cents / 100.0);
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let good = pack(&views, 1);
        for _ in 0..60 {
            let mut bytes = good.clone();
            match random.u32(0..4) {
                0 => bytes.truncate(random.usize(0..bytes.len())),
                1 => bytes.push(0),
                2 => (0..random.usize(1..9)).for_each(|_| {
                    let at = random.usize(0..bytes.len());
                    bytes[at] = random.u8(..);
                }),
                _ => (0..bytes.len()).for_each(|at| bytes[at] = random.u8(..)),
            }
            let (count, len) = (random.usize(0..9), random.usize(0..700));
            let _ = unpack(&bytes, count, len, random.usize(0..40), |_, _, _| {});
            let _ = unpack(&bytes, 7, 300, 1, |_, _, _| {});
        }
        assert!(unpack(&good[..good.len() - 1], 7, 300, 1, |_, _, _| {}).is_err());
        assert!(unpack(&[good.clone(), vec![0]].concat(), 7, 300, 1, |_, _, _| {}).is_err());
    }
    assert!(!may_hold(10, 7, 1 << 40) && !may_hold(1 << 20, 65, 1));
    assert!(unpack(&[], 65, 1, 1, |_, _, _| {}).is_err());
}
