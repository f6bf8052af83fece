//! Which calls are repeated, how often and after how long: as the service config of the other clients says.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tonic::Code;

use crate::request_ids;

const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Calls to which a second attempt does no harm: they change nothing, or carry a request id, which [`crate::request_ids`]
/// sets on each of them, so that the server answers a repeat as it did the first. A chat costs money each time; an update,
/// a deletion, an import or a run may have happened although its answer was lost: those are the caller's to repeat.
const IDEMPOTENT: &[&str] = &[
    "/stepwire.v1.ChatService/CountTokens",
    "/stepwire.v1.ChatService/GetModel",
    "/stepwire.v1.ChatService/ListModels",
    "/stepwire.v1.ConversationService/AppendMessages",
    "/stepwire.v1.ConversationService/CreateConversation",
    "/stepwire.v1.ConversationService/DownloadImage",
    "/stepwire.v1.ConversationService/ExportConversation",
    "/stepwire.v1.ConversationService/ForkConversation",
    "/stepwire.v1.ConversationService/GetConversation",
    "/stepwire.v1.ConversationService/GetMessage",
    "/stepwire.v1.ConversationService/ListConversations",
    "/stepwire.v1.ConversationService/RenderConversation",
    "/stepwire.v1.ConversationService/SearchMessages",
    "/stepwire.v1.ConversationService/StreamMessages",
    "/stepwire.v1.EmbedService/Embed",
    "/stepwire.v1.EmbedService/GetEmbeddingModel",
    "/stepwire.v1.EmbedService/ListEmbeddingModels",
    "/stepwire.v1.EmbedService/Search",
    "/stepwire.v1.EmbedService/StreamEmbeddings",
    "/stepwire.v1.PipelineService/GetPipeline",
    "/stepwire.v1.PipelineService/ListPipelines",
    "/stepwire.v1.PipelineService/SavePipeline", // a version is saved but once
    "/stepwire.v1.StepRunService/ListSteps",
    "/stepwire.v1.StepRunService/ValidateStep",
];

pub(crate) fn is_idempotent(path: &str) -> bool {
    IDEMPOTENT.binary_search(&path).is_ok()
}

/// How long to wait before the attempt after `number` (from 1), which ended with `code`; `None` if it was the last.
pub(crate) fn pause(number: u32, code: Code, pushback: Option<&HeaderValue>, budget: &Budget) -> Option<Duration> {
    if code != Code::Unavailable || !budget.draw() || number >= ATTEMPTS {
        return None;
    }
    match pushback {
        // What is no number of milliseconds, -1 before all, says that a retry cannot help.
        Some(asked) => asked.to_str().ok()?.parse().ok().map(Duration::from_millis),
        None => Some((FIRST_PAUSE * 2u32.pow(number - 1)).mul_f64(random())),
    }
}

/// From 0 to 1: spreads those who wait.
fn random() -> f64 {
    let [a, b, c, d, ..] = request_ids::random().to_ne_bytes();
    f64::from(u32::from_ne_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

/// Of many calls that fail, few are repeated: a server in trouble is not helped by more calls.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: Mutex<f64>,
}

impl Budget {
    const MAX: f64 = 10.0;
    const REFILL: f64 = 0.1;

    /// Pays for a failure; whether enough is left to repeat it.
    fn draw(&self) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        *tokens = (*tokens - 1.0).max(0.0);
        *tokens > Self::MAX / 2.0
    }

    /// For a call that ended well.
    pub(crate) fn refill(&self) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        *tokens = (*tokens + Self::REFILL).min(Self::MAX);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            tokens: Mutex::new(Self::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(number: u32, pushback: &'static str) -> Option<Duration> {
        pause(
            number,
            Code::Unavailable,
            Some(&HeaderValue::from_static(pushback)),
            &Budget::default(),
        )
    }

    #[test]
    fn calls_are_listed_in_the_order_that_finds_them() {
        assert!(IDEMPOTENT.is_sorted());
        assert!(is_idempotent("/stepwire.v1.EmbedService/Embed"));
        assert!(!is_idempotent("/stepwire.v1.ChatService/StreamChat"));
    }

    #[test]
    fn the_server_says_how_long_to_wait_and_when_not_to() {
        assert_eq!(after(1, "700"), Some(Duration::from_millis(700)));
        assert_eq!(after(3, "0"), Some(Duration::ZERO));
        assert_eq!(after(1, "-1"), None);
        assert_eq!(after(1, "soon"), None);
        assert_eq!(after(4, "700"), None);
    }

    #[test]
    fn without_a_word_of_the_server_the_pause_grows() {
        for (number, most_ms) in [(1, 100), (2, 200), (3, 400)] {
            let pause = pause(number, Code::Unavailable, None, &Budget::default());
            assert!(
                pause.is_some_and(|pause| pause <= Duration::from_millis(most_ms)),
                "{pause:?}"
            );
        }
    }

    #[test]
    fn only_unavailable_is_repeated() {
        for code in [Code::Ok, Code::ResourceExhausted, Code::Unknown, Code::DeadlineExceeded] {
            assert_eq!(pause(1, code, None, &Budget::default()), None);
        }
    }

    #[test]
    fn many_failures_end_the_repeats_and_successes_bring_them_back() {
        let budget = Budget::default();
        let repeated = (0..100)
            .filter(|_| pause(1, Code::Unavailable, None, &budget).is_some())
            .count();
        assert_eq!(repeated, 4);
        for _ in 0..70 {
            budget.refill();
        }
        assert!(pause(1, Code::Unavailable, None, &budget).is_some());
    }
}
