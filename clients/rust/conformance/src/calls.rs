//! The four kinds of call, each made with a method of a generated client.

use std::error::Error;
use std::future::{Future, pending};
use std::time::Duration;

use prost::Message;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::{Request, Response, Status, Streaming};

use crate::answer::{Answer, decode, now_ms, texts};

type Failed = Box<dyn Error + Send + Sync>;
type Replies<M> = Result<Response<Streaming<M>>, Status>;

/// What an open call is told.
pub enum Told {
    Send(String),
    Close,
    Cancel,
}

impl Told {
    pub fn new(command: &Value) -> Result<Self, Failed> {
        if let Some(message) = command["send"].as_str() {
            Ok(Self::Send(message.to_owned()))
        } else if command["close"] == true {
            Ok(Self::Close)
        } else if command["cancel"] == true {
            Ok(Self::Cancel)
        } else {
            Err(format!("no such command: {command}").into())
        }
    }
}

/// A call to be made.
pub struct Call {
    pub method: String,
    command: Value,
    requests: Vec<String>,
    told: UnboundedReceiver<Told>,
    answer: Answer,
}

impl Call {
    pub fn new(command: Value, told: UnboundedReceiver<Told>) -> Result<Self, Failed> {
        let id = command["id"].as_str().unwrap_or_default().to_owned();
        let requests = command["requests"].as_array().into_iter().flatten();
        Ok(Self {
            method: command["call"].as_str().ok_or("a call without a method")?.to_owned(),
            requests: requests.filter_map(Value::as_str).map(str::to_owned).collect(),
            answer: Answer::new(id, command["progress"] == true),
            command,
            told,
        })
    }

    pub fn refuse(self) {
        self.answer.say(&Status::unimplemented("the driver has no such method"));
    }

    /// With the headers and the deadline of this call.
    fn request<T>(&self, message: T) -> Result<Request<T>, Failed> {
        let mut request = Request::new(message);
        for (key, value) in self.command["metadata"].as_object().into_iter().flatten() {
            let value: AsciiMetadataValue = value.as_str().ok_or("metadata that is no text")?.parse()?;
            request.metadata_mut().insert(key.parse::<AsciiMetadataKey>()?, value);
        }
        if let Some(timeout_ms) = self.command["timeout_ms"].as_f64() {
            request.set_timeout(Duration::from_secs_f64(timeout_ms / 1000.0));
        }
        Ok(request)
    }

    fn only<M: Message + Default + 'static>(&self) -> Result<Request<M>, Failed> {
        let message = self
            .requests
            .first()
            .map_or_else(|| Ok(M::default()), |text| decode(text))?;
        self.request(message)
    }

    /// The requests of a stream; none can be sent any more when the other half is dropped.
    fn stream<M: Message + Default + 'static>(
        &self,
    ) -> Result<(Request<UnboundedReceiverStream<M>>, Sending<M>), Failed> {
        let (sender, receiver) = unbounded_channel();
        for text in &self.requests {
            sender.send(decode(text)?)?;
        }
        let sender = (self.command["open"] == true).then_some(sender);
        Ok((self.request(UnboundedReceiverStream::new(receiver))?, Sending(sender)))
    }

    /// Makes the call until it ends, is cancelled or is left, and says what came of it.
    async fn end<M: Message + Default + 'static>(
        mut self,
        sending: Sending<M>,
        call: impl AsyncFnOnce(&mut Progress) -> Result<(), Status>,
    ) {
        let mut progress = Progress {
            cancel_after: self.command["cancel_after"].as_u64(),
            leave_after: self.command["leave_after"].as_u64(),
            answer: self.answer,
        };
        // Whoever cancels in Rust drops the future, and all that it holds.
        let result = tokio::select! {
            result = call(&mut progress) => result,
            () = cancelled(&mut self.told, sending) => {
                progress.answer.cancelled_ms = Some(now_ms());
                Err(Status::cancelled("cancelled by the caller"))
            }
        };
        let status = result.err().unwrap_or_else(|| Status::ok(""));
        if progress.answer.trailers.is_empty() {
            progress.answer.trailers = texts(status.metadata());
        }
        progress.answer.say(&status);
    }
}

/// The half of a stream of requests that sends.
struct Sending<M>(Option<UnboundedSender<M>>);

async fn cancelled<M: Message + Default + 'static>(told: &mut UnboundedReceiver<Told>, mut sending: Sending<M>) {
    while let Some(told) = told.recv().await {
        match told {
            Told::Send(text) => {
                if let (Some(sender), Ok(message)) = (&sending.0, decode(&text)) {
                    let _ = sender.send(message); // the call may have ended by now
                }
            }
            Told::Close => sending.0 = None,
            Told::Cancel => return,
        }
    }
    pending().await
}

struct Progress {
    cancel_after: Option<u64>,
    leave_after: Option<u64>,
    answer: Answer,
}

impl Progress {
    fn whole<M: Message + 'static>(&mut self, reply: Result<Response<M>, Status>) -> Result<(), Status> {
        let response = reply?;
        // tonic gives the headers and trailers of a call with one reply together.
        self.answer.headers = texts(response.metadata());
        self.answer.trailers = texts(response.metadata());
        self.answer.take(response.get_ref());
        Ok(())
    }

    async fn read<M: Message + 'static>(&mut self, replies: Replies<M>) -> Result<(), Status> {
        let response = replies?;
        self.answer.headers = texts(response.metadata());
        let mut stream = response.into_inner();
        while let Some(message) = stream.message().await? {
            let count = Some(self.answer.take(&message) as u64);
            if count == self.cancel_after || count == self.leave_after {
                self.answer.cancelled_ms = Some(now_ms());
                drop(stream); // cancelling and leaving are the same
                return Err(Status::cancelled("left by the caller"));
            }
        }
        if let Some(trailers) = stream.trailers().await? {
            self.answer.trailers = texts(&trailers);
        }
        Ok(())
    }
}

pub async fn unary<Q, P, F>(call: Call, make: impl FnOnce(Request<Q>) -> F) -> Result<(), Failed>
where
    Q: Message + Default + 'static,
    P: Message + 'static,
    F: Future<Output = Result<Response<P>, Status>>,
{
    let answer = make(call.only()?);
    call.end(Sending::<Q>(None), async |progress| progress.whole(answer.await))
        .await;
    Ok(())
}

pub async fn server_stream<Q, P, F>(call: Call, make: impl FnOnce(Request<Q>) -> F) -> Result<(), Failed>
where
    Q: Message + Default + 'static,
    P: Message + 'static,
    F: Future<Output = Replies<P>>,
{
    let answer = make(call.only()?);
    call.end(Sending::<Q>(None), async |progress| progress.read(answer.await).await)
        .await;
    Ok(())
}

pub async fn client_stream<Q, P, F>(
    call: Call,
    make: impl FnOnce(Request<UnboundedReceiverStream<Q>>) -> F,
) -> Result<(), Failed>
where
    Q: Message + Default + 'static,
    P: Message + 'static,
    F: Future<Output = Result<Response<P>, Status>>,
{
    let (request, sending) = call.stream()?;
    let answer = make(request);
    call.end(sending, async |progress| progress.whole(answer.await)).await;
    Ok(())
}

pub async fn both_stream<Q, P, F>(
    call: Call,
    make: impl FnOnce(Request<UnboundedReceiverStream<Q>>) -> F,
) -> Result<(), Failed>
where
    Q: Message + Default + 'static,
    P: Message + 'static,
    F: Future<Output = Replies<P>>,
{
    let (request, sending) = call.stream()?;
    let answer = make(request);
    call.end(sending, async |progress| progress.read(answer.await).await)
        .await;
    Ok(())
}
