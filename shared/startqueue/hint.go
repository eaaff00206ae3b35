package startqueue

import (
	"encoding/json"
	"errors"

	"github.com/wafleet/wafleet/shared/session"
)

// hint is the message.
type hint struct {
	Session    session.ID         `json:"session"`
	Generation session.Generation `json:"generation"`
}

var errPoison = errors.New("the message is not a hint of a start job")

// parseHint reads what may be anybody's. Fields of later versions are ignored.
func parseHint(body string) (hint, error) {
	var h hint
	if err := json.Unmarshal([]byte(body), &h); err != nil || h.Generation < 1 {
		return hint{}, errPoison
	}
	if _, err := session.ParseID(string(h.Session)); err != nil {
		return hint{}, errPoison
	}
	return h, nil
}

func (h hint) String() string {
	text, err := json.Marshal(h)
	if err != nil {
		panic(err) // a text and a number
	}
	return string(text)
}
