// The options of the connection: keepalive, message sizes, and which calls gRPC may repeat by itself.
#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <utility>

#include "request_ids.h"
#include "stepwire/stepwire.h"

namespace stepwire {
namespace {

// Twice the largest reply that the server makes.
constexpr int kMaxReceiveBytes = 8 * 1024 * 1024;

// Calls to which a second attempt does no harm: they change nothing, or carry a request id, which request_ids.cc sets on
// each of them, so that the server answers a repeat as it did the first. A chat costs money each time; an update, a
// deletion, an import or a run may have happened although its answer was lost: those are the caller's to repeat.
// Of many calls that fail, few are repeated: a server in trouble is not helped by more calls.
constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [
      {"service": "stepwire.v1.ChatService", "method": "ListModels"},
      {"service": "stepwire.v1.ChatService", "method": "GetModel"},
      {"service": "stepwire.v1.ChatService", "method": "CountTokens"},
      {"service": "stepwire.v1.EmbedService", "method": "ListEmbeddingModels"},
      {"service": "stepwire.v1.EmbedService", "method": "GetEmbeddingModel"},
      {"service": "stepwire.v1.EmbedService", "method": "Embed"},
      {"service": "stepwire.v1.EmbedService", "method": "StreamEmbeddings"},
      {"service": "stepwire.v1.EmbedService", "method": "Search"},
      {"service": "stepwire.v1.ConversationService", "method": "CreateConversation"},
      {"service": "stepwire.v1.ConversationService", "method": "AppendMessages"},
      {"service": "stepwire.v1.ConversationService", "method": "ForkConversation"},
      {"service": "stepwire.v1.ConversationService", "method": "GetConversation"},
      {"service": "stepwire.v1.ConversationService", "method": "ListConversations"},
      {"service": "stepwire.v1.ConversationService", "method": "StreamMessages"},
      {"service": "stepwire.v1.ConversationService", "method": "GetMessage"},
      {"service": "stepwire.v1.ConversationService", "method": "SearchMessages"},
      {"service": "stepwire.v1.ConversationService", "method": "RenderConversation"},
      {"service": "stepwire.v1.ConversationService", "method": "DownloadImage"},
      {"service": "stepwire.v1.ConversationService", "method": "ExportConversation"},
      {"service": "stepwire.v1.StepRunService", "method": "ListSteps"},
      {"service": "stepwire.v1.StepRunService", "method": "ValidateStep"},
      {"service": "stepwire.v1.PipelineService", "method": "SavePipeline"},
      {"service": "stepwire.v1.PipelineService", "method": "GetPipeline"},
      {"service": "stepwire.v1.PipelineService", "method": "ListPipelines"}
    ],
    "retryPolicy": {
      "maxAttempts": 4,
      "initialBackoff": "0.1s",
      "maxBackoff": "1s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
})";

grpc::ChannelArguments arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetUserAgentPrefix("stepwire-cpp/" STEPWIRE_VERSION);
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  // A server that is back is found within seconds; gRPC's own limit is two minutes.
  arguments.SetInt("grpc.initial_reconnect_backoff_ms", 200);
  arguments.SetInt("grpc.max_reconnect_backoff_ms", 5'000);
  // A server hangs up on those who ping more often than each 10 s, and a chat that is then repeated is paid for twice.
  arguments.SetInt("grpc.keepalive_time_ms", 30'000);
  arguments.SetInt("grpc.keepalive_timeout_ms", 10'000);
  arguments.SetInt("grpc.http2.ping_timeout_ms", 10'000);      // the one that newer versions obey
  arguments.SetInt("grpc.keepalive_permit_without_calls", 0);  // only while a call runs
  arguments.SetInt("grpc.http2.max_pings_without_data", 0);    // no limit: a silent stream stays watched
  return arguments;
}

}  // namespace

std::shared_ptr<grpc::Channel> channel(const std::string& address,
                                       const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(request_ids());
  return grpc::experimental::CreateCustomChannelWithInterceptors(address, credentials, arguments(),
                                                                 std::move(interceptors));
}

}  // namespace stepwire
