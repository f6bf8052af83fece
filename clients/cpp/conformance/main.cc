// The conformance driver: makes the calls that it reads from its standard input, and says what came back.
//
// What it reads and writes is told in clients/conformance/PROTOCOL.md.
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>
#include <vector>

#include "call.h"
#include "methods.h"

namespace {

void tell(Call& call, const nlohmann::json& command) {
  if (command.contains("send")) {
    call.send(command["send"]);
  } else if (command.value("close", false)) {
    call.close();
  } else if (command.value("cancel", false)) {
    call.cancel();
  } else {
    throw std::invalid_argument("no such command: " + command.dump());
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: conformance-cpp ADDRESS" << std::endl;
    return 2;
  }
  const Methods methods(stepwire::channel(arguments[1]));
  std::map<std::string, std::weak_ptr<Call>> calls;
  std::vector<std::thread> threads;
  for (std::string line; std::getline(std::cin, line);) {
    const auto command = nlohmann::json::parse(line);
    const std::string id = command.at("id");
    if (command.contains("call")) {
      auto call = std::make_shared<Call>(command);
      calls[id] = call;
      threads.emplace_back([&methods, call = std::move(call)]() mutable {
        methods.make(*call);
        call.reset();
      });
    } else if (const auto call = calls[id].lock()) {  // one that has ended hears no more
      tell(*call, command);
    }
  }
  for (auto& thread : threads) {
    thread.join();
  }
}
