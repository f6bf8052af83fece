#include "request_ids.h"

#include <cstdio>
#include <random>
#include <string>
#include <string_view>

#include "stepwire/v1/conversation.pb.h"

namespace stepwire {
namespace {

using grpc::experimental::ClientRpcInfo;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;

std::string new_id() {
  std::random_device random;
  std::string id;
  for (int number = 0; number < 4; ++number) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", random());
    id += digits;
  }
  return id;
}

// For one call whose request is a `Request`.
template <class Request>
class Filler : public Interceptor {
 public:
  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      const auto* asked = static_cast<const google::protobuf::MessageLite*>(methods->GetSendMessage());
      if (asked != nullptr) {                            // else it is bytes already
        request_ = *static_cast<const Request*>(asked);  // the caller may send its own once more, and mean it
        if (request_.request_id().empty()) {
          request_.set_request_id(new_id());
        }
        methods->ModifySendMessage(static_cast<const google::protobuf::MessageLite*>(&request_));
      }
    }
    methods->Proceed();
  }

 private:
  Request request_;
};

class Factory : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  Interceptor* CreateClientInterceptor(ClientRpcInfo* info) override {
    const std::string_view method = info->method();
    if (method == "/stepwire.v1.ConversationService/CreateConversation") {
      return new Filler<v1::CreateConversationRequest>;
    }
    if (method == "/stepwire.v1.ConversationService/AppendMessages") {
      return new Filler<v1::AppendMessagesRequest>;
    }
    if (method == "/stepwire.v1.ConversationService/ForkConversation") {
      return new Filler<v1::ForkConversationRequest>;
    }
    return nullptr;  // not of interest
  }
};

}  // namespace

std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface> request_ids() {
  return std::make_unique<Factory>();
}

}  // namespace stepwire
