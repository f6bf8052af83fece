package stepwire_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"stepwire.dev/go/stepwire"
	stepwirev1 "stepwire.dev/go/stepwire/v1"
)

// servers fails the first calls of each method with UNAVAILABLE, and counts them.
type servers struct {
	stepwirev1.UnimplementedChatServiceServer
	stepwirev1.UnimplementedConversationServiceServer
	failures, calls int
	requestIDs      []string
}

func (s *servers) answer() error {
	s.calls++
	if s.calls <= s.failures {
		return status.Error(codes.Unavailable, "not yet")
	}
	return nil
}

func (s *servers) Chat(context.Context, *stepwirev1.ChatRequest) (*stepwirev1.ChatResponse, error) {
	return &stepwirev1.ChatResponse{}, s.answer()
}

func (s *servers) GetModel(context.Context, *stepwirev1.GetModelRequest) (*stepwirev1.GetModelResponse, error) {
	return &stepwirev1.GetModelResponse{}, s.answer()
}

func (s *servers) CreateConversation(
	_ context.Context, request *stepwirev1.CreateConversationRequest,
) (*stepwirev1.CreateConversationResponse, error) {
	s.requestIDs = append(s.requestIDs, request.GetRequestId())
	return &stepwirev1.CreateConversationResponse{}, s.answer()
}

func serve(t *testing.T, s *servers) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	stepwirev1.RegisterChatServiceServer(server, s)
	stepwirev1.RegisterConversationServiceServer(server, s)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	connection, err := stepwire.Dial(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func TestACallThatChangesNothingIsMadeAgain(t *testing.T) {
	s := &servers{failures: 3}
	if _, err := stepwirev1.NewChatServiceClient(serve(t, s)).GetModel(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if s.calls != 4 {
		t.Errorf("%d calls", s.calls)
	}
}

func TestAChatIsPaidForOnce(t *testing.T) {
	s := &servers{failures: 1}
	_, err := stepwirev1.NewChatServiceClient(serve(t, s)).Chat(context.Background(), nil)
	if status.Code(err) != codes.Unavailable || s.calls != 1 {
		t.Errorf("%v after %d calls", err, s.calls)
	}
}

func TestARepeatHasTheIDOfTheFirstAndAnotherCallOfTheSameRequestHasNot(t *testing.T) {
	s := &servers{failures: 1}
	client := stepwirev1.NewConversationServiceClient(serve(t, s))
	request := &stepwirev1.CreateConversationRequest{}
	for range [2]int{} {
		if _, err := client.CreateConversation(context.Background(), request); err != nil {
			t.Fatal(err)
		}
	}
	if ids := s.requestIDs; len(ids) != 3 || ids[0] == "" || ids[0] != ids[1] || ids[1] == ids[2] {
		t.Errorf("%q", ids)
	}
	request.RequestId = "mine"
	if _, err := client.CreateConversation(context.Background(), request); err != nil || s.requestIDs[3] != "mine" {
		t.Errorf("%v %q", err, s.requestIDs)
	}
	if _, err := client.CreateConversation(context.Background(), nil); err != nil || s.requestIDs[4] == "" {
		t.Errorf("%v %q", err, s.requestIDs)
	}
}

func TestAnErrorTellsItsCauseHoweverItIsWrapped(t *testing.T) {
	failed, err := status.New(codes.Unavailable, "overloaded").WithDetails(
		&errdetails.ErrorInfo{Reason: "PROVIDER_OVERLOADED", Domain: "stepwire.dev", Metadata: map[string]string{"model": "m"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
		&errdetails.RequestInfo{RequestId: "r1"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "prompt"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := fmt.Errorf("while chatting: %w", failed.Err())
	if reason := stepwire.Reason(wrapped); reason != "PROVIDER_OVERLOADED" {
		t.Error(reason)
	}
	if facts := stepwire.Metadata(wrapped); len(facts) != 1 || facts["model"] != "m" {
		t.Error(facts)
	}
	if delay, ok := stepwire.RetryDelay(wrapped); !ok || delay != 1500*time.Millisecond {
		t.Error(delay, ok)
	}
	if id := stepwire.RequestID(wrapped); id != "r1" {
		t.Error(id)
	}
	if fields := stepwire.FieldViolations(wrapped); len(fields) != 1 || fields[0].GetField() != "prompt" {
		t.Error(fields)
	}
}

func TestAnErrorOfAnyOtherOriginTellsNothing(t *testing.T) {
	for _, err := range []error{nil, errors.New("no"), context.Canceled, status.Error(codes.Unavailable, "lost")} {
		delay, ok := stepwire.RetryDelay(err)
		if stepwire.Reason(err) != "" || stepwire.Metadata(err) != nil || stepwire.RequestID(err) != "" || delay != 0 || ok {
			t.Errorf("%v: %q %q %v %v", err, stepwire.Reason(err), stepwire.RequestID(err), delay, ok)
		}
	}
}
