module stepwire.dev/go

go 1.19

// The newest that Go 1.19, which Debian 12 has, can build. Whoever has a newer Go may ask for newer ones beside this module.
require (
	google.golang.org/genproto/googleapis/rpc v0.0.0-20240528184218-531527333157 // indirect
	google.golang.org/grpc v1.64.1
	google.golang.org/protobuf v1.34.1
)

require (
	golang.org/x/net v0.35.0 // indirect
	golang.org/x/sys v0.30.0 // indirect
	golang.org/x/text v0.22.0 // indirect
)
