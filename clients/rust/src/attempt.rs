//! One attempt of a call, and what it ends with when the connection is lost.

use std::error::Error;
use std::future::poll_fn;

use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status, TimeoutExpired};
use tower_service::Service;

/// An attempt that had no answer.
pub(crate) struct Lost {
    pub(crate) status: Status,
    /// Whether the server has not begun with it for certain, so that to make it once more cannot do anything twice.
    pub(crate) is_unseen: bool,
}

pub(crate) async fn attempt(mut channel: Channel, request: Request<Body>) -> Result<Response<Body>, Lost> {
    poll_fn(|context| channel.poll_ready(context))
        .await
        .map_err(|error| Lost::new(&error))?;
    channel.call(request).await.map_err(|error| Lost::new(&error))
}

impl Lost {
    fn new(error: &(dyn Error + 'static)) -> Self {
        Self {
            status: lost(error),
            is_unseen: causes(error).any(is_unseen),
        }
    }
}

/// What a call ends with that the server did not end: as gRPC says it, where tonic says `UNKNOWN` or `CANCELLED`.
pub(crate) fn lost(error: &(dyn Error + 'static)) -> Status {
    let mut words = Vec::new();
    for cause in causes(error) {
        if cause.is::<TimeoutExpired>() {
            return too_late();
        }
        if let Some(code) = cause.downcast_ref().and_then(reset) {
            return Status::new(code, format!("the server reset the stream: {cause}"));
        }
        words.push(cause.to_string());
    }
    words.dedup();
    Status::unavailable(words.join(": "))
}

pub(crate) fn too_late() -> Status {
    Status::deadline_exceeded("the deadline has passed")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The code of a stream that the other side reset, by the table of gRPC's HTTP/2 binding.
fn reset(error: &h2::Error) -> Option<Code> {
    if !error.is_reset() {
        return None;
    }
    Some(match error.reason()? {
        h2::Reason::REFUSED_STREAM => Code::Unavailable,
        h2::Reason::CANCEL => Code::Cancelled,
        h2::Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        h2::Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    })
}

/// Whether this cause of a failure says that nothing was begun: the connection ended before the request was put on it, or
/// the server ended it with a GOAWAY that leaves this stream out, or refused the stream.
fn is_unseen(cause: &(dyn Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_canceled();
    }
    cause.downcast_ref::<h2::Error>().is_some_and(|error| {
        let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (error.is_go_away() || is_refused)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use h2::Reason;
    use http::HeaderMap;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;
    use crate::v1::{ChatRequest, GetModelRequest};
    use crate::{Connection, connect};

    const PREFACE_BYTES: usize = 24;
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    /// Only a test that fails waits for so long.
    const HANG: Duration = Duration::from_secs(30);

    /// What a server does with the first calls that come.
    #[derive(Clone, Copy)]
    enum First {
        /// Ends each one's connection, with what it says is the last call that it has seen: 0, or 1 for this one.
        GoAway(u8),
        Reset(Reason),
    }

    /// Starts a server that answers calls after so many first ones; what came is counted.
    async fn server(first: First, times: usize) -> (Connection, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = connect(&listener.local_addr().unwrap().to_string()).unwrap();
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                match first {
                    First::GoAway(last) if count.load(Ordering::SeqCst) < times => {
                        go_away(socket, last, &count).await;
                    }
                    _ => serve(socket, first, times, &count).await,
                }
            }
        });
        (connection, came)
    }

    /// Waits for the headers of a call, and says in a GOAWAY which calls it has seen.
    async fn go_away(mut socket: TcpStream, last: u8, count: &AtomicUsize) {
        socket.write_all(&SETTINGS).await.unwrap();
        socket.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
        loop {
            let mut head = [0; 9];
            socket.read_exact(&mut head).await.unwrap();
            let mut rest = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            socket.read_exact(&mut rest).await.unwrap();
            if head[3] == 1 {
                break;
            }
        }
        count.fetch_add(1, Ordering::SeqCst);
        let frame = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 0];
        socket.write_all(&frame).await.unwrap();
        socket.shutdown().await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await; // the frame is not to be lost to a reset
    }

    async fn serve(socket: TcpStream, first: First, times: usize, count: &AtomicUsize) {
        let mut http = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, mut respond))) = http.accept().await {
            let number = count.fetch_add(1, Ordering::SeqCst);
            if let (First::Reset(reason), true) = (first, number < times) {
                respond.send_reset(reason);
                continue;
            }
            let response = Response::builder().header("content-type", "application/grpc");
            let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
            let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
            stream.send_trailers(HeaderMap::from_iter(trailers)).unwrap();
        }
    }

    /// Chats, which costs money; the code, and how often that was sent.
    async fn chat(first: First, times: usize) -> (Code, usize) {
        let (connection, came) = server(first, times).await;
        let mut client = connection.chat();
        let answer = timeout(HANG, client.chat(ChatRequest::default())).await.unwrap();
        let code = answer.err().map_or(Code::Ok, |status| status.code());
        (code, came.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_call_that_the_server_has_not_seen_is_made_once_more() {
        for unseen in [First::GoAway(0), First::Reset(Reason::REFUSED_STREAM)] {
            assert_eq!(chat(unseen, 1).await, (Code::Ok, 2));
            assert_eq!(chat(unseen, 2).await, (Code::Unavailable, 2));
        }
    }

    #[tokio::test]
    async fn a_chat_that_the_server_may_have_seen_is_made_once() {
        assert_eq!(chat(First::GoAway(1), 1).await, (Code::Unavailable, 1));
        assert_eq!(chat(First::Reset(Reason::CANCEL), 1).await, (Code::Cancelled, 1));
        assert_eq!(chat(First::Reset(Reason::INTERNAL_ERROR), 1).await, (Code::Internal, 1));
    }

    #[tokio::test]
    async fn what_was_not_seen_is_none_of_the_attempts_that_a_call_may_have() {
        let (connection, came) = server(First::Reset(Reason::REFUSED_STREAM), 4).await;
        let mut chat = connection.chat();
        timeout(HANG, chat.get_model(GetModelRequest::default()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(came.load(Ordering::SeqCst), 5);
    }
}
