//! Streams a reply. Ctrl-C ends it, and with it the model's work:
//!
//! `cargo run --example chat 127.0.0.1:50051 "Say hello."`
//!
//! A third argument names a model; a fourth is the number of pieces of text after which to leave.

use std::env;
use std::error::Error;
use std::io::{Write, stdout};
use std::process::ExitCode;

use stepwire::v1::StreamChatRequest;
use stepwire::v1::stream_chat_response::Event;
use tonic::Status;

async fn chat(address: &str, request: StreamChatRequest, pieces: usize) -> Result<(), Box<dyn Error>> {
    let stepwire = stepwire::connect(address)?;
    let mut stream = stepwire.chat().stream_chat(request).await?.into_inner();
    let mut read = 0;
    while let Some(message) = stream.message().await? {
        match message.event {
            Some(Event::TextDelta(delta)) => {
                print!("{}", delta.text);
                stdout().flush()?;
                read += 1;
                if read == pieces {
                    println!("\nleft");
                    break; // the stream is dropped, which cancels the call
                }
            }
            Some(Event::Finished(finished)) => {
                let tokens = finished.usage.unwrap_or_default().output_token_count();
                println!("\n[{}, {tokens} tokens]", finished.model);
            }
            _ => {} // tool calls, reasoning, and what later versions add
        }
    }
    Ok(())
}

/// What is to be done about a failed call.
fn told(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    if let Some(reason) = stepwire::reason(status) {
        text += &format!(" [{reason}]");
    }
    if let Some(id) = stepwire::request_id(status) {
        text += &format!(" request {id}");
    }
    if let Some(delay) = stepwire::retry_delay(status) {
        text += &format!("; try again after {delay:?}");
    }
    text
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:50051".into());
    let request = StreamChatRequest {
        prompt: arguments.next().unwrap_or_else(|| "Say hello.".into()),
        model: arguments.next().unwrap_or_default(),
        ..Default::default()
    };
    let pieces = arguments
        .next()
        .map_or(0, |pieces| pieces.parse().expect("a number of pieces"));
    let error = tokio::select! {
        result = chat(&address, request, pieces) => match result {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => error,
        },
        _ = tokio::signal::ctrl_c() => { // the call is dropped, which cancels it
            println!("\ncancelled");
            return ExitCode::SUCCESS;
        }
    };
    match error.downcast_ref::<Status>() {
        Some(status) => eprintln!("{}", told(status)),
        None => eprintln!("{error}"),
    }
    ExitCode::FAILURE
}
