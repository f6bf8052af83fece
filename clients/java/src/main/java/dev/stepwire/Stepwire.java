package dev.stepwire;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.TimeUnit;

/**
 * Makes channels with the settings that fit the server.
 *
 * <p>Cancelling a call stops the model; leaving the iterator of a blocking stub does not: make such calls in a {@link
 * io.grpc.Context.CancellableContext} and close that.
 */
public final class Stepwire {
  /** The version of this client. */
  public static final String VERSION = "0.1.0";

  /** Twice the largest reply that the server makes. */
  public static final int MAX_RECEIVE_BYTES = 8 * 1024 * 1024;

  private Stepwire() {}

  /** Makes a plaintext channel to a server at {@code host:port}. It connects with the first call. */
  public static ManagedChannel connect(String address) {
    return builder(address, InsecureChannelCredentials.create()).build();
  }

  /**
   * Begins a channel, for those who need TLS or settings of their own.
   *
   * <p>A service config of your own that repeats other codes than {@code UNAVAILABLE} does so by its own timing: how long
   * the server asks to wait is seen by the caller alone.
   */
  public static ManagedChannelBuilder<?> builder(String address, ChannelCredentials credentials) {
    return Grpc.newChannelBuilder(address, credentials)
        .userAgent("stepwire-java/" + VERSION)
        .disableServiceConfigLookUp() // that of the name service; ours holds
        .defaultServiceConfig(serviceConfig())
        .enableRetry()
        .intercept(new RequestIds(), new PushBack())
        .maxInboundMessageSize(MAX_RECEIVE_BYTES)
        // A silent stream stays watched. A server ends connections that ask more often than each 10 s or without a call.
        .keepAliveTime(30, TimeUnit.SECONDS)
        .keepAliveTimeout(10, TimeUnit.SECONDS)
        .keepAliveWithoutCalls(false);
  }

  /**
   * Which calls gRPC may repeat by itself, and when: those to which a second attempt does no harm, though vectors may be
   * paid twice, which is little. A chat is not; an update or a run may have happened although its answer was lost: those
   * are the caller's to repeat.
   */
  private static Map<String, ?> serviceConfig() {
    var file = Objects.requireNonNull(Stepwire.class.getResourceAsStream("service_config.json"));
    try (Reader reader = new InputStreamReader(file, StandardCharsets.UTF_8)) {
      return new Gson().fromJson(reader, new TypeToken<Map<String, Object>>() {}.getType());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
