package control

import (
	"errors"
	"fmt"
	"strings"

	"github.com/wafleet/wafleet/shared/session"
)

var (
	// ErrQRNotReady: the session waits for a scan but has no code to show right
	// now: the last one just ran out, or the link goes another way.
	ErrQRNotReady = errors.New("there is no QR code at the moment")
	// ErrCodeTimeout: no connector answered the request for a pairing code.
	ErrCodeTimeout = errors.New("no pairing code arrived in time")
	// ErrRepeatDiffers: the key of a request stands for another one already.
	ErrRepeatDiffers = errors.New("the key was used for another request")
	// ErrRepeatRuns: the same request is running.
	ErrRepeatRuns = errors.New("the same request is running")
)

// WrongStatusError: the request does not fit the session's status.
type WrongStatusError struct {
	Status   session.Status
	Expected []session.Status
	Reason   *session.Reason // why the session is in that status, where known
}

func (e *WrongStatusError) Error() string {
	expected := make([]string, len(e.Expected))
	for i, status := range e.Expected {
		expected[i] = string(status)
	}
	text := fmt.Sprintf("the session is %s, expected %s", e.Status, strings.Join(expected, " or "))
	if e.Reason != nil {
		text += ": " + e.Reason.Message
	}
	return text
}

// CodeRefusedError: WhatsApp or the connector gave no pairing code.
type CodeRefusedError struct {
	Problem string // for people
}

func (e *CodeRefusedError) Error() string { return "no pairing code: " + e.Problem }
