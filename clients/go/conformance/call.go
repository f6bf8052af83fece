package main

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"reflect"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"stepwire.dev/go/stepwire"
	stepwirev1 "stepwire.dev/go/stepwire/v1"
)

// waiting is how many requests may be said before the stream takes them.
const waiting = 10_000

// call is one call of a stub's method, whichever kind it is of.
type call struct {
	said   command
	method reflect.Value
	say    func(line any)
	ctx    context.Context
	cancel context.CancelFunc
	later  chan *string // requests to be sent; nil ends them

	ending      sync.Mutex
	cancelledMs *float64

	count            int
	messages         []string
	text             strings.Builder
	typed            map[string]any
	headers, trailer metadata.MD
}

func newCall(said command, method reflect.Value, say func(line any)) *call {
	c := &call{said: said, method: method, say: say, later: make(chan *string, waiting)}
	c.messages, c.typed = []string{}, map[string]any{}
	pairs := metadata.New(said.Metadata)
	c.ctx, c.cancel = context.WithCancel(metadata.NewOutgoingContext(context.Background(), pairs))
	if said.TimeoutMs > 0 {
		c.ctx, c.cancel = context.WithTimeout(c.ctx, time.Duration(said.TimeoutMs)*time.Millisecond)
	}
	return c
}

// hear takes what is said of the call while it runs.
func (c *call) hear(said command) {
	switch {
	case said.Send != nil:
		c.later <- said.Send
	case said.Close:
		c.later <- nil
	case said.Cancel:
		c.stop()
	}
}

func (c *call) stop() {
	c.ending.Lock()
	if c.cancelledMs == nil {
		now := nowMs()
		c.cancelledMs = &now
	}
	c.ending.Unlock()
	c.cancel()
}

func (c *call) run() {
	defer c.cancel()
	err := c.make()
	ended := nowMs()
	if reason := stepwire.Reason(err); reason != "" {
		c.typed["reason"] = reason
	}
	if c.said.Call == "stepwire.v1.ChatService/StreamChat" {
		c.typed["text"] = c.text.String()
	}
	failed := status.Convert(err)
	c.ending.Lock()
	defer c.ending.Unlock()
	c.say(answer{
		ID: c.said.ID, Code: code.Code(failed.Code()).String(), Message: failed.Message(),
		Messages: c.messages, Typed: c.typed, Headers: texts(c.headers), Trailers: texts(c.trailer),
		StatusDetails: base64.StdEncoding.EncodeToString([]byte(last(c.trailer["grpc-status-details-bin"]))),
		EndedMs:       ended, CancelledMs: c.cancelledMs,
	})
}

// make calls the method. A stub's method takes a context, a request unless it takes a stream of them, and options.
func (c *call) make() error {
	kind := c.method.Type()
	streamsRequests := kind.NumIn() == 2
	arguments := []reflect.Value{reflect.ValueOf(c.ctx)}
	if !streamsRequests {
		arguments = append(arguments, decoded(kind.In(1), c.said.Requests[0]))
	}
	if isUnary := kind.Out(0).Kind() == reflect.Pointer; isUnary {
		options := []grpc.CallOption{grpc.Header(&c.headers), grpc.Trailer(&c.trailer)}
		response, err := results(c.method.Call(append(arguments, reflect.ValueOf(options[0]), reflect.ValueOf(options[1]))))
		if err == nil {
			c.take(response)
		}
		return err
	}
	stream, err := results(c.method.Call(arguments))
	if err != nil {
		return err
	}
	if streamsRequests {
		go c.send(stream)
	}
	err = c.read(stream)
	c.headers, _ = stream.(grpc.ClientStream).Header()
	c.trailer = stream.(grpc.ClientStream).Trailer()
	return err
}

// send sends what was said with the call, and what is said later. How the call went, reading tells.
func (c *call) send(stream any) {
	kind := reflect.ValueOf(stream).MethodByName("Send").Type().In(0)
	put := func(request string) error {
		out := reflect.ValueOf(stream).MethodByName("Send").Call([]reflect.Value{decoded(kind, request)})
		err, _ := out[0].Interface().(error)
		return err
	}
	for _, request := range c.said.Requests {
		if put(request) != nil {
			return
		}
	}
	for c.said.Open {
		select {
		case request := <-c.later:
			if request != nil {
				if put(*request) != nil {
					return
				}
				continue
			}
		case <-c.ctx.Done():
			return
		}
		break
	}
	stream.(grpc.ClientStream).CloseSend()
}

// read reads until the stream ends or is left. In Go, who leaves cancels the context.
func (c *call) read(stream any) error {
	receive := reflect.ValueOf(stream).MethodByName("Recv")
	if !receive.IsValid() { // one response, which may come while we send: what CloseAndRecv does once all is sent
		kind := reflect.ValueOf(stream).MethodByName("CloseAndRecv").Type().Out(0)
		response := reflect.New(kind.Elem()).Interface()
		err := stream.(grpc.ClientStream).RecvMsg(response)
		if err == nil {
			c.take(response)
		}
		return err
	}
	for {
		response, err := results(receive.Call(nil))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		c.take(response)
		if c.count == c.said.CancelAfter {
			c.stop()
		}
		if c.count == c.said.LeaveAfter {
			c.stop()
			return status.FromContextError(c.ctx.Err()).Err()
		}
	}
}

func (c *call) take(response any) {
	c.count++
	written, err := proto.Marshal(response.(proto.Message))
	if err != nil {
		log.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(written)
	if c.said.Progress {
		c.say(progress{ID: c.said.ID, Message: text})
	} else {
		c.messages = append(c.messages, text)
	}
	switch response := response.(type) {
	case *stepwirev1.StreamChatResponse:
		c.text.WriteString(response.GetTextDelta().GetText())
	case *stepwirev1.ChatResponse:
		c.typed["text"] = response.GetText()
	case *stepwirev1.EmbedResponse:
		if embeddings := response.GetEmbeddings(); len(embeddings) > 0 {
			var sum float64
			for _, value := range embeddings[0].GetValues() {
				sum += float64(value)
			}
			c.typed["dimensions"], c.typed["sum"] = len(embeddings[0].GetValues()), sum
		}
	}
}

// results are those of a call by reflection: a value, and an error or nil.
func results(out []reflect.Value) (any, error) {
	err, _ := out[1].Interface().(error)
	return out[0].Interface(), err
}

func decoded(kind reflect.Type, request string) reflect.Value {
	made := reflect.New(kind.Elem())
	written, err := base64.StdEncoding.DecodeString(request)
	if err == nil {
		err = proto.Unmarshal(written, made.Interface().(proto.Message))
	}
	if err != nil {
		log.Fatal(err)
	}
	return made
}

func texts(pairs metadata.MD) map[string]string {
	found := map[string]string{}
	for key, values := range pairs {
		if !strings.HasSuffix(key, "-bin") {
			found[key] = last(values)
		}
	}
	return found
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func nowMs() float64 { return float64(time.Now().UnixMicro()) / 1000 }
