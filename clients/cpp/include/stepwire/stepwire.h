// Client of Stepwire: connects to a server, and reads what its errors say.
//
// The calls themselves are those of the generated stubs:
//
//   auto chat = stepwire::v1::ChatService::NewStub(stepwire::channel("127.0.0.1:50051"));
//
// ClientContext::TryCancel, or the end of a ClientContext, cancels its call, and the server stops the model.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "stepwire/v1/chat.grpc.pb.h"
#include "stepwire/v1/conversation.grpc.pb.h"
#include "stepwire/v1/embed.grpc.pb.h"
#include "stepwire/v1/error_reason.pb.h"
#include "stepwire/v1/pipeline.grpc.pb.h"
#include "stepwire/v1/step_run.grpc.pb.h"

namespace stepwire {

// Makes a connection to `address`, "host:port", for any number of stubs and threads. Nothing is sent before the first
// call, and a lost connection is made anew.
//
// Calls to which a second attempt does no harm are repeated on UNAVAILABLE, up to three times, after the time that the
// server asks for or about 0.1, 0.2 and 0.4 s. A chat is never repeated: it costs money each time.
std::shared_ptr<grpc::Channel> channel(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials = grpc::InsecureChannelCredentials());

// A field of a request that is to be changed.
struct Violation {
  std::string field;
  std::string description;
};

// What the server says of a failed call, beside the code and the words for people. All is empty if it said nothing, as
// with a lost connection, a passed deadline or a proxy's answer.
struct Failure {
  std::string reason;  // a name of stepwire::v1::ErrorReason without its prefix: "PROVIDER_RATE_LIMITED"
  std::map<std::string, std::string> metadata;
  std::optional<std::chrono::nanoseconds> retry_delay;  // after which trying again may help
  std::string request_id;                               // what the server's log calls the call
  std::vector<Violation> violations;
};

Failure failure(const grpc::Status& status);

}  // namespace stepwire
