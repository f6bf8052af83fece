#include "request_ids.h"

#include <cstdio>
#include <random>
#include <string>
#include <string_view>

#include "stepwire/v1/conversation.grpc.pb.h"

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
      fill(*methods->GetSerializedSendMessage());
    }
    methods->Proceed();
  }

 private:
  // Works on bytes: a blocking call still has its message here, which is the caller's to send again as another one; a
  // completion queue has bytes only, and nothing tells of which type a generic stub's message is.
  static void fill(grpc::ByteBuffer& written) {
    grpc::ByteBuffer copy(written);  // to be read, which empties it
    Request request;
    if (!grpc::SerializationTraits<Request>::Deserialize(&copy, &request).ok() || !request.request_id().empty()) {
      return;  // what cannot be read here, no server reads, however often
    }
    request.set_request_id(new_id());
    bool is_own = false;
    grpc::ByteBuffer filled;
    if (grpc::SerializationTraits<Request>::Serialize(request, &filled, &is_own).ok()) {
      written.Swap(&filled);
    }
  }
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
