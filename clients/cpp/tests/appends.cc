// Appends the same messages by each API that there is for a unary call; tests/clients/test_cpp.py is the server.
//
//   appends 127.0.0.1:50051
#include <grpcpp/generic/generic_stub.h>
#include <stepwire/stepwire.h>

#include <condition_variable>
#include <functional>
#include <iostream>
#include <mutex>

namespace {

namespace v1 = stepwire::v1;

constexpr char kMethod[] = "/stepwire.v1.ConversationService/AppendMessages";

// Waits for a callback.
grpc::Status called_back(const std::function<void(std::function<void(grpc::Status)>)>& begin) {
  std::mutex mutex;
  std::condition_variable is_told;
  std::optional<grpc::Status> told;
  begin([&](grpc::Status status) {
    const std::lock_guard lock(mutex);
    told = std::move(status);
    is_told.notify_one();
  });
  std::unique_lock lock(mutex);
  is_told.wait(lock, [&] { return told.has_value(); });
  return *told;
}

// Appends by a completion queue, which has the bytes of the request only.
grpc::Status queued(v1::ConversationService::Stub& stub, const v1::AppendMessagesRequest& request) {
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  grpc::Status status;
  v1::AppendMessagesResponse response;
  stub.AsyncAppendMessages(&context, request, &queue)->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

grpc::ByteBuffer bytes(const v1::AppendMessagesRequest& request) {
  const grpc::Slice slice(request.SerializeAsString());
  return {&slice, 1};
}

// A call's conversation is named after its API.
void say(const v1::AppendMessagesRequest& request, const grpc::Status& status) {
  std::cout << request.conversation_id() << ' ' << status.error_code() << std::endl;
}

}  // namespace

int main(int, char** arguments) {
  const auto channel = stepwire::channel(arguments[1]);
  const auto stub = v1::ConversationService::NewStub(channel);
  v1::AppendMessagesRequest request;
  v1::AppendMessagesResponse response;
  {
    grpc::ClientContext context;
    request.set_conversation_id("blocking");
    say(request, stub->AppendMessages(&context, request, &response));
  }
  {
    request.set_conversation_id("queue");
    say(request, queued(*stub, request));
  }
  {
    grpc::ClientContext context;
    request.set_conversation_id("callback");
    say(request, called_back([&](auto told) { stub->async()->AppendMessages(&context, &request, &response, told); }));
  }
  {
    grpc::ClientContext context;
    request.set_conversation_id("generic");
    const grpc::ByteBuffer written = bytes(request);
    grpc::ByteBuffer read;
    grpc::GenericStub any(channel);
    say(request, called_back([&](auto told) { any.UnaryCall(&context, kMethod, {}, &written, &read, told); }));
  }
  {
    request.set_conversation_id("named");
    request.set_request_id("mine");
    say(request, queued(*stub, request));
  }
  return 0;
}
