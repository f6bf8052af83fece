// Package stepwire connects to a Stepwire server, reads what its errors say, and serves steps to it.
//
// The calls themselves are those of the generated package stepwire.dev/go/stepwire/v1:
//
//	connection, err := stepwire.Dial("127.0.0.1:50051")
//	...
//	chat := stepwirev1.NewChatServiceClient(connection)
//
// Cancelling a call's context, or leaving a stream and then cancelling it, stops the model.
package stepwire

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	stepwirev1 "stepwire.dev/go/stepwire/v1"
)

// Version is that of this module.
const Version = "0.1.0"

// MaxReceiveBytes is twice the largest reply that the server makes.
const MaxReceiveBytes = 8 << 20

// Which calls gRPC may repeat by itself, and when: those to which a second attempt does no harm, though vectors may be paid
// twice, which is little. A chat is not; an update or a run may have happened although its answer was lost: those are the
// caller's to repeat.
//
//go:embed service_config.json
var serviceConfig string

// Dial makes a connection to a server at address, "host:port". It returns at once and connects with the first call.
//
// It is plaintext unless opts have other transport credentials; further options overrule what is set here.
func Dial(address string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	reconnect := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 20 * time.Second}
	// A server that is back is found within seconds; gRPC's own limit is two minutes.
	reconnect.Backoff.BaseDelay, reconnect.Backoff.MaxDelay = 200*time.Millisecond, 5*time.Second
	ours := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent("stepwire-go/" + Version),
		grpc.WithDisableServiceConfig(), // that of the name service; ours holds
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithChainUnaryInterceptor(withRequestID),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxReceiveBytes)),
		grpc.WithConnectParams(reconnect),
		// A silent stream stays watched. A server ends connections that ask more often than each 10 s or without a call.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}
	return grpc.NewClient(address, append(ours, opts...)...)
}

// withRequestID gives the calls that gRPC repeats an id, where they need one for the server to know the repeat.
func withRequestID(
	ctx context.Context, method string, request, response any,
	connection *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	switch request.(type) {
	case *stepwirev1.CreateConversationRequest, *stepwirev1.AppendMessagesRequest, *stepwirev1.ForkConversationRequest:
		made := proto.Clone(request.(proto.Message)) // the caller may send its own once more, and mean it
		fields := made.ProtoReflect()
		if !fields.IsValid() { // no request is an empty one to gRPC, but takes no id
			fields = fields.New()
			made = fields.Interface()
		}
		if id := fields.Descriptor().Fields().ByName("request_id"); !fields.Has(id) {
			fields.Set(id, protoreflect.ValueOfString(newRequestID()))
		}
		request = made
	}
	return invoke(ctx, method, request, response, connection, opts...)
}

func newRequestID() string {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(err) // a system without randomness runs nothing
	}
	return hex.EncodeToString(id[:])
}
