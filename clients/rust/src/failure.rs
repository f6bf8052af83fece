//! What a failed call says about its cause.

use std::time::Duration;

use tonic::Status;
use tonic_types::StatusExt;

/// Why the server failed a call: `PROVIDER_RATE_LIMITED`, say. The names are those of
/// [`ErrorReason`](crate::v1::ErrorReason) without their prefix.
///
/// `None` where the server did not say, as with a lost connection, a passed deadline or a proxy's answer.
/// All that a status carries, such as the fields of a wrong request, is read with `tonic_types::StatusExt`.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// After what time trying again may help; `None` where it does not, or nobody knows.
pub fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// What the server's log calls the call; `None` where the server never saw it.
pub fn request_id(status: &Status) -> Option<String> {
    status.get_details_request_info().map(|info| info.request_id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Code;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    #[test]
    fn reason_and_delay_are_read_from_the_details() {
        let mut details = ErrorDetails::with_error_info("MODEL_LOADING", "stepwire.dev", HashMap::new());
        details.set_retry_info(Some(Duration::from_millis(1500)));
        let status = Status::with_error_details(Code::Unavailable, "loading", details);
        assert_eq!(reason(&status).as_deref(), Some("MODEL_LOADING"));
        assert_eq!(retry_delay(&status), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn a_bare_status_says_nothing() {
        let status = Status::unavailable("gone");
        assert_eq!((reason(&status), retry_delay(&status)), (None, None));
    }
}
