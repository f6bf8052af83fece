"""The gRPC face: decodes, checks and answers calls. Knows protobuf and gRPC, and leaves every decision to the steps."""
