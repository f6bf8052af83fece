// One call, from the command that begins it to its answer.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "answer.h"

// Owned by the thread that makes the call; told by the one that reads the commands.
class Call {
 public:
  explicit Call(const nlohmann::json& command);

  const std::string& method() const { return method_; }

  // What the commands say.
  void send(std::string request);
  void close();
  void cancel();

  // Says that there is no such method.
  void refuse() { answer_.say_end({grpc::StatusCode::UNIMPLEMENTED, "the driver has no such method"}, {}); }

  template <class Stub, class Q, class P>
  void make(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Q&, P*)) {
    P reply;
    end([&] {
      const grpc::Status status = (stub.*method)(context_.get(), only<Q>(), &reply);
      if (status.ok()) {
        answer_.take(reply);
      }
      return status;
    });
  }

  template <class Stub, class Q, class P>
  void make(Stub& stub, std::unique_ptr<grpc::ClientReader<P>> (Stub::*method)(grpc::ClientContext*, const Q&)) {
    end([&] { return read<P>((stub.*method)(context_.get(), only<Q>()), [](bool) {}); });
  }

  template <class Stub, class Q, class P>
  void make(Stub& stub, std::unique_ptr<grpc::ClientWriter<Q>> (Stub::*method)(grpc::ClientContext*, P*)) {
    P reply;
    end([&] {
      auto writer = (stub.*method)(context_.get(), &reply);
      std::thread sender([&] { write<Q>(*writer); });
      const grpc::Status status = writer->Finish();
      stop_sending();
      sender.join();
      if (status.ok()) {
        answer_.take(reply);
      }
      return status;
    });
  }

  template <class Stub, class Q, class P>
  void make(Stub& stub, std::unique_ptr<grpc::ClientReaderWriter<Q, P>> (Stub::*method)(grpc::ClientContext*)) {
    end([&] {
      auto both = (stub.*method)(context_.get());
      std::thread sender([this, both = both.get()] { write<Q>(*both); });
      return read<P>(std::move(both), [&](bool is_left) {
        stop_sending();
        if (is_left) {
          cancel();  // or a request that waits for the server to read would be waited for
        }
        sender.join();
      });
    });
  }

 private:
  template <class Q>
  Q message(const std::string& text) {
    Q message;
    if (!message.ParseFromString(decoded(text))) {
      throw std::invalid_argument("no " + message.GetTypeName() + ": " + text);
    }
    return message;
  }

  template <class Q>
  Q only() {
    return requests_.empty() ? Q() : message<Q>(requests_.front());
  }

  // Sends requests until there are no more, or the call has ended.
  template <class Q, class Writer>
  void write(Writer& writer) {
    while (const auto request = next_request()) {
      if (!writer.Write(message<Q>(*request))) {
        return;
      }
    }
    if (!is_over()) {
      writer.WritesDone();
    }
  }

  // Reads messages until the call ends or is left; `stop` is told which before the stream is let go.
  template <class P, class Reader, class Stop>
  grpc::Status read(std::unique_ptr<Reader> reader, Stop stop) {
    P message;
    bool is_left = false;
    while (!is_left && reader->Read(&message)) {
      const int count = answer_.take(message);
      if (count == cancel_after_) {
        cancel();
      }
      is_left = count == leave_after_;
    }
    if (!is_left) {
      const grpc::Status status = reader->Finish();
      stop(false);
      return status;
    }
    answer_.take_headers(*context_);
    stop(true);
    // Whoever leaves in C++ lets the stream and its context go.
    const std::lock_guard lock(telling_);
    cancelled_ms_ = cancelled_ms_.value_or(now_ms());
    reader.reset();
    context_.reset();
    return {grpc::StatusCode::CANCELLED, "left by the caller"};
  }

  template <class Make>
  void end(Make make) {
    const grpc::Status status = make();
    if (context_) {
      answer_.take_headers(*context_);
      answer_.take_trailers(*context_);
    }
    const std::lock_guard lock(telling_);
    answer_.say_end(status, cancelled_ms_);
  }

  std::optional<std::string> next_request();  // waits for one; none if they have ended
  void stop_sending();
  bool is_over();

  std::string method_;
  int cancel_after_;
  int leave_after_;
  Answer answer_;

  std::mutex telling_;
  std::condition_variable told_;
  std::deque<std::string> requests_;
  bool is_open_;          // more may be sent
  bool is_over_ = false;  // nothing is to be sent any more
  std::unique_ptr<grpc::ClientContext> context_ = std::make_unique<grpc::ClientContext>();
  std::optional<double> cancelled_ms_;
};
