//! Gives the calls that are repeated an id, where they need one for the server to know the repeat.

use std::hash::{BuildHasher, Hasher, RandomState};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::v1::{AppendMessagesRequest, CreateConversationRequest, ForkConversationRequest};

/// Flag of compression and length, before each message.
const FRAME_BYTES: usize = 5;

/// The body that all attempts of a call may have: with a `request_id`, if it should have one. `None` if nobody can tell
/// whether it has one, so that it may be sent but once.
pub(crate) fn with_id(path: &str, body: &Bytes) -> Option<Bytes> {
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
        _ => Some(body.clone()),
    }
}

fn filled<M: Message + Default>(body: &Bytes, id: impl FnOnce(&mut M) -> &mut String) -> Option<Bytes> {
    let (&[0, ..], written) = body.split_at_checked(FRAME_BYTES)? else {
        return None; // compressed
    };
    let mut message = M::decode(written).ok()?;
    let id = id(&mut message);
    if !id.is_empty() {
        return Some(body.clone());
    }
    *id = format!("{:016x}{:016x}", random(), random());
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(FRAME_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).ok()?);
    frame.put_slice(&message.encode_to_vec());
    Some(frame.freeze())
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
        let [first, second] = [append(""), append("")].map(|body| with_id(APPEND, &body).unwrap());
        assert_ne!(first, second);
        let message = AppendMessagesRequest::decode(&first[FRAME_BYTES..]).unwrap();
        assert_eq!(message.request_id.len(), 32);
        assert_eq!(first, append(&message.request_id));
    }

    #[test]
    fn a_request_with_an_id_keeps_it_and_others_get_none() {
        assert_eq!(with_id(APPEND, &append("mine")), Some(append("mine")));
        assert_eq!(
            with_id("/stepwire.v1.ConversationService/GetConversation", &append("")),
            Some(append(""))
        );
    }

    #[test]
    fn what_is_no_plain_message_is_not_for_repeats() {
        for body in [&b""[..], b"\0\0", b"\x01\0\0\0\0", b"\0\0\0\0\x01\xff"] {
            assert_eq!(with_id(APPEND, &Bytes::from_static(body)), None);
        }
    }
}
