#include "answer.h"

#include <absl/strings/escaping.h>
#include <absl/strings/match.h>

#include <chrono>
#include <iostream>
#include <mutex>
#include <numeric>
#include <stdexcept>

using nlohmann::json;

namespace {

constexpr const char* kCodes[] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

json texts(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  json texts = json::object();
  for (const auto& [key, value] : metadata) {
    const std::string name(key.data(), key.size());
    if (!absl::EndsWith(name, "-bin")) {
      texts[name] = std::string(value.data(), value.size());
    }
  }
  return texts;
}

}  // namespace

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string encoded(const std::string& bytes) { return absl::Base64Escape(bytes); }

std::string decoded(const std::string& text) {
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes)) {
    throw std::invalid_argument("no base64: " + text);
  }
  return bytes;
}

void say(const json& line) {
  static std::mutex one_at_a_time;
  const std::string text = line.dump(-1, ' ', false, json::error_handler_t::replace);
  const std::lock_guard lock(one_at_a_time);
  std::cout << text << std::endl;
}

void Answer::take_headers(const grpc::ClientContext& context) {
  headers_ = texts(context.GetServerInitialMetadata());
}

void Answer::take_trailers(const grpc::ClientContext& context) {
  trailers_ = texts(context.GetServerTrailingMetadata());
}

void Answer::keep(const std::string& bytes) {
  if (says_each_) {
    say({{"id", id_}, {"message", encoded(bytes)}});
  } else {
    messages_.push_back(encoded(bytes));
  }
}

void Answer::read(const stepwire::v1::StreamChatResponse& message) {
  typed_["text"] = typed_.value("text", "") + message.text_delta().text();
}

void Answer::read(const stepwire::v1::ChatResponse& message) { typed_["text"] = message.text(); }

void Answer::read(const stepwire::v1::EmbedResponse& message) {
  if (message.embeddings_size() > 0) {
    const auto& values = message.embeddings(0).values();
    typed_["dimensions"] = values.size();
    typed_["sum"] = std::accumulate(values.begin(), values.end(), 0.0);
  }
}

void Answer::say_end(const grpc::Status& status, std::optional<double> cancelled_ms) {
  const double ended_ms = now_ms();
  const std::string reason = stepwire::failure(status).reason;
  if (!reason.empty()) {
    typed_["reason"] = reason;
  }
  say({
      {"id", id_},
      {"code", kCodes[status.error_code()]},
      {"message", status.error_message()},
      {"messages", messages_},
      {"status_details", encoded(status.error_details())},
      {"headers", headers_},
      {"trailers", trailers_},
      {"typed", typed_},
      {"ended_ms", ended_ms},
      {"cancelled_ms", cancelled_ms ? json(*cancelled_ms) : json()},
  });
}
