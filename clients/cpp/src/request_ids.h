// Gives the calls that gRPC repeats an id, where they need one for the server to know the repeat.
#pragma once

#include <grpcpp/support/client_interceptor.h>

#include <memory>

namespace stepwire {

std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface> request_ids();

}  // namespace stepwire
