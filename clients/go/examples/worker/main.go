// Worker serves two steps that every pipeline on the server can name, until Ctrl-C:
//
//	go run ./examples/worker -server 127.0.0.1:50051
//	echo '[{"named": "go.words"}, {"named": "go.shout"}]' | stepwire run - -i '"one two"'
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"stepwire.dev/go/stepwire"
)

var steps = []stepwire.Step{
	{Name: "go.shout", Description: "The text, louder.", Run: shout},
	{Name: "go.words", Description: "Each word of a text.", Stream: words},
}

func shout(ctx context.Context, call stepwire.Call) (any, error) {
	text, isText := call.Input.(string)
	if !isText {
		return nil, &stepwire.StepError{Message: "takes a text", IsInput: true}
	}
	return strings.ToUpper(text) + "!", nil
}

func words(ctx context.Context, call stepwire.Call, emit func(any) error) error {
	text, isText := call.Input.(string)
	if !isText {
		return &stepwire.StepError{Message: "takes a text", IsInput: true}
	}
	for _, word := range strings.Fields(text) {
		if err := emit(word); err != nil {
			return err // nobody needs the others
		}
	}
	return nil
}

func main() {
	server := flag.String("server", "127.0.0.1:50051", "address of the server")
	flag.Parse()
	connection, err := stepwire.Dial(*server)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	worker := stepwire.Worker{Name: "go", MaxInFlight: 8, Steps: steps, Accepted: func(string) { fmt.Println("ready") }}
	// The first signal lets open calls come to their end, a second one does not.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { <-ctx.Done(); stop() }()
	for ctx.Err() == nil {
		err := stepwire.Serve(ctx, connection, worker)
		if err != nil && status.Code(err) != codes.Unavailable {
			log.Fatal(err)
		}
		if err != nil {
			log.Print(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
