// What a call came to, as it is told.
#pragma once

#include <google/protobuf/message_lite.h>
#include <stepwire/stepwire.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

double now_ms();
std::string encoded(const std::string& bytes);  // as base64
std::string decoded(const std::string& text);   // of base64
void say(const nlohmann::json& line);           // from any thread

// The one answer to a call, while it is gathered by one thread.
class Answer {
 public:
  Answer(std::string id, bool says_each) : id_(std::move(id)), says_each_(says_each) {}

  // Takes a message that came; how many there are now.
  template <class Message>
  int take(const Message& message) {
    read(message);
    keep(message.SerializeAsString());
    return ++count_;
  }

  // Takes what came beside the messages, after the end of the call.
  void take_headers(const grpc::ClientContext& context);
  void take_trailers(const grpc::ClientContext& context);

  void say_end(const grpc::Status& status, std::optional<double> cancelled_ms);

 private:
  void keep(const std::string& bytes);
  void read(const google::protobuf::MessageLite&) {}
  void read(const stepwire::v1::StreamChatResponse& message);
  void read(const stepwire::v1::ChatResponse& message);
  void read(const stepwire::v1::EmbedResponse& message);

  std::string id_;
  bool says_each_;
  int count_ = 0;
  nlohmann::json messages_ = nlohmann::json::array();
  nlohmann::json typed_ = nlohmann::json::object();
  nlohmann::json headers_ = nlohmann::json::object();
  nlohmann::json trailers_ = nlohmann::json::object();
};
