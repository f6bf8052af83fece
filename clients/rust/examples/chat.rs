//! Streams a reply; Ctrl-C cancels it, and the model stops.
//!
//! `cargo run --example chat -- "Tell me a story" 127.0.0.1:50051`

use std::env;
use std::error::Error;
use std::io::{Write, stdout};
use std::process::ExitCode;

use stepwire::v1::stream_chat_response::Event;
use stepwire::v1::{ChatOptions, StreamChatRequest};
use tonic::Status;

async fn chat(address: &str, prompt: String) -> Result<(), Box<dyn Error>> {
    let stepwire = stepwire::connect(address)?;
    let request = StreamChatRequest {
        prompt,
        options: Some(ChatOptions {
            max_tokens: Some(200),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut stream = stepwire.chat().stream_chat(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        match message.event {
            Some(Event::TextDelta(delta)) => {
                print!("{}", delta.text);
                stdout().flush()?;
            }
            Some(Event::Finished(_)) => println!(),
            _ => {} // tool calls, reasoning, and what later versions add
        }
    }
    Ok(())
}

fn report(error: &(dyn Error + 'static)) {
    match error.downcast_ref::<Status>() {
        Some(status) => {
            let reason = stepwire::reason(status).unwrap_or_else(|| format!("{:?}", status.code()));
            eprintln!("{reason}: {}", status.message());
            if let Some(delay) = stepwire::retry_delay(status) {
                eprintln!("try again in {} s", delay.as_secs_f32());
            }
        }
        None => eprintln!("{error}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let prompt = arguments.next().unwrap_or_else(|| "Tell me a story.".into());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:50051".into());
    tokio::select! {
        result = chat(&address, prompt) => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                report(&*error);
                ExitCode::FAILURE
            }
        },
        _ = tokio::signal::ctrl_c() => { // the call is dropped, which cancels it
            eprintln!("\ncancelled");
            ExitCode::from(130)
        }
    }
}
