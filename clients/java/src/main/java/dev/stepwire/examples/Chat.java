package dev.stepwire.examples;

import dev.stepwire.Errors;
import dev.stepwire.Stepwire;
import dev.stepwire.v1.ChatServiceGrpc;
import dev.stepwire.v1.StreamChatRequest;
import dev.stepwire.v1.StreamChatResponse;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.Iterator;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Streams a reply. Ctrl-C ends it, and with it the model's work.
 *
 * <p>Usage: {@code Chat [ADDRESS [PROMPT [MODEL [PIECES]]]]}. After so many pieces of text it leaves.
 */
public final class Chat {
  private Chat() {}

  /** Runs the program. */
  public static void main(String[] arguments) {
    String address = argument(arguments, 0, "127.0.0.1:50051");
    var request =
        StreamChatRequest.newBuilder()
            .setPrompt(argument(arguments, 1, "Say hello."))
            .setModel(argument(arguments, 2, ""))
            .build();
    int pieces = Integer.parseInt(argument(arguments, 3, "0"));
    ManagedChannel channel = Stepwire.connect(address);
    var said = new CountDownLatch(1);
    boolean hasFailed = false;
    // Leaving the iterator of a blocking stub ends nothing; closing the context of its call does.
    try (Context.CancellableContext context = Context.current().withCancellation()) {
      Runtime.getRuntime().addShutdownHook(new Thread(() -> leave(context, channel, said)));
      context.run(() -> print(ChatServiceGrpc.newBlockingStub(channel).streamChat(request), pieces));
    } catch (StatusRuntimeException error) {
      hasFailed = error.getStatus().getCode() != Status.Code.CANCELLED;
      if (hasFailed) {
        System.err.println(told(error));
      } else {
        System.out.println("\ncancelled");
      }
    } finally {
      channel.shutdown();
      said.countDown();
    }
    if (hasFailed) {
      System.exit(1);
    }
  }

  private static void print(Iterator<StreamChatResponse> events, int pieces) {
    for (int read = 0; events.hasNext(); ) {
      StreamChatResponse event = events.next();
      switch (event.getEventCase()) {
        case TEXT_DELTA -> {
          System.out.print(event.getTextDelta().getText());
          System.out.flush();
          if (++read == pieces) {
            System.out.println("\nleft");
            return;
          }
        }
        case FINISHED -> {
          var finished = event.getFinished();
          System.out.printf("%n[%s, %d tokens]%n", finished.getModel(), finished.getUsage().getOutputTokenCount());
        }
        default -> {}
      }
    }
  }

  /** Cancels while the program ends, and lets it say so and the server hear of it. */
  private static void leave(Context.CancellableContext context, ManagedChannel channel, CountDownLatch said) {
    context.cancel(null);
    channel.shutdown();
    try {
      said.await(5, TimeUnit.SECONDS);
      channel.awaitTermination(1, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Says what is to be done about a failed call. */
  private static String told(StatusRuntimeException error) {
    var text = new StringBuilder(error.getMessage());
    Errors.reason(error).ifPresent(reason -> text.append(" [").append(reason).append(']'));
    Errors.requestId(error).ifPresent(id -> text.append(" request ").append(id));
    Errors.retryDelay(error).ifPresent(delay -> text.append("; try again after ").append(delay.toMillis()).append(" ms"));
    Errors.fieldViolations(error)
        .forEach(field -> text.append("\n  ").append(field.getField()).append(": ").append(field.getDescription()));
    return text.toString();
  }

  private static String argument(String[] arguments, int index, String otherwise) {
    return index < arguments.length ? arguments[index] : otherwise;
  }
}
