// Reads google.rpc.Status.
#include <string_view>

#include "stepwire/details/details.pb.h"
#include "stepwire/stepwire.h"

namespace stepwire {
namespace {

// Reads `detail` into `message` if it is the google.rpc message of this name, whatever the address before it.
bool read(const google::protobuf::Any& detail, std::string_view name, google::protobuf::MessageLite& message) {
  const std::string_view url = detail.type_url();
  const auto slash = url.rfind('/');
  return slash != url.npos && url.substr(slash + 1) == name && message.ParseFromString(detail.value());
}

}  // namespace

Failure failure(const grpc::Status& status) {
  Failure failure;
  details::Status all;
  all.ParseFromString(status.error_details());  // what cannot be read says nothing
  for (const auto& detail : all.details()) {
    details::ErrorInfo info;
    details::RetryInfo retry;
    details::RequestInfo request;
    details::BadRequest bad;
    if (read(detail, "google.rpc.ErrorInfo", info)) {
      failure.reason = info.reason();
      failure.metadata.insert(info.metadata().begin(), info.metadata().end());
    } else if (read(detail, "google.rpc.RetryInfo", retry)) {
      const auto& delay = retry.retry_delay();
      failure.retry_delay = std::chrono::seconds(delay.seconds()) + std::chrono::nanoseconds(delay.nanos());
    } else if (read(detail, "google.rpc.RequestInfo", request)) {
      failure.request_id = request.request_id();
    } else if (read(detail, "google.rpc.BadRequest", bad)) {
      for (const auto& violation : bad.field_violations()) {
        failure.violations.push_back({violation.field(), violation.description()});
      }
    }
  }
  return failure;
}

}  // namespace stepwire
