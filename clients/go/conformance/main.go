// Conformance makes calls as clients/conformance/PROTOCOL.md has it, with the generated stubs.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"reflect"
	"strings"
	"sync"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"stepwire.dev/go/stepwire"
	stepwirev1 "stepwire.dev/go/stepwire/v1"
)

// maxLineBytes is more than any request takes, in base64.
const maxLineBytes = 128 << 20

// command is one line of what the runner says.
type command struct {
	ID       string `json:"id"`
	Call     string `json:"call"`
	Requests []string
	Send     *string
	Close    bool
	Cancel   bool

	Open        bool
	Metadata    map[string]string
	TimeoutMs   int64 `json:"timeout_ms"`
	CancelAfter int   `json:"cancel_after"`
	LeaveAfter  int   `json:"leave_after"`
	Progress    bool
}

// answer is one line of what the driver says.
type answer struct {
	ID            string            `json:"id"`
	Code          string            `json:"code"`
	Message       string            `json:"message"`
	Messages      []string          `json:"messages"`
	StatusDetails string            `json:"status_details"`
	Headers       map[string]string `json:"headers"`
	Trailers      map[string]string `json:"trailers"`
	Typed         map[string]any    `json:"typed"`
	EndedMs       float64           `json:"ended_ms"`
	CancelledMs   *float64          `json:"cancelled_ms"`
}

// progress tells of a message before the call has ended.
type progress struct {
	ID      string `json:"id"`
	Message string `json:"message"`
}

// driver holds the stubs, and the calls that are open.
type driver struct {
	stubs   map[string]reflect.Value
	calls   map[string]*call
	running sync.WaitGroup
	writing sync.Mutex
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: conformance-go ADDRESS")
	}
	connection, err := stepwire.Dial(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	d := &driver{stubs: stubs(connection), calls: map[string]*call{}}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLineBytes)
	for lines.Scan() {
		var said command
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			log.Fatal(err)
		}
		d.do(said)
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	for _, open := range d.calls {
		open.cancel() // nobody is there to end it
	}
	d.running.Wait()
}

func stubs(connection grpc.ClientConnInterface) map[string]reflect.Value {
	return map[string]reflect.Value{
		"grpc.health.v1.Health":           reflect.ValueOf(healthv1.NewHealthClient(connection)),
		"stepwire.v1.ChatService":         reflect.ValueOf(stepwirev1.NewChatServiceClient(connection)),
		"stepwire.v1.ConversationService": reflect.ValueOf(stepwirev1.NewConversationServiceClient(connection)),
		"stepwire.v1.EmbedService":        reflect.ValueOf(stepwirev1.NewEmbedServiceClient(connection)),
		"stepwire.v1.PipelineService":     reflect.ValueOf(stepwirev1.NewPipelineServiceClient(connection)),
		"stepwire.v1.StepRunService":      reflect.ValueOf(stepwirev1.NewStepRunServiceClient(connection)),
	}
}

func (d *driver) do(said command) {
	if said.Call == "" {
		if open := d.calls[said.ID]; open != nil {
			open.hear(said)
		}
		return
	}
	service, method, _ := strings.Cut(said.Call, "/")
	stub := d.stubs[service]
	if !stub.IsValid() || !stub.MethodByName(method).IsValid() {
		d.say(answer{
			ID: said.ID, Code: "UNIMPLEMENTED", Message: "the driver has no such method", Messages: []string{},
			Headers: map[string]string{}, Trailers: map[string]string{}, Typed: map[string]any{}, EndedMs: nowMs(),
		})
		return
	}
	begun := newCall(said, stub.MethodByName(method), d.say)
	d.calls[said.ID] = begun
	d.running.Add(1)
	go func() {
		defer d.running.Done()
		begun.run()
	}()
}

func (d *driver) say(line any) {
	written, err := json.Marshal(line)
	if err != nil {
		log.Fatal(err)
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	os.Stdout.Write(append(written, '\n'))
}
