package dev.stepwire;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Reads what the exception of a failed call, or one that it caused, says of its cause. */
public final class Errors {
  private Errors() {}

  /**
   * The cause, for programs: a name of {@code ErrorReason} without its prefix, such as {@code MODEL_NOT_FOUND}. Empty if no
   * Stepwire server said one: the connection, a proxy, a deadline or a cancel ended the call.
   */
  public static Optional<String> reason(Throwable error) {
    return detail(error, ErrorInfo.class).map(ErrorInfo::getReason);
  }

  /** The facts of the cause, such as the name of the model that there is not. */
  public static Map<String, String> metadata(Throwable error) {
    return detail(error, ErrorInfo.class).map(ErrorInfo::getMetadataMap).orElse(Map.of());
  }

  /** The time after which the same call may succeed; empty where nobody said that it would. */
  public static Optional<Duration> retryDelay(Throwable error) {
    return detail(error, RetryInfo.class)
        .map(RetryInfo::getRetryDelay)
        .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()));
  }

  /** What the server's log calls the call; empty if the server never saw it. */
  public static Optional<String> requestId(Throwable error) {
    return detail(error, RequestInfo.class).map(RequestInfo::getRequestId);
  }

  /** The fields of the request to change, all of them, in its order. */
  public static List<BadRequest.FieldViolation> fieldViolations(Throwable error) {
    return detail(error, BadRequest.class).map(BadRequest::getFieldViolationsList).orElse(List.of());
  }

  private static <T extends Message> Optional<T> detail(Throwable error, Class<T> type) {
    try {
      var status = StatusProto.fromThrowable(error); // null where there is none
      if (status != null) {
        for (Any packed : status.getDetailsList()) {
          if (packed.is(type)) {
            return Optional.of(packed.unpack(type));
          }
        }
      }
    } catch (InvalidProtocolBufferException | IllegalArgumentException e) {
      // Not of this server's making; the code and the message still say something.
    }
    return Optional.empty();
  }
}
