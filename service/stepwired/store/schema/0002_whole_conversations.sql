-- Lists, changes, answers for repeats, pictures and search.
--
-- `stored_text` and `stored_labels` are functions of this program, which read a body (see `functions.py`).

-- Newest first; SQLite adds the key, so that equal times have an order.
CREATE INDEX conversation_create_time ON conversation (create_time_us);
CREATE INDEX conversation_update_time ON conversation (update_time_us);

-- Texts on the first level of a conversation's metadata. Ordered like the conversations, so that a page of a label is
-- a piece of this index.
CREATE TABLE label (
  hash INTEGER NOT NULL,  -- of key and text: two labels may share one, so readers look at the metadata again
  create_time_us INTEGER NOT NULL,
  conversation INTEGER NOT NULL,
  PRIMARY KEY (hash, create_time_us, conversation)
) STRICT, WITHOUT ROWID;

INSERT INTO label (hash, create_time_us, conversation)
SELECT DISTINCT l.value, c.create_time_us, c.key FROM conversation AS c, json_each(stored_labels(c.body)) AS l;

-- Changes that are no appends: those are found in `message`. Each revision above 1 is in one of the two, down to
-- `feed_revision`: updates at or before it have been dropped.
CREATE TABLE change (
  conversation INTEGER NOT NULL REFERENCES conversation (key),
  revision INTEGER NOT NULL,
  message INTEGER,  -- key of the message that was updated; NULL if it was the conversation
  message_count INTEGER NOT NULL,  -- then: says which message comes next
  number INTEGER NOT NULL,  -- counts the rows of the conversation; 0 for the creation, kept when it is first overwritten
  total_bytes INTEGER NOT NULL,  -- of the bodies up to this one
  body BLOB,  -- stepwire.v1.Conversation, whole, as it was then; NULL if a message was updated
  PRIMARY KEY (conversation, revision)
) STRICT, WITHOUT ROWID;

ALTER TABLE conversation ADD COLUMN feed_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversation ADD COLUMN feed_count INTEGER NOT NULL DEFAULT 0;  -- messages at `feed_revision`

-- Seconds that this store has been open, all processes together. What is kept for a time is kept by this clock: the
-- machine's may jump.
CREATE TABLE clock (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 0),
  running_s INTEGER NOT NULL
) STRICT;

INSERT INTO clock VALUES (0, 0);

-- Answers, to be given again to the same request.
CREATE TABLE request (
  method TEXT NOT NULL,
  id TEXT NOT NULL,
  digest BLOB NOT NULL,  -- of the request
  conversation INTEGER NOT NULL,  -- its key, even after it was deleted: keys are not used again
  until_s INTEGER NOT NULL,
  answer BLOB NOT NULL,  -- stepwire.v1.AppendMessagesResponse, which holds the answer of each method
  PRIMARY KEY (method, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX request_conversation ON request (conversation);
CREATE INDEX request_until ON request (until_s);

CREATE TABLE blob (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB UNIQUE,  -- SHA-256 of the bytes; NULL until all of them are there
  media_type TEXT NOT NULL,
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  until_s INTEGER  -- not removed before; NULL once that has passed and it was referred to
) STRICT;

CREATE INDEX blob_until ON blob (until_s) WHERE until_s IS NOT NULL;

CREATE TABLE blob_chunk (
  key INTEGER PRIMARY KEY,  -- `blob << 16 | number`, from 0
  data BLOB NOT NULL
) STRICT;

-- Which messages show a blob.
CREATE TABLE blob_use (
  message INTEGER NOT NULL,
  blob INTEGER NOT NULL REFERENCES blob (key),
  PRIMARY KEY (message, blob)
) STRICT, WITHOUT ROWID;

CREATE INDEX blob_use_blob ON blob_use (blob);

-- The words of all messages that can have any. The texts themselves stay where they are.
CREATE VIEW message_text (key, text) AS
SELECT key, stored_text(body) FROM message WHERE tool_use_id IS NULL;

CREATE VIRTUAL TABLE message_index USING fts5 (
  text, content = 'message_text', content_rowid = 'key', tokenize = 'unicode61 remove_diacritics 2'
);

INSERT INTO message_index (message_index) VALUES ('rebuild');
