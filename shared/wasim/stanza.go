package wasim

import (
	"fmt"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// attrString reads an attribute as text; "" if it is missing or no scalar.
func attrString(n waBinary.Node, key string) string {
	switch v := n.Attrs[key].(type) {
	case string:
		return v
	case types.JID:
		return v.String()
	case fmt.Stringer:
		return v.String()
	}
	return ""
}

// childBytes reads the content of a child; nil if it is missing or a list. What a client sends as a string may come
// out of the decoder as either.
func childBytes(n waBinary.Node, tag string) []byte {
	switch v := n.GetChildByTag(tag).Content.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return nil
}

// iqResult answers an iq.
func iqResult(iq *waBinary.Node, content ...waBinary.Node) waBinary.Node {
	answer := waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{
		"id": attrString(*iq, "id"), "type": "result", "from": types.ServerJID,
	}}
	if len(content) > 0 {
		answer.Content = content
	}
	return answer
}

// iqError refuses an iq.
func iqError(iq *waBinary.Node, code int, text string) waBinary.Node {
	answer := iqResult(iq, waBinary.Node{
		Tag: "error", Attrs: waBinary.Attrs{"code": strconv.Itoa(code), "text": text},
	})
	answer.Attrs["type"] = "error"
	return answer
}
