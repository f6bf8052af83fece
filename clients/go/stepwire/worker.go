package stepwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	stepwirev1 "stepwire.dev/go/stepwire/v1"
)

const maxMessageBytes = 1024

// Worker is a set of steps that all runs of a server can name, for as long as Serve lasts.
type Worker struct {
	// Name is what people call it; empty for its address.
	Name string
	// MaxInFlight is how many calls it takes at once, 1 to 1,000; 0 for 1.
	MaxInFlight int
	Steps       []Step
	// Accepted, if set, is called when the steps can be named.
	Accepted func(workerID string)
}

// Step is a function that runs may name. It has a Run or a Stream. A call whose worker is lost before it has made
// anything is made again elsewhere: so it should do no harm to call it twice.
type Step struct {
	// Name is 1 to 128 of A-Z a-z 0-9 . _ : -
	Name        string
	Version     string
	Description string
	// InputSchema and OutputSchema are JSON Schemas, which the server checks; nil for any value.
	InputSchema, OutputSchema *structpb.Struct
	// Run makes one result. Its context ends when nobody needs the result any longer.
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
func Serve(ctx context.Context, connection grpc.ClientConnInterface, worker Worker) error {
	// Not of ctx: what is open when that ends is still to be answered.
	streaming, cancel := context.WithCancel(context.Background())
	defer cancel()
	accepted := make(chan struct{})
	go func() {
		select {
		case <-accepted:
		case <-streaming.Done():
		case <-ctx.Done(): // nothing is open yet
			cancel()
		}
	}()
	stream, err := stepwirev1.NewStepRunServiceClient(connection).ServeSteps(streaming)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s := &session{stream: stream, steps: map[string]Step{}, open: map[string]context.CancelFunc{}}
	for _, step := range worker.Steps {
		s.steps[step.Name] = step
	}
	s.send(&stepwirev1.ServeStepsRequest{
		Kind: &stepwirev1.ServeStepsRequest_Register{Register: worker.registration()},
	})
	defer s.calls.Wait()
	defer cancel()
	for isAccepted := false; ; {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) || ctx.Err() != nil && status.Code(err) == codes.Canceled {
			return nil
		}
		if err != nil {
			return err
		}
		switch kind := response.GetKind().(type) {
		case *stepwirev1.ServeStepsResponse_Accepted:
			interval := kind.Accepted.GetHeartbeatInterval().AsDuration()
			if interval <= 0 || isAccepted {
				return status.Error(codes.Internal, "the server accepts workers in a way that this version does not know")
			}
			isAccepted = true
			close(accepted)
			go s.beat(ctx, streaming, interval)
			if worker.Accepted != nil {
				worker.Accepted(kind.Accepted.GetWorkerId())
			}
		case *stepwirev1.ServeStepsResponse_Call:
			s.begin(streaming, kind.Call)
		case *stepwirev1.ServeStepsResponse_CancelCall:
			s.end(kind.CancelCall.GetCallId())
		}
	}
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

// session is one connection of a worker.
type session struct {
	stream  stepwirev1.StepRunService_ServeStepsClient
	sending sync.Mutex // a stream takes one message at a time
	steps   map[string]Step
	calls   sync.WaitGroup

	opening sync.Mutex
	open    map[string]context.CancelFunc
}

// send leaves it to Recv to say why the stream has ended.
func (s *session) send(request *stepwirev1.ServeStepsRequest) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.stream.Send(request)
}

// beat says that the worker is alive, and once that it goes away; the server ends the stream when all is answered.
func (s *session) beat(leaving, streaming context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	left := leaving.Done()
	for {
		alive := &stepwirev1.ServeStepsRequest_Heartbeat{Heartbeat: &stepwirev1.WorkerHeartbeat{}}
		request := &stepwirev1.ServeStepsRequest{Kind: alive}
		select {
		case <-streaming.Done():
			return
		case <-left:
			left = nil
			request.Kind = &stepwirev1.ServeStepsRequest_Drain{Drain: &stepwirev1.WorkerDrain{}}
		case <-ticker.C:
		}
		if s.send(request) != nil {
			return
		}
	}
}

func (s *session) begin(ctx context.Context, call *stepwirev1.Call) {
	ctx, cancel := context.WithCancel(ctx)
	s.opening.Lock()
	s.open[call.GetCallId()] = cancel
	s.opening.Unlock()
	s.calls.Add(1)
	go func() {
		defer s.calls.Done()
		defer s.end(call.GetCallId())
		s.answer(ctx, call)
	}()
}

func (s *session) end(callID string) {
	s.opening.Lock()
	cancel := s.open[callID]
	delete(s.open, callID)
	s.opening.Unlock()
	if cancel != nil {
		cancel()
	}
}

// answer runs a step. What it sends for a call that is no longer needed, the server ignores.
func (s *session) answer(ctx context.Context, call *stepwirev1.Call) {
	given := Call{call.GetInput().AsInterface(), int(call.GetAttempt()), call.GetRunId(), call.GetStepPath()}
	step := s.steps[call.GetFunction()]
	done := &stepwirev1.CallDone{}
	var err error
	switch {
	case step.Run != nil:
		var result any
		if result, err = step.Run(ctx, given); err == nil {
			var value *structpb.Value
			value, err = structpb.NewValue(result)
			done.Outputs = []*structpb.Value{value} // one message answers the call
		}
	case step.Stream != nil:
		err = step.Stream(ctx, given, func(result any) error { return s.emit(ctx, call.GetCallId(), result) })
	default:
		err = fmt.Errorf("the worker has no function for %s", call.GetFunction())
	}
	reply := &stepwirev1.CallReply{CallId: call.GetCallId(), Kind: &stepwirev1.CallReply_Done{Done: done}}
	if err != nil {
		reply.Kind = &stepwirev1.CallReply_Error{Error: failure(err)}
	}
	s.reply(reply)
}

func (s *session) emit(ctx context.Context, callID string, result any) error {
	value, err := structpb.NewValue(result)
	if err != nil {
		return err
	}
	if ctx.Err() != nil { // the step is to stop making what nobody needs
		return ctx.Err()
	}
	return s.reply(&stepwirev1.CallReply{CallId: callID, Kind: &stepwirev1.CallReply_Output{Output: value}})
}

func (s *session) reply(reply *stepwirev1.CallReply) error {
	return s.send(&stepwirev1.ServeStepsRequest{Kind: &stepwirev1.ServeStepsRequest_Reply{Reply: reply}})
}

func failure(err error) *stepwirev1.CallError {
	said := &stepwirev1.CallError{Message: err.Error(), ErrorType: strings.TrimPrefix(fmt.Sprintf("%T", err), "*")}
	var known *StepError
	if errors.As(err, &known) {
		said.IsTransient = known.IsTransient
		if known.IsInput {
			said.Reason = "STEP_INPUT_INVALID"
		}
		if known.RetryDelay > 0 {
			said.RetryDelay = durationpb.New(known.RetryDelay)
		}
	}
	if len(said.Message) > maxMessageBytes {
		said.Message = strings.ToValidUTF8(said.Message[:maxMessageBytes], "")
	}
	return said
}
