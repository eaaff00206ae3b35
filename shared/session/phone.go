package session

import (
	"log/slog"
	"strings"
)

// Phone is a number in international form, digits only. It prints masked, so
// that it cannot slip into a log.
type Phone string

// ParsePhone strips everything but digits and checks the length that E.164
// allows. field names the field in the error.
func ParsePhone(field, s string) (Phone, error) {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
	switch {
	case len(digits) < 7 || len(digits) > 15:
		return "", &FieldError{Field: field, Problem: "must have 7 to 15 digits, in international form, such as 5511999999999"}
	case digits[0] == '0':
		return "", &FieldError{Field: field, Problem: "must be in international form: country code first, no leading 0"}
	}
	return Phone(digits), nil
}

// String masks the number; convert to string where the digits are needed.
func (p Phone) String() string {
	if len(p) <= 4 {
		return "****"
	}
	return "****" + string(p[len(p)-4:])
}

// GoString masks the number for %#v as well.
func (p Phone) GoString() string { return p.String() }

// LogValue masks the number in structured logs, whose JSON knows no Stringer.
func (p Phone) LogValue() slog.Value { return slog.StringValue(p.String()) }
