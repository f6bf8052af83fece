#include "call.h"

#include <chrono>
#include <utility>

Call::Call(const nlohmann::json& command)
    : method_(command.at("call")),
      cancel_after_(command.value("cancel_after", 0)),
      leave_after_(command.value("leave_after", 0)),
      answer_(command.at("id"), command.value("progress", false)),
      is_open_(command.value("open", false)) {
  requests_ = command.value("requests", requests_);
  const auto metadata = command.value("metadata", nlohmann::json::object());
  for (const auto& [key, value] : metadata.items()) {
    context_->AddMetadata(key, value);
  }
  if (command.contains("timeout_ms")) {
    const std::chrono::duration<double, std::milli> timeout(command["timeout_ms"].get<double>());
    context_->set_deadline(std::chrono::system_clock::now() +
                           std::chrono::duration_cast<std::chrono::microseconds>(timeout));
  }
}

void Call::send(std::string request) {
  const std::lock_guard lock(telling_);
  requests_.push_back(std::move(request));
  told_.notify_one();
}

void Call::close() {
  const std::lock_guard lock(telling_);
  is_open_ = false;
  told_.notify_one();
}

void Call::cancel() {
  const std::lock_guard lock(telling_);
  if (context_ && !cancelled_ms_) {
    cancelled_ms_ = now_ms();
    context_->TryCancel();
  }
}

std::optional<std::string> Call::next_request() {
  std::unique_lock lock(telling_);
  told_.wait(lock, [&] { return !requests_.empty() || !is_open_ || is_over_; });
  if (requests_.empty() || is_over_) {
    return std::nullopt;
  }
  std::string request = std::move(requests_.front());
  requests_.pop_front();
  return request;
}

void Call::stop_sending() {
  const std::lock_guard lock(telling_);
  is_over_ = true;
  told_.notify_one();
}

bool Call::is_over() {
  const std::lock_guard lock(telling_);
  return is_over_;
}
