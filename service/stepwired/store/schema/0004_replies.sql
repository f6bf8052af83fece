-- Replies to chats that their callers may repeat, to be given again.
CREATE TABLE reply (
  key INTEGER PRIMARY KEY,
  method TEXT NOT NULL,
  id TEXT NOT NULL,  -- the caller's
  digest BLOB NOT NULL,  -- of the request
  conversation INTEGER NOT NULL,  -- its key; 0 without one, -1 once it was deleted
  asked TEXT NOT NULL,  -- with a conversation: id of the message that the reply follows
  partial TEXT NOT NULL,  -- id of the last message that a try left which was cut off; empty if none did
  until_s INTEGER NOT NULL,
  body BLOB  -- stepwire.v1.ChatResponse; NULL until the reply is whole
) STRICT;

CREATE UNIQUE INDEX reply_id ON reply (method, id);
CREATE INDEX reply_conversation ON reply (conversation) WHERE conversation > 0;
CREATE INDEX reply_until ON reply (until_s);
