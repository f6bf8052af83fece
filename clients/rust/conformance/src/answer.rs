//! What a call came to, as it is told.

use std::any::Any;
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::{Map, Value, json};
use stepwire::v1::stream_chat_response::Event;
use stepwire::v1::{ChatResponse, EmbedResponse, StreamChatResponse};
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Code, Status};

pub fn decode<M: Message + Default>(text: &str) -> Result<M, Box<dyn Error + Send + Sync>> {
    Ok(M::decode(STANDARD.decode(text)?.as_slice())?)
}

/// The one answer to a call, while it is gathered.
pub struct Answer {
    id: String,
    says_each: bool,
    count: usize,
    messages: Vec<String>,
    text: Option<String>,
    typed: Map<String, Value>,
    pub headers: Map<String, Value>,
    pub trailers: Map<String, Value>,
    pub cancelled_ms: Option<f64>,
}

impl Answer {
    pub fn new(id: String, says_each: bool) -> Self {
        Self {
            id,
            says_each,
            count: 0,
            messages: Vec::new(),
            text: None,
            typed: Map::new(),
            headers: Map::new(),
            trailers: Map::new(),
            cancelled_ms: None,
        }
    }

    /// Takes a message that came; how many there are now.
    pub fn take<M: Message + 'static>(&mut self, message: &M) -> usize {
        self.read(message);
        let written = STANDARD.encode(message.encode_to_vec());
        if self.says_each {
            println!("{}", json!({"id": self.id, "message": written}));
        } else {
            self.messages.push(written);
        }
        self.count += 1;
        self.count
    }

    fn read(&mut self, message: &dyn Any) {
        if let Some(message) = message.downcast_ref::<StreamChatResponse>() {
            let text = self.text.get_or_insert_default();
            if let Some(Event::TextDelta(delta)) = &message.event {
                text.push_str(&delta.text);
            }
        } else if let Some(message) = message.downcast_ref::<ChatResponse>() {
            self.text = Some(message.text.clone());
        } else if let Some(message) = message.downcast_ref::<EmbedResponse>()
            && let Some(vector) = message.embeddings.first()
        {
            let sum: f64 = vector.values.iter().copied().map(f64::from).sum();
            self.typed.insert("dimensions".into(), vector.values.len().into());
            self.typed.insert("sum".into(), sum.into());
        }
    }

    pub fn say(mut self, status: &Status) {
        let ended_ms = now_ms();
        if let Some(text) = self.text {
            self.typed.insert("text".into(), text.into());
        }
        if let Some(reason) = stepwire::reason(status) {
            self.typed.insert("reason".into(), reason.into());
        }
        let answer = json!({
            "id": self.id,
            "code": name(status.code()),
            "message": status.message(),
            "messages": self.messages,
            "status_details": STANDARD.encode(status.details()),
            "headers": self.headers,
            "trailers": self.trailers,
            "typed": self.typed,
            "ended_ms": ended_ms,
            "cancelled_ms": self.cancelled_ms,
        });
        println!("{answer}");
    }
}

/// The metadata whose values are text.
pub fn texts(metadata: &MetadataMap) -> Map<String, Value> {
    let mut texts = Map::new();
    for entry in metadata.iter() {
        if let KeyAndValueRef::Ascii(key, value) = entry
            && let Ok(value) = value.to_str()
        {
            texts.insert(key.as_str().into(), value.into());
        }
    }
    texts
}

pub fn now_ms() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs_f64() * 1000.0
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
