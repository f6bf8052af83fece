package dev.stepwire;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ClientStreamTracer;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;

/**
 * Keeps gRPC to the codes of its retry policy, which is {@code UNAVAILABLE} alone.
 *
 * <p>grpc-java repeats a call for every code that comes with a push-back. So that of any other code is taken out of the
 * trailers of an attempt before gRPC looks for it, and put back before the caller does.
 */
final class PushBack implements ClientInterceptor {
  private static final Metadata.Key<String> KEY =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

  @Override
  public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
    var taken = new Taken();
    return new SimpleForwardingClientCall<>(next.newCall(method, options.withStreamTracerFactory(taken))) {
      @Override
      public void start(Listener<A> listener, Metadata headers) {
        super.start(
            new SimpleForwardingClientCallListener<>(listener) {
              @Override
              public void onClose(Status status, Metadata trailers) {
                if (taken.pushBack != null && !trailers.containsKey(KEY)) {
                  trailers.put(KEY, taken.pushBack);
                }
                super.onClose(status, trailers);
              }
            },
            headers);
      }
    };
  }

  /** What was taken from the last attempt of a call. */
  private static final class Taken extends ClientStreamTracer.Factory {
    private volatile String pushBack;

    @Override
    public ClientStreamTracer newClientStreamTracer(ClientStreamTracer.StreamInfo info, Metadata headers) {
      return new ClientStreamTracer() {
        private Metadata trailers = new Metadata();

        @Override
        public void inboundTrailers(Metadata received) {
          trailers = received; // not copied: what is taken out here is out
        }

        @Override
        public void streamClosed(Status status) {
          if (status.getCode() != Status.Code.UNAVAILABLE) {
            pushBack = trailers.get(KEY);
            trailers.discardAll(KEY);
          }
        }
      };
    }
  }
}
