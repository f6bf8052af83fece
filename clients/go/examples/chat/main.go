// Chat streams a reply. Ctrl-C ends it, and with it the model's work:
//
//	go run ./examples/chat -server 127.0.0.1:50051 "Say hello."
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"stepwire.dev/go/stepwire"
	stepwirev1 "stepwire.dev/go/stepwire/v1"
)

func main() {
	server := flag.String("server", "127.0.0.1:50051", "address of the server")
	model := flag.String("model", "", "name of the model; default: the server's")
	pieces := flag.Int("pieces", 0, "leave after so many pieces of text; 0: read all")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	request := &stepwirev1.StreamChatRequest{Model: *model, Prompt: strings.Join(flag.Args(), " ")}
	if request.Prompt == "" {
		request.Prompt = "Say hello."
	}
	switch err := chat(ctx, *server, request, *pieces); {
	case err == nil:
	case status.Code(err) == codes.Canceled:
		fmt.Println("\ncancelled")
	default:
		fmt.Fprintln(os.Stderr, told(err))
		os.Exit(1)
	}
}

func chat(ctx context.Context, server string, request *stepwirev1.StreamChatRequest, pieces int) error {
	connection, err := stepwire.Dial(server)
	if err != nil {
		return err
	}
	defer connection.Close()
	// Whoever leaves a stream before its end has to cancel it; otherwise the model goes on.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := stepwirev1.NewChatServiceClient(connection).StreamChat(ctx, request)
	if err != nil {
		return err
	}
	for read := 0; ; {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch event := response.GetEvent().(type) {
		case *stepwirev1.StreamChatResponse_TextDelta:
			fmt.Print(event.TextDelta.GetText())
			if read++; read == pieces {
				cancel() // the next Recv says Canceled
			}
		case *stepwirev1.StreamChatResponse_Finished:
			fmt.Printf("\n[%s, %d tokens]\n", event.Finished.GetModel(), event.Finished.GetUsage().GetOutputTokenCount())
		}
	}
}

// told says what is to be done about a failed call.
func told(err error) string {
	failed := status.Convert(err)
	text := fmt.Sprintf("%s: %s", failed.Code(), failed.Message())
	if reason := stepwire.Reason(err); reason != "" {
		text += fmt.Sprintf(" [%s, request %s]", reason, stepwire.RequestID(err))
	}
	if delay, ok := stepwire.RetryDelay(err); ok {
		text += fmt.Sprintf("; try again after %s", delay)
	}
	for _, violation := range stepwire.FieldViolations(err) {
		text += fmt.Sprintf("\n  %s: %s", violation.GetField(), violation.GetDescription())
	}
	return text
}
