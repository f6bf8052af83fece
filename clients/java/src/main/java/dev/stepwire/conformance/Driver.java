package dev.stepwire.conformance;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import dev.stepwire.Stepwire;
import dev.stepwire.v1.ChatServiceGrpc;
import dev.stepwire.v1.ConversationServiceGrpc;
import dev.stepwire.v1.EmbedServiceGrpc;
import dev.stepwire.v1.PipelineServiceGrpc;
import dev.stepwire.v1.StepRunServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.ServiceDescriptor;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.stub.AbstractStub;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/** Makes calls as clients/conformance/PROTOCOL.md has it, with the generated asynchronous stubs. */
public final class Driver {
  private final Gson gson = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
  private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  private final Map<String, Method> methods = new HashMap<>();
  private final Map<String, Call> calls = new HashMap<>();

  /** A method, and the stub that has it. */
  record Method(AbstractStub<?> stub, MethodDescriptor<?, ?> descriptor) {}

  private Driver(ManagedChannel channel) {
    add(ChatServiceGrpc.newStub(channel), ChatServiceGrpc.getServiceDescriptor());
    add(ConversationServiceGrpc.newStub(channel), ConversationServiceGrpc.getServiceDescriptor());
    add(EmbedServiceGrpc.newStub(channel), EmbedServiceGrpc.getServiceDescriptor());
    add(PipelineServiceGrpc.newStub(channel), PipelineServiceGrpc.getServiceDescriptor());
    add(StepRunServiceGrpc.newStub(channel), StepRunServiceGrpc.getServiceDescriptor());
    add(HealthGrpc.newStub(channel), HealthGrpc.getServiceDescriptor());
  }

  private void add(AbstractStub<?> stub, ServiceDescriptor service) {
    for (MethodDescriptor<?, ?> method : service.getMethods()) {
      methods.put(method.getFullMethodName(), new Method(stub, method));
    }
  }

  /** Obeys commands until there are no more. */
  public static void main(String[] arguments) throws IOException {
    ManagedChannel channel = Stepwire.connect(arguments[0]);
    var driver = new Driver(channel);
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      driver.obey(driver.gson.fromJson(line, JsonObject.class));
    }
    channel.shutdownNow();
  }

  private void obey(JsonObject command) {
    String id = command.get("id").getAsString();
    if (!command.has("call")) {
      calls.get(id).hear(command);
      return;
    }
    Method method = methods.get(command.get("call").getAsString());
    var call = new Call(command, this::say);
    if (method == null) {
      call.refuse();
    } else {
      calls.put(id, call);
      call.begin(method);
    }
  }

  private void say(Map<String, ?> line) {
    String text = gson.toJson(line);
    synchronized (out) {
      out.println(text);
    }
  }
}
