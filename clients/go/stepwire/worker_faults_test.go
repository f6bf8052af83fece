package stepwire_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"stepwire.dev/go/stepwire"
	stepwirev1 "stepwire.dev/go/stepwire/v1"
)

// ask makes one call of each step, in turn, and gives what each is answered last with.
func ask(t *testing.T, worker stepwire.Worker) ([]*stepwirev1.CallReply, error) {
	t.Helper()
	var replies []*stepwirev1.CallReply
	server := &steps{serve: func(told func() *stepwirev1.ServeStepsRequest, tell func(*stepwirev1.ServeStepsResponse)) {
		for _, step := range worker.Steps {
			tell(call(step.Name, "in"))
			reply := told().GetReply()
			for reply.GetOutput() != nil {
				reply = told().GetReply()
			}
			replies = append(replies, reply)
		}
	}}
	err := work(t, context.Background(), server, worker)
	return replies, err
}

func runs(name string, run func(context.Context, stepwire.Call) (any, error)) stepwire.Step {
	return stepwire.Step{Name: name, Run: run}
}

func good(_ context.Context, call stepwire.Call) (any, error) { return call.Input, nil }

func TestAFailureWhoseTextIsNotUTF8IsOneOfItsCallAlone(t *testing.T) {
	fails := func(text string) func(context.Context, stepwire.Call) (any, error) {
		return func(context.Context, stepwire.Call) (any, error) { return nil, errors.New(text) }
	}
	replies, err := ask(t, stepwire.Worker{Steps: []stepwire.Step{
		runs("short", fails("open caf\xe9.txt")), runs("long", fails(strings.Repeat("\xe9 é", 1000))), runs("good", good),
	}})
	if err != nil || len(replies) != 3 || replies[2].GetDone() == nil {
		t.Fatal(err, replies)
	}
	if said := replies[0].GetError().GetMessage(); said != "open caf\uFFFD.txt" {
		t.Error(said)
	}
	if said := replies[1].GetError().GetMessage(); len(said) > 1024 || len(said) < 1000 || !utf8.ValidString(said) {
		t.Error(len(said), said)
	}
}

type unsayable struct{ cause *error }

func (u *unsayable) Error() string { return (*u.cause).Error() }

func TestAPanicFailsItsCallAlone(t *testing.T) {
	replies, err := ask(t, stepwire.Worker{Steps: []stepwire.Step{
		runs("run", func(_ context.Context, call stepwire.Call) (any, error) { return call.Input.(float64), nil }),
		{Name: "stream", Stream: func(_ context.Context, call stepwire.Call, emit func(any) error) error {
			emit(call.Input)
			panic("no more")
		}},
		runs("error", func(context.Context, stepwire.Call) (any, error) { return nil, (*unsayable)(nil) }),
		runs("good", good),
	}})
	if err != nil || len(replies) != 4 || replies[3].GetDone() == nil {
		t.Fatal(err, replies)
	}
	for index, told := range []string{"interface conversion", "panic: no more", "nil pointer"} {
		said := replies[index].GetError()
		if !strings.Contains(said.GetMessage(), told) || said.GetIsTransient() || said.GetErrorType() != "panic" {
			t.Error(said)
		}
	}
}

func TestAResultThatNoMessageCarriesFailsItsCallAlone(t *testing.T) {
	large := strings.Repeat("x", 16<<20)
	replies, err := ask(t, stepwire.Worker{Steps: []stepwire.Step{
		runs("run", func(context.Context, stepwire.Call) (any, error) { return large, nil }),
		{Name: "stream", Stream: func(_ context.Context, _ stepwire.Call, emit func(any) error) error { return emit(large) }},
		runs("text", func(context.Context, stepwire.Call) (any, error) { return "caf\xe9", nil }),
		runs("good", good),
	}})
	if err != nil || len(replies) != 4 || replies[3].GetDone() == nil {
		t.Fatal(err, replies)
	}
	for index, told := range []string{"bytes", "bytes", "UTF-8"} {
		if said := replies[index].GetError().GetMessage(); !strings.Contains(said, told) {
			t.Error(said)
		}
	}
}

func TestALostConnectionEndsServeThoughAStepGoesOn(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	defer close(end)
	server := &steps{
		serve: func(_ func() *stepwirev1.ServeStepsRequest, tell func(*stepwirev1.ServeStepsResponse)) {
			tell(call("deaf", nil))
			<-begun
		},
		end: status.Error(codes.Unavailable, "gone"),
	}
	served := make(chan error)
	go func() {
		served <- work(t, context.Background(), server, stepwire.Worker{Steps: []stepwire.Step{
			runs("deaf", func(context.Context, stepwire.Call) (any, error) { close(begun); <-end; return nil, nil }),
		}})
	}()
	select {
	case err := <-served:
		if status.Code(err) != codes.Unavailable {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for the step")
	}
}

func TestOneWorkerServesOneVersionOfAName(t *testing.T) {
	for _, worker := range []stepwire.Worker{
		{Steps: []stepwire.Step{{Name: "f", Version: "1", Run: good}, runs("g", good), {Name: "f", Version: "2", Run: good}}},
		{Steps: []stepwire.Step{runs("f", good)}, MaxInFlight: math.MaxInt32 + 2},
	} {
		err := stepwire.Serve(context.Background(), nil, worker) // it is not even asked
		if status.Code(err) != codes.InvalidArgument {
			t.Error(err)
		}
	}
}

func TestTheContextOfACallEndsWhenItsTimeIsOver(t *testing.T) {
	var reply *stepwirev1.CallReply
	server := &steps{serve: func(told func() *stepwirev1.ServeStepsRequest, tell func(*stepwirev1.ServeStepsResponse)) {
		timed := call("timed", nil)
		timed.GetCall().TimeLeft = durationpb.New(time.Hour)
		tell(timed)
		reply = told().GetReply()
	}}
	err := work(t, context.Background(), server, stepwire.Worker{Steps: []stepwire.Step{
		runs("timed", func(ctx context.Context, _ stepwire.Call) (any, error) {
			until, isTimed := ctx.Deadline()
			return isTimed && time.Until(until) <= time.Hour, nil
		}),
	}})
	if outputs := reply.GetDone().GetOutputs(); err != nil || len(outputs) != 1 || !outputs[0].GetBoolValue() {
		t.Error(err, reply)
	}
}
