-- Conversations and their messages.
--
-- `body` holds a serialized stepwire.v1 message and is the truth; the columns beside it are taken from it, or change
-- too often to be written with it. Times in columns serve order and filters: microseconds since 1970, because
-- nanoseconds of the years 1 to 9999 do not fit 64 bits.

CREATE TABLE conversation (
  -- Never used again, not even after a deletion: keys of messages are made of it.
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL,
  head INTEGER NOT NULL,  -- key of a message; `key << 32` if there is no head
  revision INTEGER NOT NULL,
  message_count INTEGER NOT NULL,
  create_time_us INTEGER NOT NULL,
  update_time_us INTEGER NOT NULL,
  body BLOB NOT NULL  -- stepwire.v1.Conversation: id, title, metadata, create_time
) STRICT;

-- Apart from the table, so that it can give way to one over (tenant, id).
CREATE UNIQUE INDEX conversation_id ON conversation (id);

CREATE TABLE message (
  -- `conversation << 32 | seq`: the messages of a conversation lie side by side, in the order they were appended,
  -- without an index of their own. seq counts from 1 without gaps, and a parent's is smaller than its children's.
  key INTEGER PRIMARY KEY,
  parent INTEGER NOT NULL,  -- key; `conversation << 32`, which is nobody's, for the first message
  conversation INTEGER NOT NULL REFERENCES conversation (key),
  id TEXT NOT NULL,
  revision INTEGER NOT NULL,  -- the conversation's, when this was appended
  moved_head INTEGER NOT NULL,  -- 1 if the head moved here with it
  role TEXT NOT NULL,
  tool_use_id TEXT,  -- of a tool use
  create_time_us INTEGER NOT NULL,
  body BLOB NOT NULL  -- stepwire.v1.Message
) STRICT;

CREATE UNIQUE INDEX message_id ON message (conversation, id);

-- Children of a message, oldest first.
CREATE INDEX message_parent ON message (parent);

CREATE INDEX message_tool_use ON message (conversation, tool_use_id) WHERE tool_use_id IS NOT NULL;
