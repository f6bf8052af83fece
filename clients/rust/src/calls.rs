//! How one call goes: its attempts and its deadline.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::attempt::{Lost, attempt, lost, too_late};
use crate::request_ids::with_id;
use crate::retry::{Budget, is_idempotent, pause};

const TIMEOUT: &str = "grpc-timeout";
/// What has been sent of a stream of requests is gone, so that the call cannot be made once more.
const TAKES_A_STREAM: [&str; 5] = [
    "/stepwire.v1.ChatService/Converse",
    "/stepwire.v1.ConversationService/ImportConversation",
    "/stepwire.v1.ConversationService/UploadImage",
    "/stepwire.v1.StepRunService/RunInteractive",
    "/stepwire.v1.StepRunService/ServeSteps",
];

/// Makes a call, with as many attempts as it may have, until the headers of its answer are there.
pub(crate) async fn perform(
    channel: Channel,
    budget: Arc<Budget>,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let deadline = timeout(request.headers()).and_then(|timeout| Instant::now().checked_add(timeout));
    let is_repeated = is_idempotent(request.uri().path());
    let answer = async {
        if takes_one_message(request.uri().path()) {
            repeat(channel, is_repeated.then_some(&*budget), request, deadline).await
        } else {
            attempt(channel, request).await.map_err(|lost| lost.status)
        }
    };
    let response = match deadline {
        Some(deadline) => timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(too_late())),
        None => answer.await,
    }?;
    Ok(response.map(|body| Body::new(Watched::new(body, deadline, is_repeated.then_some(budget)))))
}

/// Whether a call's request can be waited for, and kept; of other services than ours nobody knows.
fn takes_one_message(path: &str) -> bool {
    path.starts_with("/stepwire.v1.") && !TAKES_A_STREAM.contains(&path)
}

/// Makes the attempts of a call with one request: as many as the budget has, and one more for the first that the server
/// has not seen, which gRPC calls a transparent retry. Without a budget there is only that one.
async fn repeat(
    channel: Channel,
    budget: Option<&Budget>,
    request: Request<Body>,
    deadline: Option<Instant>,
) -> Result<Response<Body>, Status> {
    let (mut head, body) = request.into_parts();
    let written = body.collect().await?.to_bytes();
    let filled = budget.and_then(|budget| Some((with_id(head.uri.path(), &written)?, Some(budget))));
    let (body, budget) = filled.unwrap_or((written, None));
    let mut number = 1;
    let mut was_unseen = false;
    loop {
        let copy = Request::from_parts(head.clone(), Body::new(Full::new(body.clone())));
        let answer = attempt(channel.clone(), copy).await;
        if matches!(&answer, Err(lost) if lost.is_unseen && !was_unseen) {
            was_unseen = true;
        } else {
            let Some(pause) = budget.and_then(|budget| after(number, &answer, budget)) else {
                return answer.map_err(|lost| lost.status);
            };
            sleep(pause).await;
            head.headers.insert("grpc-previous-rpc-attempts", number.into());
            number += 1;
        }
        if let Some(deadline) = deadline {
            let left = timeout_value(deadline.saturating_duration_since(Instant::now()));
            let left = HeaderValue::try_from(left).map_err(|error| lost(&error))?;
            head.headers.insert(TIMEOUT, left);
        }
    }
}

/// How long to wait before the next attempt, if there is to be one. Only an answer that is nothing but a failure can be
/// given up for another.
fn after(number: u32, answer: &Result<Response<Body>, Lost>, budget: &Budget) -> Option<Duration> {
    match answer {
        Ok(response) => pause(
            number,
            code(response),
            response.headers().get("grpc-retry-pushback-ms"),
            budget,
        ),
        Err(lost) => pause(number, lost.status.code(), None, budget),
    }
}

/// What the head of an answer says of its end; `OK` where the trailers will tell.
fn code(response: &Response<Body>) -> Code {
    match (status(response.headers()), response.status().as_u16()) {
        (Some(code), _) => code,
        (None, 200) => Code::Ok,
        (None, 429 | 502..=504) => Code::Unavailable, // a proxy that finds no server
        (None, _) => Code::Unknown,
    }
}

fn status(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(headers.get("grpc-status")?.as_bytes()))
}

/// Writes how long a call may take, in the at most 8 digits that gRPC allows.
fn timeout_value(timeout: Duration) -> String {
    const MOST: u64 = 99_999_999;
    match u64::try_from(timeout.as_millis()) {
        Ok(milliseconds @ ..=MOST) => format!("{milliseconds}m"),
        _ => format!("{}S", timeout.as_secs().min(MOST)),
    }
}

/// Reads the time that the caller gives the call, as tonic writes it.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "n" => Some(Duration::from_nanos(number)),
        "u" => Some(Duration::from_micros(number)),
        "m" => Some(Duration::from_millis(number)),
        "S" => Some(Duration::from_secs(number)),
        "M" => Some(Duration::from_secs(number.saturating_mul(60))),
        "H" => Some(Duration::from_secs(number.saturating_mul(3600))),
        _ => None,
    }
}

/// The body of an answer, until the deadline.
struct Watched {
    body: Body,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Is told if the call ends well.
    budget: Option<Arc<Budget>>,
}

impl Watched {
    fn new(body: Body, deadline: Option<Instant>, budget: Option<Arc<Budget>>) -> Self {
        let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        Self { body, deadline, budget }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            let trailers = match &frame {
                Some(Ok(frame)) => frame.trailers_ref(),
                _ => None,
            };
            if let (Some(budget), Some(Code::Ok)) = (&this.budget, trailers.and_then(status)) {
                budget.refill();
            }
            let named = |status: Status| status.source().map(lost).unwrap_or(status);
            return Poll::Ready(frame.map(|frame| frame.map_err(named)));
        }
        if this
            .deadline
            .as_mut()
            .is_some_and(|deadline| deadline.as_mut().poll(context).is_ready())
        {
            *this = Self::new(Body::empty(), None, None); // cancels what runs on at the server
            return Poll::Ready(Some(Err(too_late())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_written_in_eight_digits_at_most() {
        assert_eq!(timeout_value(Duration::from_millis(1500)), "1500m");
        assert_eq!(timeout_value(Duration::from_millis(99_999_999)), "99999999m");
        assert_eq!(timeout_value(Duration::from_secs(28 * 3600)), "100800S");
        assert_eq!(timeout_value(Duration::MAX), "99999999S");
    }

    #[test]
    fn a_timeout_is_read_in_all_units_and_nonsense_is_none() {
        let read = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            timeout(&HeaderMap::from_iter([(TIMEOUT.parse().unwrap(), value)]))
        };
        assert_eq!(read("250000u"), Some(Duration::from_millis(250)));
        assert_eq!(read("7m"), Some(Duration::from_millis(7)));
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        for nonsense in ["", "S", "3", "3x", "-1S"] {
            assert_eq!(read(nonsense), None);
        }
    }
}
