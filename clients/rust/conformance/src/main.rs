//! The conformance driver: makes the calls that it reads from its standard input, and says what came back.
//!
//! What it reads and writes is told in `clients/conformance/PROTOCOL.md`.

mod answer;
mod calls;
mod methods;

use std::collections::HashMap;
use std::env;
use std::error::Error;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::calls::{Call, Told};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = env::args().nth(1).ok_or("usage: conformance-rust ADDRESS")?;
    let stepwire = stepwire::connect(&address)?;
    let mut lines = BufReader::new(stdin()).lines();
    let mut open: HashMap<String, UnboundedSender<Told>> = HashMap::new();
    let mut running = JoinSet::new();
    while let Some(line) = lines.next_line().await? {
        let command: Value = serde_json::from_str(&line)?;
        let id = command["id"].as_str().ok_or("a command without an id")?.to_owned();
        if command["call"].is_string() {
            let (sender, told) = unbounded_channel();
            open.insert(id, sender);
            let call = Call::new(command, told)?;
            let stepwire = stepwire.clone();
            running.spawn(async move { methods::make(&stepwire, call).await });
        } else if let Some(call) = open.get(&id) {
            // A call that has ended hears no more.
            let _ = call.send(Told::new(&command)?);
        }
    }
    open.clear();
    while let Some(ended) = running.join_next().await {
        ended?;
    }
    Ok(())
}
