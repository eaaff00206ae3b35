package session

// Status is what a client sees of a session. The words are shared with WAHA.
type Status string

const (
	Stopped    Status = "STOPPED"      // the user does not want it to run
	Starting   Status = "STARTING"     // on its way to a connection, or back to one
	ScanQRCode Status = "SCAN_QR_CODE" // waits for a phone to link it
	Working    Status = "WORKING"      // logged in at WhatsApp
	Failed     Status = "FAILED"       // gave up; the reason says what to do
)

// Active reports whether a start must be refused because one is under way.
func (s Status) Active() bool { return s == Starting || s == ScanQRCode || s == Working }

// Desired is what the user wants of a session.
type Desired string

const (
	DesiredRunning Desired = "running"
	DesiredStopped Desired = "stopped"
)
