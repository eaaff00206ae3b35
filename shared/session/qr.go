package session

import "time"

// QR timing of WhatsApp Web: the first code is shown for 60 s, every further
// one for 20 s; with six codes that is 160 s, after which the server closes
// the connection.
const (
	FirstQRLife = 60 * time.Second
	NextQRLife  = 20 * time.Second
)

// QRCodes is one set of codes as WhatsApp hands them out: all at once. They are
// stored once; which of them is current is computed when somebody looks.
// Every code is a credential and must not be logged.
type QRCodes struct {
	Codes     []string
	StartedAt time.Time
	First     time.Duration // how long the first code lives
	Next      time.Duration // how long each further one lives
}

// Current returns the code to show at now and when it goes out of date; before
// StartedAt that is the first one. It returns false after the last.
func (q QRCodes) Current(now time.Time) (code string, expiresAt time.Time, ok bool) {
	expiresAt = q.StartedAt
	for i, code := range q.Codes {
		if i == 0 {
			expiresAt = expiresAt.Add(q.First)
		} else {
			expiresAt = expiresAt.Add(q.Next)
		}
		if now.Before(expiresAt) {
			return code, expiresAt, true
		}
	}
	return "", time.Time{}, false
}

// Life is how long the whole set lives.
func (q QRCodes) Life() time.Duration {
	if len(q.Codes) == 0 {
		return 0
	}
	return q.First + time.Duration(len(q.Codes)-1)*q.Next
}
