package stepwire_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"stepwire.dev/go/stepwire"
	stepwirev1 "stepwire.dev/go/stepwire/v1"
)

// steps is a server that does with a worker what a test says.
type steps struct {
	stepwirev1.UnimplementedStepRunServiceServer
	serve func(told func() *stepwirev1.ServeStepsRequest, tell func(*stepwirev1.ServeStepsResponse))
	end   error
}

func (s *steps) ServeSteps(stream stepwirev1.StepRunService_ServeStepsServer) error {
	told := func() *stepwirev1.ServeStepsRequest {
		for {
			request, err := stream.Recv()
			if err != nil || request.GetHeartbeat() == nil {
				return request
			}
		}
	}
	told()
	accepted := &stepwirev1.WorkerAccepted{HeartbeatInterval: durationpb.New(time.Hour)}
	stream.Send(&stepwirev1.ServeStepsResponse{Kind: &stepwirev1.ServeStepsResponse_Accepted{Accepted: accepted}})
	s.serve(told, func(response *stepwirev1.ServeStepsResponse) { stream.Send(response) })
	return s.end
}

func call(function string, input any) *stepwirev1.ServeStepsResponse {
	value, _ := structpb.NewValue(input)
	made := &stepwirev1.Call{CallId: function, Function: function, Input: value, Attempt: 1}
	return &stepwirev1.ServeStepsResponse{Kind: &stepwirev1.ServeStepsResponse_Call{Call: made}}
}

func work(t *testing.T, ctx context.Context, server *steps, worker stepwire.Worker) error {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving := grpc.NewServer()
	stepwirev1.RegisterStepRunServiceServer(serving, server)
	go serving.Serve(listener)
	defer serving.Stop()
	connection, err := stepwire.Dial(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	return stepwire.Serve(ctx, connection, worker)
}

func TestAWorkerThatGoesAnswersWhatIsOpen(t *testing.T) {
	leaving, leave := context.WithCancel(context.Background())
	slow := make(chan struct{})
	var reply *stepwirev1.CallReply
	server := &steps{serve: func(told func() *stepwirev1.ServeStepsRequest, tell func(*stepwirev1.ServeStepsResponse)) {
		tell(call("slow", "in"))
		if told().GetDrain() == nil {
			t.Error("it did not say that it goes")
		}
		close(slow)
		reply = told().GetReply()
	}}
	err := work(t, leaving, server, stepwire.Worker{Steps: []stepwire.Step{{
		Name: "slow",
		Run: func(ctx context.Context, call stepwire.Call) (any, error) {
			leave()
			<-slow
			return call.Input, ctx.Err()
		},
	}}})
	if outputs := reply.GetDone().GetOutputs(); err != nil || len(outputs) != 1 || outputs[0].GetStringValue() != "in" {
		t.Error(err, reply)
	}
}

func TestACallThatIsNotNeededEndsItsContext(t *testing.T) {
	begun := make(chan struct{})
	var cause error
	server := &steps{serve: func(told func() *stepwirev1.ServeStepsRequest, tell func(*stepwirev1.ServeStepsResponse)) {
		tell(call("endless", nil))
		<-begun
		cancel := &stepwirev1.CancelCall{CallId: "endless"}
		tell(&stepwirev1.ServeStepsResponse{Kind: &stepwirev1.ServeStepsResponse_CancelCall{CancelCall: cancel}})
		told()
	}}
	err := work(t, context.Background(), server, stepwire.Worker{Steps: []stepwire.Step{{
		Name: "endless",
		Stream: func(ctx context.Context, _ stepwire.Call, emit func(any) error) error {
			close(begun)
			<-ctx.Done()
			cause = emit("too late")
			return cause
		},
	}}})
	if err != nil || !errors.Is(cause, context.Canceled) {
		t.Error(err, cause)
	}
}

func TestAFailureSaysWhatARunMayDo(t *testing.T) {
	var reply *stepwirev1.CallReply
	server := &steps{serve: func(told func() *stepwirev1.ServeStepsRequest, tell func(*stepwirev1.ServeStepsResponse)) {
		tell(call("fails", nil))
		reply = told().GetReply()
	}}
	failed := &stepwire.StepError{Message: "busy", IsTransient: true, RetryDelay: time.Second}
	err := work(t, context.Background(), server, stepwire.Worker{Steps: []stepwire.Step{{
		Name: "fails",
		Run:  func(context.Context, stepwire.Call) (any, error) { return nil, failed },
	}}})
	said := reply.GetError()
	if err != nil || said.GetMessage() != "busy" || !said.GetIsTransient() || said.GetRetryDelay().AsDuration() != time.Second {
		t.Error(err, said)
	}
	if said.GetErrorType() != "stepwire.StepError" {
		t.Error(said.GetErrorType())
	}
}
