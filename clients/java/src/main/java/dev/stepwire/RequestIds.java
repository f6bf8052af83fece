package dev.stepwire;

import com.google.protobuf.Message;
import dev.stepwire.v1.ConversationServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.MethodDescriptor;
import java.util.Set;
import java.util.UUID;

/** Gives the calls that gRPC repeats an id, where they need one for the server to know the repeat. */
final class RequestIds implements ClientInterceptor {
  private static final Set<String> METHODS =
      Set.of(
          ConversationServiceGrpc.getCreateConversationMethod().getFullMethodName(),
          ConversationServiceGrpc.getAppendMessagesMethod().getFullMethodName(),
          ConversationServiceGrpc.getForkConversationMethod().getFullMethodName());

  @Override
  public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
    ClientCall<Q, A> call = next.newCall(method, options);
    if (!METHODS.contains(method.getFullMethodName())) {
      return call;
    }
    return new SimpleForwardingClientCall<>(call) {
      @Override
      public void sendMessage(Q request) {
        super.sendMessage(withId(request));
      }
    };
  }

  @SuppressWarnings("unchecked") // a builder builds what it was made from
  private static <Q> Q withId(Q request) {
    var message = (Message) request;
    var id = message.getDescriptorForType().findFieldByName("request_id");
    return message.hasField(id)
        ? request
        : (Q) message.toBuilder().setField(id, UUID.randomUUID().toString()).build();
  }
}
