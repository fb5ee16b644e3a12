//! Prints the ten technology shares of at least a billion dollars that fell the furthest, by their RSI.

use panscan_client::Client;

#[tokio::main]
async fn main() -> Result<(), panscan_client::ClientError> {
    let client = Client::connect("http://127.0.0.1:50051").await?;
    let answer = client
        .scan("rsi(14) < 30")
        .columns(["close", "rsi(14)", "volume / sma(volume, 20)"])
        .rank_by("rsi(14)")
        .ascending()
        .limit(10)
        .sector("Technology")
        .min_market_cap(1e9)
        .collect()
        .await?;
    for row in &answer.rows {
        let text = |name| row.number(name).map_or("-".to_owned(), |v| format!("{v:.2}"));
        show(format!("{:>3} {:<8} {:>10} {:>6}", row.rank(), row.symbol(), text("close"), text("rsi(14)")));
    }
    show(format!("{} of {} symbols matched", answer.summary.matched, answer.summary.scanned));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example's output")]
fn show(line: String) {
    println!("{line}");
}
