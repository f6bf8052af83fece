package stepwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	stepwirev1 "stepwire.dev/go/stepwire/v1"
)

const (
	maxMessageBytes = 1024
	// What else is in the message takes the rest of the server's 16 MiB.
	maxValueBytes = 16<<20 - 1<<10
	// lingering is how long Serve waits for steps whose context has ended.
	lingering = time.Second
)

// session is one connection of a worker.
type session struct {
	stream  stepwirev1.StepRunService_ServeStepsClient
	sending sync.Mutex // a stream takes one message at a time
	steps   map[string]Step
	calls   sync.WaitGroup

	opening sync.Mutex
	open    map[string]context.CancelFunc
}

func newSession(stream stepwirev1.StepRunService_ServeStepsClient, steps []Step) *session {
	s := &session{stream: stream, steps: map[string]Step{}, open: map[string]context.CancelFunc{}}
	for _, step := range steps {
		s.steps[step.Name] = step
	}
	return s
}

// listen does what the server says until it says no more.
func (s *session) listen(
	leaving, streaming context.Context, accepted chan<- struct{}, tell func(workerID string),
) error {
	for isAccepted := false; ; {
		response, err := s.stream.Recv()
		if errors.Is(err, io.EOF) || leaving.Err() != nil && status.Code(err) == codes.Canceled {
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
			go s.beat(leaving, streaming, interval)
			if tell != nil {
				tell(kind.Accepted.GetWorkerId())
			}
		case *stepwirev1.ServeStepsResponse_Call:
			s.begin(streaming, kind.Call)
		case *stepwirev1.ServeStepsResponse_CancelCall:
			s.end(kind.CancelCall.GetCallId())
		}
	}
}

// wait gives steps time to see that nobody needs them.
func (s *session) wait() {
	returned := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(returned)
	}()
	timer := time.NewTimer(lingering)
	defer timer.Stop()
	select {
	case <-returned:
	case <-timer.C:
	}
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
	var cancel context.CancelFunc
	if left := call.GetTimeLeft(); left != nil {
		ctx, cancel = context.WithTimeout(ctx, left.AsDuration())
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
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
	reply := &stepwirev1.CallReply{CallId: call.GetCallId()}
	outputs, failed := s.run(ctx, call)
	if failed != nil {
		reply.Kind = &stepwirev1.CallReply_Error{Error: failed}
	} else {
		reply.Kind = &stepwirev1.CallReply_Done{Done: &stepwirev1.CallDone{Outputs: outputs}}
	}
	s.reply(reply)
}

// run calls the function of a step. It gives what is still to be sent, or how the step failed, a panic included.
func (s *session) run(ctx context.Context, call *stepwirev1.Call) (outputs []*structpb.Value, failed *stepwirev1.CallError) {
	defer func() {
		if cause := recover(); cause != nil {
			log.Printf("stepwire: the step %s panicked: %v\n%s", call.GetFunction(), cause, debug.Stack())
			failed = &stepwirev1.CallError{Message: words(fmt.Sprintf("panic: %v", cause)), ErrorType: "panic"}
		}
	}()
	given := Call{call.GetInput().AsInterface(), int(call.GetAttempt()), call.GetRunId(), call.GetStepPath()}
	step := s.steps[call.GetFunction()]
	switch {
	case step.Run != nil:
		result, err := step.Run(ctx, given)
		if err != nil {
			return nil, failure(err)
		}
		value, err := carried(result)
		if err != nil {
			return nil, failure(err)
		}
		return []*structpb.Value{value}, nil // one message answers the call
	case step.Stream != nil:
		err := step.Stream(ctx, given, func(result any) error { return s.emit(ctx, call.GetCallId(), result) })
		if err != nil {
			return nil, failure(err)
		}
		return nil, nil
	default:
		return nil, failure(fmt.Errorf("the worker has no function for %s", call.GetFunction()))
	}
}

func (s *session) emit(ctx context.Context, callID string, result any) error {
	value, err := carried(result)
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

// carried makes a result what a message carries: one that it does not would end the stream, and all calls with it.
func carried(result any) (*structpb.Value, error) {
	value, err := structpb.NewValue(result)
	if err != nil {
		return nil, err
	}
	if size := proto.Size(value); size > maxValueBytes {
		return nil, fmt.Errorf("the step made a value of %d bytes: a message carries %d", size, maxValueBytes)
	}
	return value, nil
}

func failure(err error) *stepwirev1.CallError {
	said := &stepwirev1.CallError{Message: words(err.Error()), ErrorType: strings.TrimPrefix(fmt.Sprintf("%T", err), "*")}
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
	return said
}

// words makes a text what a message carries.
func words(text string) string {
	if text = strings.ToValidUTF8(text, "\uFFFD"); len(text) > maxMessageBytes {
		text = strings.ToValidUTF8(text[:maxMessageBytes], "") // a character may have been cut
	}
	return text
}
