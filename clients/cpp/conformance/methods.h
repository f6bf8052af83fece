// Every method of the services, by name.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "call.h"

class Methods {
 public:
  explicit Methods(const std::shared_ptr<grpc::Channel>& channel);

  // Makes a call and says what came of it.
  void make(Call& call) const;

 private:
  std::map<std::string, std::function<void(Call&)>> makers_;
};
