// Streams a reply. Ctrl-C ends it, and with it the model's work:
//
//   chat 127.0.0.1:50051 "Say hello."
//
// A third argument names a model; a fourth is the number of pieces of text after which to leave.
#include <stepwire/stepwire.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <thread>

namespace {

using stepwire::v1::ChatService;

// Reads the events of a reply until it is whole, fails or is cancelled, or until so many pieces of text are there.
grpc::Status chat(ChatService::Stub& stub, grpc::ClientContext& context,
                  const stepwire::v1::StreamChatRequest& request, int pieces) {
  const auto reader = stub.StreamChat(&context, request);
  stepwire::v1::StreamChatResponse event;
  for (int read = 0; reader->Read(&event);) {
    if (event.has_text_delta()) {
      std::cout << event.text_delta().text() << std::flush;
      if (++read == pieces) {
        context.TryCancel();  // Finish then says CANCELLED
        break;
      }
    } else if (event.has_finished()) {
      const auto& finished = event.finished();
      std::cout << "\n[" << finished.model() << ", " << finished.usage().output_token_count() << " tokens]" << std::endl;
    }  // else tool calls, reasoning, and what later versions add
  }
  return reader->Finish();
}

// Says what is to be done about a failed call.
void tell(const grpc::Status& status) {
  const stepwire::Failure failure = stepwire::failure(status);
  std::cerr << "code " << status.error_code() << ": " << status.error_message();
  if (!failure.reason.empty()) {
    std::cerr << " [" << failure.reason << "] request " << failure.request_id;
  }
  if (failure.retry_delay) {
    std::cerr << "; try again after " << std::chrono::duration<double>(*failure.retry_delay).count() << " s";
  }
  for (const auto& violation : failure.violations) {
    std::cerr << "\n  " << violation.field << ": " << violation.description;
  }
  std::cerr << std::endl;
}

// Cancels the call at Ctrl-C, and ends the program at the second. A signal's handler may do next to nothing, so a thread
// waits for the signal, which is blocked first, for this thread and all that it will start.
void cancel_at_ctrl_c(std::shared_ptr<grpc::ClientContext> context) {
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, nullptr);
  std::thread([context = std::move(context), interrupt] {
    int signal = 0;
    sigwait(&interrupt, &signal);
    context->TryCancel();
    sigwait(&interrupt, &signal);
    std::_Exit(128 + signal);
  }).detach();
}

}  // namespace

int main(int count, char** arguments) {
  const auto argument = [&](int index, const char* otherwise) { return index < count ? arguments[index] : otherwise; };
  stepwire::v1::StreamChatRequest request;
  request.set_prompt(argument(2, "Say hello."));
  request.set_model(argument(3, ""));

  char* end = nullptr;
  const int pieces = static_cast<int>(std::strtol(argument(4, "0"), &end, 10));
  if (*end != '\0') {
    std::cerr << argument(4, "") << " is no number of pieces" << std::endl;
    return 2;
  }

  const auto context = std::make_shared<grpc::ClientContext>();
  cancel_at_ctrl_c(context);
  const auto stub = ChatService::NewStub(stepwire::channel(argument(1, "127.0.0.1:50051")));
  const grpc::Status status = chat(*stub, *context, request, pieces);
  // The server names a reason if it was not we who cancelled.
  if (status.error_code() == grpc::StatusCode::CANCELLED && stepwire::failure(status).reason.empty()) {
    std::cout << "\ncancelled" << std::endl;
  } else if (!status.ok()) {
    tell(status);
    return 1;
  }
  return 0;
}
