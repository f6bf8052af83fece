/** The messages and services of the protos, as they are generated. */

export * from "./gen/stepwire/v1/chat_pb.js";
export * from "./gen/stepwire/v1/conversation_pb.js";
export * from "./gen/stepwire/v1/embed_pb.js";
export * from "./gen/stepwire/v1/error_reason_pb.js";
export * from "./gen/stepwire/v1/message_pb.js";
export * from "./gen/stepwire/v1/pipeline_pb.js";
export * from "./gen/stepwire/v1/step_run_pb.js";
