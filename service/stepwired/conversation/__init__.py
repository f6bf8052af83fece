"""What a conversation is: the rules of its tree, the choices among its messages, and how they are written as text.

Pure: a store asks these functions from within its transaction, so that every store decides alike.
"""

from stepwired.conversation.growth import (
    Growth,
    Tree,
    check_messages,
    grow,
    is_empty,
    message_not_found,
    plant,
    role_named,
)
from stepwired.conversation.metadata import changed, compact_json, key_count, merge_patch
from stepwired.conversation.nouns import Conversation, MessageView
from stepwired.conversation.rendering import RenderFormat, for_model, prompt_line, single_prompt, view
from stepwired.conversation.sizes import content_bytes, json_bytes

__all__ = [
    "Conversation",
    "Growth",
    "MessageView",
    "RenderFormat",
    "Tree",
    "changed",
    "check_messages",
    "compact_json",
    "content_bytes",
    "for_model",
    "grow",
    "is_empty",
    "json_bytes",
    "key_count",
    "merge_patch",
    "message_not_found",
    "plant",
    "prompt_line",
    "role_named",
    "single_prompt",
    "view",
]
