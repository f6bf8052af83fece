// A worker in Go: serves the steps `double` and `drip` until it is killed, and prints what it is called with.
//
// It has no generated code: whoever starts it hands it the descriptors, and messages are written as JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const method = "/stepwire.v1.StepRunService/ServeSteps"

type object = map[string]any

// told is a message of the server, as far as a worker has to know it.
type told struct {
	Accepted *struct{ HeartbeatInterval string }
	Call     *struct {
		CallID, Function string
		Attempt          int
		Input            any
	}
}

// talk sends and receives messages as JSON.
type talk struct {
	grpc.ClientStream
	sending         sync.Mutex
	request, answer protoreflect.MessageDescriptor
}

func (t *talk) send(message object) error {
	written, err := json.Marshal(message)
	if err != nil {
		return err
	}
	request := dynamicpb.NewMessage(t.request)
	if err := protojson.Unmarshal(written, request); err != nil {
		return err
	}
	t.sending.Lock()
	defer t.sending.Unlock()
	return t.SendMsg(request)
}

func (t *talk) receive() (message told, err error) {
	answer := dynamicpb.NewMessage(t.answer)
	if err = t.RecvMsg(answer); err != nil {
		return
	}
	written, err := protojson.Marshal(answer)
	if err == nil {
		err = json.Unmarshal(written, &message)
	}
	return
}

func main() {
	server := flag.String("server", "", "address")
	descriptors := flag.String("descriptors", "", "file with a FileDescriptorSet")
	room := flag.Int("room", 1, "calls at once")
	answers := flag.Int("answers", 1<<30, "calls that it answers; further ones it only takes")
	flag.Parse()
	log.SetFlags(0)
	if err := serve(*server, *descriptors, *room, *answers); err != nil {
		log.Fatal(err)
	}
}

func serve(server, descriptors string, room, answers int) error {
	talk, err := connect(server, descriptors)
	if err != nil {
		return err
	}
	steps := []object{{"name": "double", "description": "Twice a number."}, {"name": "drip"}}
	if err := talk.send(object{"register": object{"steps": steps, "maxInFlight": room, "workerName": "go"}}); err != nil {
		return err
	}
	for {
		message, err := talk.receive()
		if err != nil {
			return err
		}
		switch {
		case message.Accepted != nil:
			interval, err := time.ParseDuration(message.Accepted.HeartbeatInterval)
			if err != nil {
				return err
			}
			go beat(talk, interval)
			fmt.Println("accepted")
		case message.Call != nil:
			call := message.Call
			fmt.Println(call.Function, call.Input, call.Attempt)
			if answers > 0 {
				answers--
				go answer(talk, call.CallID, call.Function, call.Input)
			}
		}
	}
}

func connect(server, descriptors string) (*talk, error) {
	raw, err := os.ReadFile(descriptors)
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		return nil, err
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, err
	}
	found := make([]protoreflect.MessageDescriptor, 2)
	for index, name := range []protoreflect.FullName{"stepwire.v1.ServeStepsRequest", "stepwire.v1.ServeStepsResponse"} {
		descriptor, err := files.FindDescriptorByName(name)
		if err != nil {
			return nil, err
		}
		found[index] = descriptor.(protoreflect.MessageDescriptor)
	}
	connection, err := grpc.Dial(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := connection.NewStream(context.Background(), both, method)
	if err != nil {
		return nil, err
	}
	return &talk{ClientStream: stream, request: found[0], answer: found[1]}, nil
}

func beat(talk *talk, interval time.Duration) {
	for range time.Tick(interval) {
		if talk.send(object{"heartbeat": object{}}) != nil {
			return
		}
	}
}

// answer answers one call: `double` with twice the number, after a moment; `drip` with one output and no end.
func answer(talk *talk, callID, function string, input any) {
	reply := object{"callId": callID}
	switch number, isNumber := input.(float64); {
	case !isNumber:
		reply["error"] = object{"message": "takes a number", "errorType": "TypeError", "reason": "STEP_INPUT_INVALID"}
	case function == "double":
		time.Sleep(2 * time.Millisecond)
		reply["done"] = object{"outputs": []float64{2 * number}}
	default:
		reply["output"] = number
	}
	if err := talk.send(object{"reply": reply}); err != nil {
		log.Println(err)
	}
}
