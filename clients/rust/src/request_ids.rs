//! Gives the calls that are repeated an id, where they need one for the server to know the repeat.

use std::hash::{BuildHasher, Hasher, RandomState};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::v1::{AppendMessagesRequest, CreateConversationRequest, ForkConversationRequest};

/// Flag of compression and length, before each message.
const FRAME_BYTES: usize = 5;

/// The body of a call, with a `request_id` if it should have one and has none.
pub(crate) fn with_id(path: &str, body: Bytes) -> Bytes {
    match path {
        "/stepwire.v1.ConversationService/AppendMessages" => {
            filled(body, |message: &mut AppendMessagesRequest| &mut message.request_id)
        }
        "/stepwire.v1.ConversationService/CreateConversation" => {
            filled(body, |message: &mut CreateConversationRequest| &mut message.request_id)
        }
        "/stepwire.v1.ConversationService/ForkConversation" => {
            filled(body, |message: &mut ForkConversationRequest| &mut message.request_id)
        }
        _ => body,
    }
}

fn filled<M: Message + Default>(body: Bytes, id: impl FnOnce(&mut M) -> &mut String) -> Bytes {
    let Some((&[0, ..], written)) = body.split_at_checked(FRAME_BYTES) else {
        return body; // compressed, by somebody who does without this
    };
    let Ok(mut message) = M::decode(written) else {
        return body;
    };
    let id = id(&mut message);
    if !id.is_empty() {
        return body;
    }
    *id = format!("{:016x}{:016x}", random(), random());
    let Ok(length) = u32::try_from(message.encoded_len()) else {
        return body;
    };
    let mut frame = BytesMut::with_capacity(FRAME_BYTES + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// A number that nobody else has, from the randomness that hash maps are made with.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPEND: &str = "/stepwire.v1.ConversationService/AppendMessages";

    fn frame(message: &impl Message) -> Bytes {
        let written = message.encode_to_vec();
        let mut frame = vec![0, 0, 0, 0, u8::try_from(written.len()).unwrap()];
        frame.extend(written);
        frame.into()
    }

    fn append(request_id: &str) -> Bytes {
        frame(&AppendMessagesRequest {
            conversation_id: "c".into(),
            request_id: request_id.into(),
            ..Default::default()
        })
    }

    #[test]
    fn a_request_without_an_id_gets_one_and_keeps_all_else() {
        let [first, second] = [with_id(APPEND, append("")), with_id(APPEND, append(""))];
        assert_ne!(first, second);
        let message = AppendMessagesRequest::decode(&first[FRAME_BYTES..]).unwrap();
        assert_eq!(message.request_id.len(), 32);
        assert_eq!(first, append(&message.request_id));
    }

    #[test]
    fn a_request_with_an_id_keeps_it_and_others_get_none() {
        assert_eq!(with_id(APPEND, append("mine")), append("mine"));
        assert_eq!(
            with_id("/stepwire.v1.ConversationService/UpdateMessage", append("")),
            append("")
        );
    }

    #[test]
    fn what_is_no_plain_message_stays_as_it_is() {
        for body in [&b""[..], b"\0\0", b"\x01\0\0\0\0", b"\0\0\0\0\x01\xff"] {
            assert_eq!(with_id(APPEND, Bytes::from_static(body)), body);
        }
    }
}
