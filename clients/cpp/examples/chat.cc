// Streams a reply; Ctrl-C cancels it, and the model stops.
//
//   chat "Tell me a story" 127.0.0.1:50051
#include <stepwire/stepwire.h>

#include <csignal>
#include <iostream>
#include <thread>

namespace {

// Reads the events of a reply until it is whole, fails or is cancelled.
grpc::Status chat(stepwire::v1::ChatService::Stub& stub, grpc::ClientContext& context, const std::string& prompt) {
  stepwire::v1::StreamChatRequest request;
  request.set_prompt(prompt);
  request.mutable_options()->set_max_tokens(200);
  auto reader = stub.StreamChat(&context, request);
  stepwire::v1::StreamChatResponse event;
  while (reader->Read(&event)) {
    if (event.has_text_delta()) {
      std::cout << event.text_delta().text() << std::flush;
    } else if (event.has_finished()) {
      std::cout << std::endl;
    }  // else tool calls, reasoning, and what later versions add
  }
  return reader->Finish();
}

void report(const grpc::Status& status) {
  const stepwire::Failure failure = stepwire::failure(status);
  std::cerr << (failure.reason.empty() ? "code " + std::to_string(status.error_code()) : failure.reason) << ": "
            << status.error_message() << std::endl;
  if (failure.retry_delay) {
    std::cerr << "try again in " << std::chrono::duration<double>(*failure.retry_delay).count() << " s" << std::endl;
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::string prompt = count > 1 ? arguments[1] : "Tell me a story.";
  const std::string address = count > 2 ? arguments[2] : "127.0.0.1:50051";

  // A signal's handler may do next to nothing, so a thread waits for the signal. Blocked first, for all threads to come.
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, nullptr);

  auto context = std::make_shared<grpc::ClientContext>();
  std::thread([context, interrupt] {
    int signal = 0;
    sigwait(&interrupt, &signal);
    context->TryCancel();
  }).detach();

  auto stub = stepwire::v1::ChatService::NewStub(stepwire::channel(address));
  const grpc::Status status = chat(*stub, *context, prompt);
  if (status.ok()) {
    return 0;
  }
  if (status.error_code() == grpc::StatusCode::CANCELLED) {
    std::cerr << "\ncancelled" << std::endl;
    return 130;
  }
  report(status);
  return 1;
}
