package stepwire

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// Reason tells programs why a call failed: a name of ErrorReason without its prefix, such as "MODEL_NOT_FOUND".
//
// It is empty if no Stepwire server said one: the connection, a proxy, a deadline or a cancel ended the call.
// The code and the words for people are those of status.Convert(err).
func Reason(err error) string {
	var info *errdetails.ErrorInfo
	find(err, func(detail any) (found bool) { info, found = detail.(*errdetails.ErrorInfo); return })
	return info.GetReason()
}

// Metadata has the facts of the cause, such as the name of the model that there is not; nil where there are none.
func Metadata(err error) map[string]string {
	var info *errdetails.ErrorInfo
	find(err, func(detail any) (found bool) { info, found = detail.(*errdetails.ErrorInfo); return })
	return info.GetMetadata()
}

// RetryDelay tells after which time the same call may succeed; false where nobody said that it would.
func RetryDelay(err error) (time.Duration, bool) {
	var info *errdetails.RetryInfo
	find(err, func(detail any) (found bool) { info, found = detail.(*errdetails.RetryInfo); return })
	return info.GetRetryDelay().AsDuration(), info != nil
}

// RequestID tells what the server's log calls the call; empty if the server never saw it.
func RequestID(err error) string {
	var info *errdetails.RequestInfo
	find(err, func(detail any) (found bool) { info, found = detail.(*errdetails.RequestInfo); return })
	return info.GetRequestId()
}

// FieldViolations lists the fields of the request to change, all of them, in its order.
func FieldViolations(err error) []*errdetails.BadRequest_FieldViolation {
	var info *errdetails.BadRequest
	find(err, func(detail any) (found bool) { info, found = detail.(*errdetails.BadRequest); return })
	return info.GetFieldViolations()
}

// find shows the details of a failed call to is, until it takes one.
func find(err error, is func(detail any) bool) {
	if err == nil {
		return
	}
	for _, detail := range status.Convert(err).Details() {
		if is(detail) {
			return
		}
	}
}
