package dev.stepwire.conformance;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.Message;
import dev.stepwire.Errors;
import dev.stepwire.v1.ChatResponse;
import dev.stepwire.v1.EmbedResponse;
import dev.stepwire.v1.StreamChatResponse;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.lang.reflect.InvocationTargetException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;

/** One call, from its command to its answer. The thread that reads commands and gRPC's own both come here. */
final class Call implements ClientResponseObserver<Message, Message> {
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  private final JsonObject command;
  private final Consumer<Map<String, ?>> say;
  private final Context.CancellableContext context = Context.ROOT.withCancellation();
  private final AtomicReference<Metadata> headers = new AtomicReference<>();
  private final AtomicReference<Metadata> trailers = new AtomicReference<>();
  private final List<String> messages = new ArrayList<>();
  private final Map<String, Object> typed = new LinkedHashMap<>();
  private final StringBuilder text = new StringBuilder();
  private MethodDescriptor<?, ?> method;
  private ClientCallStreamObserver<Message> requests;
  private int count;
  private boolean isLeft;
  private Double cancelledMs;

  Call(JsonObject command, Consumer<Map<String, ?>> say) {
    this.command = command;
    this.say = say;
  }

  void refuse() {
    answer(Status.UNIMPLEMENTED.withDescription("the driver has no such method"));
  }

  /** Calls the stub's method. What it takes beside this observer depends on its kind. */
  @SuppressWarnings("unchecked")
  void begin(Driver.Method called) {
    method = called.descriptor();
    Object stub = configured(called.stub());
    var function =
        Arrays.stream(stub.getClass().getMethods())
            .filter(each -> each.getName().equalsIgnoreCase(method.getBareMethodName()))
            .findFirst()
            .orElseThrow();
    var given = command.getAsJsonArray("requests").asList().stream().map(JsonElement::getAsString).toList();
    context.run(
        () -> {
          try {
            if (method.getType().clientSendsOneMessage()) {
              function.invoke(stub, decoded(given.get(0)), this);
              return;
            }
            requests = (ClientCallStreamObserver<Message>) (StreamObserver<?>) function.invoke(stub, this);
          } catch (IllegalAccessException | InvocationTargetException e) {
            throw new IllegalStateException(e);
          }
          given.forEach(this::send);
          if (!flag("open")) {
            close();
          }
        });
  }

  private AbstractStub<?> configured(AbstractStub<?> stub) {
    AbstractStub<?> made = stub.withInterceptors(MetadataUtils.newCaptureMetadataInterceptor(headers, trailers));
    if (command.has("metadata")) {
      var pairs = new Metadata();
      command
          .getAsJsonObject("metadata")
          .asMap()
          .forEach((key, value) -> pairs.put(Metadata.Key.of(key, Metadata.ASCII_STRING_MARSHALLER), value.getAsString()));
      made = made.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(pairs));
    }
    int timeoutMs = number("timeout_ms");
    return timeoutMs > 0 ? made.withDeadlineAfter(timeoutMs, TimeUnit.MILLISECONDS) : made;
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<Message> begun) {
    requests = begun;
  }

  /** Takes what is said of the call while it runs. */
  void hear(JsonObject said) {
    if (said.has("send")) {
      send(said.get("send").getAsString());
    } else if (said.has("close")) {
      close();
    } else {
      cancel();
    }
  }

  private void send(String request) {
    try {
      requests.onNext(decoded(request));
    } catch (IllegalStateException e) {
      // It has ended, and the answer says how.
    }
  }

  private void close() {
    try {
      requests.onCompleted();
    } catch (IllegalStateException e) {
      // Likewise.
    }
  }

  private void cancel() {
    synchronized (this) {
      cancelledMs = cancelledMs == null ? (Double) nowMs() : cancelledMs;
    }
    requests.cancel("cancelled", null);
  }

  @Override
  public synchronized void onNext(Message message) {
    if (isLeft) {
      return;
    }
    count++;
    String written = Base64.getEncoder().encodeToString(message.toByteArray());
    if (flag("progress")) {
      say.accept(Map.of("id", id(), "message", written));
    } else {
      messages.add(written);
    }
    look(message);
    if (count == number("leave_after")) { // as those do who read an iterator: they close its context
      isLeft = true;
      cancelledMs = nowMs();
      context.cancel(null);
    } else if (count == number("cancel_after")) {
      cancel();
    }
  }

  @Override
  public void onError(Throwable error) {
    Errors.reason(error).ifPresent(reason -> typed.put("reason", reason));
    answer(Status.fromThrowable(error));
  }

  @Override
  public void onCompleted() {
    answer(Status.OK);
  }

  /** Reads what users read, as they do. */
  private void look(Message message) {
    if (message instanceof StreamChatResponse event) {
      text.append(event.getTextDelta().getText());
    } else if (message instanceof ChatResponse reply) {
      typed.put("text", reply.getText());
    } else if (message instanceof EmbedResponse response && response.getEmbeddingsCount() > 0) {
      List<Float> values = response.getEmbeddings(0).getValuesList();
      typed.put("dimensions", values.size());
      typed.put("sum", values.stream().mapToDouble(Float::doubleValue).sum());
    }
  }

  private synchronized void answer(Status status) {
    if (method != null && method.getFullMethodName().endsWith("/StreamChat")) {
      typed.put("text", text.toString());
    }
    byte[] details = trailers.get() == null ? null : trailers.get().get(DETAILS);
    var line = new LinkedHashMap<String, Object>();
    line.put("id", id());
    line.put("code", isLeft ? "CANCELLED" : status.getCode().name());
    line.put("message", status.getDescription() == null ? "" : status.getDescription());
    line.put("messages", messages);
    line.put("status_details", details == null ? "" : Base64.getEncoder().encodeToString(details));
    line.put("headers", texts(headers.get()));
    line.put("trailers", texts(trailers.get()));
    line.put("typed", typed);
    line.put("ended_ms", nowMs());
    line.put("cancelled_ms", cancelledMs);
    say.accept(line);
    context.close();
  }

  private static Map<String, String> texts(Metadata metadata) {
    var found = new LinkedHashMap<String, String>();
    if (metadata != null) {
      for (String key : metadata.keys()) {
        if (!key.endsWith(Metadata.BINARY_HEADER_SUFFIX)) {
          found.put(key, metadata.get(Metadata.Key.of(key, Metadata.ASCII_STRING_MARSHALLER)));
        }
      }
    }
    return found;
  }

  private Message decoded(String request) {
    return (Message) method.parseRequest(new ByteArrayInputStream(Base64.getDecoder().decode(request)));
  }

  private String id() {
    return command.get("id").getAsString();
  }

  private boolean flag(String name) {
    return command.has(name) && command.get(name).getAsBoolean();
  }

  private int number(String name) {
    return command.has(name) ? command.get(name).getAsInt() : 0;
  }

  private static double nowMs() {
    return Duration.between(Instant.EPOCH, Instant.now()).toNanos() / 1e6;
  }
}
