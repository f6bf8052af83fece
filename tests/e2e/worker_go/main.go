// A worker in Go: serves the steps `double` and `drip` until it is killed, and prints what it is called with.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"time"

	"stepwire.dev/go/stepwire"
)

// worker takes all calls, and answers those with a number below `from`: by what they carry and not by when they come, so
// that no early number is left among those it holds, however its goroutines are scheduled.
type worker struct{ from float64 }

func main() {
	server := flag.String("server", "", "address")
	room := flag.Int("room", 1, "calls at once")
	from := flag.Float64("holds-from", math.Inf(1), "numbers that it takes and does not answer: this and higher ones")
	flag.Parse()
	log.SetFlags(0)
	connection, err := stepwire.Dial(*server)
	if err != nil {
		log.Fatal(err)
	}
	w := &worker{*from}
	log.Fatal(stepwire.Serve(context.Background(), connection, stepwire.Worker{
		Name:        "go",
		MaxInFlight: *room,
		Steps: []stepwire.Step{
			{Name: "double", Description: "Twice a number.", Run: w.double},
			{Name: "drip", Stream: w.drip},
		},
		Accepted: func(string) { fmt.Println("accepted") },
	}))
}

// take prints a call, and holds it if its number is one to hold.
func (w *worker) take(ctx context.Context, function string, call stepwire.Call) (float64, error) {
	fmt.Println(function, call.Input, call.Attempt)
	number, isNumber := call.Input.(float64)
	if !isNumber {
		return 0, &stepwire.StepError{Message: "takes a number", IsInput: true}
	}
	if number >= w.from {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return number, nil
}

// double answers after a moment.
func (w *worker) double(ctx context.Context, call stepwire.Call) (any, error) {
	number, err := w.take(ctx, "double", call)
	time.Sleep(2 * time.Millisecond)
	return 2 * number, err
}

// drip has one result and no end.
func (w *worker) drip(ctx context.Context, call stepwire.Call, emit func(any) error) error {
	number, err := w.take(ctx, "drip", call)
	if err != nil {
		return err
	}
	if err := emit(number); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}
