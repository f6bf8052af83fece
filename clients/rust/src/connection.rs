//! The connection to a server, and the clients that use it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::InvalidUri;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::calls;
use crate::retry::Budget;
use crate::v1::chat_service_client::ChatServiceClient;
use crate::v1::conversation_service_client::ConversationServiceClient;
use crate::v1::embed_service_client::EmbedServiceClient;
use crate::v1::pipeline_service_client::PipelineServiceClient;
use crate::v1::step_run_service_client::StepRunServiceClient;

/// Twice the largest reply that the server makes.
const MAX_RECEIVE_BYTES: usize = 8 * 1024 * 1024;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// What waits of a stream that nobody reads. The connection has room for that of all its streams, else a few that are
/// read slowly would hold up all other calls.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1; // the most that HTTP/2 knows
const USER_AGENT: &str = concat!("stepwire-rust/", env!("CARGO_PKG_VERSION"));

/// Makes a connection to `address`: `127.0.0.1:50051`, or a URL with scheme `http`.
///
/// Nothing is sent before the first call, and a lost connection is made anew with the next one. Has to be called within
/// a Tokio runtime.
///
/// # Errors
/// `INVALID_ARGUMENT` if `address` is none, or has another scheme: to speak plain text where `https` was meant would tell
/// everybody what is for the server alone.
pub fn connect(address: &str) -> Result<Connection, Status> {
    let refused = |why: &str| Status::invalid_argument(format!("{address:?} is no address: {why}"));
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(refused(&format!(
            "the scheme is `http`, not `{scheme}`; there is no TLS yet"
        )));
    }
    let url: Uri = format!("http://{rest}")
        .parse()
        .map_err(|error: InvalidUri| refused(&error.to_string()))?;
    if url.path() != "/" || url.query().is_some() {
        return Err(refused("a host and a port are all of it"));
    }
    let channel = Endpoint::from(url)
        .user_agent(USER_AGENT)
        .map_err(|error| refused(&error.to_string()))?
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_timeout(CONNECT_WITHIN)
        // Only while a call runs, and no oftener than the server allows: it hangs up on those who ping too much, and
        // a chat that is then repeated is paid for twice.
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(false)
        .connect_lazy();
    Ok(Connection {
        channel,
        budget: Arc::default(),
    })
}

/// A connection that any number of clients and tasks share; a clone is the same connection.
///
/// It does four things for each call that gRPC does in other languages, and tonic by itself does not:
///
/// - calls to which a second attempt does no harm are repeated on `UNAVAILABLE`, up to three times, after the time that
///   the server asks for or random times of up to 0.1, 0.2 and 0.4 s. A chat is never repeated: it costs money each time;
/// - a call with one request that the server says it has not seen (a GOAWAY that leaves it out, a refused stream), or that
///   was not sent, is sent once more at once, a chat too: nobody has paid for it. A stream of requests cannot be sent again;
/// - a passed deadline is `DEADLINE_EXCEEDED`, in the middle of a stream too;
/// - a lost connection is `UNAVAILABLE`.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    budget: Arc<Budget>,
}

impl Connection {
    /// Replies of language models, streamed or whole.
    pub fn chat(&self) -> ChatServiceClient<Self> {
        ChatServiceClient::new(self.clone()).max_decoding_message_size(MAX_RECEIVE_BYTES)
    }

    /// Vectors of texts, and search among them.
    pub fn embed(&self) -> EmbedServiceClient<Self> {
        EmbedServiceClient::new(self.clone()).max_decoding_message_size(MAX_RECEIVE_BYTES)
    }

    /// Stored conversations.
    pub fn conversations(&self) -> ConversationServiceClient<Self> {
        ConversationServiceClient::new(self.clone()).max_decoding_message_size(MAX_RECEIVE_BYTES)
    }

    /// Runs of steps, and workers that serve them.
    pub fn step_runs(&self) -> StepRunServiceClient<Self> {
        StepRunServiceClient::new(self.clone()).max_decoding_message_size(MAX_RECEIVE_BYTES)
    }

    /// Stored pipelines.
    pub fn pipelines(&self) -> PipelineServiceClient<Self> {
        PipelineServiceClient::new(self.clone()).max_decoding_message_size(MAX_RECEIVE_BYTES)
    }
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(())) // each attempt waits for the channel by itself
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(calls::perform(self.channel.clone(), Arc::clone(&self.budget), request))
    }
}
