package stepwire

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	stepwirev1 "stepwire.dev/go/stepwire/v1"
)

// maxInFlight is the most that the server takes; what does not fit the message cannot be left to it.
const maxInFlight = 1000

// Worker is a set of steps that all runs of a server can name, for as long as Serve lasts.
type Worker struct {
	// Name is what people call it; empty for its address.
	Name string
	// MaxInFlight is how many calls it takes at once, 1 to 1,000; 0 for 1.
	MaxInFlight int
	// Steps have different names: one worker serves one version of a name.
	Steps []Step
	// Accepted, if set, is called when the steps can be named.
	Accepted func(workerID string)
}

// Step is a function that runs may name. It has a Run or a Stream. A call whose worker is lost before it has made
// anything is made again elsewhere: so it should do no harm to call it twice. If it panics, that is logged, and the call
// fails, as with any other error.
type Step struct {
	// Name is 1 to 128 of A-Z a-z 0-9 . _ : -
	Name        string
	Version     string
	Description string
	// InputSchema and OutputSchema are JSON Schemas, which the server checks; nil for any value.
	InputSchema, OutputSchema *structpb.Struct
	// Run makes one result. Its context ends when nobody needs the result any longer, or when it comes too late.
	Run func(ctx context.Context, call Call) (any, error)
	// Stream makes any number of results, each sent as soon as it is emitted.
	Stream func(ctx context.Context, call Call, emit func(result any) error) error
}

// Call is what a step is called with.
type Call struct {
	// Input is JSON: nil, bool, float64, string, []any or map[string]any. Results are the like; see structpb.NewValue.
	Input any
	// Attempt is above 1 if another worker was lost with this call, or a retry step makes it again.
	Attempt int
	// RunID and StepPath say who calls.
	RunID, StepPath string
}

// StepError is a failure that a run may act upon. Any other error of a step is one that a retry does not mend.
type StepError struct {
	// Message says what happened, for people; callers see it.
	Message string
	// IsInput says that it was the input, which the step does not take.
	IsInput bool
	// IsTransient says that trying again may help, after RetryDelay.
	IsTransient bool
	RetryDelay  time.Duration
}

func (e *StepError) Error() string { return e.Message }

// Serve offers the worker's steps until ctx ends: then it takes no further calls, and returns nil when the open ones are
// answered. It returns an error when the server does not take the steps, or the connection is lost; after the latter,
// which is codes.Unavailable, call it again.
//
// Steps whose calls nobody needs any longer, which are all when the connection is lost, have a second to return after
// their context has ended. Then Serve does not wait for them.
func Serve(ctx context.Context, connection grpc.ClientConnInterface, worker Worker) error {
	if err := worker.fault(); err != nil {
		return err
	}
	// Not of ctx: what is open when that ends is still to be answered.
	streaming, cancel := context.WithCancel(context.Background())
	defer cancel()
	accepted := make(chan struct{})
	go func() {
		select {
		case <-accepted:
		case <-streaming.Done():
		case <-ctx.Done():
			select {
			case <-accepted: // both at once
			default: // nothing is open yet
				cancel()
			}
		}
	}()
	stream, err := stepwirev1.NewStepRunServiceClient(connection).ServeSteps(streaming)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s := newSession(stream, worker.Steps)
	s.send(&stepwirev1.ServeStepsRequest{
		Kind: &stepwirev1.ServeStepsRequest_Register{Register: worker.registration()},
	})
	defer s.wait()
	defer cancel()
	return s.listen(ctx, streaming, accepted, worker.Accepted)
}

// fault says what is wrong with the worker that the server does not say: it may take two versions of a step, but calls
// steps by their names alone.
func (w Worker) fault() error {
	if w.MaxInFlight < 0 || w.MaxInFlight > maxInFlight {
		return status.Errorf(codes.InvalidArgument, "MaxInFlight is %d: a worker takes 1 to %d calls", w.MaxInFlight, maxInFlight)
	}
	named := map[string]int{}
	for index, step := range w.Steps {
		if first, isThere := named[step.Name]; isThere {
			return status.Errorf(codes.InvalidArgument,
				"Steps[%d] and Steps[%d] are both called %q: one worker serves one version of a name", first, index, step.Name)
		}
		named[step.Name] = index
	}
	return nil
}

func (w Worker) registration() *stepwirev1.WorkerRegistration {
	registration := &stepwirev1.WorkerRegistration{WorkerName: w.Name, MaxInFlight: int32(w.MaxInFlight)}
	for _, step := range w.Steps {
		registration.Steps = append(registration.Steps, &stepwirev1.WorkerStep{
			Name: step.Name, Version: step.Version, Description: step.Description,
			InputSchema: step.InputSchema, OutputSchema: step.OutputSchema,
		})
	}
	return registration
}
