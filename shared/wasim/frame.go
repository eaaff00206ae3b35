package wasim

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// maxFrame bounds what a client may send in one frame, in bytes, before and after decompression. The protocol allows
// 16 MiB; nothing that the simulator understands is near 1 MiB (812 pre-keys are 40 KB).
const maxFrame = 1 << 20

var errFrameTooLarge = errors.New("frame too large")

// frameReader cuts a byte stream into frames: a 3-byte big-endian length, then that many bytes. One websocket message
// may hold several frames, and a frame may span several messages.
type frameReader struct {
	next func() ([]byte, error) // the next websocket message
	buf  []byte
}

// take returns the next n bytes of the stream.
func (r *frameReader) take(n int) ([]byte, error) {
	for len(r.buf) < n {
		msg, err := r.next()
		if err != nil {
			return nil, err
		}
		if len(r.buf) == 0 {
			r.buf = msg
		} else {
			r.buf = append(r.buf, msg...)
		}
	}
	out := r.buf[:n:n]
	if r.buf = r.buf[n:]; len(r.buf) == 0 {
		r.buf = nil
	}
	return out, nil
}

func (r *frameReader) frame() ([]byte, error) {
	head, err := r.take(3)
	if err != nil {
		return nil, err
	}
	length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if length > maxFrame {
		return nil, fmt.Errorf("%w: %d bytes", errFrameTooLarge, length)
	}
	return r.take(length)
}

// framed puts the length before data.
func framed(data []byte) []byte {
	n := len(data)
	return append([]byte{byte(n >> 16), byte(n >> 8), byte(n)}, data...) // #nosec G115 -- three bytes of the length, which is below 1<<24
}

// sealFrame enciphers a marshalled node into a frame.
func sealFrame(key *counterAEAD, node []byte) []byte {
	out := make([]byte, 3, 3+len(node)+16)
	out = key.seal(out, node)
	n := len(out) - 3
	out[0], out[1], out[2] = byte(n>>16), byte(n>>8), byte(n) // #nosec G115 -- three bytes of the length, which is below 1<<24
	return out
}

// encodeNode marshals a node. The encoder panics on attribute types that it does not know; that is an error here.
func encodeNode(node waBinary.Node) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("encode %s: %v", node.Tag, p)
		}
	}()
	return waBinary.Marshal(node)
}

// decodeNode unpacks and unmarshals a deciphered frame. The decoder trusts its input, so what could exhaust memory or
// stack is refused before it (scanNode), and a panic in it is an error.
func decodeNode(data []byte) (node *waBinary.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			node, err = nil, fmt.Errorf("decode node: %v", p)
		}
	}()
	if data, err = unpack(data); err != nil {
		return nil, fmt.Errorf("decode node: %w", err)
	}
	if err := scanNode(data); err != nil {
		return nil, fmt.Errorf("decode node: %w", err)
	}
	node, err = waBinary.Unmarshal(data)
	if err != nil {
		return nil, fmt.Errorf("decode node: %w", err)
	}
	return node, nil
}

// unpack removes the flag byte and the compression it may announce.
func unpack(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	flags, data := data[0], data[1:]
	if flags&2 == 0 {
		return data, nil
	}
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, maxFrame+1))
	if err != nil {
		return nil, err
	} else if len(out) > maxFrame {
		return nil, errFrameTooLarge
	}
	return out, nil
}
